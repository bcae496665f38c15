-- A history: as much of it in the partition that is written to as in each of the seven before. The ids are below those
-- of jobs to come, as they are where a history has grown by itself.

select soniq.tick();

insert into soniq.finished_jobs (
  id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, runner_id,
  claimed_at, errors, finished_at, keep_until
)
select
  n - :burden, 'noop', 'default', 100, 'done', jsonb_build_object('number', n), at, at, 1, 10, '5 minutes', 1, at,
  '[]', at, at + interval '7 days'
from generate_series(1, :burden) as n
cross join lateral (
  select now() - interval '7 days' * (1 - (n + 1.0) / :burden)
) as finished (at);
