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
