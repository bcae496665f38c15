-- What an operator watches: metrics() for a scraper, and four views for people and dashboards.
--
-- A scrape comes every few seconds whatever the backlog, so each of these reads less than 200 pages with ten million
-- jobs, ten queues and three priorities.
--
--   A table of jobs of at most 100 pages, some thousands of jobs, is read whole: everything is exact, and as of now.
--
--   Of a larger one, how many jobs there are is told by the latest tally (tally.sql), a minute old at most where something
--   ticks; count_age says so. Whether anything is ready in a queue, and how old the oldest is, is looked up in the index
--   jobs_ready, for five pages a lane that has to be asked.
--
--   Up to ten dead letters are counted; more of them are told by the tally.
--
--   Left to PostgreSQL: how many jobs were added and ended, and how many dead letters added, is in the statistics that it
--   keeps for every table.
--
-- Nothing here shows arguments, results or error messages.

create or replace function soniq._is_small()
returns boolean
language sql
volatile
as $$
  select soniq._pages(relation => 'soniq.jobs') <= 100;
$$;

comment on function soniq._is_small() is
'Whether soniq.jobs is read whole for each answer.';

create or replace function soniq._first_ready_at(
  queue text,
  priority smallint,
  from_time timestamptz,
  from_id bigint,
  as_of timestamptz
)
returns timestamptz
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_indexonlyscan = off
set jit = off
as $$
begin
  return (
    select job.scheduled_at
    from soniq.jobs as job
    where job.status = 'queued'
      and job.queue = _first_ready_at.queue
      and job.priority = _first_ready_at.priority
      and (job.scheduled_at, job.id) >= (from_time, from_id)
      and job.scheduled_at <= as_of
    order by job.scheduled_at, job.id
    limit 1
  );
end;
$$;

comment on function soniq._first_ready_at(text, smallint, timestamptz, bigint, timestamptz) is
'When the first ready job of a lane was due, from a key on; NULL if there is none. Such a page of the table is written all the time, so to look up whether it is visible to all would be one page more.';

-- What was claimed since vacuum last came lies where a lane begins. So it is read from where it began when the tally was
-- taken; a job that was committed late or handed back since, and is older, shows in the next tally. A lane that began
-- later than the oldest job found so far need not be asked, nor one that had no ready job, if that is older than the tally.
-- So one or two lanes of a queue are asked where jobs wait, and all of them where none do.
create or replace function soniq._oldest_ready_jobs(heads jsonb, taken_at timestamptz)
returns table (queue text, scheduled_at timestamptz)
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  lane record;
  current_queue text;
  oldest_at timestamptz;
begin
  for lane in
    select
      known.queue,
      known.priority,
      head.scheduled_at as head_at,
      head.id as head_id,
      coalesce(head.scheduled_at, _oldest_ready_jobs.taken_at) as not_before
    from (
      select distinct each.queue, each.priority
      from soniq.lanes as each
    ) as known
    left join pg_catalog.jsonb_to_recordset(_oldest_ready_jobs.heads) as head (
      queue text,
      priority smallint,
      scheduled_at timestamptz,
      id bigint
    )
      on head.queue = known.queue
      and head.priority = known.priority
      and head.scheduled_at <= _oldest_ready_jobs.taken_at
    order by known.queue, not_before
  loop
    if lane.queue is distinct from current_queue then
      current_queue := lane.queue;
      oldest_at := null;
    end if;
    continue when lane.not_before >= oldest_at;

    scheduled_at := coalesce(
      case
        when lane.head_id is not null then
          soniq._first_ready_at(
            queue => lane.queue,
            priority => lane.priority,
            from_time => lane.head_at,
            from_id => lane.head_id,
            as_of => as_of
          )
      end,
      -- Perhaps it has been emptied, and perhaps something was handed back to it.
      soniq._first_ready_at(
        queue => lane.queue, priority => lane.priority, from_time => '-infinity', from_id => 0, as_of => as_of
      )
    );
    continue when scheduled_at is null;

    queue := lane.queue;
    oldest_at := least(oldest_at, scheduled_at);
    return next;
  end loop;
end;
$$;

comment on function soniq._oldest_ready_jobs(jsonb, timestamptz) is
'When the ready jobs were due that lead the lanes of each queue, as far as one of them may be its oldest; by the heads of a tally and when that was taken.';

create or replace function soniq._overdue_jobs()
returns table (queue text, jobs bigint)
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  due_before constant timestamptz := soniq.clock() - settings.lease_grace from soniq.settings as settings;
begin
  return query
  select job.queue, pg_catalog.count(*)
  from (
    select lease.queue
    from soniq.jobs as lease
    where lease.status = 'processing'
      and lease.deadline < due_before
    order by lease.deadline
    limit 10
  ) as job
  group by job.queue;
end;
$$;

comment on function soniq._overdue_jobs() is
'The ten jobs that have been overdue for longest, by queue.';

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
  count_age interval,
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
  is_small constant boolean := soniq._is_small();
  uses_index constant boolean := not is_small and soniq._ranges_are_readable();
  has_few_letters constant boolean := pg_catalog.count(*) <= 10
    from (select from soniq.dead_letter_jobs as letter where letter.replay_count = 0 limit 11) as few;
  tally soniq.tallies;
begin
  perform soniq._check_unbound(what => 'queue_stats');
  if not is_small or not has_few_letters then
    tally := soniq._latest_tally();
  end if;

  return query
  with now as (
    select
      job.queue,
      sum(job.ready) as ready,
      sum(job.scheduled) as scheduled,
      sum(job.processing) as processing,
      sum(job.overdue) as overdue,
      min(job.oldest_ready_at) as oldest_ready_at
    from soniq._sampled_jobs() as job
    where is_small
    group by job.queue
  ),
  oldest as (
    select job.queue, min(job.scheduled_at) as scheduled_at
    from soniq._oldest_ready_jobs(heads => tally.heads, taken_at => tally.taken_at) as job
    where uses_index
    group by job.queue
  ),
  late as (
    select job.queue, job.jobs
    from soniq._overdue_jobs() as job
    where uses_index
  ),
  dead as (
    select letter.queue, pg_catalog.count(*) as jobs
    from soniq.dead_letter_jobs as letter
    where has_few_letters
      and letter.replay_count = 0
    group by letter.queue
  ),
  tallied as (
    select *
    from soniq._tallied_queues(tally => tally)
  )
  select
    known.queue,
    coalesce(
      case
        when is_small then now.ready
        when not uses_index then tallied.ready
        when oldest.queue is not null then greatest(tallied.ready, 1)
      end,
      0
    )::bigint,
    coalesce(case when is_small then now.scheduled else tallied.scheduled end, 0)::bigint,
    coalesce(case when is_small then now.processing else tallied.processing end, 0)::bigint,
    coalesce(
      case
        when is_small then now.overdue
        when uses_index then late.jobs
        else tallied.overdue
      end,
      0
    )::bigint,
    coalesce(case when has_few_letters then dead.jobs else tallied.dead_letters end, 0)::bigint,
    coalesce(tallied.is_estimate, false),
    greatest(as_of - coalesce(tally.taken_at, as_of), interval '0'),
    as_of - case
      when is_small then now.oldest_ready_at
      when uses_index then oldest.scheduled_at
      else tallied.oldest_ready_at
    end,
    coalesce(setting.paused, false)
  from (
    select lane.queue
    from soniq.lanes as lane
    union
    select own.queue
    from soniq.queues as own
  ) as known
  left join now on now.queue = known.queue
  left join oldest on oldest.queue = known.queue
  left join late on late.queue = known.queue
  left join dead on dead.queue = known.queue
  left join tallied on tallied.queue = known.queue
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
'Each queue now. ready jobs may be claimed, scheduled ones are for later, processing ones are held by a runner, and overdue are those of them that are past their deadline and the grace. dead_letters are those not yet replayed. A paused queue''s jobs are ready, and not handed out.

Whether anything is ready, and oldest_ready_age, are as of now, except that a job committed late or handed back may be missing from the latter for a minute. So is everything while soniq.jobs has at most 100 pages, which hold some thousands of jobs, and up to ten dead letters. Beyond, the other numbers are those that tick() counted count_age ago, which is a minute at most where something ticks. These are exact up to 1,000 pages of jobs; beyond, exact for queues with few jobs and told from a sample for those with many, and is_estimate says which.';
comment on column soniq.queue_stats.queue is 'Any queue that was ever enqueued into, or has settings.';
comment on column soniq.queue_stats.ready is 'Queued and due.';
comment on column soniq.queue_stats.scheduled is 'Queued for later: delayed, or to be retried.';
comment on column soniq.queue_stats.processing is 'Held by a runner.';
comment on column soniq.queue_stats.overdue is
  'Past their deadline and the grace: the next tick() takes them back. Of a large table, the ten that have been so for longest.';
comment on column soniq.queue_stats.dead_letters is 'Given up, and not replayed.';
comment on column soniq.queue_stats.is_estimate is 'True where one of these numbers was told from a sample.';
comment on column soniq.queue_stats.count_age is 'How long ago they were counted; 0 if just now.';
comment on column soniq.queue_stats.oldest_ready_age is 'How long the oldest ready job has been due; NULL if none is.';
comment on column soniq.queue_stats.paused is 'Paused: jobs are taken in but not handed out.';

create or replace function soniq._queue_counts()
returns table (
  queue text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
  dead_letters bigint,
  is_estimate boolean,
  count_age interval,
  oldest_ready_age interval,
  paused boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  tally soniq.tallies;
begin
  perform soniq._check_unbound(what => 'queue_counts');
  if (select pg_catalog.count(*) <= 30 from (select from soniq.lanes limit 31) as few) then
    return query
    select *
    from soniq._queue_stats();
    return;
  end if;

  tally := soniq._latest_tally();
  return query
  select
    coalesce(counted.queue, setting.queue),
    coalesce(counted.ready, 0),
    coalesce(counted.scheduled, 0),
    coalesce(counted.processing, 0),
    coalesce(counted.overdue, 0),
    coalesce(counted.dead_letters, 0),
    coalesce(counted.is_estimate, false),
    greatest(as_of - tally.taken_at, interval '0'),
    -- As of then: since then it may have been taken, and the queue be quick.
    case when counted.ready > 0 then tally.taken_at - least(head.scheduled_at, counted.oldest_ready_at) end,
    coalesce(setting.paused, false)
  from soniq._tallied_queues(tally => tally) as counted
  full join soniq.queues as setting
    on setting.queue = counted.queue
  left join soniq._tallied_heads(tally => tally) as head
    on head.queue = counted.queue
  order by 1;
end;
$$;

comment on function soniq._queue_counts() is
'What the view queue_counts shows.';

create or replace view soniq.queue_counts as
select *
from soniq._queue_counts();

comment on view soniq.queue_counts is
'Each queue, at a cost that does not grow with their number: as queue_stats has it while there are at most thirty lanes, which are pairs of queue and priority, and beyond wholly as tick() counted it count_age ago. The columns are those of queue_stats.';

create or replace function soniq._job_stats()
returns table (
  job_name text,
  queued bigint,
  processing bigint,
  dead_letters bigint,
  is_estimate boolean,
  count_age interval,
  done bigint,
  cancelled bigint,
  failed_attempts bigint,
  average_run_time interval,
  p95_run_time interval,
  finished_since timestamptz
)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select soniq._check_unbound(what => 'job_stats');

  select
    each.job_name,
    each.queued,
    each.processing,
    each.dead_letters,
    each.is_estimate,
    greatest(soniq.clock() - tally.taken_at, interval '0'),
    each.done,
    each.cancelled,
    each.failed_attempts,
    each.average_run_time,
    each.p95_run_time,
    each.finished_since
  from soniq._latest_tally() as tally
  cross join pg_catalog.jsonb_to_recordset(tally.job_names) as each (
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
  order by each.job_name;
$$;

comment on function soniq._job_stats() is
'What the view job_stats shows.';

create or replace view soniq.job_stats as
select *
from soniq._job_stats();

comment on view soniq.job_stats is
'Each job name, as tick() counted it count_age ago, which is a minute at most where something ticks: what was live, what was given up, and how those went that had finished lately, which are the jobs of the hour before and of these some five thousand at most, the latest. Exact up to 1,000 pages of live jobs, some 50,000, and as many of dead letters; beyond, told from a sample, and is_estimate says so: a name with few jobs may then be missing.';
comment on column soniq.job_stats.job_name is 'Any name that a runner has declared, or a job has.';
comment on column soniq.job_stats.queued is 'Queued, now or for later.';
comment on column soniq.job_stats.processing is 'Held by a runner.';
comment on column soniq.job_stats.dead_letters is 'Given up, and not replayed.';
comment on column soniq.job_stats.is_estimate is 'True where queued and dead_letters were told from a sample.';
comment on column soniq.job_stats.count_age is 'How long ago all this was counted.';
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
  count_age interval,
  silent_for interval,
  state text,
  registered_at timestamptz
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  is_small constant boolean := soniq._is_small();
  tally soniq.tallies;
begin
  perform soniq._check_unbound(what => 'runner_stats');
  if not is_small then
    tally := soniq._latest_tally();
  end if;

  return query
  with held as (
    select job.runner_id, pg_catalog.count(*) as running, min(job.claimed_at) as oldest_claimed_at
    from soniq.jobs as job tablesample system (100)
    where is_small
      and job.status = 'processing'
    group by job.runner_id
    union all
    select each.runner_id, each.running, each.oldest_claimed_at
    from pg_catalog.jsonb_to_recordset(tally.runners) as each (
      runner_id bigint,
      running bigint,
      oldest_claimed_at timestamptz
    )
  )
  select
    runner.runner_id,
    runner.host,
    runner.pid,
    runner.runner_version,
    runner.queues,
    runner.concurrency,
    coalesce(held.running, 0),
    as_of - held.oldest_claimed_at,
    greatest(as_of - coalesce(tally.taken_at, as_of), interval '0'),
    as_of - runner.last_heartbeat_at,
    soniq._runner_state(runner => runner, as_of => as_of),
    runner.registered_at
  from soniq.runners as runner
  left join held
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
'Each runner on the list, with the jobs it holds. It is silent if it was not heard of for more than half of its heartbeat_timeout, and lost once it is declared dead, until its jobs are taken back. running and oldest_running_age are as of now while soniq.jobs has at most 100 pages, and beyond as tick() counted them count_age ago.';
comment on column soniq.runner_stats.runner_id is 'Its number.';
comment on column soniq.runner_stats.host is 'Its machine.';
comment on column soniq.runner_stats.pid is 'Its process on that machine.';
comment on column soniq.runner_stats.runner_version is 'The version of its soniq package.';
comment on column soniq.runner_stats.queues is 'The queues it serves; NULL is all.';
comment on column soniq.runner_stats.concurrency is 'How many jobs it runs at once.';
comment on column soniq.runner_stats.running is 'How many it holds.';
comment on column soniq.runner_stats.oldest_running_age is
  'How long it has held the oldest of these; NULL if it holds none.';
comment on column soniq.runner_stats.count_age is 'How long ago these jobs were counted; 0 if just now.';
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
      ('soniq_queue_jobs_age_seconds', '{}', extract(epoch from stats.count_age)),
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
  select 'soniq_schedules', pg_catalog.jsonb_build_object('state', possible.state), possible.schedules::double precision
  from soniq._latest_tally() as tally
  cross join pg_catalog.jsonb_each_text(tally.schedules) as possible (state, schedules)
  union all
  select
    'soniq_schedule_lag_seconds',
    '{}',
    coalesce(greatest(extract(epoch from soniq.clock() - min(schedule.next_run_at)), 0), 0)
  from soniq.schedules as schedule
  where not schedule.paused;
$$;

-- How late chores are done tells when a tick was last made, without a row that each tick would have to write.
create or replace function soniq._tick_lag()
returns double precision
language sql
volatile
as $$
  select case chore.due_at
    when '-infinity' then 'infinity'
    when 'infinity' then 0
    else greatest(extract(epoch from soniq.clock() - chore.due_at), 0)::double precision
  end
  from soniq.chores as chore
  where chore.chore = 'absent_runners';
$$;

comment on function soniq._tick_lag() is
'How late tick() is with what it does once a minute, in seconds; Infinity if it was never called.';

create or replace function soniq._upkeep_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  select 'soniq_tick_lag_seconds', jsonb '{}', soniq._tick_lag()
  union all
  select 'soniq_default_partition_rows', '{}', pg_catalog.count(*)
  from (
    select
    from soniq.finished_jobs_default
    limit 101
  ) as job
  union all
  select 'soniq_jobs_added_total', '{}', pg_catalog.pg_stat_get_tuples_inserted('soniq.jobs'::pg_catalog.regclass)
  union all
  select 'soniq_jobs_ended_total', '{}', pg_catalog.pg_stat_get_tuples_deleted('soniq.jobs'::pg_catalog.regclass)
  union all
  select
    'soniq_dead_letters_added_total',
    '{}',
    pg_catalog.pg_stat_get_tuples_inserted('soniq.dead_letter_jobs'::pg_catalog.regclass)
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
  select soniq._check_unbound(what => 'metrics()');

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
'What an operator watches, one row a metric and set of labels, in the order in which Prometheus wants them. Those whose names end in _total only grow, until PostgreSQL''s statistics are reset; the others are gauges. It reads less than 200 pages whatever the backlog and the history, and with many queues and priorities five for each at most: what is too much to count is told by what tick() counted last, a minute ago at most.

soniq_queue_jobs: jobs of a queue by state: ready, scheduled (for later) and processing. Exact for small numbers; the view queue_stats tells which those are. Whether any are ready is told as of now.
soniq_queue_jobs_is_estimate: 1 if one of these numbers, or soniq_dead_letters, was told from a sample.
soniq_queue_jobs_age_seconds: how long ago these numbers, or soniq_dead_letters, were counted; 0 if just now.
soniq_queue_oldest_ready_seconds: how long the oldest ready job of a queue has been due; 0 if none is.
soniq_queue_paused: 1 if the queue is paused; its jobs are ready, and not handed out.
soniq_overdue_jobs: jobs of a queue that are past their deadline and the grace and are not yet taken back: does anything tick? Beyond some thousands of live jobs, the ten of all queues that have been so for longest.
soniq_dead_letters: jobs of a queue that were given up and not replayed. Up to ten of all queues are counted; of more it is told when they were.
soniq_runners: runners by state: alive, silent (not heard of for more than half of the heartbeat_timeout) and lost (declared dead, and its jobs still to be taken back).
soniq_runner_concurrency: how many jobs the runners that are not lost can run at once.
soniq_schedules: schedules by state: active, paused and ended (never due again), as tick() counted them last.
soniq_schedule_lag_seconds: how late the schedule is that has been due for longest, of those not paused; 0 if none is due.
soniq_tick_lag_seconds: how late tick() is with what it does once a minute; Infinity if it was never called.
soniq_default_partition_rows: finished jobs for which no partition was made, counted up to 101.
soniq_jobs_added_total: rows added to soniq.jobs, as PostgreSQL counts them: also those rolled back.
soniq_jobs_ended_total: rows removed from soniq.jobs: jobs done, cancelled or given up.
soniq_dead_letters_added_total: rows added to soniq.dead_letter_jobs, as PostgreSQL counts them.
soniq_dead_rows: rows of soniq.jobs that vacuum has still to remove; beyond half a million, and with a transaction that has kept it from that for a minute, all numbers of jobs are told from a sample.
soniq_table_bytes: what a table takes on disk, with its indexes, partitions and all.
soniq_oldest_transaction_seconds: the age of the oldest transaction that keeps vacuum from removing rows; 0 if there is none. Those of other users count if the functions'' owner is a member of pg_read_all_stats.
soniq_vacuum_horizon_transactions: how many transactions ago vacuum has to stop, on account of sessions, standbys, slots and prepared transactions.
soniq_info: always 1; the label version tells that of the schema.

Errors: SQ027 the login is bound to a tenant.';
