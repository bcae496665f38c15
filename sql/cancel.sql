-- Cancelling: a job that has not started can be taken out of its queue.

create or replace function soniq.cancel(job_id bigint)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  current text;
begin
  -- Once more where the job came back to the queue between the look for it there and the other look: else the answer
  -- would be queued, though nothing was cancelled.
  loop
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

    select job.status::text
    into current
    from soniq.get_job(job_id => cancel.job_id) as job;
    exit when current is distinct from 'queued';
  end loop;
  return current;
end;
$$;

comment on function soniq.cancel(bigint) is
'Cancels a job that is queued, also one that waits for a retry, and answers with the status the job has then: cancelled; or processing, done or dead_letter, which are left alone; or NULL if there is no such job.';
