-- What an operator watches: metrics() for a scraper, and three views for people and dashboards.
--
-- A scrape comes every few seconds whatever the backlog, so nothing here counts all of a table, and no counter is kept
-- for it either: a row that every job updates would make them wait for each other and leave dead rows behind.
-- What is asked for is found in three ways.
--
--   Counted: the ready and the scheduled jobs of a lane are ranges of the index jobs_ready, and the leases are an index
--   of their own. A range is read up to 10,000 entries, or fewer where there are more than ten lanes, but at least 100,
--   so that the ranges of up to a thousand lanes add up to 200,000 at most. Up to there the numbers are exact. The age of
--   the oldest ready job is always exact, being that of the first entry of its range. Names are in no index, so
--   job_stats reads 20,000 queued jobs and as many dead letters.
--
--   Estimated: where a range goes on, its length comes from a sample of about 1,000 pages of the table, which costs the same
--   whatever the size, and is_estimate says so. Statistics of the planner would cost less, but are as old as the
--   last ANALYZE, and know nothing of what is due by now. Jobs of one queue lie together if they were enqueued together,
--   so a queue that has a hundredth of a large table may be told a third too high or too low; one that has most of it, by
--   a few percent. The same pages are read each time, so that the numbers do not jump from scrape to scrape.
--
--   Left to PostgreSQL: how many jobs were added and ended is in the statistics that it keeps for every table.
--
-- While some transaction keeps vacuum from its work, entries of jobs long gone pile up where ranges begin, and a range
-- that holds ten jobs may take as long to read as one that holds millions. So when that has gone on for a minute, and more
-- than half a million dead rows have come together, as PostgreSQL counts them, no range is read and the sample has to do
-- for everything: a small backlog may then be told as none, and the oldest ready job as younger than it is.
-- soniq_oldest_transaction_seconds tells of that well before. Without such a transaction, readers mark the entries as
-- dead and pass over them, so it does not matter how many rows vacuum has still to remove.
--
-- Nothing here shows arguments, results or error messages.

-- Reading what is left.

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
-- for. A vacuum does not hinder another.
create or replace function soniq._vacuum_obstacles()
returns table (since timestamptz, transactions integer)
language sql
stable
as $$
  select session.xact_start, greatest(pg_catalog.age(session.backend_xmin), pg_catalog.age(session.backend_xid))
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
  select prepared.prepared, pg_catalog.age(prepared.transaction)
  from pg_catalog.pg_prepared_xacts as prepared
  where prepared.database = pg_catalog.current_database()
  union all
  select null, pg_catalog.age(slot.xmin)
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

create or replace function soniq._sample_percent(relation regclass)
returns real
language sql
stable
as $$
  select least(
    100,
    100.0 * 1000 * pg_catalog.current_setting('block_size')::integer
    / greatest(pg_catalog.pg_relation_size(_sample_percent.relation), 1)
  )::real;
$$;

comment on function soniq._sample_percent(regclass) is
'The share of a table''s pages that makes about 1,000: all of them, if there are no more.';

create or replace function soniq._sampled_jobs()
returns table (
  queue text,
  job_name text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
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
  percent constant real := soniq._sample_percent(relation => 'soniq.jobs');
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
    min(job.scheduled_at) filter (where job.status = 'queued' and job.scheduled_at <= as_of)
  from soniq.jobs as job tablesample system (percent) repeatable (0)
  group by job.queue, job.job_name;
end;
$$;

comment on function soniq._sampled_jobs() is
'The live jobs by queue and name, told from about 1,000 pages of their table: exact, if it has no more.';

create or replace function soniq._sampled_dead_letters()
returns table (queue text, job_name text, waiting bigint)
language plpgsql
stable
set jit = off
as $$
#variable_conflict use_column
declare
  percent constant real := soniq._sample_percent(relation => 'soniq.dead_letter_jobs');
  weight constant double precision := 100 / percent;
begin
  return query
  select letter.queue, letter.job_name, (weight * pg_catalog.count(*))::bigint
  from soniq.dead_letter_jobs as letter tablesample system (percent) repeatable (0)
  where letter.replay_count = 0
  group by letter.queue, letter.job_name;
end;
$$;

comment on function soniq._sampled_dead_letters() is
'The dead letters not yet replayed by queue and name, told as in _sampled_jobs().';

create or replace function soniq._recently_finished()
returns table (
  job_name text,
  status soniq.job_status,
  failed_attempts integer,
  run_time interval,
  finished_at timestamptz
)
language plpgsql
volatile
set jit = off
as $$
#variable_conflict use_column
declare
  since constant timestamptz := soniq.clock() - interval '1 hour';
  partition record;
  is_in_use boolean;
begin
  -- Rows are only ever added, so the latest lie at the end, and no index on finished_at is needed, which each completion
  -- would have to write. The last few pages tell whether a partition is in use at all.
  for partition in
    select
      part.relname,
      pg_catalog.pg_relation_size(part.oid) / pg_catalog.current_setting('block_size')::integer as pages
    from pg_catalog.pg_inherits as inheritance
    join pg_catalog.pg_class as part
      on part.oid = inheritance.inhrelid
    where inheritance.inhparent = 'soniq.finished_jobs'::pg_catalog.regclass
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
    using pg_catalog.format('(%s,0)', greatest(partition.pages - 20, 0))::tid, since;
    continue when not is_in_use;

    for job_name, status, failed_attempts, run_time, finished_at in
      execute pg_catalog.format(
        'select
          job.job_name, job.status, pg_catalog.jsonb_array_length(job.errors), job.finished_at - job.claimed_at,
          job.finished_at
        from soniq.%I as job
        where job.ctid >= $1
          and job.finished_at >= $2',
        partition.relname
      )
      using pg_catalog.format('(%s,0)', greatest(partition.pages - 200, 0))::tid, since
    loop
      return next;
    end loop;
  end loop;
end;
$$;

comment on function soniq._recently_finished() is
'The jobs that finished within the last hour, as far as they are in the last 200 pages of their partition.';

-- The views.

create or replace function soniq._queue_stats()
returns table (
  queue text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
  dead_letters bigint,
  is_estimate boolean,
  oldest_ready_age interval,
  paused boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  grace constant interval := settings.lease_grace from soniq.settings as settings;
  ranges_are_readable constant boolean := soniq._ranges_are_readable();
  fair_share constant bigint := 100000 / greatest(pg_catalog.count(*), 1) from soniq.lanes as known;
  most constant bigint := least(greatest(fair_share, 100), 10000);
begin
  return query
  with lane as (
    select distinct known.queue, known.priority
    from soniq.lanes as known
  ),
  counted as (
    select
      lane.queue,
      sum(ready.jobs) as ready,
      sum(later.jobs) as scheduled,
      min(ready.oldest_at) as oldest_ready_at,
      pg_catalog.bool_or(not ranges_are_readable or ready.jobs > most) as more_ready,
      pg_catalog.bool_or(not ranges_are_readable or later.jobs > most) as more_scheduled
    from lane
    cross join lateral (
      select pg_catalog.count(*) as jobs, min(entry.scheduled_at) as oldest_at
      from (
        select job.scheduled_at
        from soniq.jobs as job
        where ranges_are_readable
          and job.status = 'queued'
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
        where ranges_are_readable
          and job.status = 'queued'
          and job.queue = lane.queue
          and job.priority = lane.priority
          and job.scheduled_at > as_of
        order by job.scheduled_at, job.id
        limit most + 1
      ) as entry
    ) as later
    group by lane.queue
  ),
  leased as (
    select
      lease.queue,
      pg_catalog.count(*) as jobs,
      pg_catalog.count(*) filter (where lease.deadline < as_of - grace) as overdue
    from soniq._leases() as lease
    where ranges_are_readable
    group by lease.queue
  ),
  sampled as (
    select
      job.queue,
      sum(job.ready) as ready,
      sum(job.scheduled) as scheduled,
      sum(job.processing) as processing,
      sum(job.overdue) as overdue,
      min(job.oldest_ready_at) as oldest_ready_at
    from soniq._sampled_jobs() as job
    where exists (
      select
      from counted
      where counted.more_ready
        or counted.more_scheduled
    )
    group by job.queue
  ),
  -- Whatever is dead once came through a lane.
  dead as (
    select known.queue, letter.jobs
    from (
      select distinct lane.queue
      from lane
    ) as known
    cross join lateral (
      select pg_catalog.count(*) as jobs
      from (
        select
        from soniq.dead_letter_jobs as one
        where one.replay_count = 0
          and one.queue = known.queue
        limit most + 1
      ) as entry
    ) as letter
  ),
  sampled_dead as (
    select letter.queue, sum(letter.waiting) as jobs
    from soniq._sampled_dead_letters() as letter
    where exists (
      select
      from dead
      where dead.jobs > most
    )
    group by letter.queue
  )
  select
    known.queue,
    coalesce(case when counted.more_ready then greatest(counted.ready, sampled.ready) else counted.ready end, 0)::bigint,
    coalesce(
      case when counted.more_scheduled then greatest(counted.scheduled, sampled.scheduled) else counted.scheduled end, 0
    )::bigint,
    coalesce(case when ranges_are_readable then leased.jobs else sampled.processing end, 0)::bigint,
    coalesce(case when ranges_are_readable then leased.overdue else sampled.overdue end, 0)::bigint,
    coalesce(case when dead.jobs > most then greatest(dead.jobs, sampled_dead.jobs) else dead.jobs end, 0)::bigint,
    coalesce(counted.more_ready or counted.more_scheduled or dead.jobs > most, false),
    as_of - case when ranges_are_readable then counted.oldest_ready_at else sampled.oldest_ready_at end,
    coalesce(setting.paused, false)
  from (
    select lane.queue
    from lane
    union
    select own.queue
    from soniq.queues as own
  ) as known
  left join counted on counted.queue = known.queue
  left join leased on leased.queue = known.queue
  left join sampled on sampled.queue = known.queue
  left join dead on dead.queue = known.queue
  left join sampled_dead on sampled_dead.queue = known.queue
  left join soniq.queues as setting on setting.queue = known.queue
  order by known.queue;
end;
$$;

comment on function soniq._queue_stats() is
'What the view queue_stats shows. A function, since the planner must not choose how to read the backlog.';

create or replace view soniq.queue_stats as
select *
from soniq._queue_stats();

comment on view soniq.queue_stats is
'Each queue now. ready jobs may be claimed, scheduled ones are for later, processing ones are held by a runner, and overdue are those of them that are past their deadline and the grace. dead_letters are those not yet replayed. Exact up to 10,000 jobs of a queue and priority (fewer where there are more than ten of these); beyond, told from a sample, and is_estimate says so. oldest_ready_age: how long the oldest ready job has been due; NULL if none is. A paused queue''s jobs are ready, and not handed out.';
comment on column soniq.queue_stats.queue is 'Any queue that was ever enqueued into, or has settings.';
comment on column soniq.queue_stats.ready is 'Queued and due.';
comment on column soniq.queue_stats.scheduled is 'Queued for later: delayed, or to be retried.';
comment on column soniq.queue_stats.processing is 'Held by a runner.';
comment on column soniq.queue_stats.overdue is
  'Of these, past their deadline and the grace: the next tick() takes them back.';
comment on column soniq.queue_stats.dead_letters is 'Given up, and not replayed.';
comment on column soniq.queue_stats.is_estimate is 'True where one of these numbers was told from a sample.';
comment on column soniq.queue_stats.oldest_ready_age is 'How long the oldest ready job has been due; NULL if none is.';
comment on column soniq.queue_stats.paused is 'Paused: jobs are taken in but not handed out.';

create or replace function soniq._job_stats()
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
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  ranges_are_readable constant boolean := soniq._ranges_are_readable();
  most constant integer := 20000;
begin
  return query
  with counted as materialized (
    select job.job_name, pg_catalog.count(*) as jobs
    from (
      select known.job_name
      from soniq.jobs as known
      where ranges_are_readable
        and known.status = 'queued'
      limit most + 1
    ) as job
    group by job.job_name
  ),
  counted_dead as materialized (
    select letter.job_name, pg_catalog.count(*) as jobs
    from (
      select known.job_name
      from soniq.dead_letter_jobs as known
      where known.replay_count = 0
      limit most + 1
    ) as letter
    group by letter.job_name
  ),
  estimate as (
    select
      not ranges_are_readable or (select sum(counted.jobs) > most from counted) is true as is_needed,
      (select sum(counted_dead.jobs) > most from counted_dead) is true as is_needed_for_dead
  ),
  sampled as (
    select job.job_name, sum(job.ready + job.scheduled) as queued, sum(job.processing) as processing
    from soniq._sampled_jobs() as job
    where (select estimate.is_needed from estimate)
    group by job.job_name
  ),
  sampled_dead as (
    select letter.job_name, sum(letter.waiting) as jobs
    from soniq._sampled_dead_letters() as letter
    where (select estimate.is_needed_for_dead from estimate)
    group by letter.job_name
  ),
  -- A name that the sample has missed has as many as were counted.
  live as (
    select job_name, greatest(counted.jobs, sampled.queued) as queued, sampled.processing
    from counted
    full join sampled using (job_name)
  ),
  leased as (
    select lease.job_name, pg_catalog.count(*) as jobs
    from soniq._leases() as lease
    where ranges_are_readable
    group by lease.job_name
  ),
  dead as (
    select job_name, greatest(counted_dead.jobs, sampled_dead.jobs) as jobs
    from counted_dead
    full join sampled_dead using (job_name)
  ),
  recent as materialized (
    select *
    from soniq._recently_finished()
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
    coalesce(case when ranges_are_readable then leased.jobs else live.processing end, 0)::bigint,
    coalesce(dead.jobs, 0)::bigint,
    estimate.is_needed or estimate.is_needed_for_dead,
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
  cross join estimate
  cross join (
    select min(recent.finished_at) as finished_at
    from recent
  ) as first
  order by known.job_name;
end;
$$;

comment on function soniq._job_stats() is
'What the view job_stats shows.';

create or replace view soniq.job_stats as
select *
from soniq._job_stats();

comment on view soniq.job_stats is
'Each job name: what is live, what was given up, and how those went that finished lately, which are the jobs of the last hour and of these some ten thousand at most, the latest. Exact up to 20,000 queued jobs and as many dead letters; beyond, told from a sample, and is_estimate says so: a name with few jobs may then be missing.';
comment on column soniq.job_stats.job_name is 'Any name that a runner has declared, or a job has.';
comment on column soniq.job_stats.queued is 'Queued, now or for later.';
comment on column soniq.job_stats.processing is 'Held by a runner.';
comment on column soniq.job_stats.dead_letters is 'Given up, and not replayed.';
comment on column soniq.job_stats.is_estimate is 'True where queued and dead_letters were told from a sample.';
comment on column soniq.job_stats.done is 'Done lately.';
comment on column soniq.job_stats.cancelled is 'Cancelled lately.';
comment on column soniq.job_stats.failed_attempts is 'Attempts that had failed before these ended.';
comment on column soniq.job_stats.average_run_time is 'Of those done lately: the average time from claim to completion.';
comment on column soniq.job_stats.p95_run_time is 'Of those done lately: what 95 percent of them did not exceed.';
comment on column soniq.job_stats.finished_since is
  'When the earliest of the jobs that were looked at, of whatever name, finished: what is done lately is done since then.';

create or replace function soniq._runner_state(runner soniq.runners, as_of timestamptz)
returns text
language sql
immutable
as $$
  select case
    when (_runner_state.runner).lost_at is not null then 'lost'
    when (_runner_state.runner).last_heartbeat_at + (_runner_state.runner).heartbeat_timeout / 2 < _runner_state.as_of
      then 'silent'
    else 'alive'
  end;
$$;

comment on function soniq._runner_state(soniq.runners, timestamptz) is
'alive; silent, if not heard of for more than half of its heartbeat_timeout; or lost, once tick() has declared it dead.';

create or replace function soniq._runner_stats()
returns table (
  runner_id bigint,
  host text,
  pid integer,
  runner_version text,
  queues text[],
  concurrency integer,
  running bigint,
  oldest_running_age interval,
  silent_for interval,
  state text,
  registered_at timestamptz
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
begin
  return query
  select
    runner.runner_id,
    runner.host,
    runner.pid,
    runner.runner_version,
    runner.queues,
    runner.concurrency,
    coalesce(held.jobs, 0),
    as_of - held.oldest_at,
    as_of - runner.last_heartbeat_at,
    soniq._runner_state(runner => runner, as_of => as_of),
    runner.registered_at
  from soniq.runners as runner
  left join (
    select lease.runner_id, pg_catalog.count(*) as jobs, min(lease.claimed_at) as oldest_at
    from soniq._leases() as lease
    group by lease.runner_id
  ) as held
    on held.runner_id = runner.runner_id
  order by runner.runner_id;
end;
$$;

comment on function soniq._runner_stats() is
'What the view runner_stats shows.';

create or replace view soniq.runner_stats as
select *
from soniq._runner_stats();

comment on view soniq.runner_stats is
'Each runner on the list, with the jobs it holds. It is silent if it was not heard of for more than half of its heartbeat_timeout, and lost once it is declared dead, until its jobs are taken back.';
comment on column soniq.runner_stats.runner_id is 'Its number.';
comment on column soniq.runner_stats.host is 'Its machine.';
comment on column soniq.runner_stats.pid is 'Its process on that machine.';
comment on column soniq.runner_stats.runner_version is 'The version of its soniq package.';
comment on column soniq.runner_stats.queues is 'The queues it serves; NULL is all.';
comment on column soniq.runner_stats.concurrency is 'How many jobs it runs at once.';
comment on column soniq.runner_stats.running is 'How many it holds.';
comment on column soniq.runner_stats.oldest_running_age is
  'How long it has held the oldest of these; NULL if it holds none.';
comment on column soniq.runner_stats.silent_for is 'How long ago its last heartbeat was.';
comment on column soniq.runner_stats.state is 'alive, silent or lost.';
comment on column soniq.runner_stats.registered_at is 'When it started.';

-- The metrics, by what they are about.

create or replace function soniq._queue_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  select
    metric.name,
    pg_catalog.jsonb_build_object('queue', stats.queue) || metric.labels,
    metric.value
  from soniq._queue_stats() as stats
  cross join lateral (
    values
      ('soniq_queue_jobs', jsonb '{"state": "ready"}', stats.ready::double precision),
      ('soniq_queue_jobs', '{"state": "scheduled"}', stats.scheduled),
      ('soniq_queue_jobs', '{"state": "processing"}', stats.processing),
      ('soniq_queue_jobs_is_estimate', '{}', stats.is_estimate::integer),
      ('soniq_queue_oldest_ready_seconds', '{}', coalesce(extract(epoch from stats.oldest_ready_age), 0)),
      ('soniq_queue_paused', '{}', stats.paused::integer),
      ('soniq_overdue_jobs', '{}', stats.overdue),
      ('soniq_dead_letters', '{}', stats.dead_letters)
  ) as metric (name, labels, value);
$$;

create or replace function soniq._runner_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  with runner as (
    select known.concurrency, soniq._runner_state(runner => known, as_of => now.moment) as state
    from (select soniq.clock() as moment) as now
    cross join soniq.runners as known
  )
  select 'soniq_runners', pg_catalog.jsonb_build_object('state', possible.state), pg_catalog.count(runner.state)
  from (values ('alive'), ('silent'), ('lost')) as possible (state)
  left join runner
    on runner.state = possible.state
  group by possible.state
  union all
  select 'soniq_runner_concurrency', '{}', coalesce(sum(runner.concurrency), 0)
  from runner
  where runner.state <> 'lost';
$$;

create or replace function soniq._schedule_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  select 'soniq_schedules', pg_catalog.jsonb_build_object('state', possible.state), pg_catalog.count(known.state)
  from (values ('active'), ('paused'), ('ended')) as possible (state)
  left join (
    select
      case when schedule.paused then 'paused' when schedule.next_run_at is null then 'ended' else 'active' end as state
    from soniq.schedules as schedule
  ) as known
    on known.state = possible.state
  group by possible.state
  union all
  select
    'soniq_schedule_lag_seconds',
    '{}',
    coalesce(greatest(extract(epoch from soniq.clock() - min(schedule.next_run_at)), 0), 0)
  from soniq.schedules as schedule
  where not schedule.paused;
$$;

-- How late chores are done tells when a tick was last made, without a row that each tick would have to write.
create or replace function soniq._upkeep_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  select
    'soniq_tick_lag_seconds',
    jsonb '{}',
    case chore.due_at
      when '-infinity' then 'infinity'
      when 'infinity' then 0
      else greatest(extract(epoch from soniq.clock() - chore.due_at), 0)::double precision
    end
  from soniq.chores as chore
  where chore.chore = 'absent_runners'
  union all
  select 'soniq_default_partition_rows', '{}', pg_catalog.count(*)
  from (
    select
    from soniq.finished_jobs_default
    limit 10001
  ) as job
  union all
  select 'soniq_jobs_added_total', '{}', pg_catalog.pg_stat_get_tuples_inserted('soniq.jobs'::pg_catalog.regclass)
  union all
  select 'soniq_jobs_ended_total', '{}', pg_catalog.pg_stat_get_tuples_deleted('soniq.jobs'::pg_catalog.regclass)
  union all
  select 'soniq_dead_rows', '{}', soniq._dead_rows()
  union all
  select
    'soniq_table_bytes',
    pg_catalog.jsonb_build_object('table', parent.name),
    sum(pg_catalog.pg_total_relation_size(part.id))
  from (values ('jobs'), ('finished_jobs'), ('dead_letter_jobs')) as parent (name)
  cross join lateral (
    select ('soniq.' || parent.name)::pg_catalog.regclass as id
    union all
    select inheritance.inhrelid
    from pg_catalog.pg_inherits as inheritance
    where inheritance.inhparent = ('soniq.' || parent.name)::pg_catalog.regclass
  ) as part
  group by parent.name
  union all
  select 'soniq_info', pg_catalog.jsonb_build_object('version', soniq.version()), 1;
$$;

create or replace function soniq._vacuum_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  select
    'soniq_oldest_transaction_seconds',
    jsonb '{}',
    coalesce(extract(epoch from pg_catalog.clock_timestamp() - min(obstacle.since)), 0)::double precision
  from soniq._vacuum_obstacles() as obstacle
  union all
  select 'soniq_vacuum_horizon_transactions', '{}', coalesce(max(obstacle.transactions), 0)
  from soniq._vacuum_obstacles() as obstacle;
$$;

create or replace function soniq.metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select *
  from (
    select * from soniq._queue_metrics()
    union all
    select * from soniq._runner_metrics()
    union all
    select * from soniq._schedule_metrics()
    union all
    select * from soniq._upkeep_metrics()
    union all
    select * from soniq._vacuum_metrics()
  ) as metric
  order by metric.name, metric.labels::text;
$$;

comment on function soniq.metrics() is
'What an operator watches, one row a metric and set of labels, in the order in which Prometheus wants them. Those whose names end in _total only grow, until PostgreSQL''s statistics are reset; the others are gauges. It costs much the same whatever the backlog and the history: what is too much to count is told from a sample.

soniq_queue_jobs: jobs of a queue by state: ready, scheduled (for later) and processing. Exact up to 10,000 jobs of a queue and priority, or fewer where there are more than ten of these.
soniq_queue_jobs_is_estimate: 1 if one of these numbers, or soniq_dead_letters, was told from a sample.
soniq_queue_oldest_ready_seconds: how long the oldest ready job of a queue has been due; 0 if none is.
soniq_queue_paused: 1 if the queue is paused; its jobs are ready, and not handed out.
soniq_overdue_jobs: jobs of a queue that are past their deadline and the grace and are not yet taken back: does anything tick?
soniq_dead_letters: jobs of a queue that were given up and not replayed.
soniq_runners: runners by state: alive, silent (not heard of for more than half of the heartbeat_timeout) and lost (declared dead, and its jobs still to be taken back).
soniq_runner_concurrency: how many jobs the runners that are not lost can run at once.
soniq_schedules: schedules by state: active, paused and ended (never due again).
soniq_schedule_lag_seconds: how late the schedule is that has been due for longest, of those not paused; 0 if none is due.
soniq_tick_lag_seconds: how late tick() is with what it does once a minute; Infinity if it was never called.
soniq_default_partition_rows: finished jobs for which no partition was made, counted up to 10,001.
soniq_jobs_added_total: rows added to soniq.jobs, as PostgreSQL counts them: also those rolled back.
soniq_jobs_ended_total: rows removed from soniq.jobs: jobs done, cancelled or given up.
soniq_dead_rows: rows of soniq.jobs that vacuum has still to remove; beyond half a million, and with a transaction that has kept it from that for a minute, all numbers of jobs are told from a sample.
soniq_table_bytes: what a table takes on disk, with its indexes, partitions and all.
soniq_oldest_transaction_seconds: the age of the oldest transaction that keeps vacuum from removing rows; 0 if there is none. Those of other users count if the functions'' owner is a member of pg_read_all_stats.
soniq_vacuum_horizon_transactions: how many transactions ago vacuum has to stop, on account of sessions, standbys, slots and prepared transactions.
soniq_info: always 1; the label version tells that of the schema.';
