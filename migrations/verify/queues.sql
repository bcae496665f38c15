-- Verify soniq:queues on pg

select queue, paused, priority, max_attempts, timeout, retention, max_depth
from soniq.queues
where false;

select 'soniq.queues_retention'::pg_catalog.regclass;
