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

create or replace function soniq._oldest(
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
stable
as $$
#variable_conflict use_column
declare
  lanes constant integer := pg_catalog.cardinality(lane_queues);
  -- How far to read into each lane: twice an equal share, for mostly they are about equal.
  depths integer[] := pg_catalog.array_fill(least(max_jobs, 4 + 2 * max_jobs / lanes), array[lanes]);
  places tid[];
  found_in integer[];
  shares integer[];
begin
  loop
    select pg_catalog.array_agg(oldest.place), pg_catalog.array_agg(oldest.lane::integer)
    into places, found_in
    from (
      select head.place, given.lane
      from rows from (
        pg_catalog.unnest(_oldest.lane_queues),
        pg_catalog.unnest(_oldest.starts_at),
        pg_catalog.unnest(_oldest.start_ids),
        pg_catalog.unnest(depths)
      ) with ordinality as given (queue, start_at, start_id, depth, lane)
      cross join lateral (
        select job.ctid as place, job.scheduled_at, job.id
        from soniq.jobs as job
        where job.status = 'queued'
          and job.queue = given.queue
          and job.priority = _oldest.priority
          and job.scheduled_at <= _oldest.as_of
          and (job.scheduled_at, job.id) > (given.start_at, given.start_id)
          and (_oldest.skip_jobs is null or job.job_name <> all (_oldest.skip_jobs))
        order by job.scheduled_at, job.id
        limit given.depth
      ) as head
      order by head.scheduled_at, head.id
      limit _oldest.max_jobs
    ) as oldest;

    shares := array(
      select pg_catalog.count(found.lane)::integer
      from pg_catalog.generate_series(1, lanes) as each (lane)
      left join pg_catalog.unnest(found_in) as found (lane)
        on found.lane = each.lane
      group by each.lane
      order by each.lane
    );
    -- A lane of which all that was read is among the oldest may have more that belongs to them.
    exit when not exists (
      select
      from rows from (pg_catalog.unnest(shares), pg_catalog.unnest(depths)) as read (share, depth)
      where read.share = read.depth
        and read.depth between 1 and _oldest.max_jobs - 1
    );
    depths := array(
      -- What is read further in one lane can only make the others' shares smaller, and those without stay so.
      select case read.share
        when 0 then 0
        when read.depth then least(_oldest.max_jobs, 4 * read.depth)
        else read.share + 1
      end
      from rows from (
        pg_catalog.unnest(shares), pg_catalog.unnest(depths)
      ) with ordinality as read (share, depth, lane)
      order by read.lane
    );
  end loop;

  return query
  select each.place, each.lane
  from rows from (pg_catalog.unnest(places), pg_catalog.unnest(found_in)) as each (place, lane);
end;
$$;

comment on function soniq._oldest(text[], smallint, timestamptz[], bigint[], integer, text[], timestamptz) is
'Where the oldest ready jobs of several lanes of one priority are, in order, and the number of each one''s lane among those given. It locks nothing: to lock as many in every lane as one of them may yield would keep them from other runners.

starts_at, start_ids: the key above which to read each lane.';
