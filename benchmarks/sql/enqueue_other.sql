-- Jobs that come due one after the other, so many a second, from some seconds on: what a runner works off while the
-- plain INSERT is measured.

insert into soniq.lanes (queue, priority)
values ('default', 100);

insert into soniq.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
select
  'noop', 'default', 100, '{"number": 1}', now() + :lead * interval '1 second' + n * interval '1 second' / :rate, now(),
  10, '5 minutes'
from generate_series(1, :jobs) as n;
