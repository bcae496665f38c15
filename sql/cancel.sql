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
  perform soniq._finish(
    job_ids => array[job.id], attempts => array[job.attempt], results => null, status => 'cancelled'
  )
  from (
    select queued.id, queued.attempt
    from soniq.jobs as queued
    where queued.id = cancel.job_id
      and queued.runner_id is null -- for why it is told by runner_id, see finish.sql
    for update
  ) as job;
  if found then
    return 'cancelled';
  end if;

  return (
    select job.status::text
    from soniq.get_job(job_id => cancel.job_id) as job
  );
end;
$$;

comment on function soniq.cancel(bigint) is
'Cancels a job that is queued, also one that waits for a retry, and answers with the status the job has then: cancelled; or processing, done or dead_letter, which are left alone; or NULL if there is no such job.';
