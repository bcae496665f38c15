-- Runners: processes that may hold jobs. A runner is registered when it starts, shows by heartbeats that it lives,
-- and gets a new id each time, so a restarted one is never taken for its former self.

create or replace function soniq.register_runner(
  host text,
  pid integer default 0,
  queues text[] default null,
  concurrency integer default 1,
  heartbeat_timeout interval default '5 minutes',
  runner_version text default ''
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  runner_id bigint;
begin
  perform soniq._check_unbound(what => 'register_runner()');
  perform
    soniq._check_given(code => 'SQ015', what => 'host', value => register_runner.host),
    soniq._check_name(code => 'SQ015', what => 'host', name => register_runner.host, longest => 255),
    soniq._check_queues(queues => register_runner.queues);
  if register_runner.concurrency is null or register_runner.concurrency < 1 then
    perform soniq._refuse(
      'SQ015',
      pg_catalog.format('concurrency is %s', coalesce(register_runner.concurrency::text, 'NULL')),
      'Give how many jobs the runner runs at once, 1 or more.'
    );
  elsif register_runner.heartbeat_timeout is null or register_runner.heartbeat_timeout <= interval '0' then
    perform soniq._refuse(
      'SQ015',
      pg_catalog.format('heartbeat_timeout is %s', coalesce(register_runner.heartbeat_timeout::text, 'NULL')),
      'Give how long the runner may be silent before its jobs are taken back, as in ''5 minutes''.'
    );
  end if;
  perform soniq._check_length(
    code => 'SQ015', what => 'heartbeat_timeout', duration => register_runner.heartbeat_timeout
  );

  -- Before its first completion, which would otherwise find no partition after a week in which nothing ticked.
  perform soniq._look_after_partitions();

  insert into soniq.runners (
    host, pid, queues, concurrency, runner_version, heartbeat_timeout, registered_at, last_heartbeat_at
  )
  select
    register_runner.host,
    coalesce(register_runner.pid, 0),
    register_runner.queues,
    register_runner.concurrency,
    coalesce(register_runner.runner_version, ''),
    register_runner.heartbeat_timeout,
    started.at,
    started.at
  from (select soniq.clock() as at) as started
  returning soniq.runners.runner_id into runner_id;

  return runner_id;
end;
$$;

comment on function soniq.register_runner(text, integer, text[], integer, interval, text) is
'Makes a runner process known and answers with its runner_id, which claim() and heartbeat() take.

host, pid, runner_version: for people who look.
queues: those it will claim from; NULL is all.
concurrency: how many jobs it runs at once.
heartbeat_timeout: silent for longer than this, it is dead and its jobs are taken back.

Errors: SQ002 queues, SQ015 host, concurrency or heartbeat_timeout, SQ027 the login is bound to a tenant.';

create or replace function soniq.heartbeat(
  runner_id bigint,
  job_ids bigint[] default '{}',
  attempts integer[] default '{}',
  out registered boolean,
  out lost_jobs bigint[],
  out lost_attempts integer[]
)
returns record
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
begin
  perform soniq._check_leases(job_ids => heartbeat.job_ids, attempts => heartbeat.attempts);

  update soniq.runners as runner
  set last_heartbeat_at = soniq.clock()
  where runner.runner_id = heartbeat.runner_id
    and runner.lost_at is null;
  registered := found;

  select
    coalesce(pg_catalog.array_agg(held.job_id order by held.job_id, held.attempt), '{}'),
    coalesce(pg_catalog.array_agg(held.attempt order by held.job_id, held.attempt), '{}')
  into lost_jobs, lost_attempts
  from rows from (
    pg_catalog.unnest(heartbeat.job_ids),
    pg_catalog.unnest(heartbeat.attempts)
  ) as held (job_id, attempt)
  where not exists (
    select
    from soniq.jobs as job
    where job.id = held.job_id
      and job.attempt = held.attempt
      and job.status = 'processing'
      and job.runner_id = heartbeat.runner_id
  );
end;
$$;

comment on function soniq.heartbeat(bigint, bigint[], integer[]) is
'Says that a runner lives, and asks about the leases it believes it holds, as pairs from job_ids and attempts.

registered: false if the runner was declared dead meanwhile, or never was; it has to register anew and gets no jobs until then.
lost_jobs, lost_attempts: those of its leases that are no longer its own, as pairs; what it still does for them will be refused. It may have lost a lease of a job and hold another, if the job was taken back and it has claimed it again.

Errors: SQ012 arrays of different length, SQ016 a NULL among the leases.';

create or replace function soniq._hand_back_all(runner_id bigint)
returns void
language sql
volatile
set enable_seqscan = off
as $$
  select soniq._hand_back(
    job_ids => array(
      select job.id
      from soniq.jobs as job
      where job.status = 'processing'
        and job.runner_id = _hand_back_all.runner_id
      for update
    ),
    run_at => null
  );
$$;

comment on function soniq._hand_back_all(bigint) is
'Puts back whatever a runner holds, without spending an attempt.';

create or replace function soniq.resume_runner(
  runner_id bigint,
  job_ids bigint[] default '{}',
  attempts integer[] default '{}'
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  former_id bigint;
  new_id bigint;
begin
  perform soniq._check_leases(job_ids => resume_runner.job_ids, attempts => resume_runner.attempts);

  -- Where the answer to an earlier call was lost, the runner goes by an id of which it does not know.
  former_id := (
    select runner.runner_id
    from soniq.runners as runner
    where resume_runner.runner_id in (runner.runner_id, runner.resumes)
  );
  -- Deleting waits for a claim that the broken connection had under way. One that comes later finds no such runner.
  with former as (
    delete from soniq.runners as runner
    where runner.runner_id = former_id
      and runner.lost_at is null
    returning runner.*
  )
  insert into soniq.runners (
    host, pid, queues, concurrency, runner_version, heartbeat_timeout, registered_at, last_heartbeat_at, resumes
  )
  select
    former.host, former.pid, former.queues, former.concurrency, former.runner_version, former.heartbeat_timeout,
    former.registered_at, soniq.clock(), resume_runner.runner_id
  from former
  returning soniq.runners.runner_id into new_id;
  if not found then
    perform soniq._refuse_runner(runner_id => resume_runner.runner_id);
  end if;

  update soniq.jobs as job
  set runner_id = new_id
  from rows from (
    pg_catalog.unnest(resume_runner.job_ids),
    pg_catalog.unnest(resume_runner.attempts)
  ) as lease (job_id, attempt)
  where job.id = any (resume_runner.job_ids)
    and job.id = lease.job_id
    and job.attempt = lease.attempt
    and job.runner_id = former_id;

  perform soniq._hand_back_all(runner_id => former_id);
  perform soniq._look_after_partitions();
  return new_id;
end;
$$;

comment on function soniq.resume_runner(bigint, bigint[], integer[]) is
'For a runner whose connection broke: it cannot know whether its last claim was granted. Answers with a new runner_id, to which the leases that it names move; any other job it holds goes back to the queue, without spending an attempt, and nothing can be claimed under the former id any more. Where this answer is lost, too, it may be called once more with the same id.

job_ids, attempts: the leases that the runner knows of, also those it has still to report.

Errors: SQ011 the runner was declared dead meanwhile, SQ012 arrays of different length, SQ016 a NULL among the leases.';

create or replace function soniq.deregister_runner(runner_id bigint)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  delete from soniq.runners as runner
  where runner.runner_id = deregister_runner.runner_id;
  if not found then
    return false;
  end if;

  perform soniq._hand_back_all(runner_id => deregister_runner.runner_id);
  return true;
end;
$$;

comment on function soniq.deregister_runner(bigint) is
'Takes a runner off the list and hands back, without spending an attempt, whatever jobs it still holds. False if there is no such runner.';
