-- Verify soniq:dead_letter_jobs on pg

select id, job_name, queue, priority, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key,
  headers, tenant, runner_id, claimed_at, errors, replay_of, schedule, due_at, reason, dead_at, replay_count, last_replayed_at, error_type, error_pattern
from soniq.dead_letter_jobs
where false;

select
  'soniq.dead_letter_jobs_by_time'::pg_catalog.regclass,
  'soniq.dead_letter_jobs_not_replayed'::pg_catalog.regclass, 'soniq.dead_letter_jobs_by_error'::pg_catalog.regclass,
  'soniq.dead_letter_jobs_not_replayed_by_time'::pg_catalog.regclass, 'soniq.dead_letter_jobs_of_tenant'::pg_catalog.regclass,
  'soniq.replayed_job'::pg_catalog.regtype, 'soniq.deleted_letter'::pg_catalog.regtype;
