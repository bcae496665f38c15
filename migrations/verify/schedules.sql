-- Verify soniq:schedules on pg

select name, job_name, cron, every, timezone, args, queue, priority, max_attempts, timeout, missed_runs, max_missed_runs,
  allow_overlap, paused, next_run_at, last_due_at, last_job_id, source, tenant, created_at, registered_at
from soniq.schedules
where false;

select 'soniq.schedules_due'::pg_catalog.regclass;
