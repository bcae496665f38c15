-- Verify soniq:job_types on pg

select job_name, queue, priority, max_attempts, timeout, retry_delays, backoff, max_retry_delay, registered_at
from soniq.job_types
where false;
