-- Jobs that end well, or are cancelled: they move to finished_jobs in one statement, and are kept there for the retention
-- of their type, else of their queue, else of soniq.settings.
--
-- Here as wherever leases come in arrays (fail.sql, hand_back.sql), the planner must look the jobs up by their keys, also
-- where its statistics are from when the table was empty: so the keys are given as an array besides the join, which
-- has to be a hash join, and the lease's status is told by runner_id, since a condition on the status would offer
-- the index of all leases.

create or replace function soniq._move_to_finished(
  job_ids bigint[],
  attempts integer[],
  results jsonb[],
  status soniq.job_status
)
returns boolean[]
language plpgsql
volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  common_retention interval;
  types_have_own boolean;
  queues_have_own boolean;
  finished bigint[];
begin
  -- Where nobody has a retention of its own, two looks into empty indexes tell so.
  select
    settings.retention,
    exists (select from soniq.job_types as type where type.retention is not null),
    exists (select from soniq.queues as waiting where waiting.retention is not null)
  into common_retention, types_have_own, queues_have_own
  from soniq.settings as settings;

  with lease as (
    select *
    from rows from (
      pg_catalog.unnest(_move_to_finished.job_ids),
      pg_catalog.unnest(_move_to_finished.attempts),
      pg_catalog.unnest(_move_to_finished.results)
    ) with ordinality as given (job_id, attempt, result, position)
  ),
  ended as (
    delete from soniq.jobs as job
    using lease
    where job.id = any (_move_to_finished.job_ids)
      and job.id = lease.job_id
      and job.attempt = lease.attempt
      and (job.runner_id is null) = (_move_to_finished.status = 'cancelled')
    returning job.*, lease.result, lease.position
  ),
  dated as (
    select
      ended.*,
      coalesce(
        case when types_have_own then (
          select type.retention
          from soniq.job_types as type
          where type.job_name = ended.job_name
        ) end,
        case when queues_have_own then (
          select waiting.retention
          from soniq.queues as waiting
          where waiting.queue = ended.queue
        ) end,
        common_retention
      ) as retention
    from ended
  ),
  kept as (
    insert into soniq.finished_jobs (
      id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key,
      headers, tenant, runner_id, claimed_at, failed_at, errors, replay_of, schedule, due_at, result, finished_at,
      keep_until
    )
    select
      dated.id, dated.job_name, dated.queue, dated.priority, _move_to_finished.status, dated.args, dated.scheduled_at,
      dated.enqueued_at, dated.attempt, dated.max_attempts, dated.timeout, dated.dedup_key, dated.headers,
      dated.tenant, dated.runner_id, dated.claimed_at, dated.failed_at, dated.errors, dated.replay_of, dated.schedule, dated.due_at,
      dated.result, as_of, as_of + dated.retention
    from dated
    where dated.retention > interval '0'
  )
  select pg_catalog.array_agg(ended.position)
  into finished
  from ended;

  -- Mostly all are, and to find out which costs as much as to delete them.
  if pg_catalog.cardinality(finished) = pg_catalog.cardinality(job_ids) then
    return pg_catalog.array_fill(true, array[pg_catalog.cardinality(finished)]);
  end if;
  return array(
    select coalesce(given.position = any (finished), false)
    from pg_catalog.generate_series(1, pg_catalog.cardinality(job_ids)) as given (position)
    order by given.position
  );
end;
$$;

create or replace function soniq._finish(
  job_ids bigint[],
  attempts integer[],
  results jsonb[],
  status soniq.job_status
)
returns boolean[]
language plpgsql
volatile
as $$
begin
  return soniq._move_to_finished(
    job_ids => _finish.job_ids, attempts => _finish.attempts, results => _finish.results, status => _finish.status
  );
exception
  -- The default partition was chosen, and the partition of the day was added before it could be written to.
  when check_violation then
    return soniq._move_to_finished(
      job_ids => _finish.job_ids, attempts => _finish.attempts, results => _finish.results, status => _finish.status
    );
end;
$$;

comment on function soniq._finish(bigint[], integer[], jsonb[], soniq.job_status) is
'Ends jobs as done, if the caller still holds their leases, or as cancelled, if they are queued; answers in the same order which.';
