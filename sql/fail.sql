-- Failed attempts: whether a job is tried again, and when, or given up, and why, is decided here and nowhere else.

create or replace function soniq._attempt_record(job soniq.jobs, error jsonb, reason text, as_of timestamptz)
returns jsonb
language sql
stable
as $$
  select pg_catalog.jsonb_build_object(
    'attempt', (_attempt_record.job).attempt,
    'type', pg_catalog.left(_attempt_record.error ->> 'type', 200),
    'message', pg_catalog.left(_attempt_record.error ->> 'message', settings.max_error_message_chars),
    'traceback', pg_catalog.right(_attempt_record.error ->> 'traceback', settings.max_traceback_chars),
    'reason', _attempt_record.reason,
    'runner', runner.host || ':' || runner.pid,
    'started_at', (_attempt_record.job).claimed_at,
    'failed_at', _attempt_record.as_of
  )
  from soniq.settings as settings
  left join soniq.runners as runner
    on runner.runner_id = (_attempt_record.job).runner_id;
$$;

comment on function soniq._attempt_record(soniq.jobs, jsonb, text, timestamptz) is
'What is kept of a failed attempt, cut to the bounds in soniq.settings.';

create or replace function soniq._cause_of_death(job soniq.jobs, reason text)
returns text
language sql
immutable
parallel safe
as $$
  select case
    when _cause_of_death.reason in ('permanent_failure', 'unknown_job', 'invalid_arguments') then _cause_of_death.reason
    when (_cause_of_death.job).attempt >= (_cause_of_death.job).max_attempts
      then coalesce(_cause_of_death.reason, 'max_attempts_exceeded')
  end;
$$;

comment on function soniq._cause_of_death(soniq.jobs, text) is
'Why a job that failed for this reason is given up; NULL if it is to be tried again.';

create or replace function soniq._next_run_at(job soniq.jobs, reason text, as_of timestamptz)
returns timestamptz
language sql
volatile
as $$
  -- A job whose runner died did nothing wrong and is not made to wait.
  select case
    when _next_run_at.reason = 'runner_lost' then _next_run_at.as_of
    else _next_run_at.as_of + soniq._retry_delay(
        job_name => (_next_run_at.job).job_name,
        failures => pg_catalog.jsonb_array_length((_next_run_at.job).errors) + 1
      )
  end;
$$;

create or replace function soniq._bury(job_ids bigint[], reasons text[], failures jsonb[], as_of timestamptz)
returns void
language sql
volatile
as $$
  with dead as (
    delete from soniq.jobs as job
    using rows from (
      pg_catalog.unnest(_bury.job_ids),
      pg_catalog.unnest(_bury.reasons),
      pg_catalog.unnest(_bury.failures)
    ) as given (job_id, reason, failure)
    where job.id = any (_bury.job_ids)
      and job.id = given.job_id
    returning job.*, given.reason, given.failure
  )
  insert into soniq.dead_letter_jobs (
    id, job_name, queue, priority, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key, headers,
    tenant, runner_id, claimed_at, errors, replay_of, schedule, due_at, reason, dead_at
  )
  select
    dead.id, dead.job_name, dead.queue, dead.priority, dead.args, dead.scheduled_at, dead.enqueued_at, dead.attempt,
    dead.max_attempts, dead.timeout, dead.dedup_key, dead.headers, dead.tenant, dead.runner_id, dead.claimed_at,
    dead.errors || dead.failure, dead.replay_of, dead.schedule, dead.due_at, dead.reason, _bury.as_of
  from dead;
$$;

comment on function soniq._bury(bigint[], text[], jsonb[], timestamptz) is
'Moves jobs to the dead letters, with the record of the attempt that ended them.';

create or replace function soniq._fail_leases(
  job_ids bigint[],
  attempts integer[],
  errors jsonb[],
  reasons text[]
)
returns table (job_id bigint, attempt integer, status text)
language plpgsql
volatile
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  verdicts record;
begin
  with given as (
    select distinct on (report.job_id, report.attempt) *
    from rows from (
      pg_catalog.unnest(_fail_leases.job_ids),
      pg_catalog.unnest(_fail_leases.attempts),
      pg_catalog.unnest(_fail_leases.errors),
      pg_catalog.unnest(_fail_leases.reasons)
    ) as report (job_id, attempt, error, reason)
  ),
  lease as (
    select job, given.error, given.reason
    from given
    join soniq.jobs as job
      on job.id = given.job_id
      and job.attempt = given.attempt
    where job.id = any (_fail_leases.job_ids)
      and job.runner_id is not null
    order by job.id
    for update of job
  ),
  verdict as (
    select
      (lease.job).id as job_id,
      (lease.job).attempt,
      soniq._cause_of_death(job => lease.job, reason => lease.reason) as cause,
      soniq._next_run_at(job => lease.job, reason => lease.reason, as_of => as_of) as run_at,
      soniq._attempt_record(job => lease.job, error => lease.error, reason => lease.reason, as_of => as_of) as failure
    from lease
  )
  select
    pg_catalog.array_agg(verdict.job_id) filter (where verdict.cause is null) as retried,
    pg_catalog.array_agg(verdict.attempt) filter (where verdict.cause is null) as retried_attempts,
    pg_catalog.array_agg(verdict.run_at) filter (where verdict.cause is null) as run_ats,
    pg_catalog.array_agg(verdict.failure) filter (where verdict.cause is null) as retried_failures,
    pg_catalog.array_agg(verdict.job_id) filter (where verdict.cause is not null) as dead,
    pg_catalog.array_agg(verdict.attempt) filter (where verdict.cause is not null) as dead_attempts,
    pg_catalog.array_agg(verdict.cause) filter (where verdict.cause is not null) as causes,
    pg_catalog.array_agg(verdict.failure) filter (where verdict.cause is not null) as dead_failures
  into verdicts
  from verdict;

  if verdicts.retried is not null then
    perform soniq._requeue(
      job_ids => verdicts.retried, run_ats => verdicts.run_ats, failures => verdicts.retried_failures
    );
  end if;
  if verdicts.dead is not null then
    perform soniq._bury(
      job_ids => verdicts.dead, reasons => verdicts.causes, failures => verdicts.dead_failures, as_of => as_of
    );
  end if;

  return query
  select pg_catalog.unnest(verdicts.retried), pg_catalog.unnest(verdicts.retried_attempts), 'queued'
  union all
  select pg_catalog.unnest(verdicts.dead), pg_catalog.unnest(verdicts.dead_attempts), 'dead_letter';
end;
$$;

comment on function soniq._fail_leases(bigint[], integer[], jsonb[], text[]) is
'Ends the attempts whose leases still hold and answers with what became of each job.';

create or replace function soniq.fail(job_ids bigint[], attempts integer[], errors jsonb[], reasons text[] default null)
returns text[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    soniq._check_leases(job_ids => fail.job_ids, attempts => fail.attempts),
    soniq._check_beside_leases(
      job_ids => fail.job_ids,
      attempts => fail.attempts,
      what => 'errors',
      entries => coalesce(pg_catalog.cardinality(fail.errors), 0)
    ),
    soniq._check_beside_leases(
      job_ids => fail.job_ids,
      attempts => fail.attempts,
      what => 'reasons',
      entries => pg_catalog.cardinality(fail.reasons)
    );
  perform soniq._check_failure(error => given.error, reason => given.reason)
  from rows from (
    pg_catalog.unnest(fail.errors),
    pg_catalog.unnest(fail.reasons)
  ) as given (error, reason);

  return (
    select coalesce(pg_catalog.array_agg(ended.status order by given.position), '{}')
    from rows from (
      pg_catalog.unnest(fail.job_ids),
      pg_catalog.unnest(fail.attempts)
    ) with ordinality as given (job_id, attempt, position)
    left join soniq._fail_leases(
      job_ids => fail.job_ids, attempts => fail.attempts, errors => fail.errors, reasons => fail.reasons
    ) as ended
      on ended.job_id = given.job_id
      and ended.attempt = given.attempt
  );
end;
$$;

comment on function soniq.fail(bigint[], integer[], jsonb[], text[]) is
'Ends many failed attempts and answers in the same order with what became of each job, as the call for one job does.

job_ids, attempts: the leases, as claim() answered them.
errors, reasons: one for each, as in the call for one job.

Errors: SQ012 arrays of different length, SQ013 error or reason, SQ016 a NULL among the leases.';

create or replace function soniq.fail(job_id bigint, attempt integer, error jsonb, reason text default null)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._check_lease(job_id => fail.job_id, attempt => fail.attempt);

  return (soniq.fail(
    job_ids => array[fail.job_id], attempts => array[fail.attempt], errors => array[fail.error], reasons => array[fail.reason]
  ))[1];
end;
$$;

comment on function soniq.fail(bigint, integer, jsonb, text) is
'Ends a failed attempt. The job is queued again after the delay of its type''s retry policy, or moves to the dead letters when its attempts are spent or trying again is pointless. Answers queued or dead_letter, or NULL where the lease is no longer the caller''s.

error: a JSON object with type, message and traceback, kept with the job; long ones are cut (soniq.settings).
reason: NULL for an ordinary error; timeout, which is retried like one; permanent_failure, unknown_job or invalid_arguments, which end the job at once.

Errors: SQ013 error or reason, SQ016 a NULL job_id or attempt.';
