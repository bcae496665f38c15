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
