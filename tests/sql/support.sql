-- What the test files share. Each file is one transaction, rolled back at its end: it starts with "begin;" and
-- "\ir support.sql". Files run in any order and beside each other on one database, so the helpers live in
-- the session's temporary schema, no id is ever assumed, and each file uses queues, names and keys of its own.
--
-- Two things are the database's and not the session's: soniq.clock(), when it is replaced, and the row of
-- soniq.settings. A file that changes one makes the others that do so wait. A file that needs both stops the clock
-- first.

-- No test takes a tenth of this; one that waits for what never comes ends.
set local statement_timeout = '60 s';
set local client_min_messages = warning;
set local timezone = 'UTC';

create temporary sequence numbers;

-- The clock: it stands still at soniq_test.now and moves when told.

create function pg_temp.stop_clock(at timestamptz default '2030-01-01 12:00+00')
returns void
language plpgsql
as $$
begin
  create or replace function soniq.clock()
  returns timestamptz
  language sql
  volatile
  parallel safe
  as $clock$
    select pg_catalog.current_setting('soniq_test.now')::timestamptz;
  $clock$;
  perform set_config('soniq_test.now', stop_clock.at::text, true);
end;
$$;

create function pg_temp.wait(delay interval)
returns void
language sql
as $$
  select set_config('soniq_test.now', (soniq.clock() + wait.delay)::text, true);
$$;

create function pg_temp.wait_for_second(second interval)
returns void
language sql
as $$
  select pg_temp.wait(date_bin('1 minute', soniq.clock(), 'epoch') + interval '1 minute' + wait_for_second.second - soniq.clock());
$$;

-- Errors: SQLSTATE, message and hint of what a statement raises, in one text that a test reads whole.

create function pg_temp.refusal(statement text)
returns text
language plpgsql
as $$
declare
  problem text;
  remedy text;
begin
  execute refusal.statement;
  return 'nothing was refused';
exception
  when others then
    get stacked diagnostics problem = message_text, remedy = pg_exception_hint;
    return pg_temp.refused_with(code => sqlstate, problem => problem, remedy => remedy);
end;
$$;

create function pg_temp.refused_with(code text, problem text, remedy text)
returns text
language sql
as $$
  select format(E'%s: %s\n%s', refused_with.code, refused_with.problem, refused_with.remedy);
$$;

-- Runners and leases.

create type pg_temp.lease as (job_id bigint, attempt integer);

create function pg_temp.new_runner(heartbeat_timeout interval default '5 minutes')
returns bigint
language sql
as $$
  select soniq.register_runner(host => 'test-host', pid => 42, heartbeat_timeout => new_runner.heartbeat_timeout);
$$;

create function pg_temp.the_runner()
returns bigint
language plpgsql
as $$
begin
  if coalesce(current_setting('soniq_test.runner', true), '') = '' then
    perform set_config('soniq_test.runner', pg_temp.new_runner()::text, true);
  end if;
  return current_setting('soniq_test.runner');
end;
$$;

-- A reading of the index that took long, as on a busy machine, would bring a scan hint into force, under which a claim
-- need not see at once what was enqueued below the last key. Only scan_hints.sql is about that.
create function pg_temp.forget_hints()
returns void
language sql
as $$
  select set_config('soniq.lane_' || lane.lane_id, '', true)
  from soniq.lanes as lane;
$$;

create function pg_temp.claim(
  queues text[],
  max_jobs integer default 1,
  skip_jobs text[] default null,
  runner_id bigint default null
)
returns setof soniq.claimed_job
language plpgsql
as $$
begin
  perform pg_temp.forget_hints();
  return query
  select *
  from soniq.claim(
    runner_id => coalesce(claim.runner_id, pg_temp.the_runner()),
    queues => claim.queues,
    max_jobs => claim.max_jobs,
    skip_jobs => claim.skip_jobs
  );
end;
$$;

-- Jobs, each in a queue of its own, so that a claim of that queue gets this job.

create function pg_temp.new_job(
  job_name text default 'test job',
  max_attempts integer default 3,
  delay interval default null,
  timeout interval default null,
  dedup_key text default null
)
returns bigint
language sql
as $$
  select soniq.enqueue(
    job_name => new_job.job_name,
    queue => format('queue %s of session %s', nextval('pg_temp.numbers'), pg_backend_pid()),
    max_attempts => new_job.max_attempts,
    delay => new_job.delay,
    timeout => new_job.timeout,
    dedup_key => new_job.dedup_key
  );
$$;

-- Claims this very job. Its attempt is the answer; NULL if a claim does not get it.
create function pg_temp.take(job_id bigint, runner_id bigint default null)
returns integer
language sql
as $$
  select claimed.attempt
  from soniq.get_job(job_id => take.job_id) as job
  cross join lateral pg_temp.claim(queues => array[job.queue], runner_id => take.runner_id) as claimed
  where claimed.job_id = take.job_id;
$$;

create function pg_temp.new_lease(
  job_name text default 'test job',
  max_attempts integer default 3,
  timeout interval default null,
  dedup_key text default null,
  runner_id bigint default null
)
returns pg_temp.lease
language plpgsql
as $$
declare
  held pg_temp.lease;
begin
  held.job_id := pg_temp.new_job(
    job_name => new_lease.job_name,
    max_attempts => new_lease.max_attempts,
    timeout => new_lease.timeout,
    dedup_key => new_lease.dedup_key
  );
  held.attempt := pg_temp.take(job_id => held.job_id, runner_id => new_lease.runner_id);
  return held;
end;
$$;

create function pg_temp.new_dead_letter(job_name text default 'test job', max_attempts integer default 3)
returns bigint
language plpgsql
as $$
declare
  held constant pg_temp.lease := pg_temp.new_lease(
    job_name => new_dead_letter.job_name, max_attempts => new_dead_letter.max_attempts
  );
begin
  perform soniq.fail(job_id => held.job_id, attempt => held.attempt, error => '{}', reason => 'permanent_failure');
  return held.job_id;
end;
$$;

-- get_job() for use in the statement that changes the job: being volatile, it sees the change.
create function pg_temp.job(job_id bigint)
returns soniq.all_jobs
language sql
as $$
  select *
  from soniq.get_job(job_id => job.job_id);
$$;

create function pg_temp.status(job_id bigint)
returns text
language sql
as $$
  select (pg_temp.job(job_id => status.job_id)).status::text;
$$;

-- What a statement costs: the pages it touches, whether they were in memory or not.

create function pg_temp.pages(statement text)
returns bigint
language plpgsql
as $$
declare
  plan json;
begin
  execute 'explain (analyze, buffers, timing off, format json) ' || pages.statement into plan;
  return (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
end;
$$;

-- Another session, where there is dblink.
create function pg_temp.connect(name text)
returns void
language plpgsql
as $$
begin
  perform dblink_connect(
    connect.name,
    format(
      'host=''%s'' port=%s dbname=''%s'' user=''%s''',
      coalesce(host(inet_server_addr()), split_part(current_setting('unix_socket_directories'), ',', 1)),
      current_setting('port'), current_database(), current_user
    )
  );
end;
$$;
