-- What time does. Any number of sessions may call tick() at once, from anywhere: rows that another tick works on are
-- skipped, so each piece of work happens once, without a leader.

create or replace function soniq._declare_lost_runners()
returns integer
language plpgsql
volatile
as $$
declare
  as_of constant timestamptz := soniq.clock();
  lost integer;
begin
  with noted as (
    update soniq.runners as runner
    -- A sign of life from ahead is from before the clock was set back. Who lives gives another at once; the silence of
    -- who has died begins now.
    set lost_at = case when runner.last_heartbeat_at < as_of then as_of end,
      last_heartbeat_at = least(runner.last_heartbeat_at, as_of)
    where runner.runner_id = any (array(
      select suspect.runner_id
      from soniq.runners as suspect
      where suspect.lost_at is null
        and (
          suspect.last_heartbeat_at + suspect.heartbeat_timeout < as_of
          or suspect.last_heartbeat_at - suspect.heartbeat_timeout > as_of
        )
      for update skip locked
    ))
    returning runner.lost_at
  )
  select pg_catalog.count(noted.lost_at)::integer
  into lost
  from noted;
  return lost;
end;
$$;

comment on function soniq._declare_lost_runners() is
'Marks the runners that were silent for too long. From then on they can neither claim nor show life.';

create or replace function soniq._absent_runners()
returns setof bigint
language sql
volatile
set enable_seqscan = off
as $$
  select distinct job.runner_id
  from soniq.jobs as job
  where job.status = 'processing'
    and not exists (
      select
      from soniq.runners as runner
      where runner.runner_id = job.runner_id
    );
$$;

comment on function soniq._absent_runners() is
'Runners that hold jobs and are not on the list: somebody deleted their rows. It reads every lease.';

create or replace function soniq._take_back_jobs_of(lost_runners bigint[], max_jobs integer)
returns integer
language plpgsql
volatile
set enable_seqscan = off
set jit = off
as $$
declare
  taken integer;
begin
  with stranded as (
    select
      job.id,
      job.attempt,
      case
        when runner.runner_id is null then pg_catalog.format('runner %s is not on the list', job.runner_id)
        else pg_catalog.format(
          'runner %s:%s sent no heartbeat for %s', runner.host, runner.pid, runner.heartbeat_timeout
        )
      end as message
    from soniq.jobs as job
    left join soniq.runners as runner
      on runner.runner_id = job.runner_id
    where job.status = 'processing'
      and job.runner_id = any (lost_runners)
    order by job.id
    limit _take_back_jobs_of.max_jobs
    for update of job skip locked
  ),
  batch as (
    select
      pg_catalog.array_agg(stranded.id) as job_ids,
      pg_catalog.array_agg(stranded.attempt) as attempts,
      pg_catalog.array_agg(
        pg_catalog.jsonb_build_object('type', 'RunnerLost', 'message', stranded.message)
      ) as errors,
      pg_catalog.array_agg('runner_lost'::text) as reasons
    from stranded
    having pg_catalog.count(*) > 0
  )
  select pg_catalog.count(*)::integer
  into taken
  from batch
  cross join lateral soniq._fail_leases(
    job_ids => batch.job_ids, attempts => batch.attempts, errors => batch.errors, reasons => batch.reasons
  ) as ended;
  return taken;
end;
$$;

comment on function soniq._take_back_jobs_of(bigint[], integer) is
'Takes back the jobs of these runners. What has meanwhile been reported, or passed to another runner, is left alone: the lock reads the lease again.';

create or replace function soniq._forget_runners(lost_runners bigint[])
returns void
language sql
volatile
set enable_seqscan = off
as $$
  -- Never before its last job is taken back: nobody would look for that one.
  delete from soniq.runners as runner
  where runner.runner_id = any (_forget_runners.lost_runners)
    and not exists (
      select
      from soniq.jobs as job
      where job.status = 'processing'
        and job.runner_id = runner.runner_id
    );
$$;

create or replace function soniq._take_back_lost_jobs(max_jobs integer)
returns integer
language plpgsql
volatile
as $$
declare
  lost_runners bigint[];
  taken integer;
begin
  lost_runners := array(
    select runner.runner_id
    from soniq.runners as runner
    where runner.lost_at is not null
    for update skip locked
  );
  if soniq._take_chore(chore => 'absent_runners', every => '1 minute') then
    lost_runners := lost_runners || array(select soniq._absent_runners());
  end if;
  if pg_catalog.cardinality(lost_runners) = 0 then
    return 0;
  end if;

  taken := soniq._take_back_jobs_of(lost_runners => lost_runners, max_jobs => _take_back_lost_jobs.max_jobs);
  perform soniq._forget_runners(lost_runners => lost_runners);
  return taken;
end;
$$;

comment on function soniq._take_back_lost_jobs(integer) is
'Takes back the jobs of lost runners, and forgets the runners that have none left.';

-- With an open transaction somewhere, the entries of jobs long gone stay in the index of leases, all of them past their
-- deadline, and each tick would walk over them. So a session remembers up to which deadline it has looked. A lease
-- cannot come up below that, unless a claim took longer than the grace, or the job was locked by a
-- transaction that then failed; for these, one session a minute looks through all leases.

create or replace function soniq._overdue_from()
returns timestamptz
language plpgsql
volatile
as $$
begin
  if soniq._take_chore(chore => 'overdue_jobs', every => '1 minute') then
    return timestamptz '-infinity';
  end if;
  return coalesce(
    timestamptz 'epoch'
      + interval '1 microsecond' * nullif(pg_catalog.current_setting('soniq.overdue_until', true), '')::bigint,
    '-infinity'
  );
end;
$$;

comment on function soniq._overdue_from() is
'The deadline from which this session has to look for overdue jobs.';

create or replace function soniq._take_back_overdue_jobs(max_jobs integer)
returns integer
language plpgsql
volatile
set enable_seqscan = off
set jit = off
as $$
declare
  grace constant interval := settings.lease_grace from soniq.settings as settings;
  due_before constant timestamptz := soniq.clock() - grace;
  overdue_from constant timestamptz := soniq._overdue_from();
  taken integer;
begin
  with overdue as (
    select job.id, job.attempt, job.deadline
    from soniq.jobs as job
    where job.status = 'processing'
      and job.deadline >= overdue_from
      and job.deadline < due_before
    order by job.deadline
    limit _take_back_overdue_jobs.max_jobs
    for update of job skip locked
  ),
  batch as (
    select
      pg_catalog.array_agg(overdue.id) as job_ids,
      pg_catalog.array_agg(overdue.attempt) as attempts,
      pg_catalog.array_agg(pg_catalog.jsonb_build_object(
        'type', 'LeaseExpired',
        'message', pg_catalog.format(
          'its runner did not report it by its deadline %s, nor within %s after', overdue.deadline, grace
        )
      )) as errors,
      pg_catalog.array_agg('timeout'::text) as reasons
    from overdue
    having pg_catalog.count(*) > 0
  )
  select pg_catalog.count(*)::integer
  into taken
  from batch
  cross join lateral soniq._fail_leases(
    job_ids => batch.job_ids, attempts => batch.attempts, errors => batch.errors, reasons => batch.reasons
  ) as ended;
  if taken < _take_back_overdue_jobs.max_jobs then
    perform pg_catalog.set_config('soniq.overdue_until', soniq._microseconds(due_before)::text, false);
  end if;
  return taken;
end;
$$;

comment on function soniq._take_back_overdue_jobs(integer) is
'Takes back the jobs whose runner lives but has not reported them by their deadline and a grace.';

create or replace function soniq.tick(
  out lost_runners integer,
  out jobs_of_lost_runners integer,
  out overdue_jobs integer,
  out scheduled_jobs integer,
  out partitions_made integer,
  out partitions_dropped integer
)
returns record
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._check_unbound(what => 'tick()');
  lost_runners := soniq._declare_lost_runners();
  jobs_of_lost_runners := soniq._take_back_lost_jobs(max_jobs => 10000);
  overdue_jobs := soniq._take_back_overdue_jobs(max_jobs => 10000);
  scheduled_jobs := soniq._run_due_schedules(max_schedules => 1000);

  if soniq._take_chore(chore => 'tally', every => '1 minute') then
    perform soniq._take_tally();
  end if;
  if soniq._take_chore(chore => 'history', every => '1 hour') then
    perform soniq._prune_history();
  end if;

  -- Last, since it locks partitions until the transaction ends.
  select done.made, done.dropped
  into partitions_made, partitions_dropped
  from soniq._look_after_partitions() as done;
end;
$$;

comment on function soniq.tick() is
'Does what time has made due, and answers how much that was.

lost_runners: runners declared dead, being silent for longer than their heartbeat_timeout.
jobs_of_lost_runners, overdue_jobs: jobs taken back from dead runners, and from live ones that did not report them by their deadline and a grace. They are queued again, or become dead letters (runner_lost, timeout) when their attempts are spent; each kind 10,000 at a time.
scheduled_jobs: jobs enqueued for schedules that were due.
partitions_made, partitions_dropped: days of finished_jobs; looked after once a minute.

Once a minute it also counts what metrics() and the views tell where counting takes too long for them, and what history() tells.

Runners call it all the time. Any number of sessions may, at once and from anywhere (psql, pg_cron): each piece of work happens once. Call it in a transaction of its own, since it locks what it works on.

Errors: SQ027 the login is bound to a tenant.';
