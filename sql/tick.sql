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
  update soniq.runners as runner
  set lost_at = as_of
  where runner.runner_id = any (array(
    select silent.runner_id
    from soniq.runners as silent
    where silent.lost_at is null
      and silent.last_heartbeat_at + silent.heartbeat_timeout < as_of
    for update skip locked
  ));
  get diagnostics lost = row_count;
  return lost;
end;
$$;

comment on function soniq._declare_lost_runners() is
'Marks the runners that were silent for too long. From then on they can neither claim nor show life.';

create or replace function soniq._take_back_lost_jobs(max_jobs integer)
returns integer
language plpgsql
volatile
set enable_seqscan = off
set jit = off
as $$
declare
  lost_runners bigint[];
  taken integer;
begin
  lost_runners := array(
    select runner.runner_id
    from soniq.runners as runner
    where runner.lost_at is not null
  );
  if pg_catalog.cardinality(lost_runners) = 0 then
    return 0;
  end if;

  with stranded as (
    select job.id, job.attempt, runner.host, runner.pid, runner.heartbeat_timeout
    from soniq.jobs as job
    join soniq.runners as runner
      on runner.runner_id = job.runner_id
    where job.status = 'processing'
      and job.runner_id = any (lost_runners)
    order by job.id
    limit _take_back_lost_jobs.max_jobs
    for update of job skip locked
  ),
  batch as (
    select
      pg_catalog.array_agg(stranded.id) as job_ids,
      pg_catalog.array_agg(stranded.attempt) as attempts,
      pg_catalog.array_agg(pg_catalog.jsonb_build_object(
        'type', 'RunnerLost',
        'message', pg_catalog.format(
          'runner %s:%s sent no heartbeat for %s', stranded.host, stranded.pid, stranded.heartbeat_timeout
        )
      )) as errors,
      pg_catalog.array_agg('runner_lost'::text) as reasons
    from stranded
  )
  select pg_catalog.count(*)::integer
  into taken
  from batch
  cross join lateral soniq._fail_leases(
    job_ids => batch.job_ids, attempts => batch.attempts, errors => batch.errors, reasons => batch.reasons
  ) as ended;

  delete from soniq.runners as runner
  where runner.runner_id = any (lost_runners)
    and not exists (
      select
      from soniq.jobs as job
      where job.status = 'processing'
        and job.runner_id = runner.runner_id
    );
  return taken;
end;
$$;

comment on function soniq._take_back_lost_jobs(integer) is
'Takes back the jobs of lost runners, and forgets the runners that have none left.';

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
  taken integer;
begin
  with overdue as (
    select job.id, job.attempt, job.deadline
    from soniq.jobs as job
    where job.status = 'processing'
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
  return taken;
end;
$$;

comment on function soniq._take_back_overdue_jobs(integer) is
'Takes back the jobs whose runner lives but has not reported them by their deadline and a grace.';

create or replace function soniq.tick(
  out lost_runners integer,
  out jobs_of_lost_runners integer,
  out overdue_jobs integer
)
returns record
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  lost_runners := soniq._declare_lost_runners();
  jobs_of_lost_runners := soniq._take_back_lost_jobs(max_jobs => 10000);
  overdue_jobs := soniq._take_back_overdue_jobs(max_jobs => 10000);
end;
$$;

comment on function soniq.tick() is
'Does what time has made due, and answers how much that was: declares silent runners dead, takes back their jobs, and takes back jobs that are past their deadline. Such a job is queued again, or becomes a dead letter (runner_lost, timeout) when its attempts are spent; each kind 10,000 at a time.

Runners call it all the time; calling it more often, or from several places, or from pg_cron, does no harm.';
