-- Per-queue settings. A queue exists as soon as a job names it; a row is needed only to pause it or to give it
-- defaults of its own.

create or replace function soniq.configure_queue(
  queue text,
  priority integer default null,
  max_attempts integer default null,
  timeout interval default null,
  retention interval default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform
    soniq._check_given(code => 'SQ002', what => 'queue', value => configure_queue.queue),
    soniq._check_queue(queue => configure_queue.queue),
    soniq._check_priority(priority => configure_queue.priority),
    soniq._check_max_attempts(max_attempts => configure_queue.max_attempts),
    soniq._check_timeout(timeout => configure_queue.timeout),
    soniq._check_retention(retention => configure_queue.retention);

  insert into soniq.queues (queue, priority, max_attempts, timeout, retention)
  values (
    configure_queue.queue, configure_queue.priority, configure_queue.max_attempts, configure_queue.timeout,
    configure_queue.retention
  )
  on conflict (queue) do update
  set priority = excluded.priority,
    max_attempts = excluded.max_attempts,
    timeout = excluded.timeout,
    retention = excluded.retention;
end;
$$;

comment on function soniq.configure_queue(text, integer, integer, interval, interval) is
'Sets a queue''s defaults for jobs whose type has none; NULL leaves a matter to soniq.settings. Jobs already enqueued keep their priority, max_attempts and timeout, and the queue stays paused if it was.

retention: how long its jobs are kept that finish from now on; 0 is not at all.

Errors: SQ002 queue, SQ005 priority, SQ007 max_attempts, SQ008 timeout, SQ021 retention.';

create or replace function soniq.pause_queue(queue text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform
    soniq._check_given(code => 'SQ002', what => 'queue', value => pause_queue.queue),
    soniq._check_queue(queue => pause_queue.queue);

  insert into soniq.queues as known (queue, paused)
  values (pause_queue.queue, true)
  on conflict (queue) do update
  set paused = true
  where not known.paused;

  return found;
end;
$$;

comment on function soniq.pause_queue(text) is
'Stops handing out a queue''s jobs, from the next claim on. Jobs are still taken in, and those being processed go on. True if this paused it, false if it was paused already.

Errors: SQ002 queue.';

create or replace function soniq.resume_queue(queue text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform
    soniq._check_given(code => 'SQ002', what => 'queue', value => resume_queue.queue),
    soniq._check_queue(queue => resume_queue.queue);

  update soniq.queues as known
  set paused = false
  where known.queue = resume_queue.queue
    and known.paused;

  if not found then
    return false;
  end if;

  perform soniq._wake(queue => resume_queue.queue);
  return true;
end;
$$;

comment on function soniq.resume_queue(text) is
'Hands a paused queue''s jobs out again. True if this resumed it, false if it was not paused.

Errors: SQ002 queue.';
