-- Metrics and the views: exact for small numbers, near enough for large ones, and nothing of what a job carries.
-- What they cost is plans.sql's matter.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');
select set_config('soniq_test.runner', pg_temp.new_runner(heartbeat_timeout => '99 years')::text, true) \g /dev/null

select is(
  soniq._dead_rows(), pg_stat_get_dead_tuples('soniq.jobs'::regclass), 'the dead rows are those that PostgreSQL knows of'
);
select is_empty(
  'select * from soniq._vacuum_obstacles() where transactions < 0 or since > clock_timestamp()',
  'what hinders vacuum is in the past'
);

-- Else it would matter what other tests have left behind, and which of them are at work.
create function pg_temp.set_obstacle(dead_rows bigint, age interval, transactions integer)
returns void
language plpgsql
as $$
begin
  create or replace function soniq._dead_rows()
  returns bigint
  language sql
  stable
  as $dead_rows$
    select pg_catalog.current_setting('soniq_test.dead_rows')::bigint;
  $dead_rows$;
  create or replace function soniq._vacuum_obstacles()
  returns table (since timestamptz, transactions integer)
  language sql
  stable
  as $obstacles$
    select obstacle.since, obstacle.transactions
    from pg_catalog.json_to_record(pg_catalog.current_setting('soniq_test.obstacle')::json)
      as obstacle (since timestamptz, transactions integer)
    where obstacle.transactions > 0;
  $obstacles$;
  perform
    set_config('soniq_test.dead_rows', set_obstacle.dead_rows::text, true),
    set_config(
      'soniq_test.obstacle',
      json_build_object('since', clock_timestamp() - set_obstacle.age, 'transactions', set_obstacle.transactions)::text,
      true
    );
end;
$$;

select pg_temp.set_obstacle(dead_rows => 0, age => null, transactions => 0);

-- Nor is it foreseeable how many pages other tests have added to a table. NULL makes the functions see those that there are.
create function pg_temp.set_pages(pages integer)
returns void
language plpgsql
as $$
begin
  create or replace function soniq._pages(relation regclass)
  returns bigint
  language sql
  volatile
  as $pages$
    select coalesce(
      nullif(pg_catalog.current_setting('soniq_test.pages'), '')::bigint,
      pg_catalog.pg_relation_size(_pages.relation) / pg_catalog.current_setting('block_size')::bigint
    );
  $pages$;
  perform set_config('soniq_test.pages', coalesce(set_pages.pages::text, ''), true);
end;
$$;

-- It may grow at any moment: other files run beside this one.
select pg_relation_size('soniq.jobs') / current_setting('block_size')::bigint as before \gset
select soniq._pages('soniq.jobs') as told \gset
select ok(
  :told between :before and pg_relation_size('soniq.jobs') / current_setting('block_size')::bigint, 'the pages of a table'
);
select pg_temp.set_pages(1);

create function pg_temp.metric(name text, labels jsonb default '{}')
returns double precision
language sql
as $$
  select found.value
  from soniq.metrics() as found
  where found.name = metric.name
    and found.labels = metric.labels;
$$;

create function pg_temp.queue_metric(name text, queue text, labels jsonb default '{}')
returns double precision
language sql
as $$
  select pg_temp.metric(queue_metric.name, queue_metric.labels || jsonb_build_object('queue', queue_metric.queue));
$$;

-- What other files may see is theirs; of what is not a queue's, each test looks at the difference.
create temporary table before_all as
select * from soniq.metrics();

create function pg_temp.gained(name text, labels jsonb default '{}')
returns double precision
language sql
as $$
  select pg_temp.metric(gained.name, gained.labels) - former.value
  from before_all as former
  where former.name = gained.name
    and former.labels = gained.labels;
$$;

-- A queue with a few jobs.

select soniq.enqueue('metrics a', queue => 'metrics small', priority => 5) \g /dev/null
select soniq.enqueue('metrics a', queue => 'metrics small', timeout => '1 minute') \g /dev/null
select pg_temp.wait('90 seconds') \g /dev/null
select soniq.enqueue_many('metrics a', array_fill('{}'::jsonb, array[3]), queue => 'metrics small') \g /dev/null
select soniq.enqueue_many(
  'metrics a', array_fill('{}'::jsonb, array[4]), queue => 'metrics small', delay => '1 day'
) \g /dev/null

select row_eq(
  $$select * from soniq.queue_stats where queue = 'metrics small'$$,
  row(
    'metrics small'::text, 5::bigint, 4::bigint, 0::bigint, 0::bigint, 0::bigint, false, interval '0', interval '90 seconds',
    false
  ),
  'a queue''s ready and scheduled jobs are counted over all its priorities, and the oldest ready one has its age'
);
select is(pg_temp.queue_metric('soniq_queue_jobs', 'metrics small', '{"state": "ready"}'), 5::double precision, 'ready');
select is(
  pg_temp.queue_metric('soniq_queue_jobs', 'metrics small', '{"state": "scheduled"}'), 4::double precision, 'scheduled'
);
select is(
  pg_temp.queue_metric('soniq_queue_oldest_ready_seconds', 'metrics small'), 90::double precision, 'the oldest, in seconds'
);
select is(pg_temp.queue_metric('soniq_queue_jobs_is_estimate', 'metrics small'), 0::double precision, 'no estimate');

select count(*) from pg_temp.claim('{metrics small}', 2) \g /dev/null
select row_eq(
  $$select ready, processing, overdue, oldest_ready_age from soniq.queue_stats where queue = 'metrics small'$$,
  row(3::bigint, 2::bigint, 0::bigint, interval '0'),
  'what is claimed is processing and no longer the oldest ready'
);
select is(
  pg_temp.queue_metric('soniq_queue_jobs', 'metrics small', '{"state": "processing"}'), 2::double precision, 'processing'
);
select is(pg_temp.queue_metric('soniq_overdue_jobs', 'metrics small'), 0::double precision, 'nothing is overdue');
select pg_temp.wait('1 minute 30 seconds') \g /dev/null
select is(pg_temp.queue_metric('soniq_overdue_jobs', 'metrics small'), 0::double precision, 'nor within the grace');
select pg_temp.wait('1 second') \g /dev/null
select is(pg_temp.queue_metric('soniq_overdue_jobs', 'metrics small'), 1::double precision, 'but after it');

select count(*) from pg_temp.claim('{metrics small}', 10) \g /dev/null
select is(
  (select oldest_ready_age from soniq.queue_stats where queue = 'metrics small'), null,
  'where nothing is ready, nothing is the oldest'
);
select is(
  pg_temp.queue_metric('soniq_queue_oldest_ready_seconds', 'metrics small'), 0::double precision, 'which is 0 as a metric'
);

-- Paused queues.

select soniq.enqueue('metrics a', queue => 'metrics paused') \g /dev/null
select is(pg_temp.queue_metric('soniq_queue_paused', 'metrics paused'), 0::double precision, 'a queue is not paused');
select soniq.pause_queue('metrics paused') \g /dev/null
select is(pg_temp.queue_metric('soniq_queue_paused', 'metrics paused'), 1::double precision, 'it is');
select pg_temp.wait('10 seconds') \g /dev/null
select row_eq(
  $$select ready, oldest_ready_age, paused from soniq.queue_stats where queue = 'metrics paused'$$,
  row(1::bigint, interval '10 seconds', true),
  'a paused queue''s jobs are still counted, and grow old'
);
select soniq.pause_queue('metrics unused') \g /dev/null
select row_eq(
  $$select * from soniq.queue_stats where queue = 'metrics unused'$$,
  row(
    'metrics unused'::text, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, false, interval '0', null::interval, true
  ),
  'a queue that only has settings is there too'
);

-- Dead letters, by queue and by name.

create temporary table dead as
select pg_temp.new_dead_letter('metrics dead') as id
from generate_series(1, 2);

select is(
  (
    select array_agg(pg_temp.queue_metric('soniq_dead_letters', letter.queue))
    from soniq.dead_letter_jobs as letter
    where letter.job_name = 'metrics dead'
  ),
  '{1,1}', 'a dead letter counts for its queue'
);
select is((select dead_letters from soniq.job_stats where job_name = 'metrics dead'), 2::bigint, 'and for its name');
select soniq.replay_dead_letters(ids => array[min(id)]) from dead \g /dev/null
select is((select dead_letters from soniq.job_stats where job_name = 'metrics dead'), 1::bigint, 'until it is replayed');
select is(
  (
    select sum(pg_temp.queue_metric('soniq_dead_letters', letter.queue))
    from soniq.dead_letter_jobs as letter
    where letter.job_name = 'metrics dead'
  ),
  1::double precision, 'for its queue as well'
);

-- Job names: what is live, and how those went that finished lately. The job that fails once takes 30 seconds in its
-- second attempt.

create function pg_temp.finish_job(run_time interval)
returns boolean
language plpgsql
as $$
declare
  held constant pg_temp.lease := pg_temp.new_lease('metrics timed');
begin
  perform pg_temp.wait(run_time);
  return soniq.complete(held.job_id, held.attempt);
end;
$$;

select pg_temp.finish_job('10 seconds') from generate_series(1, 18) \g /dev/null
select pg_temp.finish_job('50 seconds') \g /dev/null
create temporary table failing as
select (pg_temp.new_lease('metrics timed')).job_id;
select soniq.fail(job_id, 1, '{"type": "Secret", "message": "s3cret", "traceback": "s3cret"}') from failing \g /dev/null
select pg_temp.wait('1 minute') \g /dev/null
select pg_temp.take(job_id) from failing \g /dev/null
select pg_temp.wait('30 seconds') \g /dev/null
select soniq.complete(job_id, 2, '"s3cret"') from failing \g /dev/null
select soniq.cancel(pg_temp.new_job('metrics timed')) \g /dev/null
select pg_temp.new_job('metrics timed', delay => '1 hour') \g /dev/null
select pg_temp.new_lease('metrics timed') from generate_series(1, 2) \g /dev/null

select row_eq(
  $$
    select queued, processing, dead_letters, is_estimate, done, cancelled, failed_attempts, average_run_time, p95_run_time
    from soniq.job_stats
    where job_name = 'metrics timed'
  $$,
  row(
    1::bigint, 2::bigint, 0::bigint, false, 20::bigint, 1::bigint, 1::bigint, interval '13 seconds', interval '30 seconds'
  ),
  'a job name tells what is live, what ended, how often attempts failed and how long it took'
);
select is(
  (select max(finished_since) from soniq.job_stats where job_name = 'metrics timed'),
  (select min(finished_at) from soniq.finished_jobs where finished_at > soniq.clock() - interval '1 hour'),
  'finished_since is the earliest end among those looked at'
);
select pg_temp.wait('61 minutes') \g /dev/null
select row_eq(
  $$select done, cancelled, average_run_time, finished_since from soniq.job_stats where job_name = 'metrics timed'$$,
  row(0::bigint, 0::bigint, null::interval, null::timestamptz),
  'what ended more than an hour ago is not lately'
);
select soniq.register_job_type('metrics declared');
select ok(
  exists (select from soniq.job_stats where job_name = 'metrics declared' and queued = 0),
  'a name that was declared and has no job is there'
);

-- Runners.

create temporary table known as
select soniq.register_runner(
  'metrics host', pid => 7, queues => '{metrics run}', concurrency => 8, heartbeat_timeout => '1 minute'
) as runner_id;
select soniq.enqueue_many('metrics a', array_fill('{}'::jsonb, array[3]), queue => 'metrics run') \g /dev/null
select pg_temp.claim('{metrics run}', 2, runner_id => runner_id) from known \g /dev/null
select pg_temp.wait('20 seconds') \g /dev/null
select pg_temp.claim('{metrics run}', 1, runner_id => runner_id) from known \g /dev/null

select row_eq(
  $$
    select host, pid, queues, concurrency, running, oldest_running_age, silent_for, state
    from soniq.runner_stats
    where runner_id = (select runner_id from known)
  $$,
  row(
    'metrics host'::text, 7, '{metrics run}'::text[], 8, 3::bigint, interval '20 seconds', interval '20 seconds',
    'alive'::text
  ),
  'a runner, the jobs it holds, and how long it was silent'
);
select is(pg_temp.gained('soniq_runner_concurrency'), 8::double precision, 'concurrency adds up');
select pg_temp.wait('11 seconds') \g /dev/null
select is(
  (select state from soniq.runner_stats where runner_id = (select runner_id from known)), 'silent',
  'it is silent after half of its timeout'
);
create temporary table silent as
select pg_temp.metric('soniq_runners', '{"state": "silent"}') as runners;
select soniq.heartbeat(runner_id) from known \g /dev/null
select is(
  pg_temp.metric('soniq_runners', '{"state": "silent"}') - runners, -1::double precision, 'and no longer after a heartbeat'
)
from silent;
select pg_temp.wait('61 seconds') \g /dev/null
select soniq._declare_lost_runners() \g /dev/null
select is(
  (select state from soniq.runner_stats where runner_id = (select runner_id from known)), 'lost', 'then it is lost'
);
select is(pg_temp.metric('soniq_runners', '{"state": "lost"}') > 0, true, 'and counted so');
select is(
  (select running from soniq.runner_stats where runner_id = (select runner_id from known)), 3::bigint,
  'with the jobs that are still to be taken back'
);
select is(
  (select sum(value) from soniq.metrics() where name = 'soniq_runners'),
  (select count(*)::double precision from soniq.runners),
  'each runner has one state'
);

-- Schedules.

select soniq.schedule('metrics hourly', every => '1 hour') \g /dev/null
select soniq.schedule('metrics paused', every => '1 minute') \g /dev/null
select soniq.pause_schedule('metrics paused') \g /dev/null
select soniq.schedule('metrics never', cron => '0 0 30 2 *') \g /dev/null
select is(pg_temp.gained('soniq_schedules', '{"state": "active"}'), 1::double precision, 'active schedules');
select is(pg_temp.gained('soniq_schedules', '{"state": "paused"}'), 1::double precision, 'paused ones');
select is(pg_temp.gained('soniq_schedules', '{"state": "ended"}'), 1::double precision, 'and those that are never due');
select is(pg_temp.metric('soniq_schedule_lag_seconds'), 0::double precision, 'none is late, also not the paused one');
select pg_temp.wait('1 hour 40 seconds') \g /dev/null
select is(pg_temp.metric('soniq_schedule_lag_seconds'), 40::double precision, 'now one is, by 40 seconds');
select soniq.tick() \g /dev/null
select is(pg_temp.metric('soniq_schedule_lag_seconds'), 0::double precision, 'until somebody ticks');

-- Upkeep.

update soniq.chores set due_at = '-infinity' where chore = 'absent_runners';
select is(pg_temp.metric('soniq_tick_lag_seconds'), 'infinity'::double precision, 'nothing ever ticked');
select pg_temp.wait_for_second('0') \g /dev/null
select soniq.tick() \g /dev/null
select is(pg_temp.metric('soniq_tick_lag_seconds'), 0::double precision, 'it did now');
select pg_temp.wait('100 seconds') \g /dev/null
select is(
  pg_temp.metric('soniq_tick_lag_seconds'), 40::double precision, 'and is 40 seconds late with what is done each minute'
);
update soniq.chores set due_at = 'infinity' where chore = 'absent_runners';
select is(pg_temp.metric('soniq_tick_lag_seconds'), 0::double precision, 'a chore that was put off for good is not late');

create temporary table stray as
select pg_temp.metric('soniq_default_partition_rows') as jobs;
insert into soniq.finished_jobs (
  id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, errors,
  finished_at, keep_until
)
select
  -1, 'metrics a', 'metrics', 1, 'done', '{"secret": "s3cret"}', soniq.clock(), soniq.clock(), 1, 1, '0',
  '[{"message": "s3cret"}]', soniq.clock(), '2999-01-01';
select is(
  pg_temp.metric('soniq_default_partition_rows') - jobs, 1::double precision, 'a finished job without a partition is counted'
)
from stray;

select ok(
  pg_temp.metric('soniq_jobs_added_total') >= 0 and pg_temp.metric('soniq_jobs_ended_total') >= 0,
  'what PostgreSQL counts is passed on'
);
select pg_total_relation_size('soniq.jobs') as before \gset
select pg_temp.metric('soniq_table_bytes', '{"table": "jobs"}') as told \gset
select ok(
  :told between :before and pg_total_relation_size('soniq.jobs'), 'the size of a table'
);
select sum(pg_total_relation_size(relid)) as before from pg_partition_tree('soniq.finished_jobs') \gset
select pg_temp.metric('soniq_table_bytes', '{"table": "finished_jobs"}') as told \gset
select ok(
  :told between :before and (
    select sum(pg_total_relation_size(relid))
    from pg_partition_tree('soniq.finished_jobs')
  ),
  'and of one with partitions'
);
select is(
  (select value from soniq.metrics() where name = 'soniq_info' and labels = jsonb_build_object('version', soniq.version())),
  1::double precision, 'the version is a label'
);

-- What keeps vacuum from its work, and when that is enough to read no ranges.

create function pg_temp.readable(dead_rows bigint, age interval, transactions integer)
returns boolean
language sql
as $$
  select pg_temp.set_obstacle(readable.dead_rows, readable.age, readable.transactions);
  select soniq._ranges_are_readable();
$$;

select is(
  pg_temp.readable(situation.dead_rows, situation.age, situation.transactions),
  situation.readable,
  format('ranges are read or not: %s', situation)
)
from (values
  (500000::bigint, interval '1 day', 1000000, true),
  (500001, '61 seconds', 1, false),
  (500001, '50 seconds', 1000000, true),
  (500001, null, 1001, false),
  (500001, null, 1000, true),
  (10000000, null, 0, true)
) as situation (dead_rows, age, transactions, readable);

select is(pg_temp.metric('soniq_oldest_transaction_seconds'), 0::double precision, 'nothing keeps vacuum from its work');
select is(pg_temp.metric('soniq_vacuum_horizon_transactions'), 0::double precision, 'so it may remove what is dead');
select pg_temp.set_obstacle(dead_rows => 7, age => '1 hour', transactions => 99);
select ok(
  pg_temp.metric('soniq_oldest_transaction_seconds') between 3600 and 3700, 'now a transaction does, in seconds'
);
select is(pg_temp.metric('soniq_vacuum_horizon_transactions'), 99::double precision, 'and how far it reaches back');
select is(pg_temp.metric('soniq_dead_rows'), 7::double precision, 'and the dead rows');

-- The shape of it all.

select set_eq(
  $$select distinct name from soniq.metrics()$$,
  $$select named[1] from regexp_matches(obj_description('soniq.metrics()'::regprocedure), '^(soniq_\w+):', 'gn') as named$$,
  'the comment explains each metric, and no others'
);
select is_empty(
  $$
    select name, labels from soniq.metrics() where name !~ '^soniq(_[a-z0-9]+)+$' or value is null or value < 0
    union all
    select name, labels from soniq.metrics() group by name, labels having count(*) > 1
  $$,
  'every metric has a proper name, a value, and each set of labels once'
);
select results_eq(
  $$select name from soniq.metrics()$$, $$select name from soniq.metrics() order by name$$,
  'all rows of a metric come together'
);

-- Nothing of what a job carries. Beside the stray one above, here is a live job and a dead one.

select pg_temp.wait_for_second('50 seconds') \g /dev/null
select soniq.enqueue('metrics secret', '{"secret": "s3cret"}', queue => 'metrics secret', dedup_key => 's3cret') \g /dev/null
select soniq.enqueue(
  'metrics secret', '{"secret": "s3cret"}', queue => 'metrics secret dead', max_attempts => 1
) \g /dev/null
select soniq.fail(job_id, attempt, '{"type": "s3cret", "message": "s3cret", "traceback": "s3cret"}')
from pg_temp.claim('{metrics secret dead}') \g /dev/null
select is_empty(
  format('select shown from %s as shown where shown::text like %L', source, '%s3cret%'),
  source || ' shows nothing of arguments, results, errors or keys'
)
from unnest(array['soniq.metrics()', 'soniq.queue_stats', 'soniq.job_stats', 'soniq.runner_stats']) as source;

create role soniq_test_observer;
grant usage on schema soniq to soniq_test_observer;
grant execute on function soniq.metrics, soniq._queue_stats, soniq._job_stats, soniq._runner_stats to soniq_test_observer;
grant select on soniq.queue_stats, soniq.job_stats, soniq.runner_stats to soniq_test_observer;
set local role soniq_test_observer;
select lives_ok('select * from ' || source, 'a role that may read no table may read ' || source)
from unnest(array['soniq.metrics()', 'soniq.queue_stats', 'soniq.job_stats', 'soniq.runner_stats']) as source;
select throws_ok('select * from soniq.jobs', '42501', null, 'and reads no table by it');
reset role;

-- In a table of more than 100 pages, numbers are those of the tally.

create function pg_temp.tell(queue text)
returns text
language sql
as $$
  select format(
    '%s ready, the oldest for %s; %s scheduled, %s processing, %s dead; counted %s ago', stats.ready, stats.oldest_ready_age,
    stats.scheduled, stats.processing, stats.dead_letters, stats.count_age
  )
  from soniq.queue_stats as stats
  where stats.queue = tell.queue;
$$;

select pg_temp.set_pages(101);
select soniq.enqueue('metrics a', queue => 'metrics tallied', priority => 1) \g /dev/null
select pg_temp.wait('10 seconds') \g /dev/null
select soniq.enqueue_many(
  'metrics a', array_fill('{}'::jsonb, array[3]), queue => 'metrics tallied', priority => 2
) \g /dev/null
select soniq.enqueue('metrics a', queue => 'metrics tallied', priority => 8, delay => '1 day') \g /dev/null
select soniq.enqueue('metrics a', queue => 'metrics tallied', priority => 9, delay => '1 hour') \g /dev/null
select is(
  pg_temp.tell('metrics tallied'),
  '4 ready, the oldest for 00:00:10; 2 scheduled, 0 processing, 0 dead; counted 00:00:00 ago',
  'where nothing ticks, they are counted when they are asked for'
);

update soniq.chores set due_at = '-infinity' where chore = 'tally';
select soniq.tick() \g /dev/null
select is((select array_agg(taken_at) from soniq.tallies), array[soniq.clock()], 'a tick takes the tally');
select pg_temp.wait('59 seconds') \g /dev/null
select soniq.tick() \g /dev/null
select is(
  (select array_agg(taken_at) from soniq.tallies), array[soniq.clock() - interval '59 seconds'], 'not again within a minute'
);

create temporary table taken as
select * from pg_temp.claim('{metrics tallied}', 1);
select soniq.enqueue('metrics a', queue => 'metrics late') \g /dev/null
select soniq.enqueue('metrics a', queue => 'metrics tallied', priority => 9) \g /dev/null
select is(
  pg_temp.tell('metrics tallied'),
  '4 ready, the oldest for 00:00:59; 2 scheduled, 0 processing, 0 dead; counted 00:00:59 ago',
  'the oldest is found as of now, also where the first lane was emptied, the numbers are those of the tally'
);
select is(
  pg_temp.tell('metrics late'),
  '1 ready, the oldest for 00:00:00; 0 scheduled, 0 processing, 0 dead; counted 00:00:59 ago',
  'a queue that was empty is known to have a job'
);
select pg_temp.claim('{metrics tallied}', 3) \g /dev/null
select is(
  (select oldest_ready_age from soniq.queue_stats where queue = 'metrics tallied'), interval '0',
  'where all was for later, a job for now is found'
);
select pg_temp.claim('{metrics tallied, metrics late}', 10) \g /dev/null
select is(
  pg_temp.tell('metrics tallied'),
  '0 ready, the oldest for ; 2 scheduled, 0 processing, 0 dead; counted 00:00:59 ago',
  'that nothing is ready is known as of now'
);
select soniq.release(job_id, attempt) from taken \g /dev/null
select is(
  pg_temp.tell('metrics tallied'),
  '4 ready, the oldest for 00:01:09; 2 scheduled, 0 processing, 0 dead; counted 00:00:59 ago',
  'a job that is handed back to an empty lane is found'
);
select is(
  (select count_age from soniq.job_stats where job_name = 'metrics a'), interval '59 seconds', 'job names are of the tally'
);
select is(
  (select (running, count_age) from soniq.runner_stats where runner_id = pg_temp.the_runner()),
  (bigint '0', interval '59 seconds'),
  'and so is what runners hold'
);
select is(
  pg_temp.queue_metric('soniq_queue_jobs_age_seconds', 'metrics tallied'), 59::double precision, 'a metric tells the age'
);

select pg_temp.wait('1 second') \g /dev/null
select soniq.tick() \g /dev/null
select is(
  pg_temp.tell('metrics tallied'),
  '1 ready, the oldest for 00:01:10; 2 scheduled, 4 processing, 0 dead; counted 00:00:00 ago',
  'the next tally, a minute later, has it all'
);
select is(
  (select (running, oldest_running_age, count_age) from soniq.runner_stats where runner_id = pg_temp.the_runner()),
  (bigint '5', interval '1 second', interval '0'),
  'also what the runner holds, and for how long'
);
select is((select count(*) from soniq.tallies), 1::bigint, 'and takes the place of the former');
select pg_temp.wait('-1 hour') \g /dev/null
select is(
  (select count_age from soniq.queue_stats where queue = 'metrics tallied'), interval '0',
  'a tally from before the clock was put back is not in the future'
);
select soniq._take_tally();
select is((select array_agg(taken_at) from soniq.tallies), array[soniq.clock()], 'and goes with the next');
select pg_temp.wait('1 hour') \g /dev/null

create temporary table dying as
select pg_temp.new_dead_letter('metrics dead') from generate_series(1, 10);
select soniq._take_tally();
select pg_temp.new_dead_letter('metrics dead') \g /dev/null
select is(
  (select sum(dead_letters) from soniq.queue_stats),
  (select sum((queue ->> 'dead_letters')::bigint) from soniq.tallies cross join jsonb_array_elements(queues) as queue),
  'more than ten dead letters are told by the tally'
);

select soniq.enqueue_many(
  'metrics a', array_fill('{}'::jsonb, array[12]), queue => 'metrics overdue', timeout => '1 second'
) \g /dev/null
select pg_temp.claim('{metrics overdue}', 12) \g /dev/null
select pg_temp.wait('1 minute') \g /dev/null
select is(sum(overdue), 10::numeric, 'at most ten overdue jobs are told of') from soniq.queue_stats;
select soniq._take_tally();

-- Large numbers. 100,000 jobs take more pages than the sample reads, and more again where other files have left theirs
-- behind: the bounds are wide since few of these pages may be among the sample.

select pg_temp.set_pages(null);

select soniq.enqueue_many('metrics many', array_fill('{}'::jsonb, array[60000]), queue => 'metrics many') \g /dev/null
select soniq.enqueue_many(
  'metrics many', array_fill('{}'::jsonb, array[40000]), queue => 'metrics many', delay => '1 day'
) \g /dev/null
insert into soniq.dead_letter_jobs
select
  -n, 'metrics many dead', 'metrics many', 100, '{}', soniq.clock(), soniq.clock(), 1, 1, '0', null, null, null, null, null, '[]',
  null, null, null, 'timeout', soniq.clock()
from generate_series(1, 20050) as n;
select pg_temp.wait('1 minute') \g /dev/null

select cmp_ok(
  pg_relation_size('soniq.jobs'), '>', 1000 * current_setting('block_size')::bigint,
  'the table is larger than the sample'
);
select soniq._take_tally();
create temporary table many as
select * from soniq.queue_stats where queue = 'metrics many';
select ok(ready between 30000 and 120000, format('60,000 ready jobs are estimated well: %s', ready)) from many;
select ok(scheduled between 20000 and 80000, format('40,000 scheduled jobs are estimated well: %s', scheduled)) from many;
select ok(dead_letters between 10001 and 40000, format('20,050 dead letters are estimated well: %s', dead_letters))
from many;
select is((is_estimate, oldest_ready_age), (true, interval '1 minute'), 'it says so, and the oldest is still exact')
from many;
select is(
  (select array[queued between 50000 and 200000, is_estimate] from soniq.job_stats where job_name = 'metrics many'),
  '{t,t}', 'a job name''s jobs are estimated too'
);
select ok(
  (select dead_letters between 10001 and 40000 from soniq.job_stats where job_name = 'metrics many dead'),
  'and its dead letters'
);
select row_eq(
  $$select ready, scheduled, is_estimate, oldest_ready_age from soniq.queue_stats where queue = 'metrics secret'$$,
  row(1::bigint, 0::bigint, false, interval '3 minutes 10 seconds'),
  'a queue with few jobs is told exactly beside it'
);
select is(pg_temp.queue_metric('soniq_queue_jobs_is_estimate', 'metrics many'), 1::double precision, 'a metric tells which');

-- Where vacuum is kept from its work.

select pg_temp.claim('{metrics many}', 10000) from generate_series(1, 3) \g /dev/null
select pg_temp.set_obstacle(dead_rows => 500001, age => '1 hour', transactions => 99);
select soniq._take_tally();
create temporary table read as
select
  pg_stat_get_xact_numscans('soniq.jobs_ready'::regclass) as ready,
  pg_stat_get_xact_numscans('soniq.jobs_leased'::regclass) as leased;
truncate many;
insert into many
select * from soniq.queue_stats where queue = 'metrics many';
select count(*) from soniq._count_queues(sampled_jobs => '[]', sampled_letters => '[]') \g /dev/null
select is(
  array[
    pg_stat_get_xact_numscans('soniq.jobs_ready'::regclass) - ready,
    pg_stat_get_xact_numscans('soniq.jobs_leased'::regclass) - leased
  ],
  '{0,0}', 'beyond half a million dead rows, no index is read in which they pile up'
)
from read;
select ok(ready between 12000 and 60000, format('30,000 ready jobs are estimated well: %s', ready)) from many;
select ok(processing between 12000 and 60000, format('30,000 jobs in process are estimated well: %s', processing)) from many;
select ok(oldest_ready_age between '0' and '1 minute', 'the oldest ready job is at least as old as told') from many;
select is(
  (select bool_and(is_estimate) from soniq.queue_stats join soniq.lanes using (queue)), true, 'nothing is exact then'
);
select is(
  (select processing between 12000 and 60000 from soniq.job_stats where job_name = 'metrics many'), true,
  'the jobs in process by name are estimated as well'
);

-- At a cost that does not grow with the queues.

truncate soniq.jobs, soniq.dead_letter_jobs, soniq.lanes;
select pg_temp.set_pages(1);
select soniq.enqueue('metrics a', queue => 'metrics lane 1', priority => 7) \g /dev/null
select bag_eq('select * from soniq.queue_counts', 'select * from soniq.queue_stats', 'of few lanes, queue_counts tells what queue_stats does');
truncate soniq.jobs;
select soniq._open_lane(queue => format('metrics lane %s', n), priority => 7::smallint) from generate_series(1, 31) as n \g /dev/null
select soniq.enqueue('metrics a', queue => 'metrics lane 1', priority => 7, scheduled_at => soniq.clock() - interval '3 s') \g /dev/null
select soniq._take_tally();
select pg_temp.wait('2 s') \g /dev/null
select soniq.enqueue('metrics a', queue => 'metrics lane 1', priority => 7) \g /dev/null
select soniq.pause_queue('metrics lane 1') \g /dev/null
select row_eq(
  $$select * from soniq.queue_counts where queue = 'metrics lane 1'$$,
  row(
    'metrics lane 1'::text, 1::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, false, interval '2 s', interval '3 s', true
  ),
  'of many, what was counted last'
);
select row_eq(
  $$select * from soniq.queue_counts where queue = 'metrics unused'$$,
  row(
    'metrics unused'::text, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, false, interval '2 s', null::interval, true
  ),
  'also of a queue that only has settings'
);

select * from finish();
rollback;
