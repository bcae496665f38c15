insert into plain.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
select 'noop', 'default', 100, jsonb_build_object('number', number), now(), now(), 10, '5 minutes'
from generate_series(1, :jobs) as number
order by number;
