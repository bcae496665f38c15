-- Verify soniq:job_types on pg

select job_name, queue, priority, max_attempts, timeout, retry_delays, backoff, max_retry_delay, retention, secret_args,
  registered_at
from soniq.job_types
where false;

select 'soniq.job_types_retention'::pg_catalog.regclass;
