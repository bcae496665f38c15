-- Jobs that are done. A completion moves the job to finished_jobs in one statement, if the lease still holds.
--
-- Here as wherever leases come in arrays (fail.sql, hand_back.sql), the planner must look the jobs up by their keys, also
-- where its statistics are from when the table was empty: so the keys are given as an array besides the join, which
-- has to be a hash join, and the lease's status is told by runner_id, since a condition on the status would offer
-- the index of all leases.

create or replace function soniq.complete(job_ids bigint[], attempts integer[], results jsonb[] default null)
returns boolean[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  completed boolean[];
begin
  perform
    soniq._check_leases(job_ids => complete.job_ids, attempts => complete.attempts),
    soniq._check_beside_leases(
      job_ids => complete.job_ids,
      attempts => complete.attempts,
      what => 'results',
      entries => pg_catalog.cardinality(complete.results)
    );

  with lease as (
    select *
    from rows from (
      pg_catalog.unnest(complete.job_ids),
      pg_catalog.unnest(complete.attempts),
      pg_catalog.unnest(complete.results)
    ) with ordinality as given (job_id, attempt, result, position)
  ),
  ended as (
    delete from soniq.jobs as job
    using lease
    where job.id = any (complete.job_ids)
      and job.id = lease.job_id
      and job.attempt = lease.attempt
      and job.runner_id is not null
    returning job.*, lease.result, lease.position
  ),
  kept as (
    insert into soniq.finished_jobs (
      id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key,
      runner_id, claimed_at, errors, replay_of, result, finished_at
    )
    select
      ended.id, ended.job_name, ended.queue, ended.priority, 'done', ended.args, ended.scheduled_at, ended.enqueued_at,
      ended.attempt, ended.max_attempts, ended.timeout, ended.dedup_key, ended.runner_id, ended.claimed_at, ended.errors,
      ended.replay_of, ended.result, as_of
    from ended
  )
  select coalesce(pg_catalog.array_agg(ended.id is not null order by lease.position), '{}')
  into completed
  from lease
  left join ended
    on ended.position = lease.position;
  return completed;
end;
$$;

comment on function soniq.complete(bigint[], integer[], jsonb[]) is
'Marks many jobs done, in one statement, and answers in the same order: false where the lease is no longer the caller''s.

job_ids, attempts: the leases, as claim() answered them.
results: what each handler answered, kept with the finished job; NULL for none.

Errors: SQ012 arrays of different length, SQ016 a NULL among the leases.';

create or replace function soniq.complete(job_id bigint, attempt integer, result jsonb default null)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._check_lease(job_id => complete.job_id, attempt => complete.attempt);

  return (soniq.complete(
    job_ids => array[complete.job_id], attempts => array[complete.attempt], results => array[complete.result]
  ))[1];
end;
$$;

comment on function soniq.complete(bigint, integer, jsonb) is
'Marks a job done and keeps its result. False where the lease is no longer the caller''s: the job was taken back, and may be another runner''s by now; nothing is changed.

Errors: SQ016 a NULL job_id or attempt.';
