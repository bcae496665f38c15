-- Concerns: what is wrong right now, in words, the worst first. What counts as wrong is decided here, for the dashboard,
-- `soniq top` and whoever asks.

create or replace function soniq._in_words(length interval)
returns text
language sql
stable
parallel safe
as $$
  select case
    when seconds < 120 then pg_catalog.format('%s s', pg_catalog.round(seconds))
    when seconds < 7200 then pg_catalog.format('%s min', pg_catalog.round(seconds / 60))
    when seconds < 172800 then pg_catalog.format('%s h', pg_catalog.round(seconds / 3600))
    else pg_catalog.format('%s days', pg_catalog.round(seconds / 86400))
  end
  from (select extract(epoch from _in_words.length)::numeric as seconds) as told;
$$;

create or replace function soniq._jobs_in_words(jobs bigint)
returns text
language sql
stable
parallel safe
as $$
  select pg_catalog.ltrim(pg_catalog.to_char(_jobs_in_words.jobs, '999,999,999,999')) || case _jobs_in_words.jobs when 1 then ' job' else ' jobs' end;
$$;

create or replace function soniq._concerns_of_queues()
returns table (severity integer, kind text, subject text, message text, weight double precision)
language sql
volatile
as $$
  with alive as materialized (
    select runner.queues
    from soniq.runners as runner
    where soniq._runner_state(runner => runner, as_of => soniq.clock()) = 'alive'
  )
  select concern.*
  from soniq._queue_counts() as stats
  cross join lateral (
    select exists (
      select
      from alive
      where alive.queues is null
        or stats.queue = any (alive.queues)
    )
  ) as served (by_anyone)
  cross join lateral (
    select
      1,
      'queue_unserved',
      stats.queue,
      pg_catalog.format('No runner that is alive serves the queue %s: %s waiting', stats.queue, soniq._jobs_in_words(jobs => stats.ready)),
      stats.ready::double precision
    where stats.ready > 0
      and not stats.paused
      and stats.oldest_ready_age > interval '10 seconds'
      and not served.by_anyone
    union all
    select
      case when stats.oldest_ready_age > interval '5 minutes' then 2 else 3 end,
      'queue_behind',
      stats.queue,
      pg_catalog.format(
        'The queue %s is behind: its oldest job has been due for %s, with %s waiting',
        stats.queue, soniq._in_words(length => stats.oldest_ready_age), soniq._jobs_in_words(jobs => stats.ready)
      ),
      extract(epoch from stats.oldest_ready_age)::double precision
    where not stats.paused
      and stats.oldest_ready_age > interval '1 minute'
      and served.by_anyone
    union all
    select
      3,
      'queue_paused',
      stats.queue,
      pg_catalog.format(
        'The queue %s is paused, with %s waiting, the oldest for %s',
        stats.queue, soniq._jobs_in_words(jobs => stats.ready), soniq._in_words(length => stats.oldest_ready_age)
      ),
      stats.ready
    where stats.paused
      and stats.ready > 0
    union all
    select
      2,
      'jobs_overdue',
      stats.queue,
      pg_catalog.format('In the queue %s, %s past the deadline, not taken back', stats.queue, soniq._jobs_in_words(jobs => stats.overdue)),
      stats.overdue
    where stats.overdue > 0
  ) as concern (severity, kind, subject, message, weight);
$$;

create or replace function soniq._concerns_of_jobs()
returns table (severity integer, kind text, subject text, message text, weight double precision)
language sql
volatile
as $$
  with minute as materialized (
    select noted.began_at, noted.done, noted.failed, noted.dead
    from soniq.history as noted
    where noted.queue = ''
      and noted.span = interval '1 minute'
      and noted.began_at > soniq.clock() - interval '1 hour'
  )
  select
    2,
    'jobs_given_up',
    null,
    pg_catalog.format('%s given up in the last hour', soniq._jobs_in_words(jobs => lately.dead)),
    lately.dead::double precision
  from (
    select sum(minute.dead)::bigint as dead
    from minute
  ) as lately
  where lately.dead > 0
  union all
  select
    case when lately.failed > lately.done then 2 else 3 end,
    'attempts_fail',
    null,
    pg_catalog.format(
      '%s failed in the last ten minutes, and %s done',
      soniq._jobs_in_words(jobs => lately.failed), soniq._jobs_in_words(jobs => lately.done)
    ),
    lately.failed
  from (
    select sum(minute.failed)::bigint as failed, sum(minute.done)::bigint as done
    from minute
    where minute.began_at > soniq.clock() - interval '10 minutes'
  ) as lately
  where lately.failed >= 10
    and lately.failed * 10 > lately.done;
$$;

create or replace function soniq._concerns_of_upkeep()
returns table (severity integer, kind text, subject text, message text, weight double precision)
language sql
volatile
as $$
  select
    1,
    'nothing_ticks',
    null,
    case
      when lag.seconds = 'infinity' then 'Nothing has ever ticked: no schedule fires, and no lost runner is noticed'
      else pg_catalog.format(
          'Nothing has ticked for %s: no schedule fires, and no lost runner is noticed',
          soniq._in_words(length => interval '1 second' * lag.seconds)
        )
    end,
    lag.seconds
  from soniq._tick_lag() as lag (seconds)
  where lag.seconds > 120
  union all
  select
    2,
    'runner_silent',
    runner.runner_id::text,
    pg_catalog.format(
      'The runner %s:%s has been silent for %s',
      runner.host, runner.pid, soniq._in_words(length => soniq.clock() - runner.last_heartbeat_at)
    ),
    extract(epoch from soniq.clock() - runner.last_heartbeat_at)::double precision
  from soniq.runners as runner
  where soniq._runner_state(runner => runner, as_of => soniq.clock()) <> 'alive'
  union all
  select
    2,
    'schedule_late',
    schedule.name,
    pg_catalog.format(
      'The schedule %s has been due for %s', schedule.name, soniq._in_words(length => soniq.clock() - schedule.next_run_at)
    ),
    extract(epoch from soniq.clock() - schedule.next_run_at)::double precision
  from (
    select due.name, due.next_run_at
    from soniq._late_before() as late (before)
    join soniq.schedules as due
      on due.next_run_at < late.before -- which has an index
    where soniq._schedule_state(schedule => due, late_before => late.before) = 'late'
    order by due.next_run_at
    limit 10
  ) as schedule
  union all
  select
    3,
    'vacuum_held_up',
    null,
    pg_catalog.format(
      'A transaction has kept vacuum from its work for %s', soniq._in_words(length => pg_catalog.clock_timestamp() - obstacle.since)
    ),
    extract(epoch from pg_catalog.clock_timestamp() - obstacle.since)::double precision
  from (
    select min(each.since) as since
    from soniq._vacuum_obstacles() as each
  ) as obstacle
  where obstacle.since < pg_catalog.clock_timestamp() - interval '10 minutes';
$$;

create or replace function soniq._concerns()
returns table (severity integer, kind text, subject text, message text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
begin
  perform soniq._check_unbound(what => 'concerns');
  return query
  select concern.severity, concern.kind, concern.subject, concern.message
  from (
    select * from soniq._concerns_of_upkeep()
    union all
    select * from soniq._concerns_of_queues()
    union all
    select * from soniq._concerns_of_jobs()
  ) as concern
  order by concern.severity, concern.weight desc, concern.message
  limit 20;
end;
$$;

comment on function soniq._concerns() is
'What the view concerns shows.';

create or replace view soniq.concerns as
select *
from soniq._concerns();

comment on view soniq.concerns is
'What is wrong right now, in words, the worst first, twenty at the most; no row where all is well.';
comment on column soniq.concerns.severity is '1 work stands still; 2 work is late or lost; 3 worth a look.';
comment on column soniq.concerns.kind is
  'queue_unserved, queue_behind, queue_paused, jobs_overdue, jobs_given_up, attempts_fail, nothing_ticks, runner_silent, schedule_late or vacuum_held_up.';
comment on column soniq.concerns.subject is 'The queue, the runner''s id or the schedule that it is about; NULL for none.';
comment on column soniq.concerns.message is 'What is wrong.';
