-- tick(): runners that fell silent are declared dead and their jobs taken back, and so are jobs whose runner lives but
-- does not report them. The clock moves only when told, so each bound is tested to the microsecond.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

create function pg_temp.ticked()
returns text
language sql
as $$
  select format(
    '%s lost runners, %s of their jobs, %s overdue jobs', tick.lost_runners, tick.jobs_of_lost_runners, tick.overdue_jobs
  )
  from soniq.tick() as tick;
$$;

create function pg_temp.last_error(job_id bigint)
returns text
language sql
as $$
  select format(
    '%s: %s (%s, %s)', error.last ->> 'type', error.last ->> 'message', error.last ->> 'reason', error.last ->> 'runner'
  )
  from pg_temp.job(last_error.job_id) as job
  cross join lateral (select job.errors -> -1) as error (last);
$$;

select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 0 overdue jobs',
  'where nothing is due, nothing is done'
);

-- A silent runner.

select soniq.register_runner('silent.example.org', pid => 7, heartbeat_timeout => '1 minute') as silent \gset
select soniq.register_runner('lively.example.org', heartbeat_timeout => '1 minute') as lively \gset
select job_id as retried from pg_temp.new_lease(runner_id => :silent, timeout => '0', dedup_key => 'tick key') \gset
select job_id as spent from pg_temp.new_lease(runner_id => :silent, timeout => '0', max_attempts => 1) \gset
select job_id as other, attempt as other_attempt from pg_temp.new_lease(runner_id => :lively, timeout => '0') \gset

select pg_temp.wait('1 minute') \g /dev/null
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 0 overdue jobs',
  'a runner may be silent for its heartbeat_timeout'
);
select soniq.heartbeat(:lively) \g /dev/null
select pg_temp.wait('1 microsecond') \g /dev/null
select is(
  pg_temp.ticked(), '1 lost runners, 2 of their jobs, 0 overdue jobs',
  'silent for longer, it is dead; the one with a heartbeat is not'
);

select row_eq(
  'select status, attempt, max_attempts, scheduled_at, dedup_key, runner_id from soniq.get_job(' || :retried || ')',
  row(
    'queued'::soniq.job_status, 1, 3, timestamptz '2030-01-01 12:01:00.000001+00', 'tick key'::text collate "C",
    null::bigint
  ),
  'its job is queued again, ready at once, with an attempt spent'
);
select is(
  pg_temp.last_error(:retried),
  'RunnerLost: runner silent.example.org:7 sent no heartbeat for 00:01:00 (runner_lost, silent.example.org:7)',
  'and says what happened'
);
select is(
  (select format('%s, %s', job.status, job.reason) from soniq.get_job(:spent) as job), 'dead_letter, runner_lost',
  'a job whose attempts are spent is a dead letter'
);
select is(
  pg_temp.last_error(:spent),
  'RunnerLost: runner silent.example.org:7 sent no heartbeat for 00:01:00 (runner_lost, silent.example.org:7)',
  'which says so too'
);
select is(pg_temp.status(:other), 'processing', 'another runner''s job is left alone');

select is((soniq.heartbeat(:silent)).registered, false, 'the dead runner''s heartbeat comes too late');
select alike(
  pg_temp.refusal(format('select * from soniq.claim(%s)', :silent)),
  format(E'SQ011: runner %s is not registered\n%%', :silent),
  'its claims are refused'
);
select is(soniq.complete(:retried, 1), false, 'and so are its reports');
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 0 overdue jobs',
  'the next tick finds nothing more to do'
);
select soniq.deregister_runner(:lively) \g /dev/null

-- Overdue jobs: past their deadline by more than the grace, which is 30 seconds.

select soniq.register_runner('stuck.example.org', pid => 8, heartbeat_timeout => '1 year') as stuck \gset
select soniq.register_job_type('tick overdue', retry_delays => '{10 s}');
select job_id as retried
from pg_temp.new_lease(job_name => 'tick overdue', runner_id => :stuck, timeout => '10 minutes') \gset
select job_id as spent from pg_temp.new_lease(runner_id => :stuck, timeout => '10 minutes', max_attempts => 1) \gset
select job_id as longer from pg_temp.new_lease(runner_id => :stuck, timeout => '1 hour') \gset
select job_id as endless from pg_temp.new_lease(runner_id => :stuck, timeout => '0') \gset

select pg_temp.wait('10 minutes 30 seconds') \g /dev/null
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 0 overdue jobs',
  'a job is left to its runner until its deadline and the grace are over'
);
select pg_temp.wait('1 microsecond') \g /dev/null
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 2 overdue jobs',
  'then it is taken back'
);
select row_eq(
  'select status, attempt, max_attempts, scheduled_at from soniq.get_job(' || :retried || ')',
  row('queued'::soniq.job_status, 1, 3, soniq.clock() + interval '10 seconds'),
  'it is queued again, as its type''s policy says, with an attempt spent'
);
select is(
  pg_temp.last_error(:retried),
  'LeaseExpired: its runner did not report it by its deadline 2030-01-01 12:11:00.000001+00, nor within 00:00:30 after'
  ' (timeout, stuck.example.org:8)',
  'and says what happened'
);
select is(
  (select format('%s, %s', job.status, job.reason) from soniq.get_job(:spent) as job), 'dead_letter, timeout',
  'a job whose attempts are spent is a dead letter'
);
select is(pg_temp.status(:longer), 'processing', 'a job with a later deadline is not overdue');

update soniq.settings
set lease_grace = '1 hour';
select pg_temp.wait('1 hour 30 minutes') \g /dev/null
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 0 overdue jobs',
  'the grace is a setting'
);
select pg_temp.wait('30 minutes') \g /dev/null
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 1 overdue jobs',
  'which is over as well'
);

select pg_temp.wait('300 days') \g /dev/null
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 0 overdue jobs',
  'a job without a timeout is never overdue'
);
select is(pg_temp.status(:endless), 'processing', 'and is processed on');
select soniq.deregister_runner(:stuck) \g /dev/null

-- More than one tick takes on.

select soniq.register_runner('loaded.example.org', pid => 9, heartbeat_timeout => '1 year') as loaded \gset
select soniq.enqueue_many(
  'tick many', array_fill('{}'::jsonb, array[10001]), queue => 'tick many', timeout => '0'
) \g /dev/null
select count(*) from pg_temp.claim('{tick many}', max_jobs => 10000, runner_id => :loaded) \g /dev/null
select count(*) from pg_temp.claim('{tick many}', runner_id => :loaded) \g /dev/null
select job_id as behind from pg_temp.new_lease(runner_id => :loaded, timeout => '1 second') \gset
select pg_temp.wait('1 day') \g /dev/null
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 1 overdue jobs',
  'ten thousand jobs without a timeout hide no overdue job behind them'
);

select pg_temp.wait('2 years') \g /dev/null
select is(
  pg_temp.ticked(), '1 lost runners, 10000 of their jobs, 0 overdue jobs',
  'one tick takes 10,000 jobs of a dead runner back'
);
select isnt_empty(
  format($$select from soniq.runners where runner_id = %s$$, :loaded),
  'the runner is remembered while a job is left'
);
select is(
  pg_temp.ticked(), '0 lost runners, 1 of their jobs, 0 overdue jobs',
  'and the next tick takes the last'
);
select is_empty(
  format($$select from soniq.runners where runner_id = %s$$, :loaded),
  'and forgets the runner'
);

-- A restarted pod: the same host, perhaps the same pid, another runner.

select soniq.register_runner('pod-7', pid => 1, heartbeat_timeout => '1 minute') as dead_self \gset
select job_id as of_dead_self from pg_temp.new_lease(runner_id => :dead_self, timeout => '0') \gset
select soniq.register_runner('pod-7', pid => 1, heartbeat_timeout => '1 minute') as restarted \gset
select pg_temp.wait('1 minute 1 second') \g /dev/null
select soniq.heartbeat(:restarted) \g /dev/null
select is(
  pg_temp.ticked(), '1 lost runners, 1 of their jobs, 0 overdue jobs',
  'a restarted pod''s heartbeats do not keep its dead self alive'
);
select is(pg_temp.status(:of_dead_self), 'queued', 'whose jobs are taken back');
select is((soniq.heartbeat(:restarted)).registered, true, 'and it goes on');

-- A runner whose row is deleted by hand, before its jobs are swept.

select soniq.register_runner('deleted.example.org', heartbeat_timeout => '99 years') as deleted \gset
select job_id as stranded from pg_temp.new_lease(runner_id => :deleted, timeout => '0') \gset
delete from soniq.runners
where runner_id = :deleted;
update soniq.chores
set due_at = soniq.clock()
where chore = 'absent_runners';
select is(
  pg_temp.ticked(), '0 lost runners, 1 of their jobs, 0 overdue jobs', 'jobs of a runner that is not on the list are found'
);
select is(
  pg_temp.last_error(:stranded), format('RunnerLost: runner %s is not on the list (runner_lost, )', :deleted),
  'and taken back'
);
select is(
  (select due_at from soniq.chores where chore = 'absent_runners'), date_bin('1 minute', soniq.clock(), 'epoch') + interval '1 minute',
  'which is looked for once a minute'
);

-- What this session has looked through, it does not look through again, but for once a minute.

select soniq.register_runner('hinted.example.org', heartbeat_timeout => '99 years') as hinted \gset
select job_id as hidden from pg_temp.new_lease(runner_id => :hinted, timeout => '1 hour') \gset
select pg_temp.wait('1 minute') \g /dev/null
select soniq.tick() \g /dev/null
update soniq.jobs
set deadline = soniq.clock() - interval '1 day'
where id = :hidden;
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 0 overdue jobs',
  'a lease that comes up below the deadline up to which this session has looked is not seen at once'
);
update soniq.chores
set due_at = soniq.clock()
where chore = 'overdue_jobs';
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 1 overdue jobs', 'but when all are looked through, once a minute'
);
select soniq.deregister_runner(:hinted), soniq.deregister_runner(:restarted) \g /dev/null

-- Each runner and each job has its own patience: long jobs do not exclude quick recovery.

select soniq.register_runner('patient.example.org', heartbeat_timeout => '1 day') as patient \gset
select soniq.register_runner('hasty.example.org', heartbeat_timeout => '10 seconds') as hasty \gset
select job_id as of_patient from pg_temp.new_lease(runner_id => :patient, timeout => '20 hours') \gset
select job_id as of_hasty from pg_temp.new_lease(runner_id => :hasty, timeout => '20 hours') \gset
select pg_temp.wait('11 seconds') \g /dev/null
select is(
  pg_temp.ticked(), '1 lost runners, 1 of their jobs, 0 overdue jobs',
  'a runner''s heartbeat_timeout is its own, whatever the timeout of its jobs'
);
select is(
  array[pg_temp.status(:of_patient), pg_temp.status(:of_hasty)], '{processing,queued}', 'and no other runner''s'
);

-- The clock is set back: what was put off until tomorrow is not, and the dead are not alive until then.

select soniq.register_runner('ahead.example.org', heartbeat_timeout => '10 minutes') as ahead \gset
select job_id as of_ahead from pg_temp.new_lease(runner_id => :ahead, timeout => '0') \gset
update soniq.chores
set due_at = case when chore = 'tally' then soniq.clock() + interval '1 minute' else 'infinity' end;
select pg_temp.wait('-1 day') \g /dev/null
select is(
  pg_temp.ticked(), '0 lost runners, 0 of their jobs, 0 overdue jobs', 'nobody is dead because the clock was set back'
);
select is(
  (select last_heartbeat_at from soniq.runners where runner_id = :ahead), soniq.clock(),
  'the silence of a runner begins anew'
);
select results_eq(
  'select chore, due_at from soniq.chores order by due_at, chore',
  $$
    values
      ('tally' collate "C", date_bin('1 minute', soniq.clock(), 'epoch') + interval '1 minute'),
      ('absent_runners', 'infinity'),
      ('history', 'infinity'),
      ('overdue_jobs', 'infinity'),
      ('partitions', 'infinity')
  $$,
  'a chore is done that was put off by more than its interval, and one that is never to be done is not'
);
select pg_temp.wait('10 minutes 1 microsecond') \g /dev/null
select is(pg_temp.ticked(), '1 lost runners, 1 of their jobs, 0 overdue jobs', 'and ends when it should');
select is(pg_temp.status(:of_ahead), 'queued', 'its job is taken back');

select * from finish();
rollback;
