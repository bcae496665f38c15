-- concerns: each thing that may be wrong is told in words, once it is, and not before.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2032-01-01 12:00:00+00');
truncate soniq.jobs, soniq.finished_jobs, soniq.dead_letter_jobs, soniq.tallies, soniq.history, soniq.runners, soniq.schedules, soniq.lanes,
  soniq.queues;
update soniq.chores set due_at = case when chore = 'partitions' then 'infinity' else soniq.clock() end;

-- What other sessions do now is not to be told here.
create or replace function soniq._vacuum_obstacles()
returns table (since timestamptz, transactions integer)
language sql
stable
as $$
  select pg_catalog.clock_timestamp() - age, 1
  from (select nullif(pg_catalog.current_setting('soniq_test.obstacle', true), '')::interval) as obstacle (age)
  where age is not null;
$$;

create function pg_temp.concerns()
returns text
language sql
as $$
  select string_agg(format('%s %s %s: %s', severity, kind, subject, message), e'\n')
  from soniq.concerns;
$$;

select is(pg_temp.concerns(), null, 'where all is well, there is nothing to tell');

-- Nothing ticks.

select pg_temp.wait('2 minutes') \g /dev/null
select is(pg_temp.concerns(), null, 'a tick may be late');
select pg_temp.wait('1 minute') \g /dev/null
select is(
  pg_temp.concerns(), '1 nothing_ticks : Nothing has ticked for 3 min: no schedule fires, and no lost runner is noticed',
  'but not for minutes'
);
update soniq.chores set due_at = '-infinity' where chore = 'absent_runners';
select is(
  pg_temp.concerns(), '1 nothing_ticks : Nothing has ever ticked: no schedule fires, and no lost runner is noticed', 'nor for ever'
);
update soniq.chores set due_at = 'infinity';

-- Queues.

select soniq.enqueue('concern', queue => 'mail') \g /dev/null
select pg_temp.wait('10 s') \g /dev/null
select is(pg_temp.concerns(), null, 'a queue may be unserved for a moment');
select pg_temp.wait('1 s') \g /dev/null
select is(
  pg_temp.concerns(), '1 queue_unserved mail: No runner that is alive serves the queue mail: 1 job waiting', 'not longer'
);
select soniq.register_runner('other', queues => '{other}', heartbeat_timeout => '9 days') as other \gset
select matches(pg_temp.concerns(), '^1 queue_unserved mail', 'a runner of another queue does not serve it');
select soniq.register_runner('host', pid => 7, heartbeat_timeout => '9 days') as runner \gset
select is(pg_temp.concerns(), null, 'a runner of all does');
select pg_temp.wait('50 s') \g /dev/null
select is(
  pg_temp.concerns(), '3 queue_behind mail: The queue mail is behind: its oldest job has been due for 61 s, with 1 job waiting', 'and may be behind'
);
select soniq.enqueue_many('concern', array_fill(jsonb '{}', array[1233]), queue => 'mail') \g /dev/null
select pg_temp.wait('5 minutes') \g /dev/null
select is(
  pg_temp.concerns(), '2 queue_behind mail: The queue mail is behind: its oldest job has been due for 6 min, with 1,234 jobs waiting', 'far behind'
);
select soniq.pause_queue('mail') \g /dev/null
select is(
  pg_temp.concerns(), '3 queue_paused mail: The queue mail is paused, with 1,234 jobs waiting, the oldest for 6 min', 'or paused'
);
select soniq.resume_queue('mail') \g /dev/null
select count(*) from pg_temp.claim('{mail}', 2000, runner_id => :runner) \g /dev/null
select is(pg_temp.concerns(), null, 'what is being processed is no concern');
select pg_temp.wait('5 minutes 31 s') \g /dev/null
select is(
  pg_temp.concerns(),
  '2 jobs_overdue mail: In the queue mail, 1,234 jobs past the deadline, not taken back', 'until it is overdue'
);
select soniq.complete(array_agg(id), array_agg(attempt)) from soniq.jobs \g /dev/null

-- Runners and schedules.

update soniq.runners set heartbeat_timeout = '4 minutes' where runner_id = :other;
select matches(pg_temp.concerns(), '^2 runner_silent \d+: The runner other:0 has been silent for 11 min$', 'a silent runner');
delete from soniq.runners where runner_id = :other;
select soniq.schedule('nightly', 'concern', every => '1 hour') \g /dev/null
select pg_temp.wait('1 hour 1 minute') \g /dev/null
select is(pg_temp.concerns(), null, 'a schedule may be a minute late');
select pg_temp.wait('2 hours') \g /dev/null
select is(pg_temp.concerns(), '2 schedule_late nightly: The schedule nightly has been due for 2 h', 'and no more');
select soniq.pause_schedule('nightly') \g /dev/null
select is(pg_temp.concerns(), null, 'unless it is paused');

-- Jobs that fail.

select soniq._take_tally() \g /dev/null
select pg_temp.wait('1 s') \g /dev/null
select soniq.enqueue_many('concern', array_fill(jsonb '{}', array[10]), queue => 'failing') \g /dev/null
select soniq.fail(array_agg(job_id), array_agg(attempt), array_agg(jsonb '{}'))
from pg_temp.claim('{failing}', 10, runner_id => :runner) \g /dev/null
select pg_temp.wait('1 s') \g /dev/null
select soniq._take_tally() \g /dev/null
select is(
  pg_temp.concerns(), '2 attempts_fail : 10 jobs failed in the last ten minutes, and 0 jobs done', 'attempts that fail'
);
select soniq.enqueue_many('concern', array_fill(jsonb '{}', array[11]), queue => 'fine') \g /dev/null
select pg_temp.wait('1 s') \g /dev/null
select soniq.complete(array_agg(job_id), array_agg(attempt)) from pg_temp.claim('{fine}', 11, runner_id => :runner) \g /dev/null
select pg_temp.wait('1 s') \g /dev/null
select soniq._take_tally() \g /dev/null
select is(
  pg_temp.concerns(), '3 attempts_fail : 10 jobs failed in the last ten minutes, and 11 jobs done', 'where most do not, it matters less'
);
select soniq.enqueue_many('concern', array_fill(jsonb '{}', array[100]), queue => 'fine') \g /dev/null
select pg_temp.wait('1 s') \g /dev/null
select soniq.complete(array_agg(job_id), array_agg(attempt)) from pg_temp.claim('{fine}', 100, runner_id => :runner) \g /dev/null
select pg_temp.wait('1 s') \g /dev/null
select soniq._take_tally() \g /dev/null
select is(pg_temp.concerns(), null, 'and where few do, not at all');
delete from soniq.jobs;
select pg_temp.wait('1 s') \g /dev/null
select soniq.enqueue('concern', queue => 'failing') \g /dev/null
select soniq.fail(job_id, attempt, '{}', 'permanent_failure') from pg_temp.claim('{failing}', runner_id => :runner) \g /dev/null
select pg_temp.wait('11 minutes') \g /dev/null
select soniq._take_tally() \g /dev/null
select is(pg_temp.concerns(), '2 jobs_given_up : 1 job given up in the last hour', 'jobs that were given up');

-- Of many queues, what tick() counted is told: a job that was taken since then is not late.

delete from soniq.jobs;
truncate soniq.history;
select soniq._open_lane(queue => format('concern %s', n), priority => 7::smallint) from generate_series(1, 31) as n \g /dev/null
select soniq.enqueue('concern', queue => 'concern 1', priority => 7) \g /dev/null
select pg_temp.wait('50 ms') \g /dev/null
select soniq._take_tally();
select pg_temp.claim('{concern 1}', runner_id => :runner) \g /dev/null
select pg_temp.wait('2 minutes') \g /dev/null
select is(pg_temp.concerns(), null, 'a queue was not behind when it was looked at');
delete from soniq.lanes where queue like 'concern %';
delete from soniq.jobs;
select soniq.enqueue('concern', queue => 'failing') \g /dev/null
select soniq.fail(job_id, attempt, '{}', 'permanent_failure') from pg_temp.claim('{failing}', runner_id => :runner) \g /dev/null
select soniq._take_tally();

-- The database.

select set_config('soniq_test.obstacle', '3 days', true) \g /dev/null
select matches(
  pg_temp.concerns(), E'^2 jobs_given_up .*\n3 vacuum_held_up : A transaction has kept vacuum from its work for 3 days$',
  'a transaction left open; the worst concern comes first'
);

select * from finish();
rollback;
