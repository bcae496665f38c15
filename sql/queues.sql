-- Per-queue settings. A queue exists as soon as a job names it; a row is needed only to pause it or to give it
-- defaults of its own.

create or replace function soniq.configure_queue(
  queue text,
  priority integer default null,
  max_attempts integer default null,
  timeout interval default null,
  retention interval default null,
  max_depth integer default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform soniq._check_unbound(what => 'configure_queue()');
  perform
    soniq._check_given(code => 'SQ002', what => 'queue', value => configure_queue.queue),
    soniq._check_queue(queue => configure_queue.queue),
    soniq._check_priority(priority => configure_queue.priority),
    soniq._check_max_attempts(max_attempts => configure_queue.max_attempts),
    soniq._check_timeout(timeout => configure_queue.timeout),
    soniq._check_retention(retention => configure_queue.retention),
    soniq._check_max_depth(max_depth => configure_queue.max_depth);

  insert into soniq.queues (queue, priority, max_attempts, timeout, retention, max_depth)
  values (
    configure_queue.queue, configure_queue.priority, configure_queue.max_attempts, configure_queue.timeout,
    configure_queue.retention, configure_queue.max_depth
  )
  on conflict (queue) do update
  set priority = excluded.priority,
    max_attempts = excluded.max_attempts,
    timeout = excluded.timeout,
    retention = excluded.retention,
    max_depth = excluded.max_depth;
end;
$$;

comment on function soniq.configure_queue(text, integer, integer, interval, interval, integer) is
'Sets a queue''s defaults for jobs whose type has none; NULL leaves a matter to soniq.settings. Jobs already enqueued keep their priority, max_attempts and timeout, and the queue stays paused if it was.

retention: how long its jobs are kept that finish from now on; 0 is not at all.
max_depth: how many jobs may wait in it, 1 to 1000000; enqueue() and enqueue_many() refuse more. NULL is no limit. For a login that is bound to a tenant, its own tenant''s jobs alone are counted, so that each tenant may have as many. Each enqueue into such a queue counts what waits there, some ten thousand in a millisecond.

Errors: SQ002 queue, SQ005 priority, SQ007 max_attempts, SQ008 timeout, SQ021 retention, SQ023 max_depth, SQ027 the login is bound to a tenant.';

-- A counter would have every producer and runner of the queue wait for one row. So what waits is counted, and only in
-- queues that have a limit; what others are about to commit is not seen, and may come on top.
create or replace function soniq._depth(queue text, up_to integer)
returns bigint
language sql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
as $$
  select coalesce(sum(counted.jobs), 0)::bigint
  from (
    select distinct lane.priority
    from soniq.lanes as lane
    where lane.queue = _depth.queue
  ) as level
  cross join lateral (
    select pg_catalog.count(*) as jobs
    from (
      select
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = _depth.queue
        and job.priority = level.priority
      limit _depth.up_to
    ) as waiting
  ) as counted;
$$;

comment on function soniq._depth(text, integer) is
'How many queued jobs a queue has, ready or for later; of each priority no more than up_to are counted.';

create or replace function soniq._with_room(queue text, max_depth integer, jobs integer)
returns text
language plpgsql
volatile
as $$
declare
  depth constant bigint := soniq._depth(queue => _with_room.queue, up_to => _with_room.max_depth);
begin
  if depth + jobs > max_depth then
    perform soniq._refuse(
      'SQ024',
      pg_catalog.format(
        'queue %L is full: %s jobs wait in it, its max_depth is %s, and %s more were to be enqueued',
        _with_room.queue, depth, max_depth, jobs
      ),
      'Enqueue again later, let more runners work it off, or have an admin raise max_depth by soniq.configure_queue().'
    );
  end if;
  return _with_room.queue;
end;
$$;

comment on function soniq._with_room(text, integer, integer) is
'The queue, if so many more jobs may wait in it; else an error.';

create or replace function soniq.pause_queue(queue text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform soniq._check_unbound(what => 'pause_queue()');
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

Errors: SQ002 queue, SQ027 the login is bound to a tenant.';

create or replace function soniq.resume_queue(queue text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform soniq._check_unbound(what => 'resume_queue()');
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

Errors: SQ002 queue, SQ027 the login is bound to a tenant.';
