-- snooze() and release(): a job goes back to the queue without spending an attempt, as often as it likes.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

create function pg_temp.place(job_id bigint)
returns text
language sql
as $$
  select format(
    '%s at %s, attempt %s of %s, runner %s', job.status, to_char(job.scheduled_at, 'HH24:MI:SS'),
    job.attempt, job.max_attempts, coalesce(job.runner_id::text, 'none')
  )
  from pg_temp.job(job_id => place.job_id) as job;
$$;

-- Snooze.

select * from pg_temp.new_lease() \gset
select pg_temp.wait('1 minute') \g /dev/null
select ok(soniq.snooze(:job_id, :attempt, '90 seconds'), 'a snooze answers true');
select is(pg_temp.place(:job_id), 'queued at 12:02:30, attempt 1 of 4, runner none', 'the job is due after its delay');
select is(pg_temp.take(:job_id), null, 'and is not claimed before');
select pg_temp.wait('90 seconds') \g /dev/null
select is(pg_temp.take(:job_id), 2, 'but then, as another attempt');
select ok(soniq.snooze(:job_id, 2, '0'), 'a delay of 0');
select is(pg_temp.take(:job_id), 3, 'is due at once');

-- Release.

select soniq.enqueue(name, queue => 'hand_back') from unnest(array['first', 'second']) as name \g /dev/null
select job_id, attempt from pg_temp.claim('{hand_back}') \gset
select pg_temp.wait('1 minute') \g /dev/null
select ok(soniq.release(:job_id, :attempt), 'a release answers true');
select is(
  (select array_agg(job_name order by ordinality) from pg_temp.claim('{hand_back}', max_jobs => 2) with ordinality),
  array['first', 'second'],
  'the job has kept its place before younger ones'
);

-- Neither spends an attempt, and both keep what was.

select pg_temp.new_job(max_attempts => 2) as id \gset
select soniq.fail(:id, pg_temp.take(:id), '{"message": "the first failure"}') \g /dev/null
select pg_temp.wait('1 hour') \g /dev/null
select is(
  (
    select array_agg(
      case when n % 2 = 0
        then soniq.release(:id, pg_temp.take(:id))
        else soniq.snooze(:id, pg_temp.take(:id), '0')
      end
    )
    from generate_series(1, 10) as n
  ),
  array_fill(true, array[10]),
  'a job may be snoozed and released again and again'
);
select is(
  (select format('attempt %s of %s', job.attempt, job.max_attempts) from pg_temp.job(:id) as job),
  'attempt 11 of 12',
  'max_attempts grows with each'
);
select is(
  (pg_temp.job(:id)).errors #>> '{0,message}', 'the first failure',
  'the errors of its attempts stay'
);
select is(
  soniq.fail(:id, pg_temp.take(:id), '{}'), 'dead_letter',
  'and its second failure is the last, as it was at the start'
);

select soniq.snooze(job_id, attempt, '1 hour'), job_id as snoozed from pg_temp.new_lease(timeout => '1 minute') \gset
select is((pg_temp.job(:snoozed)).deadline, null, 'a job in the queue has no deadline');
select is((pg_temp.job(:snoozed)).claimed_at, null, 'nor a time when it was claimed');

select * from finish();
rollback;
