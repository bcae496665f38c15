-- One batch: claimed in one transaction, which need not be on the disk, and moved to the history in another.

with claimed as (
  update plain.jobs as job
  set status = 'processing',
    attempt = job.attempt + 1,
    runner_id = 1,
    claimed_at = clock_timestamp(),
    deadline = clock_timestamp() + job.timeout
  where job.id = any (array(
    select ready.id
    from plain.jobs as ready
    where ready.status = 'queued'
      and ready.queue = 'default'
      and ready.priority = 100
      and ready.scheduled_at <= now()
    order by ready.scheduled_at, ready.id
    limit :batch
    for update skip locked
  ))
  returning
    job.id, job.job_name, job.args, job.headers, job.queue, job.priority, job.attempt, job.max_attempts,
    job.scheduled_at, job.claimed_at, job.timeout, job.deadline, job.schedule, job.due_at, job.tenant
)
select array_agg(claimed.id) as job_ids, array_agg(claimed.attempt) as attempts
from set_config('synchronous_commit', 'off', true)
cross join claimed
\gset

with ended as (
  delete from plain.jobs as job
  where job.id = any (cast(:job_ids as bigint[]))
  returning job.*
)
insert into plain.finished_jobs (
  id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key,
  headers, tenant, runner_id, claimed_at, failed_at, errors, replay_of, schedule, due_at, result, finished_at, keep_until
)
select
  ended.id, ended.job_name, ended.queue, ended.priority, 'done', ended.args, ended.scheduled_at, ended.enqueued_at,
  ended.attempt, ended.max_attempts, ended.timeout, ended.dedup_key, ended.headers, ended.tenant, ended.runner_id,
  ended.claimed_at, ended.failed_at, ended.errors, ended.replay_of, ended.schedule, ended.due_at, null, clock_timestamp(), clock_timestamp() + interval '7 days'
from ended;
