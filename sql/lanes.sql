-- Lanes: a lane is a queue and a priority, and its ready jobs are one contiguous range of the index that claims
-- read. This file opens lanes and decides how much a claim takes from each.
--
-- Queues of one priority take turns. Were the oldest job of all the next, whoever floods a queue with a million jobs would
-- have everybody else wait for them.

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

create or replace function soniq._next_priority(queues text[], after smallint)
returns table (priority smallint, lane_ids integer[], lane_queues text[])
language sql
stable
as $$
  select
    lane.priority,
    pg_catalog.array_agg(lane.lane_id) filter (where not lane.is_paused),
    pg_catalog.array_agg(lane.queue) filter (where not lane.is_paused)
  from (
    select
      known.queue,
      known.priority,
      min(known.lane_id) as lane_id,
      exists (
        select
        from soniq.queues as setting
        where setting.queue = known.queue
          and setting.paused
      ) as is_paused
    from soniq.lanes as known
    where known.priority = (
        select min(first.priority)
        from soniq.lanes as first
        where first.priority > _next_priority.after
          and (_next_priority.queues is null or first.queue = any (_next_priority.queues))
      )
      and (_next_priority.queues is null or known.queue = any (_next_priority.queues))
    group by known.queue, known.priority
  ) as lane
  group by lane.priority;
$$;

comment on function soniq._next_priority(text[], smallint) is
'The next priority after this one that has lanes of these queues, and its lanes; NULL where the queues of all are paused. A claim asks for one after the other, since mostly the first has jobs.';

create or replace function soniq._fair_share(
  lane_queues text[],
  priority smallint,
  starts_at timestamptz[],
  start_ids bigint[],
  max_jobs integer,
  skip_jobs text[],
  as_of timestamptz
)
returns table (place tid, lane integer)
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  lanes constant integer := pg_catalog.cardinality(lane_queues);
  turn constant text := 'soniq.turn_' || priority;
  last_queue constant text := pg_catalog.current_setting(turn, true);
  -- How far to read into each lane: an equal share, and where some have less, the others further.
  depths integer[] := pg_catalog.array_fill((max_jobs + lanes - 1) / lanes, array[lanes]);
  found integer[];
  places tid[];
  found_in integer[];
  missing integer;
  deep_lanes integer;
begin
  loop
    -- One of each lane, then the second of each, and so on; whose turn it is goes on where it was.
    select
      pg_catalog.array_agg(head.place order by head.rank, given.queue <= last_queue, given.queue),
      pg_catalog.array_agg(given.lane::integer order by head.rank, given.queue <= last_queue, given.queue)
    into places, found_in
    from rows from (
      pg_catalog.unnest(_fair_share.lane_queues),
      pg_catalog.unnest(_fair_share.starts_at),
      pg_catalog.unnest(_fair_share.start_ids),
      pg_catalog.unnest(depths)
    ) with ordinality as given (queue, start_at, start_id, depth, lane)
    cross join lateral (
      select job.ctid as place, pg_catalog.row_number() over (order by job.scheduled_at, job.id) as rank
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = given.queue
        and job.priority = _fair_share.priority
        and job.scheduled_at <= _fair_share.as_of
        and (job.scheduled_at, job.id) > (given.start_at, given.start_id)
        and (_fair_share.skip_jobs is null or job.job_name <> all (_fair_share.skip_jobs))
      order by job.scheduled_at, job.id
      limit given.depth
    ) as head;
    missing := max_jobs - coalesce(pg_catalog.cardinality(places), 0);
    exit when missing <= 0;

    found := array(
      select pg_catalog.count(each.lane)::integer
      from pg_catalog.generate_series(1, lanes) as known (lane)
      left join pg_catalog.unnest(found_in) as each (lane)
        on each.lane = known.lane
      group by known.lane
      order by known.lane
    );
    deep_lanes := (
      select pg_catalog.count(*)::integer
      from rows from (pg_catalog.unnest(found), pg_catalog.unnest(depths)) as read (found, depth)
      where read.found = read.depth
        and read.depth > 0
    );
    exit when deep_lanes = 0;
    depths := array(
      select case read.found
        when 0 then 0
        when read.depth then read.depth + (missing + deep_lanes - 1) / deep_lanes
        else read.depth
      end
      from rows from (
        pg_catalog.unnest(found), pg_catalog.unnest(depths)
      ) with ordinality as read (found, depth, lane)
      order by read.lane
    );
  end loop;

  places := places[1:max_jobs];
  if places is not null then
    perform pg_catalog.set_config(turn, lane_queues[found_in[pg_catalog.cardinality(places)]], false);
  end if;
  return query
  select each.place, each.lane
  from rows from (
    pg_catalog.unnest(places), pg_catalog.unnest(found_in[1:max_jobs])
  ) as each (place, lane);
end;
$$;

comment on function soniq._fair_share(text[], smallint, timestamptz[], bigint[], integer, text[], timestamptz) is
'Where the ready jobs of several lanes of one priority are that are next, and the number of each one''s lane among those given: the oldest of each lane, and as many of one as of another while they have any, so that no queue has to wait until another is empty. Which lane is next, the session keeps in soniq.turn_<priority>. It locks nothing: to lock as many in every lane as one of them may yield would keep them from other runners.

starts_at, start_ids: the key above which to read each lane.';
