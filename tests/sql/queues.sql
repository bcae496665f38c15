-- pause_queue(), resume_queue() and configure_queue(): what they answer, and that they leave each other's settings
-- alone. That a paused queue's jobs are not handed out is in claim.sql, what the defaults are good for in enqueue.sql.

begin;
\ir support.sql
select no_plan();

create function pg_temp.settings(queue text)
returns text
language sql
as $$
  select format(
    '%s, priority %s, %s attempts, timeout %s', case when known.paused then 'paused' else 'open' end,
    coalesce(known.priority::text, '-'), coalesce(known.max_attempts::text, '-'), coalesce(known.timeout::text, '-')
  )
  from soniq.queues as known
  where known.queue = settings.queue;
$$;

select is(soniq.pause_queue('queues a'), true, 'pausing an open queue changes something');
select is(soniq.pause_queue('queues a'), false, 'pausing it again does not');
select is(soniq.resume_queue('queues a'), true, 'resuming it does');
select is(soniq.resume_queue('queues a'), false, 'resuming it again does not');
select is(soniq.resume_queue('queues never seen'), false, 'nor resuming a queue that nobody has heard of');
select is(soniq.pause_queue('queues a'), true, 'a queue can be paused once more');

select soniq.configure_queue('queues a', priority => 0, max_attempts => 3, timeout => '0');
select is(
  pg_temp.settings('queues a'), 'paused, priority 0, 3 attempts, timeout 00:00:00',
  'a queue''s defaults are kept, and its pause is left alone'
);
select soniq.resume_queue('queues a') \g /dev/null
select is(
  pg_temp.settings('queues a'), 'open, priority 0, 3 attempts, timeout 00:00:00',
  'and so are its defaults when it is resumed'
);
select soniq.configure_queue('queues a', max_attempts => 5);
select is(
  pg_temp.settings('queues a'), 'open, priority -, 5 attempts, timeout -',
  'NULL leaves a matter to the settings again'
);
select soniq.configure_queue('queues b', timeout => '1 minute');
select is(
  pg_temp.settings('queues b'), 'open, priority -, - attempts, timeout 00:01:00',
  'a queue may be configured before it is used'
);

-- A limit to what may wait.

select soniq.configure_queue('queues small', max_depth => 3);
select soniq.enqueue('small', queue => 'queues small', priority => priority)
from unnest(array[1, 2]) as priority \g /dev/null
select is(
  pg_temp.refusal($$select soniq.enqueue_many('small', '{"{}","{}"}', queue => 'queues small')$$),
  pg_temp.refused_with(
    'SQ024', 'queue ''queues small'' is full: 2 jobs wait in it, its max_depth is 3, and 2 more were to be enqueued',
    'Enqueue again later, let more runners work it off, or have an admin raise max_depth by soniq.configure_queue().'
  ),
  'a queue refuses more than its max_depth, all priorities together'
);
select lives_ok(
  $$select soniq.enqueue_many('small', '{"{}"}', queue => 'queues small', delay => '1 hour')$$, 'and takes what fits in'
);
select matches(
  pg_temp.refusal($$select soniq.enqueue('small', queue => 'queues small')$$),
  '^SQ024: queue ''queues small'' is full: 3 jobs wait in it, its max_depth is 3, and 1 more',
  'what is for later waits, too'
);
select soniq.register_job_type('small by type', queue => 'queues small');
select matches(
  pg_temp.refusal($$select soniq.enqueue('small by type')$$), '^SQ024', 'whoever chose the queue'
);
select lives_ok($$select soniq.enqueue('small', queue => 'queues large')$$, 'other queues are not concerned');
select count(*) from pg_temp.claim('{queues small}') \g /dev/null
select lives_ok($$select soniq.enqueue('small', queue => 'queues small')$$, 'what is being processed does not wait');
select soniq.configure_queue('queues small');
select lives_ok($$select soniq.enqueue('small', queue => 'queues small')$$, 'NULL is no limit');

select is(
  pg_temp.status(soniq.enqueue('taken in', queue => queue.name)), 'queued',
  format('a queue that is %s takes jobs in', queue.what)
)
from (values
  ('queues paused', 'paused'),
  ('queues new', 'new')
) as queue (name, what)
where queue.what = 'new'
  or soniq.pause_queue(queue.name);

select * from finish();
rollback;
