-- Generated from sql/ by script/generate. Do not edit: change sql/ and run script/generate routines.
-- Deploy soniq:routines to pg

begin;

-- The time. Every time that Soniq stores or compares comes from here, so that a test can replace one
-- function inside its transaction and drive the clock.

create or replace function soniq.clock()
returns timestamptz
language sql
volatile
parallel safe
as $$
  select pg_catalog.clock_timestamp();
$$;

comment on function soniq.clock() is
'The database''s time, now. A runner''s own clock decides nothing.';

-- Which Soniq this schema is. A runner compares it with its own before it claims anything.

create or replace function soniq.version()
returns text
language sql
immutable
parallel safe
as $$
  select '0.1.0';
$$;

comment on function soniq.version() is
'The version of this schema, as major.minor.patch. A runner of the same major.minor works with it.';

-- Bad input. Each check passes what is right, and NULL, which means "the default"; what is wrong raises an error that
-- names the value, with a hint that says the remedy. Callers put their checks into one PERFORM: each would cost
-- an enqueue a query of its own otherwise. The SQLSTATEs are Soniq's own class:
--
--   SQ001 job name          SQ007 max_attempts       SQ013 error report
--   SQ002 queue             SQ008 timeout            SQ014 selection of dead letters
--   SQ003 args              SQ009 dedup_key          SQ015 runner's particulars
--   SQ004 args too large    SQ010 retry policy       SQ016 lease
--   SQ005 priority          SQ011 unknown runner
--   SQ006 time or delay     SQ012 batch

create or replace function soniq._refuse(code text, problem text, remedy text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  raise exception using errcode = code, message = problem, hint = remedy;
end;
$$;

create or replace function soniq._refuse_runner(runner_id bigint)
returns void
language sql
volatile
parallel safe
as $$
  select soniq._refuse(
    'SQ011',
    pg_catalog.format('runner %s is not registered', coalesce(_refuse_runner.runner_id::text, 'NULL')),
    'Call soniq.register_runner() and claim with the id it answers; a runner declared dead has to do so anew.'
  );
$$;

create or replace function soniq._check_given(code text, what text, value text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if value is null then
    perform soniq._refuse(code, pg_catalog.format('%s is NULL', what), pg_catalog.format('Give the %s.', what));
  end if;
end;
$$;

create or replace function soniq._check_name(code text, what text, name text, longest integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if pg_catalog.length(name) not between 1 and longest then
    perform soniq._refuse(
      code,
      pg_catalog.format('%s has %s characters: %L', what, pg_catalog.length(name), pg_catalog.left(name, 60)),
      pg_catalog.format('Give 1 to %s characters.', longest)
    );
  elsif name ~ '^\s|\s$|[[:cntrl:]]' then
    perform soniq._refuse(
      code,
      pg_catalog.format('%s has white space at an end or a control character: %L', what, name),
      'Remove it: such names look alike and are not.'
    );
  end if;
end;
$$;

create or replace function soniq._check_job_name(job_name text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  perform soniq._check_name(code => 'SQ001', what => 'job_name', name => job_name, longest => 200);
end;
$$;

create or replace function soniq._check_queue(queue text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  perform soniq._check_name(code => 'SQ002', what => 'queue', name => queue, longest => 100);
end;
$$;

create or replace function soniq._check_dedup_key(dedup_key text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  perform soniq._check_name(code => 'SQ009', what => 'dedup_key', name => dedup_key, longest => 500);
end;
$$;

create or replace function soniq._check_args(args jsonb, max_bytes integer)
returns void
language plpgsql
volatile
parallel safe
as $$
declare
  bytes integer;
begin
  if args is null or pg_catalog.jsonb_typeof(args) <> 'object' then
    perform soniq._refuse(
      'SQ003',
      pg_catalog.format('args must be a JSON object, not %s', coalesce(pg_catalog.jsonb_typeof(args), 'NULL')),
      'Name the handler''s arguments, as in {"to": "ada@example.org"}; {} for none.'
    );
  end if;

  bytes := pg_catalog.octet_length(args::text);
  if bytes > max_bytes then
    perform soniq._refuse(
      'SQ004',
      pg_catalog.format('args take %s bytes; the limit is %s', bytes, max_bytes),
      'Store the data in a table and enqueue its key, or raise soniq.settings.max_args_bytes.'
    );
  end if;
end;
$$;

create or replace function soniq._check_priority(priority integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if priority not between 0 and 1000 then
    perform soniq._refuse(
      'SQ005',
      pg_catalog.format('priority %s is out of range', priority),
      'Give a whole number from 0 (runs first) to 1000 (runs last).'
    );
  end if;
end;
$$;

-- Beyond a century, adding to a time may leave the calendar.
create or replace function soniq._check_length(code text, what text, duration interval)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if duration > interval '100 years' then
    perform soniq._refuse(code, pg_catalog.format('%s is too long: %s', what, duration), 'Give at most 100 years.');
  end if;
end;
$$;

create or replace function soniq._check_delay(code text, what text, delay interval)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if delay < interval '0' then
    perform soniq._refuse(
      code,
      pg_catalog.format('%s is negative: %s', what, delay),
      'Give an interval of 0 or more, as in ''5 minutes''.'
    );
  end if;

  perform soniq._check_length(code => code, what => what, duration => delay);
end;
$$;

create or replace function soniq._check_schedule(scheduled_at timestamptz, delay interval)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  perform soniq._check_delay(code => 'SQ006', what => 'delay', delay => delay);

  if scheduled_at is not null and delay is not null then
    perform soniq._refuse(
      'SQ006',
      'scheduled_at and delay are both given',
      'Give scheduled_at for a time, or delay for a wait from now.'
    );
  elsif not pg_catalog.isfinite(scheduled_at) then
    perform soniq._refuse(
      'SQ006',
      pg_catalog.format('scheduled_at is %s', scheduled_at),
      'Give a time on the calendar.'
    );
  end if;
end;
$$;

create or replace function soniq._check_max_attempts(max_attempts integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if max_attempts not between 1 and 1000 then
    perform soniq._refuse(
      'SQ007',
      pg_catalog.format('max_attempts %s is out of range', max_attempts),
      'Give a whole number from 1 (no retry) to 1000.'
    );
  end if;
end;
$$;

create or replace function soniq._check_timeout(timeout interval)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if timeout < interval '0' then
    perform soniq._refuse(
      'SQ008',
      pg_catalog.format('timeout is negative: %s', timeout),
      'Give an interval such as ''30 seconds''; 0 is no limit.'
    );
  end if;

  perform soniq._check_length(code => 'SQ008', what => 'timeout', duration => timeout);
end;
$$;

create or replace function soniq._check_retry_policy(
  retry_delays interval[],
  backoff text,
  max_retry_delay interval
)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if pg_catalog.cardinality(retry_delays) not between 1 and 1000
    or pg_catalog.array_ndims(retry_delays) > 1
    or pg_catalog.array_position(retry_delays, null) is not null
    or interval '0' > any (retry_delays)
  then
    perform soniq._refuse(
      'SQ010',
      pg_catalog.format('retry_delays is %L', retry_delays),
      'Give one interval for every retry, or a list of 1 to 1000 of them, each 0 or more.'
    );
  elsif backoff not in ('fixed', 'exponential') then
    perform soniq._refuse('SQ010', pg_catalog.format('backoff is %L', backoff), 'Give ''fixed'' or ''exponential''.');
  elsif backoff = 'exponential' and pg_catalog.cardinality(retry_delays) > 1 then
    perform soniq._refuse(
      'SQ010',
      pg_catalog.format('backoff is exponential and retry_delays is a list: %L', retry_delays),
      'Give exponential backoff one delay to double, or use backoff ''fixed'' with the list.'
    );
  end if;

  perform
    soniq._check_length(code => 'SQ010', what => 'retry_delays', duration => longest.delay),
    soniq._check_delay(code => 'SQ010', what => 'max_retry_delay', delay => max_retry_delay)
  from (
    select max(each.delay) as delay
    from pg_catalog.unnest(retry_delays) as each (delay)
  ) as longest;
end;
$$;

create or replace function soniq._check_queues(queues text[])
returns void
language plpgsql
volatile
parallel safe
as $$
declare
  queue text;
begin
  if pg_catalog.cardinality(queues) = 0 then
    perform soniq._refuse('SQ002', 'queues is an empty list', 'Name the queues to serve, or give NULL for all.');
  end if;

  foreach queue in array coalesce(queues, '{}') loop
    perform
      soniq._check_given(code => 'SQ002', what => 'queue', value => queue),
      soniq._check_queue(queue => queue);
  end loop;
end;
$$;

create or replace function soniq._check_lease(job_id bigint, attempt integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if job_id is null or attempt is null then
    perform soniq._refuse(
      'SQ016',
      pg_catalog.format('the lease (job_id %s, attempt %s) is not whole', coalesce(job_id::text, 'NULL'), coalesce(attempt::text, 'NULL')),
      'Give job_id and attempt as claim() answered them.'
    );
  end if;
end;
$$;

create or replace function soniq._check_leases(job_ids bigint[], attempts integer[])
returns void
language plpgsql
volatile
parallel safe
as $$
declare
  dimensions constant integer := greatest(pg_catalog.array_ndims(job_ids), pg_catalog.array_ndims(attempts));
begin
  if dimensions > 1 then
    perform soniq._refuse(
      'SQ012', pg_catalog.format('the arrays have %s dimensions', dimensions), 'Give one-dimensional arrays.'
    );
  elsif pg_catalog.array_position(job_ids, null) is not null
    or pg_catalog.array_position(attempts, null) is not null
    or job_ids is null
    or attempts is null
  then
    perform soniq._refuse('SQ016', 'a lease in the batch is NULL', 'Give job_ids and attempts as claim() answered them.');
  elsif pg_catalog.cardinality(job_ids) <> pg_catalog.cardinality(attempts) then
    perform soniq._refuse(
      'SQ012',
      pg_catalog.format(
        'the arrays differ in length: %s job_ids, %s attempts',
        pg_catalog.cardinality(job_ids), pg_catalog.cardinality(attempts)
      ),
      'Give one entry a job in each array.'
    );
  end if;
end;
$$;

create or replace function soniq._check_beside_leases(job_ids bigint[], attempts integer[], what text, entries integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if entries <> pg_catalog.cardinality(job_ids) then
    perform soniq._refuse(
      'SQ012',
      pg_catalog.format(
        'the arrays differ in length: %s job_ids, %s attempts, %s %s',
        pg_catalog.cardinality(job_ids), pg_catalog.cardinality(attempts), entries, what
      ),
      'Give one entry a job in each array.'
    );
  end if;
end;
$$;

create or replace function soniq._check_failure(error jsonb, reason text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if error is null or pg_catalog.jsonb_typeof(error) <> 'object' then
    perform soniq._refuse(
      'SQ013',
      pg_catalog.format('error must be a JSON object, not %s', coalesce(pg_catalog.jsonb_typeof(error), 'NULL')),
      'Give {"type": ..., "message": ..., "traceback": ...}, each a text, none required.'
    );
  elsif reason not in ('timeout', 'permanent_failure', 'unknown_job', 'invalid_arguments') then
    perform soniq._refuse(
      'SQ013',
      pg_catalog.format('reason is %L', reason),
      'Give timeout, permanent_failure, unknown_job or invalid_arguments, or NULL for an ordinary error.'
    );
  end if;
end;
$$;

create or replace function soniq._check_selection(ids bigint[], job_name text, queue text, everything boolean)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if everything is not true and ids is null and job_name is null and queue is null then
    perform soniq._refuse(
      'SQ014',
      'no dead letters are selected',
      'Give ids, job_name or queue, or everything => true; dry_run => true shows what would be taken.'
    );
  elsif everything and (ids is not null or job_name is not null or queue is not null) then
    perform soniq._refuse(
      'SQ014',
      'everything is asked for and a filter is given',
      'Leave out either everything or the filters.'
    );
  end if;
end;
$$;

-- How a runner with nothing to do learns of a job. NOTIFY serialises commits, so an enqueue notifies only when a
-- runner waits. The sign for waiting is a shared advisory lock on the runner's LISTEN connection: no row is
-- written, so a pinned xmin cannot slow it down, and it vanishes with the runner. An enqueue tries to take
-- the same lock exclusively for an instant; it fails where a runner waits.
--
-- A wake-up can be lost: a transaction that looked before the sign went up may commit after the runner's
-- last claim. Runners therefore claim again after a short while; a lost wake-up costs time, never a job.

create or replace function soniq._waiting_key(queue text default '')
returns table (class integer, object integer)
language sql
stable
parallel safe
as $$
  -- 'SONQ' in ASCII, so that pg_locks tells whose lock it is. No queue is named '', which stands for all.
  select 1397706321, pg_catalog.hashtext(_waiting_key.queue);
$$;

comment on function soniq._waiting_key(text) is
'The advisory lock that says "a runner waits for this queue"; without a queue, for any.';

create or replace function soniq._someone_waits(queue text)
returns boolean
language plpgsql
volatile
as $$
declare
  key record;
begin
  select *
  into key
  from soniq._waiting_key(queue => _someone_waits.queue);

  -- The lock is released in the same expression: it must not outlive the question.
  return not (
    pg_catalog.pg_try_advisory_lock(key.class, key.object)
    and pg_catalog.pg_advisory_unlock(key.class, key.object)
  );
end;
$$;

create or replace function soniq._wake(queue text)
returns void
language plpgsql
volatile
as $$
begin
  if soniq._someone_waits(queue => '') or soniq._someone_waits(queue => _wake.queue) then
    perform pg_catalog.pg_notify('soniq_jobs', _wake.queue);
  end if;
end;
$$;

comment on function soniq._wake(text) is
'Notifies the runners that wait for a queue, if there are any, when the transaction commits.';

create or replace function soniq.wait_for_jobs(queues text[] default null)
returns interval
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  as_of constant timestamptz := soniq.clock();
begin
  perform
    soniq._check_queues(queues => wait_for_jobs.queues),
    -- A lock that is taken twice has to be given back twice.
    soniq.stop_waiting();

  -- Trying is enough: where an enqueue holds the lock for its instant, the next enqueue sees a lock too,
  -- and the caller, who claims again soon, tries again.
  perform pg_catalog.pg_try_advisory_lock_shared(sign.class, sign.object)
  from (
    select distinct key.class, key.object
    from pg_catalog.unnest(coalesce(wait_for_jobs.queues, '{""}')) as wanted (queue)
    cross join lateral soniq._waiting_key(queue => wanted.queue) as key
  ) as sign;

  return (
    select min(next.scheduled_at) - as_of
    from soniq.lanes as lane
    cross join lateral (
      select job.scheduled_at
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = lane.queue
        and job.priority = lane.priority
        and job.scheduled_at > as_of
      order by job.scheduled_at
      limit 1
    ) as next
    where wait_for_jobs.queues is null
      or lane.queue = any (wait_for_jobs.queues)
  );
end;
$$;

comment on function soniq.wait_for_jobs(text[]) is
'Puts up the sign that a runner waits for these queues (NULL: all), on the connection that listens to the channel soniq_jobs. While the sign is up, an enqueue sends a notification whose payload is the queue. Call it once for a wait, claim once more after it, and take the sign down with stop_waiting(). Not through PgBouncer in transaction mode: the sign belongs to the session.

Answers how long until the next job that is scheduled for later is due; NULL if there is none.

Errors: SQ002 queue.';

create or replace function soniq.stop_waiting()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_catalog.pg_advisory_unlock_shared(held.classid::integer, held.objid::bigint::bit(32)::integer)
  from pg_catalog.pg_locks as held
  cross join soniq._waiting_key() as key
  where held.locktype = 'advisory'
    and held.pid = pg_catalog.pg_backend_pid()
    and held.classid::integer = key.class
    and held.objsubid = 2
    and held.mode = 'ShareLock';
end;
$$;

comment on function soniq.stop_waiting() is
'Takes down the session''s waiting sign. From then on an enqueue sends no notification on this runner''s account.';

-- Where a claim starts to read its lane. With an open transaction somewhere, vacuum cannot remove the entries of jobs
-- long gone from the head of the index, and each claim would walk over all of them. So a session remembers
-- the key it claimed last and starts above it.
--
-- It is a hint and no more: a slow transaction may commit a job below it. So the whole lane is read again as soon
-- as twenty times what the last whole reading took has passed, which leaves at most a twentieth of the time
-- to it; and where a whole reading is cheap, as on any healthy database, the hint is not used at all.
--
-- The hint lives in a setting of the session, soniq.lane_<lane_id>, as an array of whole numbers: the key's
-- scheduled_at in microseconds and its id, then when the lane was last read whole and how long that took, in microseconds.
-- A pooler that hands the session to another client passes on a hint that is just as good there.

create or replace function soniq._microseconds(moment timestamptz)
returns bigint
language sql
immutable
parallel safe
as $$
  select (extract(epoch from moment) * 1000000)::bigint;
$$;

create or replace function soniq._scan_hint(lane_id integer)
returns bigint[]
language sql
stable
as $$
  select nullif(pg_catalog.current_setting('soniq.lane_' || lane_id, true), '')::bigint[];
$$;

create or replace function soniq._scan_start(lane_id integer)
returns table (scheduled_at timestamptz, job_id bigint)
language plpgsql
volatile
as $$
declare
  hint constant bigint[] := soniq._scan_hint(lane_id => _scan_start.lane_id);
begin
  if hint[4] > 0 and soniq._microseconds(pg_catalog.clock_timestamp()) - hint[3] < 20 * hint[4] then
    return query select timestamptz 'epoch' + hint[1] * interval '1 microsecond', hint[2];
  else
    return query select timestamptz '-infinity', bigint '0';
  end if;
end;
$$;

comment on function soniq._scan_start(integer) is
'The key above which a claim reads this lane: the session''s hint, or the very beginning.';

create or replace function soniq._remember_scan(
  lane_id integer,
  started_at timestamptz,
  whole boolean,
  full_share boolean,
  picked bigint[]
)
returns void
language plpgsql
volatile
as $$
declare
  before constant bigint[] := coalesce(soniq._scan_hint(lane_id => _remember_scan.lane_id), '{0,0,0,0}');
  finished_at constant timestamptz := pg_catalog.clock_timestamp();
  took constant bigint := soniq._microseconds(finished_at) - soniq._microseconds(started_at);
  jobs constant integer := pg_catalog.cardinality(picked);
  last_key bigint[];
begin
  select array[soniq._microseconds(job.scheduled_at), job.id]
  into last_key
  from soniq.jobs as job
  where job.id = picked[jobs];

  -- A whole reading that found fewer jobs than it wanted has left nothing behind, however low its last one lies.
  if last_key is null or (whole and not full_share) then
    last_key := greatest(before[1:2], last_key);
  end if;

  perform pg_catalog.set_config(
    'soniq.lane_' || lane_id,
    case
      when not whole then last_key || before[3:4]
      -- Locking what it picks is work that any reading does; only the rest counts as walking.
      else last_key || array[soniq._microseconds(finished_at), greatest(took - 5000 - 50 * jobs, 0)]
    end::text,
    false
  );
end;
$$;

comment on function soniq._remember_scan(integer, timestamptz, boolean, boolean, bigint[]) is
'Keeps, for this session, where its next claim may start to read the lane.';

-- Lanes: a lane is a queue and a priority, and its ready jobs are one contiguous range of the index that claims
-- read. This file opens lanes and decides how much a claim takes from each.

create or replace function soniq._open_lane(queue text, priority smallint)
returns void
language plpgsql
volatile
as $$
#variable_conflict use_column
begin
  if not exists (
    select
    from soniq.lanes as lane
    where lane.queue = _open_lane.queue
      and lane.priority = _open_lane.priority
  ) then
    insert into soniq.lanes (queue, priority)
    values (_open_lane.queue, _open_lane.priority);
  end if;
end;
$$;

comment on function soniq._open_lane(text, smallint) is
'Makes a lane known to claims. Never waits for another transaction, at the price of a second row now and then.';

create or replace function soniq._open_priorities(queues text[])
returns table (priority smallint, lane_ids integer[])
language sql
stable
as $$
  select lane.priority, pg_catalog.array_agg(lane.lane_id)
  from (
    select known.queue, known.priority, min(known.lane_id) as lane_id
    from soniq.lanes as known
    where _open_priorities.queues is null
      or known.queue = any (_open_priorities.queues)
    group by known.queue, known.priority
  ) as lane
  where not exists (
    select
    from soniq.queues as setting
    where setting.queue = lane.queue
      and setting.paused
  )
  group by lane.priority
  order by lane.priority;
$$;

comment on function soniq._open_priorities(text[]) is
'The lanes of the queues that are not paused, by priority, the first to run first.';

create or replace function soniq._lane_shares(lane_ids integer[], max_jobs integer, skip_jobs text[], as_of timestamptz)
returns table (lane_id integer, share integer)
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
begin
  if pg_catalog.cardinality(lane_ids) = 1 then
    return query select lane_ids[1], max_jobs;
    return;
  end if;

  return query
  select oldest.lane_id, pg_catalog.count(*)::integer
  from (
    select lane.lane_id, ready.scheduled_at, ready.id
    from soniq.lanes as lane
    cross join lateral soniq._scan_start(lane_id => lane.lane_id) as start
    cross join lateral (
      select job.scheduled_at, job.id
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = lane.queue
        and job.priority = lane.priority
        and job.scheduled_at <= _lane_shares.as_of
        and (job.scheduled_at, job.id) > (start.scheduled_at, start.job_id)
        and (_lane_shares.skip_jobs is null or job.job_name <> all (_lane_shares.skip_jobs))
      order by job.scheduled_at, job.id
      limit _lane_shares.max_jobs
    ) as ready
    where lane.lane_id = any (_lane_shares.lane_ids)
    order by ready.scheduled_at, ready.id
    limit _lane_shares.max_jobs
  ) as oldest
  group by oldest.lane_id;
end;
$$;

comment on function soniq._lane_shares(integer[], integer, text[], timestamptz) is
'How many jobs to take from each lane of one priority so that together they are the oldest. It locks nothing: to lock as many in every lane as one of them may yield would keep them from other runners.';

-- What handlers declare. A runner registers its handlers' policies at its start, so that an enqueue from psql
-- gets the same queue, priority, retries and timeout as one from the handler's own language.

create or replace function soniq.register_job_type(
  job_name text,
  queue text default null,
  priority integer default null,
  max_attempts integer default null,
  timeout interval default null,
  retry_delays interval[] default null,
  backoff text default null,
  max_retry_delay interval default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform
    soniq._check_given(code => 'SQ001', what => 'job_name', value => register_job_type.job_name),
    soniq._check_job_name(job_name => register_job_type.job_name),
    soniq._check_queue(queue => register_job_type.queue),
    soniq._check_priority(priority => register_job_type.priority),
    soniq._check_max_attempts(max_attempts => register_job_type.max_attempts),
    soniq._check_timeout(timeout => register_job_type.timeout),
    soniq._check_retry_policy(
      retry_delays => register_job_type.retry_delays,
      backoff => register_job_type.backoff,
      max_retry_delay => register_job_type.max_retry_delay
    );

  -- A hundred runners that start with the same code write nothing but the first.
  insert into soniq.job_types as known (
    job_name, queue, priority, max_attempts, timeout, retry_delays, backoff, max_retry_delay, registered_at
  )
  values (
    register_job_type.job_name,
    register_job_type.queue,
    register_job_type.priority,
    register_job_type.max_attempts,
    register_job_type.timeout,
    register_job_type.retry_delays,
    register_job_type.backoff,
    register_job_type.max_retry_delay,
    soniq.clock()
  )
  on conflict (job_name) do update
  set queue = excluded.queue,
    priority = excluded.priority,
    max_attempts = excluded.max_attempts,
    timeout = excluded.timeout,
    retry_delays = excluded.retry_delays,
    backoff = excluded.backoff,
    max_retry_delay = excluded.max_retry_delay,
    registered_at = excluded.registered_at
  where (
      known.queue, known.priority, known.max_attempts, known.timeout, known.retry_delays, known.backoff,
      known.max_retry_delay
    ) is distinct from (
      excluded.queue, excluded.priority, excluded.max_attempts, excluded.timeout, excluded.retry_delays, excluded.backoff,
      excluded.max_retry_delay
    );
end;
$$;

comment on function soniq.register_job_type(text, text, integer, integer, interval, interval[], text, interval) is
'Declares the policy of a job name; a later call replaces the whole of it. Jobs take queue, priority, max_attempts and timeout when they are enqueued, and the retry policy when they fail.

job_name: 1 to 200 characters.
queue, priority, max_attempts, timeout: defaults for enqueue(); NULL leaves it to the queue, then to soniq.settings.
retry_delays: the wait before the first, second, ... retry; the last one repeats.
backoff: fixed takes the delays as they are; exponential takes one delay and doubles it at each failure, then waits between half and all of that.
max_retry_delay: no exponential wait is longer.

Errors: SQ001 job_name, SQ002 queue, SQ005 priority, SQ007 max_attempts, SQ008 timeout, SQ010 retry policy.';

create or replace function soniq._retry_delay(job_name text, failures integer)
returns interval
language sql
volatile
parallel safe
as $$
  select
    case coalesce(type.backoff, case when pg_catalog.cardinality(type.retry_delays) > 0 then 'fixed' end, settings.default_backoff)
      when 'fixed' then policy.delays[least(_retry_delay.failures, pg_catalog.cardinality(policy.delays))]
      -- In seconds, as an interval that doubles 999 times would overflow. The jitter keeps jobs that failed
      -- together from coming back together.
      else interval '1 second' * (0.5 + pg_catalog.random() / 2) * least(
          extract(epoch from policy.delays[1])::double precision * pg_catalog.power(2, _retry_delay.failures - 1),
          extract(epoch from coalesce(type.max_retry_delay, settings.default_max_retry_delay))::double precision
        )
    end
  from soniq.settings as settings
  left join soniq.job_types as type
    on type.job_name = _retry_delay.job_name
  cross join lateral (
    select coalesce(type.retry_delays, settings.default_retry_delays) as delays
  ) as policy;
$$;

comment on function soniq._retry_delay(text, integer) is
'How long a job of this name waits after its nth failure.';

-- Per-queue settings. A queue exists as soon as a job names it; a row is needed only to pause it or to give it
-- defaults of its own.

create or replace function soniq.configure_queue(
  queue text,
  priority integer default null,
  max_attempts integer default null,
  timeout interval default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform
    soniq._check_given(code => 'SQ002', what => 'queue', value => configure_queue.queue),
    soniq._check_queue(queue => configure_queue.queue),
    soniq._check_priority(priority => configure_queue.priority),
    soniq._check_max_attempts(max_attempts => configure_queue.max_attempts),
    soniq._check_timeout(timeout => configure_queue.timeout);

  insert into soniq.queues (queue, priority, max_attempts, timeout)
  values (configure_queue.queue, configure_queue.priority, configure_queue.max_attempts, configure_queue.timeout)
  on conflict (queue) do update
  set priority = excluded.priority,
    max_attempts = excluded.max_attempts,
    timeout = excluded.timeout;
end;
$$;

comment on function soniq.configure_queue(text, integer, integer, interval) is
'Sets a queue''s defaults for jobs whose type has none; NULL leaves a matter to soniq.settings. Jobs already enqueued keep what they have, and so does the queue''s pause.

Errors: SQ002 queue, SQ005 priority, SQ007 max_attempts, SQ008 timeout.';

create or replace function soniq.pause_queue(queue text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform
    soniq._check_given(code => 'SQ002', what => 'queue', value => pause_queue.queue),
    soniq._check_queue(queue => pause_queue.queue);

  insert into soniq.queues as known (queue, paused)
  values (pause_queue.queue, true)
  on conflict (queue) do update
  set paused = true
  where not known.paused;

  return found;
end;
$$;

comment on function soniq.pause_queue(text) is
'Stops handing out a queue''s jobs, from the next claim on. Jobs are still taken in, and those being processed go on. True if this paused it, false if it was paused already.

Errors: SQ002 queue.';

create or replace function soniq.resume_queue(queue text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform
    soniq._check_given(code => 'SQ002', what => 'queue', value => resume_queue.queue),
    soniq._check_queue(queue => resume_queue.queue);

  update soniq.queues as known
  set paused = false
  where known.queue = resume_queue.queue
    and known.paused;

  if not found then
    return false;
  end if;

  perform soniq._wake(queue => resume_queue.queue);
  return true;
end;
$$;

comment on function soniq.resume_queue(text) is
'Hands a paused queue''s jobs out again. True if this resumed it, false if it was not paused.

Errors: SQ002 queue.';

-- Adding jobs. Everything here happens in the caller's transaction: a job exists when, and only when, the data
-- it is about does.

create or replace function soniq._job_options(
  job_name text,
  queue text,
  priority integer,
  scheduled_at timestamptz,
  delay interval,
  max_attempts integer,
  timeout interval,
  out own_queue text,
  out own_priority smallint,
  out run_at timestamptz,
  out tries integer,
  out time_limit interval,
  out max_args_bytes integer,
  out as_of timestamptz
)
returns record
language plpgsql
volatile
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform
    soniq._check_given(code => 'SQ001', what => 'job_name', value => _job_options.job_name),
    soniq._check_job_name(job_name => _job_options.job_name),
    soniq._check_queue(queue => _job_options.queue),
    soniq._check_priority(priority => _job_options.priority),
    soniq._check_schedule(scheduled_at => _job_options.scheduled_at, delay => _job_options.delay),
    soniq._check_max_attempts(max_attempts => _job_options.max_attempts),
    soniq._check_timeout(timeout => _job_options.timeout);

  as_of := soniq.clock();

  select
    coalesce(_job_options.queue, type.queue, settings.default_queue),
    coalesce(_job_options.priority::smallint, type.priority, waiting.priority, settings.default_priority),
    coalesce(_job_options.scheduled_at, as_of + _job_options.delay, as_of),
    coalesce(_job_options.max_attempts, type.max_attempts, waiting.max_attempts, settings.default_max_attempts),
    coalesce(_job_options.timeout, type.timeout, waiting.timeout, settings.default_timeout),
    settings.max_args_bytes
  into own_queue, own_priority, run_at, tries, time_limit, max_args_bytes
  from soniq.settings as settings
  left join soniq.job_types as type
    on type.job_name = _job_options.job_name
  left join soniq.queues as waiting
    on waiting.queue = coalesce(_job_options.queue, type.queue, settings.default_queue)
  where settings.only_row;
end;
$$;

comment on function soniq._job_options(text, text, integer, timestamptz, interval, integer, interval) is
'Checks an enqueue''s options and fills in what is NULL: from the job type, then the queue, then soniq.settings.';

create or replace function soniq.enqueue(
  job_name text,
  args jsonb default '{}',
  queue text default null,
  priority integer default null,
  scheduled_at timestamptz default null,
  delay interval default null,
  max_attempts integer default null,
  timeout interval default null,
  dedup_key text default null
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  job record;
  job_id bigint;
begin
  select *
  into job
  from soniq._job_options(
    job_name => enqueue.job_name,
    queue => enqueue.queue,
    priority => enqueue.priority,
    scheduled_at => enqueue.scheduled_at,
    delay => enqueue.delay,
    max_attempts => enqueue.max_attempts,
    timeout => enqueue.timeout
  );
  perform
    soniq._check_args(args => enqueue.args, max_bytes => job.max_args_bytes),
    soniq._check_dedup_key(dedup_key => enqueue.dedup_key),
    soniq._open_lane(queue => job.own_queue, priority => job.own_priority);

  loop
    insert into soniq.jobs (
      job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, dedup_key
    )
    values (
      enqueue.job_name, job.own_queue, job.own_priority, enqueue.args, job.run_at, job.as_of, job.tries,
      job.time_limit, enqueue.dedup_key
    )
    on conflict (dedup_key) where status = 'queued' and dedup_key is not null do nothing
    returning id into job_id;
    exit when found;

    select holder.id
    into job_id
    from soniq.jobs as holder
    where holder.dedup_key = enqueue.dedup_key
      and holder.status = 'queued';
    -- Not found: the holder was claimed in between, so the key is free again.
    exit when found;
  end loop;

  if job.run_at <= job.as_of then
    perform soniq._wake(queue => job.own_queue);
  end if;
  return job_id;
end;
$$;

comment on function soniq.enqueue(text, jsonb, text, integer, timestamptz, interval, integer, interval, text) is
'Adds a job, in the caller''s transaction, and answers with its id. An option left NULL takes the job type''s default, then the queue''s, then that of soniq.settings.

job_name: the handler''s name, 1 to 200 characters; it need not be registered yet.
args: a JSON object, the handler''s arguments by name, of at most soniq.settings.max_args_bytes (1 MiB).
queue: 1 to 100 characters.
priority: 0 (first) to 1000 (last).
scheduled_at: not before this time; or delay: not before this long from now.
max_attempts: 1 (no retry) to 1000.
timeout: how long one attempt may take; 0 is no limit.
dedup_key: while a queued job holds this key, no other is added: the answer is the id of the one there is. 1 to 500 characters.

Errors: SQ001 job_name, SQ002 queue, SQ003 args, SQ004 args too large, SQ005 priority, SQ006 scheduled_at or delay, SQ007 max_attempts, SQ008 timeout, SQ009 dedup_key.';

create or replace function soniq.enqueue_many(
  job_name text,
  args jsonb[],
  queue text default null,
  priority integer default null,
  scheduled_at timestamptz default null,
  delay interval default null,
  max_attempts integer default null,
  timeout interval default null
)
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  job record;
begin
  select *
  into job
  from soniq._job_options(
    job_name => enqueue_many.job_name,
    queue => enqueue_many.queue,
    priority => enqueue_many.priority,
    scheduled_at => enqueue_many.scheduled_at,
    delay => enqueue_many.delay,
    max_attempts => enqueue_many.max_attempts,
    timeout => enqueue_many.timeout
  );
  if enqueue_many.args is null then
    perform soniq._refuse('SQ003', 'args is NULL', 'Give an array of JSON objects, one for each job.');
  elsif pg_catalog.cardinality(enqueue_many.args) = 0 then
    return;
  end if;
  perform soniq._check_args(args => each.args, max_bytes => job.max_args_bytes)
  from pg_catalog.unnest(enqueue_many.args) as each (args);

  perform soniq._open_lane(queue => job.own_queue, priority => job.own_priority);

  return query
  insert into soniq.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
  select
    enqueue_many.job_name, job.own_queue, job.own_priority, each.args, job.run_at, job.as_of, job.tries, job.time_limit
  from pg_catalog.unnest(enqueue_many.args) with ordinality as each (args, position)
  order by each.position
  returning id;

  if job.run_at <= job.as_of then
    perform soniq._wake(queue => job.own_queue);
  end if;
end;
$$;

comment on function soniq.enqueue_many(text, jsonb[], text, integer, timestamptz, interval, integer, interval) is
'Adds one job for each entry of args, all with the same options, in one statement, and answers with their ids in the order of args. One bad entry refuses them all. For jobs with keys or options of their own, call enqueue() over a set: select soniq.enqueue(...) from ....

Parameters and errors as in enqueue().';

-- Handing out jobs. A claim leases ready jobs to a runner, lowest priority number first, then oldest, and
-- never waits for another claim: rows that others have locked are skipped.
--
-- The planner may not choose here. A plan made while the table was small, or for a batch of unknown size, would read or
-- sort the whole backlog for each batch; so the ids come from a subquery with a limit, in index order, and what would
-- leave the index is switched off.

create or replace function soniq._pick_from_lane(lane_id integer, share integer, skip_jobs text[], as_of timestamptz)
returns bigint[]
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
#variable_conflict use_column
declare
  started_at constant timestamptz := pg_catalog.clock_timestamp();
  lane soniq.lanes;
  start record;
  picked bigint[];
begin
  select *
  into lane
  from soniq.lanes as known
  where known.lane_id = _pick_from_lane.lane_id;
  select *
  into start
  from soniq._scan_start(lane_id => lane.lane_id);

  picked := array(
    select job.id
    from soniq.jobs as job
    where job.status = 'queued'
      and job.queue = lane.queue
      and job.priority = lane.priority
      and job.scheduled_at <= _pick_from_lane.as_of
      and (job.scheduled_at, job.id) > (start.scheduled_at, start.job_id)
      and (_pick_from_lane.skip_jobs is null or job.job_name <> all (_pick_from_lane.skip_jobs))
    order by job.scheduled_at, job.id
    limit _pick_from_lane.share
    for update skip locked
  );

  -- What was skipped on purpose lies below the last key and must be found again.
  if _pick_from_lane.skip_jobs is null then
    perform soniq._remember_scan(
      lane_id => lane.lane_id,
      started_at => started_at,
      whole => start.job_id = 0,
      full_share => pg_catalog.cardinality(picked) = _pick_from_lane.share,
      picked => picked
    );
  end if;
  return picked;
end;
$$;

comment on function soniq._pick_from_lane(integer, integer, text[], timestamptz) is
'Locks up to share ready jobs of one lane, the oldest that nobody else has locked, and answers with their ids.';

create or replace function soniq._pick(lane_ids integer[], max_jobs integer, skip_jobs text[], as_of timestamptz)
returns bigint[]
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  picked bigint[] := array[]::bigint[];
  part record;
begin
  for part in
    select *
    from soniq._lane_shares(
      lane_ids => _pick.lane_ids, max_jobs => _pick.max_jobs, skip_jobs => _pick.skip_jobs, as_of => _pick.as_of
    )
  loop
    picked := picked || soniq._pick_from_lane(
      lane_id => part.lane_id, share => part.share, skip_jobs => _pick.skip_jobs, as_of => _pick.as_of
    );
  end loop;
  return picked;
end;
$$;

comment on function soniq._pick(integer[], integer, text[], timestamptz) is
'Locks up to max_jobs ready jobs of lanes of one priority and answers with their ids.';

create or replace function soniq._lease(job_ids bigint[], runner_id bigint, as_of timestamptz)
returns setof soniq.jobs
language plpgsql
volatile
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
begin
  return query
  update soniq.jobs as job
  set status = 'processing',
    attempt = job.attempt + 1,
    runner_id = _lease.runner_id,
    claimed_at = _lease.as_of,
    deadline = case when job.timeout > interval '0' then _lease.as_of + job.timeout end
  where job.id = any (_lease.job_ids)
  returning job.*;
end;
$$;

comment on function soniq._lease(bigint[], bigint, timestamptz) is
'Gives a runner the lease of jobs that the caller has locked.';

create or replace view soniq.claimed_job as
select
  job.id as job_id,
  job.job_name,
  job.args,
  job.queue,
  job.priority,
  job.attempt,
  job.max_attempts,
  job.scheduled_at,
  job.claimed_at,
  job.timeout,
  job.deadline
from soniq.jobs as job
where job.status = 'processing';

comment on view soniq.claimed_job is
'The jobs being processed, as claim() answers them. (job_id, attempt) is the lease: complete(), fail(), snooze() and release() take it.';

create or replace function soniq.claim(
  runner_id bigint,
  queues text[] default null,
  max_jobs integer default 1,
  skip_jobs text[] default null
)
returns setof soniq.claimed_job
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  wanted integer := max_jobs;
  picked bigint[];
  level record;
begin
  perform soniq._check_queues(queues => claim.queues);
  if max_jobs is null or max_jobs not between 1 and 10000 then
    perform soniq._refuse(
      'SQ012',
      pg_catalog.format('max_jobs is %s', coalesce(max_jobs::text, 'NULL')),
      'Give a whole number from 1 to 10000.'
    );
  end if;

  -- The lock keeps tick() from declaring the runner dead, and looking for its jobs, before these are its.
  perform
  from soniq.runners as runner
  where runner.runner_id = claim.runner_id
    and runner.lost_at is null
  for key share;
  if not found then
    perform soniq._refuse_runner(runner_id => claim.runner_id);
  end if;

  for level in
    select * from soniq._open_priorities(queues => claim.queues)
  loop
    -- Several lanes may need a second look: another claim may have taken what this one was to get from one of them.
    loop
      picked := soniq._pick(
        lane_ids => level.lane_ids, max_jobs => wanted, skip_jobs => claim.skip_jobs, as_of => as_of
      );
      return query
      select
        job.id, job.job_name, job.args, job.queue, job.priority, job.attempt, job.max_attempts, job.scheduled_at,
        job.claimed_at, job.timeout, job.deadline
      from soniq._lease(job_ids => picked, runner_id => claim.runner_id, as_of => as_of) as job
      order by job.scheduled_at, job.id;
      wanted := wanted - pg_catalog.cardinality(picked);
      exit when wanted = 0 or pg_catalog.cardinality(picked) = 0 or pg_catalog.cardinality(level.lane_ids) = 1;
    end loop;
    exit when wanted = 0;
  end loop;
end;
$$;

comment on function soniq.claim(bigint, text[], integer, text[]) is
'Leases up to max_jobs ready jobs to a runner and answers with them: the lowest priority number first, then the oldest. Never blocks; skips paused queues and what is scheduled for later. Each claim of a job raises its attempt, and the pair (job_id, attempt) is the lease that complete(), fail(), snooze() and release() take.

runner_id: from register_runner().
queues: those to claim from; NULL is all.
max_jobs: 1 to 10000; ask for as many as there are free slots.
skip_jobs: job names not to hand out now, for a runner that has no room for these; they are read over, so keep them in a queue of their own where they are many.

A claim may be committed asynchronously (set local synchronous_commit = off): lost in a crash, it is only made again.

Errors: SQ002 queues, SQ011 runner not registered or declared dead, SQ012 max_jobs.';

-- Jobs that are done. A completion moves the job to finished_jobs in one statement, if the lease still holds.
--
-- Here as wherever leases come in arrays (fail.sql, hand_back.sql), the planner must look the jobs up by their keys, also
-- where its statistics are from when the table was empty: so the keys are given as an array besides the join, which
-- has to be a hash join, and the lease's status is told by runner_id, since a condition on the status would offer
-- the index of all leases.

create or replace function soniq.complete(job_ids bigint[], attempts integer[], results jsonb[] default null)
returns boolean[]
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
  as_of constant timestamptz := soniq.clock();
  completed boolean[];
begin
  perform
    soniq._check_leases(job_ids => complete.job_ids, attempts => complete.attempts),
    soniq._check_beside_leases(
      job_ids => complete.job_ids,
      attempts => complete.attempts,
      what => 'results',
      entries => pg_catalog.cardinality(complete.results)
    );

  with lease as (
    select *
    from rows from (
      pg_catalog.unnest(complete.job_ids),
      pg_catalog.unnest(complete.attempts),
      pg_catalog.unnest(complete.results)
    ) with ordinality as given (job_id, attempt, result, position)
  ),
  ended as (
    delete from soniq.jobs as job
    using lease
    where job.id = any (complete.job_ids)
      and job.id = lease.job_id
      and job.attempt = lease.attempt
      and job.runner_id is not null
    returning job.*, lease.result, lease.position
  ),
  kept as (
    insert into soniq.finished_jobs (
      id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key,
      runner_id, claimed_at, errors, replay_of, result, finished_at
    )
    select
      ended.id, ended.job_name, ended.queue, ended.priority, 'done', ended.args, ended.scheduled_at, ended.enqueued_at,
      ended.attempt, ended.max_attempts, ended.timeout, ended.dedup_key, ended.runner_id, ended.claimed_at, ended.errors,
      ended.replay_of, ended.result, as_of
    from ended
  )
  select coalesce(pg_catalog.array_agg(ended.id is not null order by lease.position), '{}')
  into completed
  from lease
  left join ended
    on ended.position = lease.position;
  return completed;
end;
$$;

comment on function soniq.complete(bigint[], integer[], jsonb[]) is
'Marks many jobs done, in one statement, and answers in the same order: false where the lease is no longer the caller''s.

job_ids, attempts: the leases, as claim() answered them.
results: what each handler answered, kept with the finished job; NULL for none.

Errors: SQ012 arrays of different length, SQ016 a NULL among the leases.';

create or replace function soniq.complete(job_id bigint, attempt integer, result jsonb default null)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._check_lease(job_id => complete.job_id, attempt => complete.attempt);

  return (soniq.complete(
    job_ids => array[complete.job_id], attempts => array[complete.attempt], results => array[complete.result]
  ))[1];
end;
$$;

comment on function soniq.complete(bigint, integer, jsonb) is
'Marks a job done and keeps its result. False where the lease is no longer the caller''s: the job was taken back, and may be another runner''s by now; nothing is changed.

Errors: SQ016 a NULL job_id or attempt.';

-- Jobs that go back to the queue, whatever the reason: to be retried, snoozed by their handler, or released by a runner that
-- stops. The callers hold the rows' locks and have checked the leases.

create or replace function soniq._put_back(
  job_ids bigint[],
  run_ats timestamptz[],
  failures jsonb[],
  keep_keys boolean
)
returns void
language sql
volatile
as $$
  update soniq.jobs as job
  set status = 'queued',
    scheduled_at = coalesce(back.run_at, job.scheduled_at),
    max_attempts = job.max_attempts + case when back.failure is null then 1 else 0 end,
    errors = case when back.failure is null then job.errors else job.errors || back.failure end,
    dedup_key = case
      when _put_back.keep_keys
        and not exists (
          select
          from soniq.jobs as holder
          where holder.dedup_key = job.dedup_key
            and holder.status = 'queued'
        )
        then job.dedup_key
    end,
    runner_id = null,
    claimed_at = null,
    deadline = null
  from rows from (
    pg_catalog.unnest(_put_back.job_ids),
    pg_catalog.unnest(_put_back.run_ats),
    pg_catalog.unnest(_put_back.failures)
  ) as back (job_id, run_at, failure)
  where job.id = any (_put_back.job_ids)
    and job.id = back.job_id;
$$;

create or replace function soniq._requeue(job_ids bigint[], run_ats timestamptz[], failures jsonb[])
returns void
language plpgsql
volatile
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
  as_of constant timestamptz := soniq.clock();
  keyed boolean;
begin
  keyed := exists (
    select
    from soniq.jobs as job
    where job.id = any (_requeue.job_ids)
      and job.dedup_key is not null
  );

  -- While a job was processed, another may have been enqueued with its key. Both are kept, and the one that
  -- comes back waits without the key. The violation arises where two come back at once, or one is enqueued meanwhile.
  begin
    perform soniq._put_back(
      job_ids => _requeue.job_ids, run_ats => _requeue.run_ats, failures => _requeue.failures, keep_keys => true
    )
    where keyed;
  exception
    when unique_violation then
      keyed := false;
  end;

  perform soniq._put_back(
    job_ids => _requeue.job_ids, run_ats => _requeue.run_ats, failures => _requeue.failures, keep_keys => false
  )
  where not keyed;

  perform soniq._wake(queue => ready.queue)
  from (
    select distinct job.queue
    from soniq.jobs as job
    where job.id = any (_requeue.job_ids)
      and job.scheduled_at <= as_of
  ) as ready;
end;
$$;

comment on function soniq._requeue(bigint[], timestamptz[], jsonb[]) is
'Puts leased jobs back into the queue.

run_ats: when each may run again; NULL leaves its time, and so its place, as it was.
failures: the entry for its errors; NULL where the attempt is not spent, which raises max_attempts by one, since attempt is a fence and cannot go back.';

create or replace function soniq._hand_back(job_ids bigint[], run_at timestamptz)
returns void
language plpgsql
volatile
as $$
declare
  jobs constant integer := pg_catalog.cardinality(job_ids);
begin
  if jobs > 0 then
    perform soniq._requeue(
      job_ids => _hand_back.job_ids,
      run_ats => pg_catalog.array_fill(_hand_back.run_at, array[jobs]),
      failures => pg_catalog.array_fill(null::jsonb, array[jobs])
    );
  end if;
end;
$$;

comment on function soniq._hand_back(bigint[], timestamptz) is
'Puts leased jobs back without spending an attempt.';

create or replace function soniq._lock_lease(job_id bigint, attempt integer)
returns boolean
language plpgsql
volatile
as $$
#variable_conflict use_column
begin
  perform soniq._check_lease(job_id => _lock_lease.job_id, attempt => _lock_lease.attempt);

  perform
  from soniq.jobs as job
  where job.id = _lock_lease.job_id
    and job.attempt = _lock_lease.attempt
    and job.runner_id is not null
  for update;
  return found;
end;
$$;

comment on function soniq._lock_lease(bigint, integer) is
'Locks the job if the lease is still good; false if it is not.';

create or replace function soniq.snooze(job_id bigint, attempt integer, delay interval)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    soniq._check_given(code => 'SQ006', what => 'delay', value => snooze.delay::text),
    soniq._check_delay(code => 'SQ006', what => 'delay', delay => snooze.delay);
  if not soniq._lock_lease(job_id => snooze.job_id, attempt => snooze.attempt) then
    return false;
  end if;

  perform soniq._hand_back(job_ids => array[snooze.job_id], run_at => soniq.clock() + snooze.delay);
  return true;
end;
$$;

comment on function soniq.snooze(bigint, integer, interval) is
'Puts a job back into the queue, to run again after the delay, at the handler''s wish. It spends no attempt: max_attempts grows by one. False where the lease is no longer the caller''s.

Errors: SQ006 delay, SQ016 a NULL job_id or attempt.';

create or replace function soniq.release(job_id bigint, attempt integer)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not soniq._lock_lease(job_id => release.job_id, attempt => release.attempt) then
    return false;
  end if;

  perform soniq._hand_back(job_ids => array[release.job_id], run_at => null);
  return true;
end;
$$;

comment on function soniq.release(bigint, integer) is
'Hands back a job that a stopping runner could not finish; it keeps its place and can be claimed at once. It spends no attempt: max_attempts grows by one. False where the lease is no longer the caller''s.

Errors: SQ016 a NULL job_id or attempt.';

-- Failed attempts: whether a job is tried again, and when, or given up, and why, is decided here and nowhere else.

create or replace function soniq._attempt_record(job soniq.jobs, error jsonb, reason text, as_of timestamptz)
returns jsonb
language sql
stable
as $$
  select pg_catalog.jsonb_build_object(
    'attempt', (_attempt_record.job).attempt,
    'type', pg_catalog.left(_attempt_record.error ->> 'type', 200),
    'message', pg_catalog.left(_attempt_record.error ->> 'message', settings.max_error_message_chars),
    'traceback', pg_catalog.right(_attempt_record.error ->> 'traceback', settings.max_traceback_chars),
    'reason', _attempt_record.reason,
    'runner', pg_catalog.format('%s:%s', runner.host, runner.pid),
    'started_at', (_attempt_record.job).claimed_at,
    'failed_at', _attempt_record.as_of
  )
  from soniq.settings as settings
  left join soniq.runners as runner
    on runner.runner_id = (_attempt_record.job).runner_id;
$$;

comment on function soniq._attempt_record(soniq.jobs, jsonb, text, timestamptz) is
'What is kept of a failed attempt, cut to the bounds in soniq.settings.';

create or replace function soniq._cause_of_death(job soniq.jobs, reason text)
returns text
language sql
immutable
parallel safe
as $$
  select case
    when _cause_of_death.reason in ('permanent_failure', 'unknown_job', 'invalid_arguments') then _cause_of_death.reason
    when (_cause_of_death.job).attempt >= (_cause_of_death.job).max_attempts
      then coalesce(_cause_of_death.reason, 'max_attempts_exceeded')
  end;
$$;

comment on function soniq._cause_of_death(soniq.jobs, text) is
'Why a job that failed for this reason is given up; NULL if it is to be tried again.';

create or replace function soniq._next_run_at(job soniq.jobs, reason text, as_of timestamptz)
returns timestamptz
language sql
volatile
as $$
  -- A job whose runner died did nothing wrong and is not made to wait.
  select case
    when _next_run_at.reason = 'runner_lost' then _next_run_at.as_of
    else _next_run_at.as_of + soniq._retry_delay(
        job_name => (_next_run_at.job).job_name,
        failures => pg_catalog.jsonb_array_length((_next_run_at.job).errors) + 1
      )
  end;
$$;

create or replace function soniq._bury(job_ids bigint[], reasons text[], failures jsonb[], as_of timestamptz)
returns void
language sql
volatile
as $$
  with dead as (
    delete from soniq.jobs as job
    using rows from (
      pg_catalog.unnest(_bury.job_ids),
      pg_catalog.unnest(_bury.reasons),
      pg_catalog.unnest(_bury.failures)
    ) as given (job_id, reason, failure)
    where job.id = any (_bury.job_ids)
      and job.id = given.job_id
    returning job.*, given.reason, given.failure
  )
  insert into soniq.dead_letter_jobs (
    id, job_name, queue, priority, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key, runner_id,
    claimed_at, errors, replay_of, reason, dead_at
  )
  select
    dead.id, dead.job_name, dead.queue, dead.priority, dead.args, dead.scheduled_at, dead.enqueued_at, dead.attempt,
    dead.max_attempts, dead.timeout, dead.dedup_key, dead.runner_id, dead.claimed_at, dead.errors || dead.failure,
    dead.replay_of, dead.reason, _bury.as_of
  from dead;
$$;

comment on function soniq._bury(bigint[], text[], jsonb[], timestamptz) is
'Moves jobs to the dead letters, with the record of the attempt that ended them.';

create or replace function soniq._fail_leases(
  job_ids bigint[],
  attempts integer[],
  errors jsonb[],
  reasons text[]
)
returns table (job_id bigint, attempt integer, status text)
language plpgsql
volatile
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  verdicts record;
begin
  with given as (
    select distinct on (report.job_id, report.attempt) *
    from rows from (
      pg_catalog.unnest(_fail_leases.job_ids),
      pg_catalog.unnest(_fail_leases.attempts),
      pg_catalog.unnest(_fail_leases.errors),
      pg_catalog.unnest(_fail_leases.reasons)
    ) as report (job_id, attempt, error, reason)
  ),
  lease as (
    select job, given.error, given.reason
    from given
    join soniq.jobs as job
      on job.id = given.job_id
      and job.attempt = given.attempt
    where job.id = any (_fail_leases.job_ids)
      and job.runner_id is not null
    order by job.id
    for update of job
  ),
  verdict as (
    select
      (lease.job).id as job_id,
      (lease.job).attempt,
      soniq._cause_of_death(job => lease.job, reason => lease.reason) as cause,
      soniq._next_run_at(job => lease.job, reason => lease.reason, as_of => as_of) as run_at,
      soniq._attempt_record(job => lease.job, error => lease.error, reason => lease.reason, as_of => as_of) as failure
    from lease
  )
  select
    pg_catalog.array_agg(verdict.job_id) filter (where verdict.cause is null) as retried,
    pg_catalog.array_agg(verdict.attempt) filter (where verdict.cause is null) as retried_attempts,
    pg_catalog.array_agg(verdict.run_at) filter (where verdict.cause is null) as run_ats,
    pg_catalog.array_agg(verdict.failure) filter (where verdict.cause is null) as retried_failures,
    pg_catalog.array_agg(verdict.job_id) filter (where verdict.cause is not null) as dead,
    pg_catalog.array_agg(verdict.attempt) filter (where verdict.cause is not null) as dead_attempts,
    pg_catalog.array_agg(verdict.cause) filter (where verdict.cause is not null) as causes,
    pg_catalog.array_agg(verdict.failure) filter (where verdict.cause is not null) as dead_failures
  into verdicts
  from verdict;

  if verdicts.retried is not null then
    perform soniq._requeue(
      job_ids => verdicts.retried, run_ats => verdicts.run_ats, failures => verdicts.retried_failures
    );
  end if;
  if verdicts.dead is not null then
    perform soniq._bury(
      job_ids => verdicts.dead, reasons => verdicts.causes, failures => verdicts.dead_failures, as_of => as_of
    );
  end if;

  return query
  select pg_catalog.unnest(verdicts.retried), pg_catalog.unnest(verdicts.retried_attempts), 'queued'
  union all
  select pg_catalog.unnest(verdicts.dead), pg_catalog.unnest(verdicts.dead_attempts), 'dead_letter';
end;
$$;

comment on function soniq._fail_leases(bigint[], integer[], jsonb[], text[]) is
'Ends the attempts whose leases still hold and answers with what became of each job.';

create or replace function soniq.fail(job_ids bigint[], attempts integer[], errors jsonb[], reasons text[] default null)
returns text[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    soniq._check_leases(job_ids => fail.job_ids, attempts => fail.attempts),
    soniq._check_beside_leases(
      job_ids => fail.job_ids,
      attempts => fail.attempts,
      what => 'errors',
      entries => coalesce(pg_catalog.cardinality(fail.errors), 0)
    ),
    soniq._check_beside_leases(
      job_ids => fail.job_ids,
      attempts => fail.attempts,
      what => 'reasons',
      entries => pg_catalog.cardinality(fail.reasons)
    );
  perform soniq._check_failure(error => given.error, reason => given.reason)
  from rows from (
    pg_catalog.unnest(fail.errors),
    pg_catalog.unnest(fail.reasons)
  ) as given (error, reason);

  return (
    select coalesce(pg_catalog.array_agg(ended.status order by given.position), '{}')
    from rows from (
      pg_catalog.unnest(fail.job_ids),
      pg_catalog.unnest(fail.attempts)
    ) with ordinality as given (job_id, attempt, position)
    left join soniq._fail_leases(
      job_ids => fail.job_ids, attempts => fail.attempts, errors => fail.errors, reasons => fail.reasons
    ) as ended
      on ended.job_id = given.job_id
      and ended.attempt = given.attempt
  );
end;
$$;

comment on function soniq.fail(bigint[], integer[], jsonb[], text[]) is
'Ends many failed attempts and answers in the same order with what became of each job, as the call for one job does.

job_ids, attempts: the leases, as claim() answered them.
errors, reasons: one for each, as in the call for one job.

Errors: SQ012 arrays of different length, SQ013 error or reason, SQ016 a NULL among the leases.';

create or replace function soniq.fail(job_id bigint, attempt integer, error jsonb, reason text default null)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._check_lease(job_id => fail.job_id, attempt => fail.attempt);

  return (soniq.fail(
    job_ids => array[fail.job_id], attempts => array[fail.attempt], errors => array[fail.error], reasons => array[fail.reason]
  ))[1];
end;
$$;

comment on function soniq.fail(bigint, integer, jsonb, text) is
'Ends a failed attempt. The job is queued again after the delay of its type''s retry policy, or moves to the dead letters when its attempts are spent or trying again is pointless. Answers queued or dead_letter, or NULL where the lease is no longer the caller''s.

error: a JSON object with type, message and traceback, kept with the job; long ones are cut (soniq.settings).
reason: NULL for an ordinary error; timeout, which is retried like one; permanent_failure, unknown_job or invalid_arguments, which end the job at once.

Errors: SQ013 error or reason, SQ016 a NULL job_id or attempt.';

-- Any job ever known, wherever it is now.

create or replace view soniq.all_jobs as
select
  job.id,
  job.status,
  job.job_name,
  job.queue,
  job.priority,
  job.args,
  job.scheduled_at,
  job.enqueued_at,
  job.attempt,
  job.max_attempts,
  job.timeout,
  job.dedup_key,
  job.runner_id,
  job.claimed_at,
  job.deadline,
  job.errors,
  job.replay_of,
  null::jsonb as result,
  null::timestamptz as ended_at,
  null::text as reason,
  null::integer as replay_count
from soniq.jobs as job
union all
select
  job.id,
  job.status,
  job.job_name,
  job.queue,
  job.priority,
  job.args,
  job.scheduled_at,
  job.enqueued_at,
  job.attempt,
  job.max_attempts,
  job.timeout,
  job.dedup_key,
  job.runner_id,
  job.claimed_at,
  null,
  job.errors,
  job.replay_of,
  job.result,
  job.finished_at,
  null,
  null
from soniq.finished_jobs as job
union all
select
  job.id,
  'dead_letter',
  job.job_name,
  job.queue,
  job.priority,
  job.args,
  job.scheduled_at,
  job.enqueued_at,
  job.attempt,
  job.max_attempts,
  job.timeout,
  job.dedup_key,
  job.runner_id,
  job.claimed_at,
  null,
  job.errors,
  job.replay_of,
  null,
  job.dead_at,
  job.reason,
  job.replay_count
from soniq.dead_letter_jobs as job;

comment on view soniq.all_jobs is
'Live, finished and dead jobs together, for looking. ended_at is when a job was done, cancelled or given up; reason and replay_count are those of dead letters, result that of finished jobs.';

create or replace function soniq.get_job(job_id bigint)
returns setof soniq.all_jobs
language sql
stable
rows 1
security definer
set search_path = pg_catalog, pg_temp
as $$
  select *
  from soniq.all_jobs as job
  where job.id = get_job.job_id;
$$;

comment on function soniq.get_job(bigint) is
'One job, whatever became of it; no row if there is none of this id, or its record was dropped by retention.';

-- Cancelling: a job that has not started can be taken out of its queue.

create or replace function soniq.cancel(job_id bigint)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  with ended as (
    delete from soniq.jobs as job
    where job.id = cancel.job_id
      and job.runner_id is null -- queued; for why it is told by runner_id, see complete.sql
    returning job.*
  )
  insert into soniq.finished_jobs (
    id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key,
    errors, replay_of, finished_at
  )
  select
    ended.id, ended.job_name, ended.queue, ended.priority, 'cancelled', ended.args, ended.scheduled_at, ended.enqueued_at,
    ended.attempt, ended.max_attempts, ended.timeout, ended.dedup_key, ended.errors, ended.replay_of, soniq.clock()
  from ended;

  return (
    select job.status::text
    from soniq.get_job(job_id => cancel.job_id) as job
  );
end;
$$;

comment on function soniq.cancel(bigint) is
'Cancels a job that is queued, also one that waits for a retry, and answers with the status the job has then: cancelled; or processing, done or dead_letter, which are left alone; or NULL if there is no such job.';

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

Errors: SQ002 queues, SQ015 host, concurrency or heartbeat_timeout.';

create or replace function soniq.heartbeat(
  runner_id bigint,
  job_ids bigint[] default '{}',
  attempts integer[] default '{}',
  out registered boolean,
  out lost_jobs bigint[]
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

  select coalesce(pg_catalog.array_agg(held.job_id order by held.job_id), '{}')
  into lost_jobs
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
lost_jobs: those of its leases that are no longer its own; what it still does for them will be refused.

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
  new_id bigint;
begin
  perform soniq._check_leases(job_ids => resume_runner.job_ids, attempts => resume_runner.attempts);

  -- Deleting waits for a claim that the broken connection had under way. One that comes later finds no such runner.
  with former as (
    delete from soniq.runners as runner
    where runner.runner_id = resume_runner.runner_id
      and runner.lost_at is null
    returning runner.*
  )
  insert into soniq.runners (
    host, pid, queues, concurrency, runner_version, heartbeat_timeout, registered_at, last_heartbeat_at
  )
  select
    former.host, former.pid, former.queues, former.concurrency, former.runner_version, former.heartbeat_timeout,
    former.registered_at, soniq.clock()
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
    and job.runner_id = resume_runner.runner_id;

  perform soniq._hand_back_all(runner_id => resume_runner.runner_id);
  return new_id;
end;
$$;

comment on function soniq.resume_runner(bigint, bigint[], integer[]) is
'For a runner whose connection broke: it cannot know whether its last claim was granted. Answers with a new runner_id, to which the leases that it names move; any other job it holds goes back to the queue, without spending an attempt, and nothing can be claimed under the former id any more.

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

-- Dead letters: jobs given up. They are replayed once their cause is mended, deleted, or pruned by age.

create or replace function soniq.replay_dead_letters(
  ids bigint[] default null,
  job_name text default null,
  queue text default null,
  everything boolean default false,
  dry_run boolean default false
)
returns setof soniq.replayed_job
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  chosen bigint[];
begin
  perform soniq._check_selection(
    ids => replay_dead_letters.ids,
    job_name => replay_dead_letters.job_name,
    queue => replay_dead_letters.queue,
    everything => replay_dead_letters.everything
  );

  chosen := array(
    select letter.id
    from soniq.dead_letter_jobs as letter
    where (replay_dead_letters.ids is null or letter.id = any (replay_dead_letters.ids))
      and (replay_dead_letters.job_name is null or letter.job_name = replay_dead_letters.job_name)
      and (replay_dead_letters.queue is null or letter.queue = replay_dead_letters.queue)
      and (letter.replay_count = 0 or replay_dead_letters.ids is not null)
    order by letter.id
    for update
  );

  if replay_dead_letters.dry_run then
    return query
    select letter.id, letter.job_name, letter.queue, null::bigint
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
    order by letter.id;
    return;
  end if;

  update soniq.dead_letter_jobs as letter
  set replay_count = letter.replay_count + 1,
    last_replayed_at = as_of
  where letter.id = any (chosen);

  perform soniq._open_lane(queue => lane.queue, priority => lane.priority)
  from (
    select distinct letter.queue, letter.priority
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
  ) as lane;

  -- An attempt that was not spent (snoozed or released) left no error and had raised max_attempts by one.
  return query
  with minted as (
    insert into soniq.jobs (
      job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, replay_of
    )
    select
      letter.job_name,
      letter.queue,
      letter.priority,
      letter.args,
      as_of,
      as_of,
      letter.max_attempts - (letter.attempt - pg_catalog.jsonb_array_length(letter.errors)),
      letter.timeout,
      letter.id
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
    order by letter.id
    returning soniq.jobs.replay_of, soniq.jobs.job_name, soniq.jobs.queue, soniq.jobs.id
  )
  select minted.replay_of, minted.job_name, minted.queue, minted.id
  from minted
  order by minted.replay_of;

  perform soniq._wake(queue => woken.queue)
  from (
    select distinct letter.queue
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
  ) as woken;
end;
$$;

comment on function soniq.replay_dead_letters(bigint[], text, text, boolean, boolean) is
'Gives dead letters another life: each becomes a new job, ready at once, with fresh attempts, whose replay_of is the dead letter. The dead letter stays and counts its replays. Answers with each dead letter and the id of its new job.

ids: these, also if they were replayed before.
job_name, queue: those of this name or queue, together with ids where both are given; only letters not replayed yet, so that a second call does not run jobs twice.
everything: every letter not replayed yet.
dry_run: changes nothing and answers what would be replayed, with a NULL job_id.

Errors: SQ014 no selection, or everything with a filter.';

create or replace function soniq.delete_dead_letters(
  ids bigint[] default null,
  job_name text default null,
  queue text default null,
  everything boolean default false,
  dry_run boolean default false
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  deleted bigint;
begin
  perform soniq._check_selection(
    ids => delete_dead_letters.ids,
    job_name => delete_dead_letters.job_name,
    queue => delete_dead_letters.queue,
    everything => delete_dead_letters.everything
  );

  with chosen as (
    select letter.id
    from soniq.dead_letter_jobs as letter
    where (delete_dead_letters.ids is null or letter.id = any (delete_dead_letters.ids))
      and (delete_dead_letters.job_name is null or letter.job_name = delete_dead_letters.job_name)
      and (delete_dead_letters.queue is null or letter.queue = delete_dead_letters.queue)
  ),
  gone as (
    delete from soniq.dead_letter_jobs as letter
    using chosen
    where letter.id = chosen.id
      and delete_dead_letters.dry_run is not true
  )
  select pg_catalog.count(*)
  into deleted
  from chosen;
  return deleted;
end;
$$;

comment on function soniq.delete_dead_letters(bigint[], text, text, boolean, boolean) is
'Deletes dead letters for good and answers how many.

ids, job_name, queue: those that match all that is given; everything: all of them.
dry_run: only counts.

Errors: SQ014 no selection, or everything with a filter.';

create or replace function soniq.prune_dead_letters(older_than interval, dry_run boolean default false)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  as_of constant timestamptz := soniq.clock();
  pruned bigint;
begin
  perform
    soniq._check_given(code => 'SQ006', what => 'older_than', value => prune_dead_letters.older_than::text),
    soniq._check_delay(code => 'SQ006', what => 'older_than', delay => prune_dead_letters.older_than);

  with chosen as (
    select letter.id
    from soniq.dead_letter_jobs as letter
    where letter.dead_at < as_of - prune_dead_letters.older_than
  ),
  gone as (
    delete from soniq.dead_letter_jobs as letter
    using chosen
    where letter.id = chosen.id
      and prune_dead_letters.dry_run is not true
  )
  select pg_catalog.count(*)
  into pruned
  from chosen;
  return pruned;
end;
$$;

comment on function soniq.prune_dead_letters(interval, boolean) is
'Deletes the dead letters that died longer ago than this and answers how many.

dry_run: only counts.

Errors: SQ006 older_than.';

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

-- Who may call what. PostgreSQL lets everyone execute a new function; Soniq lets nobody but its owner, until a
-- grant says otherwise. The public functions run with their owner's rights, so a role needs no rights on tables:
--
--   grant usage on schema soniq to shop;
--   grant execute on function soniq.enqueue to shop;

revoke all on all functions in schema soniq from public;

commit;
