-- Verify soniq:finished_jobs on pg

select id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout,
  dedup_key, headers, tenant, runner_id, claimed_at, failed_at, errors, replay_of, schedule, due_at, result,
  finished_at, keep_until
from soniq.finished_jobs
where false;

select 'soniq.finished_jobs_default'::pg_catalog.regclass;
