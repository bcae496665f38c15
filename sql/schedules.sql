-- Periodic jobs. A schedule is a row with the time at which it is due next; tick() enqueues what is due and moves that
-- time in one transaction, with the row locked, so each run becomes exactly one job however many sessions tick.
--
-- A run that is behind its time by no more than soniq.settings.schedule_tolerance is late and takes place; what is
-- older was missed, while nothing ticked, and the schedule's missed_runs says what becomes of it.
--
-- Code that registers schedules at its start must not disturb them: the same definition again changes nothing, another one
-- first enqueues what was due under the former, and no run is computed before one that has been. So replicas of two
-- releases may register against each other without a run being lost or doubled, and so may a server whose
-- clock was set back.

create or replace function soniq._run_after(schedule soniq.schedules, after timestamptz)
returns timestamptz
language sql
volatile
as $$
  -- Intervals are counted in seconds from the first registration: a day is 24 hours, and lateness does not add up.
  select case
    when (_run_after.schedule).cron is not null
      then soniq._cron_next(
          expression => (_run_after.schedule).cron,
          after => _run_after.after,
          timezone => (_run_after.schedule).timezone
        )
    else (_run_after.schedule).created_at + period.length * (
        1 + pg_catalog.floor(
          extract(epoch from _run_after.after - (_run_after.schedule).created_at) / extract(epoch from period.length)
        )::double precision
      )
  end
  from (
    select interval '1 second' * extract(epoch from (_run_after.schedule).every)::double precision as length
  ) as period;
$$;

comment on function soniq._run_after(soniq.schedules, timestamptz) is
'The first run of a schedule after a time; NULL if there is none.';

create or replace function soniq._runs_due(schedule soniq.schedules, as_of timestamptz)
returns setof timestamptz
language plpgsql
volatile
as $$
declare
  late_from constant timestamptz := as_of - settings.schedule_tolerance from soniq.settings as settings;
  run_at timestamptz := schedule.next_run_at;
  made_up_for integer := 0;
  on_time boolean := false;
begin
  while run_at < late_from and schedule.missed_runs = 'run_all' and made_up_for < schedule.max_missed_runs loop
    return next run_at;
    made_up_for := made_up_for + 1;
    run_at := soniq._run_after(schedule => schedule, after => run_at);
  end loop;

  if run_at < late_from then
    run_at := soniq._run_after(schedule => schedule, after => late_from - interval '1 microsecond');
  end if;
  while run_at <= as_of loop
    return next run_at;
    on_time := true;
    run_at := soniq._run_after(schedule => schedule, after => run_at);
  end loop;

  if schedule.missed_runs = 'run_once' and not on_time then
    return next schedule.next_run_at;
  end if;
end;
$$;

comment on function soniq._runs_due(soniq.schedules, timestamptz) is
'The runs of a schedule that is due for which there is to be a job: those that are late, and of those missed none (skip), the first if no late one stands in for it (run_once), or the oldest up to max_missed_runs (run_all).';

create or replace function soniq._enqueue_runs(schedule soniq.schedules, runs timestamptz[])
returns bigint
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  job record;
  last_job_id bigint;
begin
  select *
  into job
  from soniq._job_options(
    job_name => schedule.job_name,
    queue => schedule.queue,
    priority => schedule.priority,
    max_attempts => schedule.max_attempts,
    timeout => schedule.timeout
  );
  perform soniq._open_lane(queue => job.own_queue, priority => job.own_priority);

  with added as (
    insert into soniq.jobs (
      job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, tenant, schedule,
      due_at
    )
    select
      schedule.job_name, job.own_queue, job.own_priority, schedule.args, as_of, as_of, job.tries, job.time_limit,
      schedule.tenant, schedule.name, run.due_at
    from pg_catalog.unnest(_enqueue_runs.runs) as run (due_at)
    order by run.due_at
    returning id
  )
  select max(added.id)
  into last_job_id
  from added;

  perform soniq._wake(queue => job.own_queue, jobs => pg_catalog.cardinality(_enqueue_runs.runs));
  return last_job_id;
end;
$$;

comment on function soniq._enqueue_runs(soniq.schedules, timestamptz[]) is
'Adds a job for each run, and answers with the id of the last.';

create or replace function soniq._may_start(schedule soniq.schedules)
returns boolean
language sql
stable
as $$
  select (_may_start.schedule).allow_overlap
    or not exists (
      select
      from soniq.jobs as job
      where job.id = (_may_start.schedule).last_job_id
    );
$$;

comment on function soniq._may_start(soniq.schedules) is
'False where the schedule forbids overlap and its last job is still queued or processing.';

create or replace function soniq._run_due_schedule(schedule soniq.schedules, as_of timestamptz)
returns integer
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  runs timestamptz[] := array(
    select soniq._runs_due(schedule => _run_due_schedule.schedule, as_of => _run_due_schedule.as_of)
  );
  job_id bigint;
begin
  if not soniq._may_start(schedule => schedule) then
    runs := '{}';
  elsif not schedule.allow_overlap then
    runs := runs[pg_catalog.cardinality(runs):];
  end if;

  if pg_catalog.cardinality(runs) > 0 then
    job_id := soniq._enqueue_runs(schedule => schedule, runs => runs);
  end if;

  update soniq.schedules as known
  set next_run_at = soniq._run_after(schedule => known, after => _run_due_schedule.as_of),
    last_due_at = coalesce(runs[pg_catalog.cardinality(runs)], known.last_due_at),
    last_job_id = coalesce(job_id, known.last_job_id)
  where known.name = schedule.name;
  return pg_catalog.cardinality(runs);
end;
$$;

comment on function soniq._run_due_schedule(soniq.schedules, timestamptz) is
'Enqueues what is due of a schedule that the caller has locked, moves its next_run_at, and answers how many jobs that were.';

create or replace function soniq._run_due_schedules(max_schedules integer)
returns integer
language plpgsql
volatile
as $$
declare
  as_of constant timestamptz := soniq.clock();
  jobs integer := 0;
  due soniq.schedules;
begin
  for due in
    select *
    from soniq.schedules as known
    where not known.paused
      and known.next_run_at <= as_of
    order by known.next_run_at
    limit _run_due_schedules.max_schedules
    for update skip locked
  loop
    -- One that cannot be run, because its time zone is no longer known, say, must not keep the others from it.
    begin
      jobs := jobs + soniq._run_due_schedule(schedule => due, as_of => as_of);
    exception
      when others then
        raise warning 'schedule % is due and cannot be run: %', due.name, sqlerrm;
    end;
  end loop;
  return jobs;
end;
$$;

comment on function soniq._run_due_schedules(integer) is
'Enqueues what is due of all schedules that nobody else is at, and answers how many jobs that were.';

create or replace function soniq._refuse_schedule(name text)
returns void
language sql
volatile
as $$
  select soniq._refuse(
    'SQ020',
    pg_catalog.format('there is no schedule %L', _refuse_schedule.name),
    coalesce(
      'There are: ' || pg_catalog.string_agg(known.name, ', ') || '.',
      'There are none; call soniq.schedule() first.'
    )
  )
  from (
    select first.name
    from soniq.schedules as first
    order by first.name
    limit 20
  ) as known;
$$;

create or replace function soniq._lock_schedule(name text)
returns soniq.schedules
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  schedule soniq.schedules;
begin
  select *
  into schedule
  from soniq.schedules as known
  where known.name = _lock_schedule.name
  for update;
  if not found then
    perform soniq._refuse_schedule(name => _lock_schedule.name);
  end if;
  return schedule;
end;
$$;

comment on function soniq._lock_schedule(text) is
'The schedule of this name, locked; raises SQ020 if there is none.';

create or replace function soniq._difference(former soniq.schedules, latter soniq.schedules)
returns text
language sql
stable
as $$
  select pg_catalog.string_agg(
    pg_catalog.format('%s from %s to %s', key, coalesce(was.value, 'none'), coalesce(is_now.value, 'none')),
    ', ' order by key
  )
  from pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(_difference.former)) as was (key, value)
  join pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(_difference.latter)) as is_now (key, value) using (key)
  where was.value is distinct from is_now.value;
$$;

create or replace function soniq._put_schedule(given soniq.schedules)
returns timestamptz
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := given.registered_at;
  former soniq.schedules;
begin
  insert into soniq.schedules
  select given.*
  on conflict (name) do nothing;
  if found then
    return given.next_run_at;
  end if;

  begin
    former := soniq._lock_schedule(name => given.name);
  exception
    when sqlstate 'SQ020' then
      perform soniq._refuse(
        'SQ019',
        pg_catalog.format('the schedule %L is another tenant''s', given.name),
        'Give it another name, such as one that begins with the tenant''s.'
      );
  end;
  given.paused := former.paused;
  given.created_at := former.created_at;
  given.registered_at := former.registered_at;
  given.next_run_at := former.next_run_at;
  given.last_due_at := former.last_due_at;
  given.last_job_id := former.last_job_id;
  if given is not distinct from former then
    return former.next_run_at;
  end if;

  raise notice 'schedule % is changed: %', given.name, soniq._difference(former => former, latter => given);
  perform soniq._run_due_schedule(schedule => former, as_of => as_of)
  where not former.paused
    and former.next_run_at <= as_of;

  update soniq.schedules as known
  set job_name = given.job_name,
    cron = given.cron,
    every = given.every,
    timezone = given.timezone,
    args = given.args,
    queue = given.queue,
    priority = given.priority,
    max_attempts = given.max_attempts,
    timeout = given.timeout,
    missed_runs = given.missed_runs,
    max_missed_runs = given.max_missed_runs,
    allow_overlap = given.allow_overlap,
    source = given.source,
    tenant = given.tenant,
    registered_at = as_of,
    next_run_at = case
      when (given.cron, given.every, given.timezone) is not distinct from (known.cron, known.every, known.timezone)
        then known.next_run_at
      else soniq._run_after(schedule => given, after => greatest(as_of, known.last_due_at))
    end
  where known.name = given.name
  returning next_run_at
  into given.next_run_at;
  return given.next_run_at;
end;
$$;

comment on function soniq._put_schedule(soniq.schedules) is
'Adds a schedule, or replaces the one of its name, and answers when it is due next. The newest registration wins, and says so in a notice.';

create or replace function soniq.schedule(
  name text,
  job_name text default null,
  cron text default null,
  every interval default null,
  timezone text default null,
  args jsonb default null,
  missed_runs text default null,
  max_missed_runs integer default null,
  allow_overlap boolean default null,
  queue text default null,
  priority integer default null,
  max_attempts integer default null,
  timeout interval default null,
  source text default null,
  tenant text default null
)
returns timestamptz
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  given soniq.schedules;
begin
  perform
    soniq._check_given(code => 'SQ019', what => 'schedule''s name', value => schedule.name),
    soniq._check_name(code => 'SQ019', what => 'schedule''s name', name => schedule.name, longest => 200),
    soniq._check_name(code => 'SQ019', what => 'schedule''s source', name => schedule.source, longest => 1000),
    soniq._check_job_name(job_name => schedule.job_name),
    soniq._check_timing(cron => schedule.cron, every => schedule.every),
    soniq._check_cron(expression => schedule.cron),
    soniq._check_timezone(timezone => schedule.timezone),
    soniq._check_missed_runs(missed_runs => schedule.missed_runs, max_missed_runs => schedule.max_missed_runs),
    soniq._check_queue(queue => schedule.queue),
    soniq._check_priority(priority => schedule.priority),
    soniq._check_max_attempts(max_attempts => schedule.max_attempts),
    soniq._check_timeout(timeout => schedule.timeout),
    soniq._fitting_args(args => coalesce(schedule.args, '{}'), max_bytes => settings.max_args_bytes)
  from soniq.settings as settings;

  given.name := schedule.name;
  given.job_name := coalesce(schedule.job_name, schedule.name);
  given.cron := schedule.cron;
  given.every := schedule.every;
  given.timezone := coalesce(schedule.timezone, 'UTC');
  given.args := coalesce(schedule.args, '{}');
  given.queue := schedule.queue;
  given.priority := schedule.priority::smallint;
  given.max_attempts := schedule.max_attempts;
  given.timeout := schedule.timeout;
  given.missed_runs := coalesce(schedule.missed_runs, 'skip');
  given.max_missed_runs := coalesce(schedule.max_missed_runs, 100);
  given.allow_overlap := coalesce(schedule.allow_overlap, true);
  given.paused := false;
  given.source := schedule.source;
  given.tenant := soniq._tenant_for(given => schedule.tenant);
  given.created_at := as_of;
  given.registered_at := as_of;
  given.next_run_at := soniq._run_after(schedule => given, after => as_of);
  return soniq._put_schedule(given => given);
end;
$$;

comment on function soniq.schedule(text, text, text, interval, text, jsonb, text, integer, boolean, text, integer, integer, interval, text, text) is
'Registers a periodic job, or replaces the schedule of this name, and answers when it is due next; NULL if that is never. The same definition again changes nothing; another one wins over the former, which a notice tells, after what was due under the former is enqueued. A paused schedule stays paused.

name: 1 to 200 characters.
job_name: what to enqueue; the schedule''s name by default.
cron: five fields (minute, hour, day of month, month, day of week) or six with seconds first, or @daily and the like; as for cron_next().
every: instead of cron, the time between runs, a second or more, counted from the first registration; a day is 24 hours.
timezone: an IANA name, in whose local time cron is read; UTC by default.
args, queue, priority, max_attempts, timeout: as for enqueue().
missed_runs: what becomes of runs missed while nothing ticked. skip (the default) forgets them; run_once makes up for them with one job; run_all makes up for each, the oldest max_missed_runs of them (100 by default). A run behind its time by no more than soniq.settings.schedule_tolerance is late, not missed, and always takes place.
allow_overlap: false to enqueue nothing while the schedule''s last job is still queued or processing; that run is skipped. True by default.
source: whose code registers it, for prune_schedules().
tenant: whose its jobs are, as for enqueue().

Each job carries the time for which it was enqueued as due_at, and the schedule''s name as schedule.

Errors: SQ001 job_name, SQ002 queue, SQ003 args, SQ004 args too large, SQ005 priority, SQ007 max_attempts, SQ008 timeout, SQ017 cron, SQ018 timezone, SQ019 name, source, every, missed_runs or max_missed_runs, or the name is that of another tenant''s schedule, SQ026 tenant.';

create or replace function soniq.unschedule(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  delete from soniq.schedules as known
  where known.name = unschedule.name;
  return found;
end;
$$;

comment on function soniq.unschedule(text) is
'Removes a schedule; jobs that it has enqueued stay. False if there is no such schedule.';

create or replace function soniq.prune_schedules(source text, keep text[], dry_run boolean default false)
returns setof text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  chosen text[];
begin
  perform
    soniq._check_given(code => 'SQ019', what => 'schedule''s source', value => prune_schedules.source),
    soniq._check_given(code => 'SQ019', what => 'list of schedules to keep', value => prune_schedules.keep::text);

  chosen := array(
    select known.name
    from soniq.schedules as known
    where known.source = prune_schedules.source
      and known.name <> all (prune_schedules.keep)
    order by known.name
    for update
  );
  delete from soniq.schedules as known
  where known.name = any (chosen)
    and prune_schedules.dry_run is not true;
  return query
  select pg_catalog.unnest(chosen);
end;
$$;

comment on function soniq.prune_schedules(text, text[], boolean) is
'Removes the schedules that a source registered once and has no longer, and answers with their names.

source: as given to schedule(); those of other sources, and those made by hand, are left alone.
keep: the names that the source still has.
dry_run: changes nothing and answers what would be removed.

Errors: SQ019 source or keep is NULL.';

create or replace function soniq.pause_schedule(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  schedule constant soniq.schedules := soniq._lock_schedule(name => name);
begin
  update soniq.schedules as known
  set paused = true
  where known.name = schedule.name
    and not known.paused;
  return found;
end;
$$;

comment on function soniq.pause_schedule(text) is
'Stops a schedule from enqueueing, until resume_schedule(). True if this paused it, false if it was paused already.

Errors: SQ020 no such schedule.';

create or replace function soniq.resume_schedule(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  schedule constant soniq.schedules := soniq._lock_schedule(name => name);
begin
  update soniq.schedules as known
  set paused = false,
    next_run_at = soniq._run_after(schedule => known, after => greatest(as_of, known.last_due_at))
  where known.name = schedule.name
    and known.paused;
  return found;
end;
$$;

comment on function soniq.resume_schedule(text) is
'Lets a paused schedule enqueue again, from its next run on; what fell into the pause does not count as missed. True if this resumed it, false if it was not paused.

Errors: SQ020 no such schedule.';

create or replace function soniq.run_schedule_now(name text)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  schedule constant soniq.schedules := soniq._lock_schedule(name => name);
  job_id bigint;
begin
  if not soniq._may_start(schedule => schedule) then
    return null;
  end if;

  job_id := soniq._enqueue_runs(schedule => schedule, runs => array[soniq.clock()]);
  update soniq.schedules as known
  set last_job_id = job_id
  where known.name = schedule.name;
  return job_id;
end;
$$;

comment on function soniq.run_schedule_now(text) is
'Enqueues a job of a schedule at once, also of a paused one, due now; its next run stays when it is. Answers with the job''s id, or NULL where the schedule forbids overlap and its last job is still queued or processing.

Errors: SQ020 no such schedule.';

create or replace function soniq.preview_schedule(name text, runs integer default 10)
returns table (run_at timestamptz, local_time timestamp)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  schedule soniq.schedules;
begin
  if preview_schedule.runs is null or preview_schedule.runs not between 1 and 1000 then
    perform soniq._refuse(
      'SQ012',
      pg_catalog.format('runs is %s', coalesce(preview_schedule.runs::text, 'NULL')),
      'Give a whole number from 1 to 1000.'
    );
  end if;

  select *
  into schedule
  from soniq.schedules as known
  where known.name = preview_schedule.name;
  if not found then
    perform soniq._refuse_schedule(name => preview_schedule.name);
  end if;

  return query
  with recursive coming as (
    select 1 as number, schedule.next_run_at
    union all
    select coming.number + 1, soniq._run_after(schedule => schedule, after => coming.next_run_at)
    from coming
    where coming.number < preview_schedule.runs
      and coming.next_run_at is not null
  )
  select coming.next_run_at, coming.next_run_at at time zone schedule.timezone
  from coming
  where coming.next_run_at is not null
  order by coming.number;
end;
$$;

comment on function soniq.preview_schedule(text, integer) is
'The next runs of a schedule, and the local time of each; of a paused one, those it would have.

runs: how many, 1 to 1000.

Errors: SQ012 runs, SQ020 no such schedule.';

-- How they stand.

create or replace function soniq._schedule_state(schedule soniq.schedules, late_before timestamptz)
returns text
language sql
immutable
parallel safe
as $$
  select case
    when (_schedule_state.schedule).paused then 'paused'
    when (_schedule_state.schedule).next_run_at is null then 'ended'
    when (_schedule_state.schedule).next_run_at < _schedule_state.late_before then 'late'
    else 'active'
  end;
$$;

comment on function soniq._schedule_state(soniq.schedules, timestamptz) is
'paused; ended, if it is never due again; late, if it was due before a time; or active.';

create or replace function soniq._late_before()
returns timestamptz
language sql
volatile
as $$
  select soniq.clock() - settings.schedule_tolerance
  from soniq.settings as settings;
$$;

comment on function soniq._late_before() is
'A schedule that was due before then is late.';

create or replace function soniq._schedule_stats()
returns table (
  name text,
  job_name text,
  state text,
  next_run_at timestamptz,
  last_due_at timestamptz,
  last_job_id bigint
)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    schedule.name,
    schedule.job_name,
    soniq._schedule_state(schedule => schedule, late_before => late.before),
    schedule.next_run_at,
    schedule.last_due_at,
    schedule.last_job_id
  from soniq._late_before() as late (before)
  cross join soniq.schedules as schedule;
$$;

comment on function soniq._schedule_stats() is
'What the view schedule_stats shows.';

create or replace view soniq.schedule_stats as
select *
from soniq._schedule_stats();

comment on view soniq.schedule_stats is
'Each schedule and how it stands.';
comment on column soniq.schedule_stats.name is 'Its name.';
comment on column soniq.schedule_stats.job_name is 'The job that it enqueues.';
comment on column soniq.schedule_stats.state is
  'active; late, if it has been due for longer than soniq.settings.schedule_tolerance: does anything tick?; paused; or ended, if it is never due again.';
comment on column soniq.schedule_stats.next_run_at is 'When it is due next; NULL if never again.';
comment on column soniq.schedule_stats.last_due_at is 'The time of its last run; NULL if it had none.';
comment on column soniq.schedule_stats.last_job_id is 'The job that it enqueued last.';
