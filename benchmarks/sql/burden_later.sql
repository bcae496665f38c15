-- Jobs for later, in the lane that is drained.

insert into soniq.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
select
  'noop', 'default', 100, jsonb_build_object('number', -n), now() + interval '7 days' + n * interval '1 millisecond', now(),
  10, '5 minutes'
from generate_series(1, :burden) as n;
