-- Verify soniq:jobs on pg

select id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout,
  dedup_key, headers, tenant, runner_id, claimed_at, deadline, failed_at, errors, replay_of, schedule, due_at
from soniq.jobs
where false;

select 'soniq.jobs_ready'::pg_catalog.regclass, 'soniq.jobs_dedup_key'::pg_catalog.regclass,
  'soniq.jobs_leased'::pg_catalog.regclass;
