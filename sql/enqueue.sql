-- Adding jobs. Everything here happens in the caller's transaction: a job exists when, and only when, the data
-- it is about does.

-- The one answer to what an enqueue's caller left out. Each enqueue asks, so it is a query that the caller's plan takes in;
-- the limits keep the planner to one look-up in each table.
create or replace function soniq._job_options(
  job_name text,
  queue text,
  priority integer,
  max_attempts integer,
  timeout interval
)
returns table (
  own_queue text,
  own_priority smallint,
  tries integer,
  time_limit interval,
  max_args_bytes integer,
  max_depth integer
)
language sql
stable
as $$
  select
    coalesce(_job_options.queue, type.queue, settings.default_queue),
    coalesce(_job_options.priority::smallint, type.priority, waiting.priority, settings.default_priority),
    coalesce(_job_options.max_attempts, type.max_attempts, waiting.max_attempts, settings.default_max_attempts),
    coalesce(_job_options.timeout, type.timeout, waiting.timeout, settings.default_timeout),
    settings.max_args_bytes,
    waiting.max_depth
  from soniq.settings as settings
  left join lateral (
    select known.queue, known.priority, known.max_attempts, known.timeout
    from soniq.job_types as known
    where known.job_name = _job_options.job_name
    limit 1
  ) as type
    on true
  left join lateral (
    select known.priority, known.max_attempts, known.timeout, known.max_depth
    from soniq.queues as known
    where known.queue = coalesce(_job_options.queue, type.queue, settings.default_queue)
    limit 1
  ) as waiting
    on true;
$$;

comment on function soniq._job_options(text, text, integer, integer, interval) is
'An enqueue''s options, with what is NULL filled in: from the job type, then the queue, then soniq.settings.';

create or replace function soniq._check_options(
  job_name text,
  queue text,
  priority integer,
  scheduled_at timestamptz,
  delay interval,
  max_attempts integer,
  timeout interval,
  dedup_key text,
  headers jsonb
)
returns void
language plpgsql
volatile
as $$
begin
  perform
    soniq._check_given(code => 'SQ001', what => 'job_name', value => _check_options.job_name),
    soniq._check_job_name(job_name => _check_options.job_name),
    soniq._check_queue(queue => _check_options.queue),
    soniq._check_priority(priority => _check_options.priority),
    soniq._check_schedule(scheduled_at => _check_options.scheduled_at, delay => _check_options.delay),
    soniq._check_max_attempts(max_attempts => _check_options.max_attempts),
    soniq._check_timeout(timeout => _check_options.timeout),
    soniq._check_dedup_key(dedup_key => _check_options.dedup_key),
    soniq._check_headers(headers => _check_options.headers);
end;
$$;

create or replace function soniq.enqueue(
  job_name text,
  args jsonb default '{}',
  queue text default null,
  priority integer default null,
  scheduled_at timestamptz default null,
  delay interval default null,
  max_attempts integer default null,
  timeout interval default null,
  dedup_key text default null,
  headers jsonb default null,
  tenant text default null
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  run_at timestamptz;
  job_id bigint;
  own_queue text;
  own_priority smallint;
  lane_is_open boolean;
begin
  -- Most callers give a name and args and nothing else. Each check costs more than these two conditions.
  if soniq._is_job_name(job_name => enqueue.job_name) is not true
    or pg_catalog.num_nonnulls(
      enqueue.queue, enqueue.priority, enqueue.scheduled_at, enqueue.delay, enqueue.max_attempts, enqueue.timeout,
      enqueue.dedup_key, enqueue.headers
    ) > 0
  then
    perform soniq._check_options(
      job_name => enqueue.job_name,
      queue => enqueue.queue,
      priority => enqueue.priority,
      scheduled_at => enqueue.scheduled_at,
      delay => enqueue.delay,
      max_attempts => enqueue.max_attempts,
      timeout => enqueue.timeout,
      dedup_key => enqueue.dedup_key,
      headers => enqueue.headers
    );
  end if;
  run_at := coalesce(enqueue.scheduled_at, as_of + enqueue.delay, as_of);

  loop
    insert into soniq.jobs (
      job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, dedup_key,
      headers, tenant
    )
    select
      enqueue.job_name,
      case
        when job.max_depth is null then job.own_queue
        else soniq._with_room(queue => job.own_queue, max_depth => job.max_depth, jobs => 1)
      end,
      job.own_priority,
      soniq._fitting_args(args => enqueue.args, max_bytes => job.max_args_bytes),
      run_at,
      as_of,
      job.tries,
      job.time_limit,
      enqueue.dedup_key,
      enqueue.headers,
      soniq._tenant_for(given => enqueue.tenant)
    from soniq._job_options(
      job_name => enqueue.job_name,
      queue => enqueue.queue,
      priority => enqueue.priority,
      max_attempts => enqueue.max_attempts,
      timeout => enqueue.timeout
    ) as job
    on conflict (dedup_key, coalesce(tenant, '')) where status = 'queued' and dedup_key is not null do nothing
    returning
      jobs.id,
      jobs.queue,
      jobs.priority,
      exists (
        select
        from soniq.lanes as lane
        where lane.queue = jobs.queue
          and lane.priority = jobs.priority
      )
    into job_id, own_queue, own_priority, lane_is_open;
    exit when found;

    select holder.id
    into job_id
    from soniq.jobs as holder
    where holder.dedup_key = enqueue.dedup_key
      and coalesce(holder.tenant, '') = coalesce(soniq._tenant_for(given => enqueue.tenant), '')
      and holder.status = 'queued';
    if found then
      return job_id;
    end if;
    -- Not found: the holder was claimed in between, so the key is free again.
  end loop;

  if not lane_is_open then
    perform soniq._open_lane(queue => own_queue, priority => own_priority);
  end if;
  if run_at <= as_of and soniq._someone_waits(queue => own_queue) then
    perform soniq._wake(queue => own_queue);
  end if;
  return job_id;
end;
$$;

comment on function soniq.enqueue(text, jsonb, text, integer, timestamptz, interval, integer, interval, text, jsonb, text) is
'Adds a job, in the caller''s transaction, and answers with its id. An option left NULL takes the job type''s default, then the queue''s, then that of soniq.settings.

job_name: the handler''s name, 1 to 200 characters; it need not be registered yet.
args: a JSON object, the handler''s arguments by name, of at most soniq.settings.max_args_bytes (1 MiB).
queue: 1 to 100 characters.
priority: 0 (first) to 1000 (last).
scheduled_at: not before this time; or delay: not before this long from now.
max_attempts: 1 (no retry) to 1000.
timeout: how long one attempt may take; 0 is no limit.
dedup_key: while a queued job of the same tenant holds this key, no other is added: the answer is the id of the one there is. 1 to 500 characters.
headers: a JSON object of at most 8 KiB that travels with the job beside its arguments, through retries and replays, such as a trace''s context: {"traceparent": "00-..."}.
tenant: whose job it is, 1 to 200 characters; by default that of the setting soniq.tenant, if there is one. A login bound to a tenant (bind_tenant()) need not give it, and may not give another.

Errors: SQ001 job_name, SQ002 queue, SQ003 args, SQ004 args too large, SQ005 priority, SQ006 scheduled_at or delay, SQ007 max_attempts, SQ008 timeout, SQ009 dedup_key, SQ022 headers, SQ024 the queue has as many jobs as its max_depth allows, SQ026 tenant.';

create or replace function soniq.enqueue_many(
  job_name text,
  args jsonb[],
  queue text default null,
  priority integer default null,
  scheduled_at timestamptz default null,
  delay interval default null,
  max_attempts integer default null,
  timeout interval default null,
  headers jsonb default null,
  tenant text default null
)
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  run_at timestamptz;
  own_tenant text;
  job record;
begin
  perform soniq._check_options(
    job_name => enqueue_many.job_name,
    queue => enqueue_many.queue,
    priority => enqueue_many.priority,
    scheduled_at => enqueue_many.scheduled_at,
    delay => enqueue_many.delay,
    max_attempts => enqueue_many.max_attempts,
    timeout => enqueue_many.timeout,
    dedup_key => null,
    headers => enqueue_many.headers
  );
  run_at := coalesce(enqueue_many.scheduled_at, as_of + enqueue_many.delay, as_of);
  if enqueue_many.args is null then
    perform soniq._refuse('SQ003', 'args is NULL', 'Give an array of JSON objects, one for each job.');
  elsif pg_catalog.cardinality(enqueue_many.args) = 0 then
    return;
  end if;

  select *
  into job
  from soniq._job_options(
    job_name => enqueue_many.job_name,
    queue => enqueue_many.queue,
    priority => enqueue_many.priority,
    max_attempts => enqueue_many.max_attempts,
    timeout => enqueue_many.timeout
  );
  own_tenant := soniq._tenant_for(given => enqueue_many.tenant);
  if job.max_depth is not null then
    perform soniq._with_room(
      queue => job.own_queue,
      max_depth => job.max_depth,
      jobs => pg_catalog.cardinality(enqueue_many.args)
    );
  end if;
  perform soniq._open_lane(queue => job.own_queue, priority => job.own_priority);

  return query
  insert into soniq.jobs (
    job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, headers, tenant
  )
  select
    enqueue_many.job_name,
    job.own_queue,
    job.own_priority,
    soniq._fitting_args(args => each.args, max_bytes => job.max_args_bytes),
    run_at,
    as_of,
    job.tries,
    job.time_limit,
    enqueue_many.headers,
    own_tenant
  from pg_catalog.unnest(enqueue_many.args) with ordinality as each (args, position)
  order by each.position
  returning id;

  if run_at <= as_of then
    perform soniq._wake(queue => job.own_queue, jobs => pg_catalog.cardinality(enqueue_many.args));
  end if;
end;
$$;

comment on function soniq.enqueue_many(text, jsonb[], text, integer, timestamptz, interval, integer, interval, jsonb, text) is
'Adds one job for each entry of args, all with the same options, in one statement, and answers with their ids in the order of args. One bad entry refuses them all. For jobs with keys or options of their own, call enqueue() over a set: select soniq.enqueue(...) from ....

Parameters and errors as in enqueue().';
