-- cancel() and get_job(): a job that has not started is taken out of its queue and kept on record. What cancel()
-- answers for a job in any other status is in leases.sql.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

select soniq.enqueue('cancelled', '{"n": 1}', queue => 'cancel', priority => 5, dedup_key => 'cancel key') as id \gset
select pg_temp.wait('1 minute') \g /dev/null
select is(soniq.cancel(:id), 'cancelled', 'a queued job is cancelled');
select row_eq(
  $$
    select job_name, args, queue, priority, status, attempt, max_attempts, timeout, dedup_key, enqueued_at,
      claimed_at, runner_id, errors, result, finished_at
    from soniq.finished_jobs
    where id = $$ || :id,
  row(
    'cancelled'::text collate "C", '{"n": 1}'::jsonb, 'cancel'::text collate "C", 5::smallint, 'cancelled'::soniq.job_status, 0, 10,
    interval '5 minutes', 'cancel key'::text, timestamptz '2030-01-01 12:00+00', null::timestamptz, null::bigint,
    '[]'::jsonb, null::jsonb, timestamptz '2030-01-01 12:01+00'
  ),
  'its record says what it was and when it was cancelled'
);
select is_empty('select id from soniq.jobs where id = ' || :id, 'it is no longer a live job');
select is_empty($$select * from pg_temp.claim('{cancel}')$$, 'no claim hands it out');
select is(soniq.cancel(:id), 'cancelled', 'cancelling it again changes nothing');

select pg_temp.new_job() as id \gset
select soniq.fail(:id, pg_temp.take(:id), '{"message": "once"}') \g /dev/null
select soniq.cancel(:id) \g /dev/null
select is(
  (
    select format('%s after attempt %s: %s', job.status, job.attempt, job.errors #>> '{0,message}')
    from soniq.get_job(:id) as job
  ),
  'cancelled after attempt 1: once',
  'a job that waits for a retry keeps the errors it had'
);

select pg_temp.new_dead_letter() as letter \gset
select job_id as job from soniq.replay_dead_letters(ids => array[:letter]) \gset
select soniq.cancel(:job) \g /dev/null
select is((pg_temp.job(:job)).replay_of, :'letter', 'and a replayed one the letter it replayed');

select is(soniq.cancel(null), null, 'NULL is no job');

-- get_job()

select is_empty('select * from soniq.get_job(-1)', 'an unknown id has no row');
select is_empty('select * from soniq.get_job(null)', 'nor has NULL');

create temporary table jobs as
select 'queued' as status, pg_temp.new_job() as id
union all
select 'processing', (pg_temp.new_lease()).job_id
union all
select 'dead_letter', :letter
union all
select 'cancelled', :job;
select row_eq(
  'select count(*)::integer, min(status)::text, min(id) from soniq.get_job(' || jobs.id || ')',
  row(1, jobs.status, jobs.id),
  format('get_job() finds a job that is %s', jobs.status)
)
from jobs;
select is(
  (
    select format('%s %s %s', job.reason, job.replay_count, job.ended_at)
    from soniq.get_job(:letter) as job
  ),
  'permanent_failure 1 2030-01-01 12:01:00+00',
  'with what only a dead letter has'
);

select * from finish();
rollback;
