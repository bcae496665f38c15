-- Retrying now: a job that waits for its time, for a retry or at its handler's wish need not wait any longer.

create or replace function soniq.retry(job_id bigint)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  queue text;
  current record;
begin
  -- Once more where the job came back to the queue, to wait, between the update and the look: else the answer would say
  -- that it is ready.
  loop
    update soniq.jobs as job
    set scheduled_at = as_of
    where job.id = retry.job_id
      and job.runner_id is null -- for why it is told by runner_id, see finish.sql
      and job.scheduled_at > as_of
    returning job.queue
    into queue;
    if found then
      perform soniq._wake(queue => queue);
      return 'queued';
    end if;

    select job.status::text as status, job.scheduled_at
    into current
    from soniq.get_job(job_id => retry.job_id) as job;
    exit when current.status is distinct from 'queued' or current.scheduled_at <= as_of;
  end loop;
  return current.status;
end;
$$;

comment on function soniq.retry(bigint) is
'Makes a job ready now that waits for a retry, a snooze or its scheduled_at, and wakes a runner for it. It keeps its attempt, errors, priority and dedup_key; one that is ready already keeps its place; in a paused queue it waits for resume_queue(). Answers with the status the job has then: queued, and ready; or processing, done, cancelled or dead_letter, which are left alone (replay_dead_letters() makes a new job of a dead letter, enqueue() of the others); or NULL if there is no such job.';

create or replace function soniq.run_now(job_id bigint, out status text, out runs_as bigint)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  status := soniq.retry(job_id => run_now.job_id);
  if status = 'queued' then
    runs_as := run_now.job_id;
  elsif status = 'dead_letter' then
    runs_as := replay.job_id
      from soniq.replay_dead_letters(ids => array[run_now.job_id]) as replay;
    status := case when runs_as is not null then status end; -- deleted meanwhile
  end if;
end;
$$;

comment on function soniq.run_now(bigint) is
'Runs a job now, as far as that can be: one that waits as retry() does, a dead letter as a new job, as replay_dead_letters() does.

status: what the job was found to be: queued, processing, done, cancelled or dead_letter; NULL if there is no such job.
runs_as: the id that runs: its own, or that of the new job; NULL where it does not run anew: it is processing already, it was done or cancelled, or there is none.';
