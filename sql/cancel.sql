-- Cancelling: a job that has not started can be taken out of its queue.

create or replace function soniq.cancel(job_id bigint)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  with ended as (
    delete from soniq.jobs as job
    where job.id = cancel.job_id
      and job.runner_id is null -- queued; for why it is told by runner_id, see complete.sql
    returning job.*
  )
  insert into soniq.finished_jobs (
    id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key,
    errors, replay_of, finished_at
  )
  select
    ended.id, ended.job_name, ended.queue, ended.priority, 'cancelled', ended.args, ended.scheduled_at, ended.enqueued_at,
    ended.attempt, ended.max_attempts, ended.timeout, ended.dedup_key, ended.errors, ended.replay_of, soniq.clock()
  from ended;

  return (
    select job.status::text
    from soniq.get_job(job_id => cancel.job_id) as job
  );
end;
$$;

comment on function soniq.cancel(bigint) is
'Cancels a job that is queued, also one that waits for a retry, and answers with the status the job has then: cancelled; or processing, done or dead_letter, which are left alone; or NULL if there is no such job.';
