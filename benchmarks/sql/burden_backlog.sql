-- Ready jobs, in the lane that is drained; numbered, since they are what is drained.

insert into soniq.lanes (queue, priority)
values ('default', 100);

insert into soniq.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
select
  'noop', 'default', 100, jsonb_build_object('number', n), now() - interval '1 hour' + n * interval '1 microsecond', now(),
  10, '5 minutes'
from generate_series(1, :burden) as n;
