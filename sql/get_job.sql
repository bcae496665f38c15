-- Any job ever known, wherever it is now.

create or replace view soniq.all_jobs as
select
  job.id,
  job.status,
  job.job_name,
  job.queue,
  job.priority,
  soniq._shown_args(job_name => job.job_name, args => job.args) as args,
  job.scheduled_at,
  job.enqueued_at,
  job.attempt,
  job.max_attempts,
  job.timeout,
  job.dedup_key,
  job.headers,
  job.runner_id,
  job.claimed_at,
  job.deadline,
  job.errors,
  job.replay_of,
  job.schedule,
  job.due_at,
  null::jsonb as result,
  null::timestamptz as ended_at,
  null::text as reason,
  null::integer as replay_count,
  job.tenant
from soniq.jobs as job
union all
select
  job.id,
  job.status,
  job.job_name,
  job.queue,
  job.priority,
  soniq._shown_args(job_name => job.job_name, args => job.args) as args,
  job.scheduled_at,
  job.enqueued_at,
  job.attempt,
  job.max_attempts,
  job.timeout,
  job.dedup_key,
  job.headers,
  job.runner_id,
  job.claimed_at,
  null,
  job.errors,
  job.replay_of,
  job.schedule,
  job.due_at,
  job.result,
  job.finished_at,
  null,
  null,
  job.tenant
from soniq.finished_jobs as job
union all
select
  job.id,
  'dead_letter',
  job.job_name,
  job.queue,
  job.priority,
  soniq._shown_args(job_name => job.job_name, args => job.args) as args,
  job.scheduled_at,
  job.enqueued_at,
  job.attempt,
  job.max_attempts,
  job.timeout,
  job.dedup_key,
  job.headers,
  job.runner_id,
  job.claimed_at,
  null,
  job.errors,
  job.replay_of,
  job.schedule,
  job.due_at,
  null,
  job.dead_at,
  job.reason,
  job.replay_count,
  job.tenant
from soniq.dead_letter_jobs as job;

comment on view soniq.all_jobs is
'Live, finished and dead jobs together, for looking. ended_at is when a job was done, cancelled or given up; reason and replay_count are those of dead letters, result that of finished jobs.';

create or replace function soniq.get_job(job_id bigint)
returns setof soniq.all_jobs
language sql
stable
rows 1
security definer
set search_path = pg_catalog, pg_temp
as $$
  select *
  from soniq.all_jobs as job
  where job.id = get_job.job_id;
$$;

comment on function soniq.get_job(bigint) is
'One job, whatever became of it; no row if there is none of this id, or its record was dropped by retention.';
