-- Verify soniq:runners on pg

select runner_id, host, pid, queues, concurrency, runner_version, heartbeat_timeout, registered_at,
  last_heartbeat_at, lost_at, resumes
from soniq.runners
where false;
