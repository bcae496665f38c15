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
returns table (priority smallint, lane_ids integer[])
language sql
stable
as $$
  select
    lane.priority,
    pg_catalog.array_agg(lane.lane_id) filter (
      where not exists (
        select
        from soniq.queues as setting
        where setting.queue = lane.queue
          and setting.paused
      )
    )
  from (
    select known.queue, known.priority, min(known.lane_id) as lane_id
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

create or replace function soniq._lane_shares(lane_ids integer[], max_jobs integer, skip_jobs text[], as_of timestamptz)
returns table (lane_id integer, share integer)
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  lanes constant integer := pg_catalog.cardinality(lane_ids);
  -- How far to read into each lane: twice an equal share, for mostly they are about equal.
  depths integer[] := pg_catalog.array_fill(least(max_jobs, 4 + 2 * max_jobs / lanes), array[lanes]);
  shares integer[];
begin
  loop
    shares := array(
      with ready as materialized (
        select given.position, head.scheduled_at, head.id
        from rows from (
          pg_catalog.unnest(_lane_shares.lane_ids), pg_catalog.unnest(depths)
        ) with ordinality as given (lane_id, depth, position)
        join soniq.lanes as lane
          on lane.lane_id = given.lane_id
        left join lateral soniq._scan_start(lane_id => lane.lane_id) as start
          on soniq._scan_hint(lane_id => lane.lane_id) is not null
        cross join lateral (
          select job.scheduled_at, job.id
          from soniq.jobs as job
          where job.status = 'queued'
            and job.queue = lane.queue
            and job.priority = lane.priority
            and job.scheduled_at <= _lane_shares.as_of
            and (job.scheduled_at, job.id)
              > (coalesce(start.scheduled_at, timestamptz '-infinity'), coalesce(start.job_id, 0))
            and (_lane_shares.skip_jobs is null or job.job_name <> all (_lane_shares.skip_jobs))
          order by job.scheduled_at, job.id
          limit given.depth
        ) as head
      ),
      oldest as (
        select ready.position
        from ready
        order by ready.scheduled_at, ready.id
        limit _lane_shares.max_jobs
      )
      select pg_catalog.count(oldest.position)::integer
      from pg_catalog.generate_series(1, lanes) as lane (position)
      left join oldest
        on oldest.position = lane.position
      group by lane.position
      order by lane.position
    );

    -- A lane of which all that was read is among the oldest may have more that belongs to them.
    exit when not exists (
      select
      from rows from (pg_catalog.unnest(shares), pg_catalog.unnest(depths)) as read (share, depth)
      where read.share = read.depth
        and read.depth between 1 and _lane_shares.max_jobs - 1
    );
    depths := array(
      -- What is read further in one lane can only make the others' shares smaller, and those without stay so.
      select case read.share
        when 0 then 0
        when read.depth then least(_lane_shares.max_jobs, 4 * read.depth)
        else read.share + 1
      end
      from rows from (
        pg_catalog.unnest(shares), pg_catalog.unnest(depths)
      ) with ordinality as read (share, depth, position)
      order by read.position
    );
  end loop;

  return query
  select read.lane_id, read.share
  from rows from (pg_catalog.unnest(_lane_shares.lane_ids), pg_catalog.unnest(shares)) as read (lane_id, share)
  where read.share > 0;
end;
$$;

comment on function soniq._lane_shares(integer[], integer, text[], timestamptz) is
'How many jobs to take from each lane of one priority so that together they are the oldest. It locks nothing: to lock as many in every lane as one of them may yield would keep them from other runners.';
