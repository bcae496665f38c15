-- claim(): which jobs are handed out, in what order, to whom and on what lease.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

-- Names, in order, of what one claim hands out.
create function pg_temp.claimed_names(queues text[], max_jobs integer default 100, skip_jobs text[] default null)
returns text
language sql
as $$
  select coalesce(string_agg(claimed.job_name, ' ' order by claimed.ordinality), 'nothing')
  from pg_temp.claim(
    queues => claimed_names.queues, max_jobs => claimed_names.max_jobs, skip_jobs => claimed_names.skip_jobs
  ) with ordinality as claimed;
$$;

-- The lease.

select soniq.enqueue(
  'leased', '{"n": 1}', queue => 'claim lease', priority => 5, timeout => '90 seconds', headers => '{"h": 2}'
) as id \gset
select pg_temp.wait('1 minute') \g /dev/null
select soniq.register_runner('claim') as runner \gset
select row_eq(
  format($$select * from soniq.claim(%s, '{claim lease}')$$, :runner),
  row(
    :id::bigint, 'leased'::text, '{"n": 1}'::jsonb, '{"h": 2}'::jsonb, 'claim lease'::text, 5::smallint, 1, 10,
    timestamptz '2030-01-01 12:00+00', timestamptz '2030-01-01 12:01+00', interval '90 seconds',
    timestamptz '2030-01-01 12:02:30+00', null::text, null::timestamptz, null::text
  )::soniq.claimed_job,
  'a claim answers with all that a runner needs to know'
);
select row_eq(
  $$select status, runner_id, attempt from soniq.get_job($$ || :id || ')',
  row('processing'::soniq.job_status, :runner::bigint, 1),
  'and the job is being processed by this runner'
);
select is_empty(
  $$select * from pg_temp.claim(queues => '{claim lease}', max_jobs => 10)$$,
  'a job that is being processed is not handed out again'
);

select soniq.enqueue('without limit', queue => 'claim without limit', timeout => '0') as id \gset
select is(claimed.deadline, null, 'a job without a timeout has no deadline')
from pg_temp.claim(queues => '{claim without limit}') as claimed;

select pg_temp.new_job() as id \gset
select pg_temp.take(:id) as first, soniq.release(:id, 1) as released \gset
select is(pg_temp.take(:id), :first + 1, 'each claim of a job raises its attempt');

-- Order.

select soniq.enqueue('p500', queue => 'claim order', priority => 500) \g /dev/null
select soniq.enqueue('p1000', queue => 'claim order', priority => 1000) \g /dev/null
select soniq.enqueue('p100-first', queue => 'claim order') \g /dev/null
select soniq.enqueue('p100-second', queue => 'claim order') \g /dev/null
select soniq.enqueue('p100-oldest', queue => 'claim order', scheduled_at => '2029-01-01 00:00+00') \g /dev/null
select soniq.enqueue('p0', queue => 'claim order', priority => 0) \g /dev/null
select is(
  pg_temp.claimed_names('{claim order}', max_jobs => 4),
  'p0 p100-oldest p100-first p100-second',
  'the lowest priority number goes first, then the oldest, then the first enqueued'
);
select is(pg_temp.claimed_names('{claim order}'), 'p500 p1000', 'and the next claim goes on from there');
select is(pg_temp.claimed_names('{claim order}'), 'nothing', 'until nothing is left');

-- Twenty jobs, dealt to three queues of one priority, some queues far ahead of others.
create function pg_temp.deal_jobs(queue_prefix text)
returns void
language sql
as $$
  select soniq.enqueue(
    format('j%s', n),
    queue => deal_jobs.queue_prefix || case when n <= 6 then 1 when n % 5 = 0 then 2 else 3 end,
    scheduled_at => timestamptz '2029-01-01 00:00+00' + n * interval '1 second'
  )
  from generate_series(1, 20) as n;
$$;

select pg_temp.deal_jobs('claim one by one ') \g /dev/null
select is(
  (
    select string_agg(claimed.name, ' ' order by turn)
    from (
      select
        turn, pg_temp.claimed_names('{claim one by one 1,claim one by one 2,claim one by one 3}', max_jobs => 1) as name
      from generate_series(1, 20) as turn
    ) as claimed
  ),
  'j1 j10 j7 j2 j15 j8 j3 j20 j9 j4 j11 j5 j12 j6 j13 j14 j16 j17 j18 j19',
  'queues of one priority take turns, claim by claim, and of each the oldest goes first'
);

select pg_temp.deal_jobs('claim by seven ') \g /dev/null
select is(
  pg_temp.claimed_names('{claim by seven 1,claim by seven 2,claim by seven 3}', max_jobs => 7),
  share.jobs,
  format('seven at a time: as many of each, %s', share.which)
)
from (values
  ('one of them has a third', 'j1 j2 j3 j7 j8 j10 j15'),
  ('and the turn goes on from there', 'j4 j5 j6 j9 j11 j12 j20'),
  ('while they have any', 'j13 j14 j16 j17 j18 j19')
) as share (which, jobs);

select soniq.enqueue_many('flood', array_fill('{}'::jsonb, array[1000]), queue => 'claim flooded') \g /dev/null
select soniq.enqueue('trickle', queue => 'claim calm') from generate_series(1, 3) \g /dev/null
select is(
  (
    select string_agg(pg_temp.claimed_names('{claim calm,claim flooded}', max_jobs => 1), ' ')
    from generate_series(1, 8)
  ),
  'trickle flood trickle flood trickle flood flood flood',
  'whoever floods a queue does not delay the others'
);
select soniq.enqueue('trickle', queue => 'claim calm', scheduled_at => soniq.clock()) \g /dev/null
select is(
  pg_temp.claimed_names('{claim calm,claim flooded}', max_jobs => 5), 'flood flood flood flood trickle',
  'neither where several are claimed at once'
);

-- More than an equal share, where others have less.
select soniq.enqueue(
  format('j%s', n),
  queue => 'claim uneven ' || case when n <= 15 then 1 when n = 16 then 2 else 3 end,
  scheduled_at => timestamptz '2029-01-01 00:00+00' + n * interval '1 second'
)
from generate_series(1, 20) as n \g /dev/null
select is(
  pg_temp.claimed_names('{claim uneven 1,claim uneven 2,claim uneven 3}', max_jobs => 16),
  (select string_agg('j' || n, ' ' order by n) from generate_series(1, 20) as n where n not between 12 and 15),
  'what some do not have goes to those that have more'
);

select soniq.enqueue(job.name, queue => job.queue, priority => job.priority)
from (values
  ('b2', 'claim levels b', 2), ('a3', 'claim levels a', 3), ('b1', 'claim levels b', 1), ('a1', 'claim levels a', 1),
  ('a2', 'claim levels a', 2)
) as job (name, queue, priority) \g /dev/null
select is(
  pg_temp.claimed_names('{claim levels a,claim levels b}', max_jobs => 4),
  'b1 a1 b2 a2',
  'one claim goes through the priorities of several queues in turn'
);

-- Which queues.

select soniq.enqueue(name, queue => 'claim ' || name)
from unnest(array['red', 'green', 'blue']) as name \g /dev/null
select is(pg_temp.claimed_names('{claim red,claim blue}'), 'red blue', 'only from the queues that are named');
select is(pg_temp.claimed_names('{claim no such queue}'), 'nothing', 'a queue that nobody uses has nothing');
select is(pg_temp.claimed_names('{claim red,claim red,claim green}'), 'green', 'a queue may be named twice');

select soniq.enqueue('from anywhere', queue => 'claim anywhere', priority => 0) as id \gset
select ok(
  :id in (select job_id from pg_temp.claim(queues => null, max_jobs => 10000)),
  'NULL is all queues'
);

select soniq.enqueue(name, queue => 'claim ' || name, priority => 0)
from unnest(array['paused', 'open']) as name \g /dev/null
select soniq.pause_queue('claim paused') \g /dev/null
select is(pg_temp.claimed_names('{claim paused,claim open}'), 'open', 'a paused queue is passed over');
select is(pg_temp.claimed_names('{claim paused}'), 'nothing', 'also when it is the only one');
select soniq.resume_queue('claim paused') \g /dev/null
select is(pg_temp.claimed_names('{claim paused,claim open}'), 'paused', 'and its jobs come once it is resumed');

-- When.

select soniq.enqueue('later', queue => 'claim later', delay => '1 hour') \g /dev/null
select soniq.enqueue('now', queue => 'claim later') \g /dev/null
select is(pg_temp.claimed_names('{claim later}'), 'now', 'a job for later is not handed out');
select pg_temp.wait('59 minutes 59.999999 seconds') \g /dev/null
select is(pg_temp.claimed_names('{claim later}'), 'nothing', 'nor a microsecond before its time');
select pg_temp.wait('1 microsecond') \g /dev/null
select is(pg_temp.claimed_names('{claim later}'), 'later', 'but at its time');

-- How many, and what to leave.

select soniq.enqueue_many('counted', array_fill('{}'::jsonb, array[5]), queue => 'claim count') \g /dev/null
select is((select count(*) from pg_temp.claim(queues => '{claim count}')), 1::bigint, 'one job unless told otherwise');
select is((select count(*) from pg_temp.claim(queues => '{claim count}', max_jobs => 3)), 3::bigint, 'up to max_jobs');
select is((select count(*) from pg_temp.claim(queues => '{claim count}', max_jobs => 3)), 1::bigint, 'or those left');

select soniq.enqueue(name, queue => 'claim ' || queue)
from unnest(array['skip a', 'skip b']) as queue
cross join unnest(array['heavy', 'light', 'wide']) as name \g /dev/null
select is(
  pg_temp.claimed_names('{claim skip a}', skip_jobs => '{heavy,wide}'), 'light',
  'job names to skip stay in the queue'
);
select is(
  pg_temp.claimed_names('{claim skip a,claim skip b}', max_jobs => 2, skip_jobs => '{heavy}'), 'wide light',
  'also across queues'
);
select is(
  pg_temp.claimed_names('{claim skip a,claim skip b}'), 'heavy heavy wide',
  'and are found when they are no longer skipped'
);
select soniq.enqueue('heavy', queue => 'claim skip a') \g /dev/null
select is(pg_temp.claimed_names('{claim skip a}', skip_jobs => '{}'), 'heavy', 'an empty list skips nothing');

-- Every job once. (Claims that run at the same time: the Python tests.)

select soniq.enqueue_many(
  'once', array_fill('{}'::jsonb, array[300]), queue => 'claim once ' || queue, priority => queue
)
from generate_series(1, 3) as queue \g /dev/null
create temporary table handed_out as
select claimed.job_id
from generate_series(1, 40) as turn
cross join lateral pg_temp.claim(
  queues => '{claim once 1,claim once 2,claim once 3}', max_jobs => 10 + turn
) as claimed;
select is(
  (select format('%s jobs, %s different', count(*), count(distinct job_id)) from handed_out),
  '900 jobs, 900 different',
  'claims of all sizes hand out every job exactly once'
);

select * from finish();
rollback;
