-- Lanes: a lane is a queue and a priority, and its ready jobs are one contiguous range of the index that claims
-- read. This file opens lanes and decides how much a claim takes from each.

create or replace function soniq._open_lane(queue text, priority smallint)
returns void
language plpgsql
volatile
as $$
#variable_conflict use_column
begin
  if not exists (
    select
    from soniq.lanes as lane
    where lane.queue = _open_lane.queue
      and lane.priority = _open_lane.priority
  ) then
    insert into soniq.lanes (queue, priority)
    values (_open_lane.queue, _open_lane.priority);
  end if;
end;
$$;

comment on function soniq._open_lane(text, smallint) is
'Makes a lane known to claims. Never waits for another transaction, at the price of a second row now and then.';

create or replace function soniq._open_priorities(queues text[])
returns table (priority smallint, lane_ids integer[])
language sql
stable
as $$
  select lane.priority, pg_catalog.array_agg(lane.lane_id)
  from (
    select known.queue, known.priority, min(known.lane_id) as lane_id
    from soniq.lanes as known
    where _open_priorities.queues is null
      or known.queue = any (_open_priorities.queues)
    group by known.queue, known.priority
  ) as lane
  where not exists (
    select
    from soniq.queues as setting
    where setting.queue = lane.queue
      and setting.paused
  )
  group by lane.priority
  order by lane.priority;
$$;

comment on function soniq._open_priorities(text[]) is
'The lanes of the queues that are not paused, by priority, the first to run first.';

create or replace function soniq._lane_shares(lane_ids integer[], max_jobs integer, skip_jobs text[], as_of timestamptz)
returns table (lane_id integer, share integer)
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
begin
  if pg_catalog.cardinality(lane_ids) = 1 then
    return query select lane_ids[1], max_jobs;
    return;
  end if;

  return query
  select oldest.lane_id, pg_catalog.count(*)::integer
  from (
    select lane.lane_id, ready.scheduled_at, ready.id
    from soniq.lanes as lane
    cross join lateral soniq._scan_start(lane_id => lane.lane_id) as start
    cross join lateral (
      select job.scheduled_at, job.id
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = lane.queue
        and job.priority = lane.priority
        and job.scheduled_at <= _lane_shares.as_of
        and (job.scheduled_at, job.id) > (start.scheduled_at, start.job_id)
        and (_lane_shares.skip_jobs is null or job.job_name <> all (_lane_shares.skip_jobs))
      order by job.scheduled_at, job.id
      limit _lane_shares.max_jobs
    ) as ready
    where lane.lane_id = any (_lane_shares.lane_ids)
    order by ready.scheduled_at, ready.id
    limit _lane_shares.max_jobs
  ) as oldest
  group by oldest.lane_id;
end;
$$;

comment on function soniq._lane_shares(integer[], integer, text[], timestamptz) is
'How many jobs to take from each lane of one priority so that together they are the oldest. It locks nothing: to lock as many in every lane as one of them may yield would keep them from other runners.';
