-- The tally: what tick() counts once a minute, so that metrics() and the views need not count it each time they are asked.
--
-- A count of ten million jobs reads 60,000 pages of the index, and as many of the table where vacuum has not been for a
-- while. A counter would cost nothing to read, but a row that every job updates makes them wait for each other and
-- leaves dead rows behind. So numbers are found in three ways, each of which costs a bounded number of pages.
--
--   Read whole: a table of at most 1,000 pages, which hold some 50,000 jobs. The numbers are exact.
--
--   Counted: in a larger table, the ready and the scheduled jobs of a lane are two ranges of the index jobs_ready. These are read up
--   to as many entries as 500 pages give, shared by all lanes: eight hundred for each of thirty lanes where vacuum has marked
--   the table's pages as visible to all, since then the index alone is read; ten where it has marked none, since then an
--   entry may cost a page. Numbers below are exact. So are the leases, which are as many as runners have slots.
--
--   Estimated: where a range goes on, its length comes from a sample of 1,000 pages of the table, and is_estimate says so.
--   Jobs of one queue lie together if they were enqueued together, so a queue that has a hundredth of a large table may be
--   told a third too high or too low; one that has a tenth of it, by a tenth, and one that has most of it, by a few
--   percent. The same pages are read each time, so that numbers do not jump from tally to tally, and are likely in memory.
--
-- While some transaction keeps vacuum from its work, entries of jobs long gone pile up where ranges begin, and a range
-- that holds ten jobs may take as long to read as one that holds millions. So when that has gone on for a minute, and more
-- than half a million dead rows have come together, as PostgreSQL counts them, no range is read and the sample has to do
-- for everything: a small backlog may then be told as none, and the oldest ready job as younger than it is.
-- soniq_oldest_transaction_seconds tells of that well before. Without such a transaction, readers mark the entries as
-- dead and pass over them, so it does not matter how many rows vacuum has still to remove.

-- What can be read, and at what cost.

create or replace function soniq._pages(relation regclass)
returns bigint
language sql
volatile
as $$
  select pg_catalog.pg_relation_size(_pages.relation) / pg_catalog.current_setting('block_size')::bigint;
$$;

comment on function soniq._pages(regclass) is
'The pages of a table, without its indexes.';

-- A hundred and more entries lie on a page of the index; each may lead to a page of the table that is not visible to all.
create or replace function soniq._affordable_entries(relation regclass, pages integer)
returns bigint
language sql
volatile
as $$
  select (
    _affordable_entries.pages
    / (1.01 - least(known.relallvisible::double precision / greatest(soniq._pages(relation => relation), 1), 1))
  )::bigint
  from pg_catalog.pg_class as known
  where known.oid = _affordable_entries.relation;
$$;

comment on function soniq._affordable_entries(regclass, integer) is
'How many entries of a table''s index may be counted for so many pages, by what vacuum has left visible to all.';

create or replace function soniq._dead_rows()
returns bigint
language sql
stable
as $$
  select pg_catalog.pg_stat_get_dead_tuples('soniq.jobs'::pg_catalog.regclass);
$$;

comment on function soniq._dead_rows() is
'Rows of soniq.jobs that vacuum has still to remove, as far as PostgreSQL knows.';

-- Transactions, of which only those that have an xid or a snapshot count, prepared ones, and what a standby or a slot asks
-- for. A vacuum does not hinder another. age() counts back from one xid all through a transaction, so whoever has begun since is
-- younger than nothing.
create or replace function soniq._vacuum_obstacles()
returns table (since timestamptz, transactions integer)
language sql
stable
as $$
  select session.xact_start, greatest(pg_catalog.age(session.backend_xmin), pg_catalog.age(session.backend_xid), 0)
  from pg_catalog.pg_stat_activity as session
  where (session.backend_xmin is not null or session.backend_xid is not null)
    and (session.datname = pg_catalog.current_database() or session.datid is null)
    and session.pid <> pg_catalog.pg_backend_pid()
    and not exists (
      select
      from pg_catalog.pg_stat_progress_vacuum as vacuum
      where vacuum.pid = session.pid
    )
  union all
  select prepared.prepared, greatest(pg_catalog.age(prepared.transaction), 0)
  from pg_catalog.pg_prepared_xacts as prepared
  where prepared.database = pg_catalog.current_database()
  union all
  select null, greatest(pg_catalog.age(slot.xmin), 0)
  from pg_catalog.pg_replication_slots as slot
  where slot.xmin is not null;
$$;

comment on function soniq._vacuum_obstacles() is
'What keeps vacuum from removing rows in this database: since when, and how many transactions it reaches back. Who may not see other users'' sessions (pg_read_all_stats) does not see since when.';

-- PostgreSQL's own times, hence its own clock.
create or replace function soniq._ranges_are_readable()
returns boolean
language sql
volatile
as $$
  select soniq._dead_rows() <= 500000
    or not exists (
      select
      from soniq._vacuum_obstacles() as obstacle
      where obstacle.since < pg_catalog.clock_timestamp() - interval '1 minute'
        or (obstacle.since is null and obstacle.transactions > 1000)
    );
$$;

comment on function soniq._ranges_are_readable() is
'False where so many entries that vacuum cannot remove lie in the indexes of soniq.jobs that the sample has to do.';

create or replace function soniq._leases()
returns table (queue text, job_name text, runner_id bigint, claimed_at timestamptz, deadline timestamptz)
language sql
stable
set enable_seqscan = off
set jit = off
as $$
  select job.queue, job.job_name, job.runner_id, job.claimed_at, job.deadline
  from soniq.jobs as job
  where job.status = 'processing';
$$;

comment on function soniq._leases() is
'The jobs being processed: as many as runners have slots.';

create or replace function soniq._sample_percent(relation regclass, pages integer)
returns real
language sql
volatile
as $$
  select least(100, 100.0 * _sample_percent.pages / greatest(soniq._pages(relation => relation), 1))::real;
$$;

comment on function soniq._sample_percent(regclass, integer) is
'The share of a table''s pages that makes about so many: all of them, if there are no more, or NULL is given.';

create or replace function soniq._sampled_jobs(pages integer default null, since timestamptz default 'infinity')
returns table (
  queue text,
  job_name text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
  failed bigint,
  oldest_ready_at timestamptz
)
language plpgsql
volatile
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  grace constant interval := settings.lease_grace from soniq.settings as settings;
  percent constant real := soniq._sample_percent(relation => 'soniq.jobs', pages => _sampled_jobs.pages);
  weight constant double precision := 100 / percent;
begin
  return query
  select
    job.queue,
    job.job_name,
    (weight * pg_catalog.count(*) filter (where job.status = 'queued' and job.scheduled_at <= as_of))::bigint,
    (weight * pg_catalog.count(*) filter (where job.status = 'queued' and job.scheduled_at > as_of))::bigint,
    (weight * pg_catalog.count(*) filter (where job.status = 'processing'))::bigint,
    (weight * pg_catalog.count(*) filter (where job.deadline < as_of - grace))::bigint,
    (weight * pg_catalog.count(*) filter (where job.failed_at > _sampled_jobs.since and job.failed_at <= as_of))::bigint,
    min(job.scheduled_at) filter (where job.status = 'queued' and job.scheduled_at <= as_of)
  from soniq.jobs as job tablesample system (percent) repeatable (0)
  group by job.queue, job.job_name;
end;
$$;

comment on function soniq._sampled_jobs(integer, timestamptz) is
'The live jobs by queue and name, told from about so many pages of their table; all of them unless told, and then exact. failed are those of which an attempt has failed since then.';

create or replace function soniq._sampled_dead_letters(pages integer)
returns table (queue text, job_name text, waiting bigint)
language plpgsql
volatile
set jit = off
as $$
#variable_conflict use_column
declare
  percent constant real := soniq._sample_percent(
    relation => 'soniq.dead_letter_jobs', pages => _sampled_dead_letters.pages
  );
  weight constant double precision := 100 / percent;
begin
  return query
  select letter.queue, letter.job_name, (weight * pg_catalog.count(*))::bigint
  from soniq.dead_letter_jobs as letter tablesample system (percent) repeatable (0)
  where letter.replay_count = 0
  group by letter.queue, letter.job_name;
end;
$$;

comment on function soniq._sampled_dead_letters(integer) is
'The dead letters not yet replayed by queue and name, told as in _sampled_jobs().';

-- Rows are added and seldom removed, so they lie in the order in which jobs finished, or nearly. A page may have no row to be
-- seen, where completions were rolled back; then the next one that is there tells.
create or replace function soniq._pages_since(partition name, pages bigint, since timestamptz)
returns bigint
language plpgsql
stable
as $$
declare
  from_page bigint := 0::bigint;
  to_page bigint := pages;
  middle bigint;
  is_before boolean;
begin
  while from_page < to_page loop
    middle := (from_page + to_page) / 2;
    execute pg_catalog.format(
      'select job.finished_at < $2
      from soniq.%I as job
      where job.ctid >= $1
      limit 1',
      partition
    )
    into is_before
    using pg_catalog.format('(%s,0)', middle)::tid, since;
    if is_before then
      from_page := middle + 1;
    else
      to_page := middle;
    end if;
  end loop;
  return pages - from_page;
end;
$$;

comment on function soniq._pages_since(name, bigint, timestamptz) is
'How many pages of a partition of finished_jobs begin with a job that finished since then, found by halving.';

create or replace function soniq._recently_finished(since timestamptz)
returns table (
  queue text,
  job_name text,
  status soniq.job_status,
  failed_attempts integer,
  failed_at timestamptz,
  wait_time interval,
  run_time interval,
  finished_at timestamptz,
  weight double precision
)
language plpgsql
volatile
set jit = off
as $$
#variable_conflict use_column
declare
  partition record;
  is_in_use boolean;
begin
  -- Rows are added and seldom removed, so the latest lie at the end, and no index on finished_at is needed, which each completion
  -- would have to write. The last few pages tell whether a partition is in use at all.
  for partition in
    select
      part.relname,
      pg_catalog.pg_relation_size(part.oid) / pg_catalog.current_setting('block_size')::integer as pages
    from pg_catalog.pg_inherits as inheritance
    join pg_catalog.pg_class as part
      on part.oid = inheritance.inhrelid
    where inheritance.inhparent = 'soniq.finished_jobs'::pg_catalog.regclass
      and pg_catalog.pg_relation_size(part.oid) > 0
  loop
    execute pg_catalog.format(
      'select exists (
        select
        from soniq.%I as job
        where job.ctid >= $1
          and job.finished_at >= $2
      )',
      partition.relname
    )
    into is_in_use
    using pg_catalog.format('(%s,0)', greatest(partition.pages - 10, 0))::tid, since;
    continue when not is_in_use;

    weight := null;
    for queue, job_name, status, failed_attempts, failed_at, wait_time, run_time, finished_at in
      execute pg_catalog.format(
        'select
          job.queue, job.job_name, job.status, pg_catalog.jsonb_array_length(job.errors), job.failed_at,
          job.claimed_at - job.scheduled_at, job.finished_at - job.claimed_at, job.finished_at
        from soniq.%I as job
        where job.ctid >= $1',
        partition.relname
      )
      using pg_catalog.format('(%s,0)', greatest(partition.pages - 100, 0))::tid
    loop
      -- The first is the oldest, or nearly: where it is recent, so are some on the pages before.
      if weight is null then
        weight := case
          when partition.pages <= 100 or finished_at < since then 1::double precision
          else greatest(
              soniq._pages_since(partition => partition.relname, pages => partition.pages, since => _recently_finished.since)
                / 100::double precision,
              1::double precision
            )
        end;
      end if;
      continue when finished_at < since;
      return next;
    end loop;
  end loop;
end;
$$;

comment on function soniq._recently_finished(timestamptz) is
'The jobs that finished since then, as far as they are in the last 100 pages of their partition; weight is for how many each of these stands.';

-- Counting.

create or replace function soniq._counted_jobs()
returns table (queue text, ready bigint, scheduled bigint, more_ready boolean, more_scheduled boolean)
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  ranges constant bigint := 2 * pg_catalog.count(*) from soniq.lanes as known;
  fair_share constant bigint := soniq._affordable_entries(relation => 'soniq.jobs', pages => 500) / greatest(ranges, 1);
  most constant bigint := least(greatest(fair_share, 10), 10000);
begin
  return query
  select
    lane.queue,
    sum(ready.jobs)::bigint,
    sum(later.jobs)::bigint,
    pg_catalog.bool_or(ready.jobs > most),
    pg_catalog.bool_or(later.jobs > most)
  from (
    select distinct known.queue, known.priority
    from soniq.lanes as known
  ) as lane
  cross join lateral (
    select pg_catalog.count(*) as jobs
    from (
      select
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = lane.queue
        and job.priority = lane.priority
        and job.scheduled_at <= as_of
      order by job.scheduled_at, job.id
      limit most + 1
    ) as entry
  ) as ready
  cross join lateral (
    select pg_catalog.count(*) as jobs
    from (
      select
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = lane.queue
        and job.priority = lane.priority
        and job.scheduled_at > as_of
      order by job.scheduled_at, job.id
      limit most + 1
    ) as entry
  ) as later
  group by lane.queue;
end;
$$;

comment on function soniq._counted_jobs() is
'The queued jobs of each queue, and whether there are more than were counted.';

create or replace function soniq._count_queues(sampled_jobs jsonb, sampled_letters jsonb)
returns table (
  queue text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
  dead_letters bigint,
  is_estimate boolean,
  failed bigint,
  oldest_ready_at timestamptz
)
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  grace constant interval := settings.lease_grace from soniq.settings as settings;
  is_whole constant boolean := soniq._pages(relation => 'soniq.jobs') <= 1000;
  uses_index constant boolean := not is_whole and soniq._ranges_are_readable();
  has_all_letters constant boolean := soniq._pages(relation => 'soniq.dead_letter_jobs') <= 500;
  most_letters constant bigint := soniq._affordable_entries(relation => 'soniq.dead_letter_jobs', pages => 1000);
begin
  return query
  with sampled as (
    select
      job.queue,
      sum(job.ready) as ready,
      sum(job.scheduled) as scheduled,
      sum(job.processing) as processing,
      sum(job.overdue) as overdue,
      sum(job.failed) as failed,
      min(job.oldest_ready_at) as oldest_ready_at
    from pg_catalog.jsonb_to_recordset(_count_queues.sampled_jobs) as job (
      queue text,
      job_name text,
      ready bigint,
      scheduled bigint,
      processing bigint,
      overdue bigint,
      failed bigint,
      oldest_ready_at timestamptz
    )
    group by job.queue
  ),
  counted as (
    select job.*
    from soniq._counted_jobs() as job
    where uses_index
  ),
  leased as (
    select
      lease.queue,
      pg_catalog.count(*) as jobs,
      pg_catalog.count(*) filter (where lease.deadline < as_of - grace) as overdue
    from soniq._leases() as lease
    where uses_index
    group by lease.queue
  ),
  dead as materialized (
    select letter.queue, pg_catalog.count(*) as jobs
    from (
      select one.queue
      from soniq.dead_letter_jobs as one
      where not has_all_letters
        and one.replay_count = 0
      limit most_letters + 1
    ) as letter
    group by letter.queue
  ),
  sampled_dead as (
    select letter.queue, sum(letter.waiting) as jobs
    from pg_catalog.jsonb_to_recordset(_count_queues.sampled_letters) as letter (queue text, waiting bigint)
    where has_all_letters
      or (select sum(dead.jobs) > most_letters from dead)
    group by letter.queue
  )
  select
    known.queue,
    coalesce(case when counted.more_ready is false then counted.ready else greatest(counted.ready, sampled.ready) end, 0)::bigint,
    coalesce(
      case when counted.more_scheduled is false then counted.scheduled else greatest(counted.scheduled, sampled.scheduled) end,
      0
    )::bigint,
    coalesce(case when uses_index then leased.jobs else sampled.processing end, 0)::bigint,
    coalesce(case when uses_index then leased.overdue else sampled.overdue end, 0)::bigint,
    coalesce(greatest(dead.jobs, sampled_dead.jobs), 0)::bigint,
    not is_whole and coalesce(counted.more_ready or counted.more_scheduled, true)
      or (select sum(all_dead.jobs) > most_letters from dead as all_dead) is true,
    coalesce(sampled.failed, 0)::bigint,
    sampled.oldest_ready_at
  from (
    -- Whatever is live or dead once came through a lane.
    select distinct lane.queue
    from soniq.lanes as lane
  ) as known
  left join counted on counted.queue = known.queue
  left join leased on leased.queue = known.queue
  left join sampled on sampled.queue = known.queue
  left join dead on dead.queue = known.queue
  left join sampled_dead on sampled_dead.queue = known.queue
  order by known.queue;
end;
$$;

comment on function soniq._count_queues(jsonb, jsonb) is
'The jobs of each queue by state, those of which an attempt has failed lately, and its dead letters that were not replayed.';

create or replace function soniq._count_job_names(sampled_jobs jsonb, sampled_letters jsonb)
returns table (
  job_name text,
  queued bigint,
  processing bigint,
  dead_letters bigint,
  is_estimate boolean,
  done bigint,
  cancelled bigint,
  failed_attempts bigint,
  average_run_time interval,
  p95_run_time interval,
  finished_since timestamptz
)
language sql
volatile
set jit = off
as $$
  with live as (
    select
      job.job_name,
      sum(job.ready + job.scheduled) as queued,
      sum(job.processing) as processing
    from pg_catalog.jsonb_to_recordset(_count_job_names.sampled_jobs) as job (
      job_name text,
      ready bigint,
      scheduled bigint,
      processing bigint
    )
    group by job.job_name
  ),
  leased as (
    select lease.job_name, pg_catalog.count(*) as jobs
    from soniq._leases() as lease
    where (select soniq._ranges_are_readable())
    group by lease.job_name
  ),
  dead as (
    select letter.job_name, sum(letter.waiting) as jobs
    from pg_catalog.jsonb_to_recordset(_count_job_names.sampled_letters) as letter (job_name text, waiting bigint)
    group by letter.job_name
  ),
  recent as materialized (
    select *
    from soniq._recently_finished(since => soniq.clock() - interval '1 hour')
  ),
  finished as (
    select
      job.job_name,
      pg_catalog.count(*) filter (where job.status = 'done') as done,
      pg_catalog.count(*) filter (where job.status = 'cancelled') as cancelled,
      sum(job.failed_attempts) as failed_attempts,
      pg_catalog.avg(job.run_time) filter (where job.status = 'done') as average_run_time,
      pg_catalog.percentile_disc(0.95) within group (order by job.run_time) filter (where job.status = 'done')
        as p95_run_time
    from recent as job
    group by job.job_name
  )
  select
    known.job_name,
    coalesce(live.queued, 0)::bigint,
    coalesce(case when soniq._ranges_are_readable() then leased.jobs else live.processing end, 0)::bigint,
    coalesce(dead.jobs, 0)::bigint,
    greatest(soniq._pages(relation => 'soniq.jobs'), soniq._pages(relation => 'soniq.dead_letter_jobs')) > 1000,
    coalesce(finished.done, 0),
    coalesce(finished.cancelled, 0),
    coalesce(finished.failed_attempts, 0)::bigint,
    finished.average_run_time,
    finished.p95_run_time,
    first.finished_at
  from (
    select type.job_name from soniq.job_types as type
    union
    select live.job_name from live
    union
    select leased.job_name from leased
    union
    select dead.job_name from dead
    union
    select finished.job_name from finished
  ) as known
  left join live on live.job_name = known.job_name
  left join leased on leased.job_name = known.job_name
  left join dead on dead.job_name = known.job_name
  left join finished on finished.job_name = known.job_name
  cross join (
    select min(recent.finished_at) as finished_at
    from recent
  ) as first
  order by known.job_name;
$$;

comment on function soniq._count_job_names(jsonb, jsonb) is
'The jobs of each name, live, dead and finished lately. Names are in no index, so beyond 1,000 pages those of queued jobs are told from a sample.';

create or replace function soniq._count_leases()
returns table (runner_id bigint, running bigint, oldest_claimed_at timestamptz)
language sql
volatile
as $$
  select lease.runner_id, pg_catalog.count(*), min(lease.claimed_at)
  from soniq._leases() as lease
  group by lease.runner_id;
$$;

comment on function soniq._count_leases() is
'How many jobs each runner holds, and since when the oldest of them.';

-- From lane to lane through the index itself, since of 2,000 lanes few have jobs. The heads lie on pages that are written
-- all the time, so to look up whether each is visible to all would only be one page more.
create or replace function soniq._lane_heads()
returns table (queue text, priority smallint, scheduled_at timestamptz, id bigint)
language sql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set enable_indexonlyscan = off
set jit = off
as $$
  with recursive head as (
    (
      select job.queue, job.priority, job.scheduled_at, job.id
      from soniq.jobs as job
      where job.status = 'queued'
      order by job.priority, job.queue, job.scheduled_at, job.id
      limit 1
    )
    union all
    select following.*
    from head
    cross join lateral (
      select job.queue, job.priority, job.scheduled_at, job.id
      from soniq.jobs as job
      where job.status = 'queued'
        and (job.priority, job.queue) > (head.priority, head.queue)
      order by job.priority, job.queue, job.scheduled_at, job.id
      limit 1
    ) as following
  )
  select head.queue, head.priority, head.scheduled_at, head.id
  from head;
$$;

comment on function soniq._lane_heads() is
'The first queued job of each lane that has any.';

create or replace function soniq._count_schedules()
returns jsonb
language sql
volatile
as $$
  select pg_catalog.jsonb_build_object(
    'paused', pg_catalog.count(*) filter (where known.state = 'paused'),
    'ended', pg_catalog.count(*) filter (where known.state = 'ended'),
    'active', pg_catalog.count(*) filter (where known.state = 'active')
  )
  from (
    select soniq._schedule_state(schedule => schedule, late_before => '-infinity') as state
    from soniq.schedules as schedule
  ) as known;
$$;

comment on function soniq._count_schedules() is
'How many schedules there are by state.';

create or replace function soniq._count(since timestamptz default 'infinity')
returns soniq.tallies
language plpgsql
volatile
as $$
declare
  as_of constant timestamptz := soniq.clock();
  sampled_jobs constant jsonb := pg_catalog.jsonb_agg(each)
    from soniq._sampled_jobs(pages => 1000, since => _count.since) as each;
  sampled_letters constant jsonb := pg_catalog.jsonb_agg(each) from soniq._sampled_dead_letters(pages => 500) as each;
  counted soniq.tallies;
begin
  select
    as_of,
    (
      select pg_catalog.jsonb_agg(each)
      from soniq._count_queues(sampled_jobs => sampled_jobs, sampled_letters => sampled_letters) as each
    ),
    (
      select pg_catalog.jsonb_agg(each)
      from soniq._lane_heads() as each
      where (select soniq._ranges_are_readable())
    ),
    (
      select pg_catalog.jsonb_agg(each)
      from soniq._count_job_names(sampled_jobs => sampled_jobs, sampled_letters => sampled_letters) as each
    ),
    (
      select pg_catalog.jsonb_agg(each)
      from soniq._count_leases() as each
    ),
    (
      select pg_catalog.jsonb_agg(each)
      from soniq._group_letters(most => 20000) as each
    ),
    soniq._count_schedules()
  into
    counted.taken_at, counted.queues, counted.heads, counted.job_names, counted.runners, counted.letters, counted.schedules;
  return counted;
end;
$$;

comment on function soniq._count(timestamptz) is
'Counts everything that a tally holds; what has failed, since then.';

create or replace function soniq._take_tally()
returns void
language plpgsql
volatile
as $$
declare
  -- Where nothing ticked for long, what is older is left out.
  since constant timestamptz := greatest(
    coalesce((select max(former.taken_at) from soniq.tallies as former), soniq.clock() - interval '1 minute'),
    soniq.clock() - interval '1 hour'
  );
  counted constant soniq.tallies := soniq._count(since => since);
begin
  delete from soniq.tallies;
  insert into soniq.tallies
  select counted.*;
  perform soniq._note_history(since => since, counted => counted)
  where since < counted.taken_at;
end;
$$;

comment on function soniq._take_tally() is
'Counts, keeps what was counted in place of what was before, and adds it to the history.';

create or replace function soniq._tallied_queues(tally soniq.tallies)
returns table (
  queue text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
  dead_letters bigint,
  is_estimate boolean,
  failed bigint,
  oldest_ready_at timestamptz
)
language sql
stable
as $$
  select each.*
  from pg_catalog.jsonb_to_recordset((_tallied_queues.tally).queues) as each (
    queue text,
    ready bigint,
    scheduled bigint,
    processing bigint,
    overdue bigint,
    dead_letters bigint,
    is_estimate boolean,
    failed bigint,
    oldest_ready_at timestamptz
  );
$$;

comment on function soniq._tallied_queues(soniq.tallies) is
'What a tally tells of each queue.';

create or replace function soniq._tallied_heads(tally soniq.tallies)
returns table (queue text, scheduled_at timestamptz)
language sql
stable
as $$
  select head.queue, min(head.scheduled_at)
  from pg_catalog.jsonb_to_recordset((_tallied_heads.tally).heads) as head (queue text, scheduled_at timestamptz)
  where head.scheduled_at <= (_tallied_heads.tally).taken_at
  group by head.queue;
$$;

comment on function soniq._tallied_heads(soniq.tallies) is
'When the first job was due that was ready in each queue when a tally was taken.';

create or replace function soniq._latest_tally()
returns soniq.tallies
language plpgsql
volatile
as $$
declare
  latest soniq.tallies;
begin
  select tally.*
  into latest
  from soniq.tallies as tally
  order by tally.taken_at desc
  limit 1;

  -- Where nothing ticks, whoever asks has to count.
  if latest.taken_at is null or latest.taken_at < soniq.clock() - interval '5 minutes' then
    return soniq._count();
  end if;
  return latest;
end;
$$;

comment on function soniq._latest_tally() is
'What was counted last, which is at most a minute ago where something ticks, and at most five minutes anyway.';
