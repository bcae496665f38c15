-- What is counted and listed, at the size for which the cost is promised. Filled directly: through the functions it would
-- take hours. Every lane is used in turn, so that no two jobs that lie together are of one queue, which is the worst case.

set synchronous_commit = off;
set work_mem = '256MB';
set maintenance_work_mem = '1GB';

select count(soniq.schedule('bench ' || n, cron => '0 0 1 1 *'))
from generate_series(1, 1000) as n;

select count(soniq.register_runner('bench.example.org', pid => n))
from generate_series(1, 200) as n;

select soniq.tick();

insert into soniq.lanes (queue, priority)
select 'queue ' || queue, 100 + priority
from generate_series(1, :queues) as queue
cross join generate_series(1, :priorities) as priority;

-- Of eleven jobs, ten are ready and one is for later. Indexes that are made afterwards are made in a third of the time.
select string_agg(pg_get_indexdef(indexrelid), ';') as definitions
from pg_index
where indrelid = 'soniq.jobs'::regclass
  and not indisprimary \gset

drop index soniq.jobs_ready, soniq.jobs_dedup_key, soniq.jobs_leased;

insert into soniq.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
select
  'job ' || n % 20, 'queue ' || 1 + n % :queues, 101 + n / :queues % :priorities, '{}',
  now() - '1 day'::interval + n * '1 millisecond'::interval + case when n % 11 = 0 then '10 days' else '0 days' end::interval,
  now(), 10, '5 minutes'
from generate_series(1, :queued) as n;

:definitions;

insert into soniq.finished_jobs (
  id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, errors,
  finished_at, keep_until
)
select
  1000000000 + n, 'job ' || n % 20, 'queue ' || 1 + n % :queues, 100,
  case when n % 100 = 0 then 'cancelled' else 'done' end::soniq.job_status, '{}', now(), now(), 1, 10, '5 minutes', '[]',
  now(), now() + '7 days'::interval + n % 3 * '1 day'::interval
from generate_series(1, :finished) as n;

insert into soniq.dead_letter_jobs (
  id, job_name, queue, priority, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, errors, reason, dead_at
)
select
  1000000000 + n * (:finished / :dead), 'job ' || n % 20, 'queue ' || 1 + n % :queues, 100, '{}', now(), now(), 10, 10, '5 minutes',
  jsonb_build_array(jsonb_build_object('type', 'Bench', 'message', n, 'traceback', repeat('bench ', 200))),
  'max_attempts_exceeded', now() - n * '1 second'::interval
from generate_series(1, :dead) as n;

-- As 200 runners of concurrency 50 would hold.
select count(*)
from (
  select runner_id
  from soniq.runners
) as runner
cross join lateral soniq.claim(runner.runner_id, max_jobs => 50) as claimed;

vacuum analyze;
