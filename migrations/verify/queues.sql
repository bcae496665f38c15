-- Verify soniq:queues on pg

select queue, paused, priority, max_attempts, timeout
from soniq.queues
where false;
