-- What a tick has to look through, at the size for which its cost is promised. Filled directly: through the functions it
-- would take an hour.

set synchronous_commit = off;

select count(soniq.schedule('bench ' || n, cron => '0 0 1 1 *'))
from generate_series(1, 1000) as n;

select count(soniq.register_runner('bench.example.org', pid => n))
from generate_series(1, 200) as n;

select soniq.tick();

insert into soniq.lanes (queue, priority)
select 'queue ' || n, 100
from generate_series(1, 10) as n;

insert into soniq.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
select 'bench', 'queue ' || 1 + n % 10, 100, '{}', now(), now(), 10, '5 minutes'
from generate_series(1, :queued) as n;

insert into soniq.finished_jobs (
  id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, errors,
  finished_at, keep_until
)
select
  1000000000 + n, 'bench', 'queue ' || 1 + n % 10, 100, 'done', '{}', now(), now(), 1, 10, '5 minutes', '[]',
  now(), now() + '7 days'::interval + n % 3 * '1 day'::interval
from generate_series(1, :finished) as n;

-- As a runner of concurrency 50 times 200 would hold.
select count(*)
from (
  select runner_id
  from soniq.runners
) as runner
cross join lateral soniq.claim(runner.runner_id, max_jobs => 50) as claimed;

vacuum analyze;
