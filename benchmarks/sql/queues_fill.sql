-- As soniq_fill.sql, in 200 queues and 10 priorities by turns, as if producers of all of them were at work.

insert into soniq.lanes (queue, priority)
select 'queue ' || queue, 100 * level
from generate_series(0, 199) as queue
cross join generate_series(0, 9) as level;

insert into soniq.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
select
  'noop', 'queue ' || n % 200, 100 * (n / 200 % 10), jsonb_build_object('number', n),
  now() - interval '1 hour' + n * interval '1 millisecond', now(), 10, '5 minutes'
from generate_series(1, :jobs) as n;
