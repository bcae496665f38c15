-- Handing out jobs. A claim leases ready jobs to a runner, lowest priority number first, then of each queue
-- the oldest, and never waits for another claim: rows that others have locked are skipped.
--
-- The planner may not choose here. A plan made while the table was small, or for a batch of unknown size, would read or
-- sort the whole backlog for each batch; so the jobs come from a subquery with a limit, in index order, and what would
-- leave the index is switched off, by _pick() for all that it calls: each function that sets something costs a claim more.

create or replace function soniq._pick_from_lane(
  lane_id integer,
  queue text,
  priority smallint,
  max_jobs integer,
  skip_jobs text[],
  as_of timestamptz
)
returns tid[]
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  started_at constant timestamptz := pg_catalog.clock_timestamp();
  read_before constant bigint := soniq._entries_read();
  hint constant bigint[] := soniq._scan_hint(lane_id => _pick_from_lane.lane_id);
  start_at timestamptz := timestamptz '-infinity';
  start_id bigint := bigint '0';
  picked tid[];
  walked bigint;
begin
  if hint is not null then
    select start.scheduled_at, start.job_id
    into start_at, start_id
    from soniq._scan_start(lane_id => _pick_from_lane.lane_id) as start;
  end if;

  picked := array(
    select job.ctid
    from soniq.jobs as job
    where job.status = 'queued'
      and job.queue = _pick_from_lane.queue
      and job.priority = _pick_from_lane.priority
      and job.scheduled_at <= _pick_from_lane.as_of
      and (job.scheduled_at, job.id) > (start_at, start_id)
      and (_pick_from_lane.skip_jobs is null or job.job_name <> all (_pick_from_lane.skip_jobs))
    order by job.scheduled_at, job.id
    limit _pick_from_lane.max_jobs
    for update skip locked
  );

  walked := soniq._walked(
    started_at => started_at,
    read_before => read_before,
    jobs => pg_catalog.cardinality(picked)
  );
  -- What was skipped on purpose lies below the last key and must be found again.
  if _pick_from_lane.skip_jobs is null and (hint is not null or walked > 0) then
    perform soniq._remember_scan(
      lane_id => _pick_from_lane.lane_id,
      walked => walked,
      whole => start_id = 0,
      full_share => pg_catalog.cardinality(picked) = _pick_from_lane.max_jobs,
      picked => picked
    );
  end if;
  return picked;
end;
$$;

comment on function soniq._pick_from_lane(integer, text, smallint, integer, text[], timestamptz) is
'Locks up to max_jobs ready jobs of one lane, the oldest that nobody else has locked, and answers with where they are.';

create or replace function soniq._pick_from_lanes(
  lane_ids integer[],
  lane_queues text[],
  priority smallint,
  max_jobs integer,
  skip_jobs text[],
  as_of timestamptz
)
returns tid[]
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  started_at constant timestamptz := pg_catalog.clock_timestamp();
  read_before constant bigint := soniq._entries_read();
  lanes constant integer := pg_catalog.cardinality(lane_ids);
  has_hints constant boolean := exists (
    select
    from pg_catalog.unnest(_pick_from_lanes.lane_ids) as each (lane_id)
    where soniq._scan_hint(lane_id => each.lane_id) is not null
  );
  starts_at timestamptz[] := pg_catalog.array_fill(timestamptz '-infinity', array[lanes]);
  start_ids bigint[] := pg_catalog.array_fill(bigint '0', array[lanes]);
  places tid[];
  found_in integer[];
  picked tid[];
  walked bigint;
begin
  if has_hints then
    select
      pg_catalog.array_agg(start.scheduled_at order by each.lane),
      pg_catalog.array_agg(start.job_id order by each.lane)
    into starts_at, start_ids
    from pg_catalog.unnest(_pick_from_lanes.lane_ids) with ordinality as each (lane_id, lane)
    cross join lateral soniq._scan_start(lane_id => each.lane_id) as start;
  end if;

  select pg_catalog.array_agg(job.place), pg_catalog.array_agg(job.lane)
  into places, found_in
  from soniq._fair_share(
    lane_queues => _pick_from_lanes.lane_queues,
    priority => _pick_from_lanes.priority,
    starts_at => starts_at,
    start_ids => start_ids,
    max_jobs => _pick_from_lanes.max_jobs,
    skip_jobs => _pick_from_lanes.skip_jobs,
    as_of => _pick_from_lanes.as_of
  ) as job;
  -- Asked for the status, the planner might read all that is queued; only what is being processed has a claimed_at.
  picked := array(
    select job.ctid
    from soniq.jobs as job
    where job.ctid = any (places)
      and job.claimed_at is null
    for update skip locked
  );

  -- What took so long is not known for each lane, so it counts for all of them.
  walked := soniq._walked(
    started_at => started_at,
    read_before => read_before,
    jobs => lanes + coalesce(pg_catalog.cardinality(places), 0)
  );
  if _pick_from_lanes.skip_jobs is null and (has_hints or walked > 0) then
    perform soniq._remember_scan(
      lane_id => each.lane_id,
      walked => walked,
      whole => start_ids[each.lane] = 0,
      full_share => pg_catalog.cardinality(mine.picked) > 0
        and pg_catalog.cardinality(places) = _pick_from_lanes.max_jobs,
      picked => mine.picked
    )
    from pg_catalog.unnest(_pick_from_lanes.lane_ids) with ordinality as each (lane_id, lane)
    cross join lateral (
      select array(
        select job.place
        from rows from (pg_catalog.unnest(places), pg_catalog.unnest(found_in)) as job (place, lane)
        where job.lane = each.lane
          and job.place = any (picked)
      ) as picked
    ) as mine;
  end if;

  if picked = '{}' and places is not null then
    -- Another claim is taking the very same jobs; each lane has others behind them.
    select coalesce(pg_catalog.array_agg(job.place), '{}')
    into picked
    from (
      select found.lane, pg_catalog.count(*)::integer as share
      from pg_catalog.unnest(found_in) as found (lane)
      group by found.lane
    ) as part
    cross join lateral pg_catalog.unnest(
      soniq._pick_from_lane(
        lane_id => lane_ids[part.lane],
        queue => lane_queues[part.lane],
        priority => _pick_from_lanes.priority,
        max_jobs => part.share,
        skip_jobs => _pick_from_lanes.skip_jobs,
        as_of => _pick_from_lanes.as_of
      )
    ) as job (place);
  end if;
  return picked;
end;
$$;

comment on function soniq._pick_from_lanes(integer[], text[], smallint, integer, text[], timestamptz) is
'_pick_from_lane() for several lanes, which take turns. Fewer than there are where another claim takes some of them in the same moment.';

create or replace function soniq._pick(
  lane_ids integer[],
  lane_queues text[],
  priority smallint,
  max_jobs integer,
  skip_jobs text[],
  as_of timestamptz
)
returns tid[]
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
  if pg_catalog.cardinality(lane_ids) = 1 then
    return soniq._pick_from_lane(
      lane_id => lane_ids[1],
      queue => lane_queues[1],
      priority => _pick.priority,
      max_jobs => _pick.max_jobs,
      skip_jobs => _pick.skip_jobs,
      as_of => _pick.as_of
    );
  end if;
  return soniq._pick_from_lanes(
    lane_ids => _pick.lane_ids,
    lane_queues => _pick.lane_queues,
    priority => _pick.priority,
    max_jobs => _pick.max_jobs,
    skip_jobs => _pick.skip_jobs,
    as_of => _pick.as_of
  );
end;
$$;

comment on function soniq._pick(integer[], text[], smallint, integer, text[], timestamptz) is
'Locks up to max_jobs ready jobs of lanes of one priority and answers with where they are.';

create or replace view soniq.claimed_job as
select
  job.id as job_id,
  job.job_name,
  job.args,
  job.headers,
  job.queue,
  job.priority,
  job.attempt,
  job.max_attempts,
  job.scheduled_at,
  job.claimed_at,
  job.timeout,
  job.deadline,
  job.schedule,
  job.due_at,
  job.tenant
from soniq.jobs as job
where job.status = 'processing';

comment on view soniq.claimed_job is
'The jobs being processed, as claim() answers them. (job_id, attempt) is the lease: complete(), fail(), snooze() and release() take it.';

create or replace function soniq.claim(
  runner_id bigint,
  queues text[] default null,
  max_jobs integer default 1,
  skip_jobs text[] default null
)
returns setof soniq.claimed_job
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  wanted integer := max_jobs;
  picked tid[];
  passed smallint := soniq._first_passed();
  level smallint;
  lane_ids integer[];
  lane_queues text[];
begin
  if claim.queues is not null then
    perform soniq._check_queues(queues => claim.queues);
  end if;
  if max_jobs is null or max_jobs not between 1 and 10000 then
    perform soniq._refuse(
      'SQ012',
      pg_catalog.format('max_jobs is %s', coalesce(max_jobs::text, 'NULL')),
      'Give a whole number from 1 to 10000.'
    );
  end if;

  -- The lock keeps tick() from declaring the runner dead, and looking for its jobs, before these are its.
  perform
  from soniq.runners as runner
  where runner.runner_id = claim.runner_id
    and runner.lost_at is null
  for key share;
  if not found then
    perform soniq._refuse_runner(runner_id => claim.runner_id);
  end if;

  while passed is not null loop
    select next.priority, next.lane_ids, next.lane_queues
    into level, lane_ids, lane_queues
    from soniq._next_priority(queues => claim.queues, after => passed) as next;
    exit when not found;
    while lane_ids is not null loop
      picked := soniq._pick(
        lane_ids => lane_ids,
        lane_queues => lane_queues,
        priority => level,
        max_jobs => wanted,
        skip_jobs => claim.skip_jobs,
        as_of => as_of
      );
      -- A locked row stays where it is; to look it up by its id would cost more the larger the table is.
      return query
      with leased as (
        update soniq.jobs as job
        set status = 'processing',
          attempt = job.attempt + 1,
          runner_id = claim.runner_id,
          claimed_at = as_of,
          deadline = case when job.timeout > interval '0' then as_of + job.timeout end
        where job.ctid = any (picked)
        returning
          job.id, job.job_name, job.args, job.headers, job.queue, job.priority, job.attempt, job.max_attempts,
          job.scheduled_at, job.claimed_at, job.timeout, job.deadline, job.schedule, job.due_at, job.tenant
      )
      select *
      from leased
      order by leased.scheduled_at, leased.id;
      wanted := wanted - pg_catalog.cardinality(picked);
      exit when wanted = 0 or pg_catalog.cardinality(picked) = 0 or pg_catalog.cardinality(lane_ids) = 1;
      -- What another claim was about to take from several lanes is not all that they have.
      exit when soniq._last_empty_priority(from_priority => level - smallint '1') is distinct from level - 1;
    end loop;
    exit when wanted = 0;
    if wanted = max_jobs and passed = -1 and pg_catalog.cardinality(lane_ids) > 1 then
      perform soniq._note_vain_look(priority => level);
    end if;
    passed := soniq._last_empty_priority(from_priority => level);
  end loop;
end;
$$;

comment on function soniq.claim(bigint, text[], integer, text[]) is
'Leases up to max_jobs ready jobs to a runner and answers with them: the lowest priority number first, then of each queue in turn the oldest. Never blocks; skips paused queues and what is scheduled for later. Each claim of a job raises its attempt, and the pair (job_id, attempt) is the lease that complete(), fail(), snooze() and release() take.

runner_id: from register_runner().
queues: those to claim from; NULL is all.
max_jobs: 1 to 10000; ask for as many as there are free slots.
skip_jobs: job names not to hand out now, for a runner that has no room for these; they are read over, so keep them in a queue of their own where they are many.

A claim may be committed asynchronously (set local synchronous_commit = off): lost in a crash, it is only made again.

Errors: SQ002 queues, SQ011 runner not registered or declared dead, SQ012 max_jobs.';
