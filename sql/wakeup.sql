-- How a runner with nothing to do learns of a job. NOTIFY serialises commits and signals every session that listens, so
-- an enqueue notifies only where a runner waits, and then one runner for each job, on a channel of its own: its bell.
-- Who gets as many jobs as it asked for wakes others, as many as it got jobs, unless each job was announced to
-- somebody. So there are at most two claims for each job, however many runners wait, and a burst reaches all of
-- them in a few steps.
--
-- The sign for waiting is three advisory locks on the runner's LISTEN connection: no row is written, so a pinned
-- xmin cannot slow it down, and it vanishes with the runner. An enqueue tries to take such a lock for an
-- instant; it fails where a runner waits. It asks first whether anyone waits for the queue at all, and mostly no more.
-- If so, it finds out who by trying, since bells are numbered from 0: which of 32 blocks of 32 bells, then
-- which bell. That takes some 20 microseconds, whatever else goes on. pg_locks would tell as much; it took 460
-- microseconds with 200 locks held on the server, and 14 milliseconds with 10,000.
--
-- A wake-up can be lost: a transaction that looked before the sign went up may commit after the runner's last claim, and
-- a runner may die between its notification and its claim. Runners therefore look again untold; a lost wake-up
-- costs time, never a job.

create or replace function soniq._sign(part integer)
returns integer
language sql
immutable
parallel safe
as $$
  -- 'SO' in ASCII and two bytes for the part, so that pg_locks tells whose lock it is.
  select 1397686272 + _sign.part;
$$;

comment on function soniq._sign(integer) is
'The class of an advisory lock. Parts 0 to 1023 are the bells, each held by one session while it waits; 1024 to 1055 the blocks that have one, and 2048 says that there is any: these are shared. The object is the queue''s hash; no queue is named '''', which stands for all. The objects of part 4096 are the bells that a session has, waiting or not.';

create or replace function soniq._is_shared(part integer, key integer)
returns boolean
language sql
volatile
as $$
  -- The lock is released in the same expression: it must not outlive the question.
  select not (
    pg_catalog.pg_try_advisory_lock(soniq._sign(part => _is_shared.part), _is_shared.key)
    and pg_catalog.pg_advisory_unlock(soniq._sign(part => _is_shared.part), _is_shared.key)
  );
$$;

comment on function soniq._is_shared(integer, integer) is
'Whether another session shares this part of the sign, or asks the same in this instant.';

create or replace function soniq._someone_waits(queue text)
returns boolean
language sql
volatile
as $$
  select soniq._is_shared(part => 2048, key => pg_catalog.hashtext(_someone_waits.queue))
    or soniq._is_shared(part => 2048, key => pg_catalog.hashtext(''));
$$;

comment on function soniq._someone_waits(text) is
'Whether a runner waits for this queue; what an enqueue asks, so it is an expression that the caller''s takes in.';

create or replace function soniq._is_waiting(bell integer, key integer)
returns boolean
language sql
volatile
as $$
  -- Shared, so that two who ask in the same instant do not take each other for a runner.
  select not (
    pg_catalog.pg_try_advisory_lock_shared(soniq._sign(part => _is_waiting.bell), _is_waiting.key)
    and pg_catalog.pg_advisory_unlock_shared(soniq._sign(part => _is_waiting.bell), _is_waiting.key)
  );
$$;

comment on function soniq._is_waiting(integer, integer) is
'Whether another session waits with this bell.';

create or replace function soniq._ring(message text, key integer, most integer)
returns integer
language plpgsql
volatile
as $$
declare
  -- The order is a random one, so that the work is spread, and enqueues at the same time wake different runners.
  first_block constant integer := pg_catalog.floor(pg_catalog.random() * 32)::integer;
  first_slot constant integer := pg_catalog.floor(pg_catalog.random() * 32)::integer;
  bell integer;
  rung integer := 0;
begin
  for block in 0..31 loop
    continue when not soniq._is_shared(part => 1024 + (block # first_block), key => key);
    for slot in 0..31 loop
      bell := (block # first_block) * 32 + (slot # first_slot);
      continue when not soniq._is_waiting(bell => bell, key => key);
      perform pg_catalog.pg_notify('soniq_bell_' || bell, message);
      rung := rung + 1;
      if rung = most then
        return rung;
      end if;
    end loop;
  end loop;
  return rung;
end;
$$;

comment on function soniq._ring(text, integer, integer) is
'Notifies up to so many runners that wait with this key, when the transaction commits, and answers how many.';

create or replace function soniq._wake(queue text, jobs integer default 1, may_be_more boolean default false)
returns void
language plpgsql
volatile
as $$
declare
  key constant integer := pg_catalog.hashtext(queue);
  all_queues constant integer := pg_catalog.hashtext('');
  -- One that is announced alone may meet others on its way to the same runner. In a burst this would be told anew with
  -- each claim, and every NOTIFY costs all who listen.
  message constant text := case when jobs > 1 and not may_be_more then 'each ' else 'more ' end || queue;
  rung integer := 0;
begin
  -- Those first that do not wait for all: they have less to choose from.
  if soniq._is_shared(part => 2048, key => key) then
    rung := soniq._ring(message => message, key => key, most => jobs);
  end if;
  if rung < jobs and soniq._is_shared(part => 2048, key => all_queues) then
    perform soniq._ring(message => message, key => all_queues, most => jobs - rung);
  end if;
end;
$$;

comment on function soniq._wake(text, integer, boolean) is
'Notifies one runner that waits for the queue for each job, as far as there are such runners, when the transaction commits.

may_be_more: there may be more jobs than these.';

create or replace function soniq.take_bell()
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  bell integer := nullif(pg_catalog.current_setting('soniq.bell', true), '')::integer;
begin
  if bell is null then
    select free.number
    into bell
    from pg_catalog.generate_series(0, 1023) as free (number)
    where pg_catalog.pg_try_advisory_lock(soniq._sign(part => 4096), free.number)
    limit 1;
    perform pg_catalog.set_config('soniq.bell', bell::text, false);
  end if;
  return bell;
end;
$$;

comment on function soniq.take_bell() is
'Gives the session a bell, by which it can be woken, and answers with its number: LISTEN to the channel soniq_bell_<number>. It stays the session''s until it ends. NULL if all 1024 are taken; such a session is not woken.';

create or replace function soniq._try_sign(bell integer, key integer)
returns boolean
language sql
volatile
as $$
  -- What was taken before the one that somebody else has is given back.
  select case
    when not pg_catalog.pg_try_advisory_lock(soniq._sign(part => _try_sign.bell), _try_sign.key)
      then false
    when not pg_catalog.pg_try_advisory_lock_shared(soniq._sign(part => 1024 + _try_sign.bell / 32), _try_sign.key)
      then not pg_catalog.pg_advisory_unlock(soniq._sign(part => _try_sign.bell), _try_sign.key)
    when not pg_catalog.pg_try_advisory_lock_shared(soniq._sign(part => 2048), _try_sign.key)
      then not (
        pg_catalog.pg_advisory_unlock_shared(soniq._sign(part => 1024 + _try_sign.bell / 32), _try_sign.key)
        and pg_catalog.pg_advisory_unlock(soniq._sign(part => _try_sign.bell), _try_sign.key)
      )
    else true
  end;
$$;

comment on function soniq._try_sign(integer, integer) is
'Puts up the sign for one queue, unless another session has one of its locks; answers whether it is up.';

create or replace function soniq._in_the_way(bell integer, keys integer[])
returns text
language sql
volatile
as $$
  -- Who waits for a lock is in the way of who tries for it.
  select pg_catalog.string_agg(distinct lock.pid::text, ', ')
  from pg_catalog.pg_locks as lock
  where lock.locktype = 'advisory'
    and lock.database = (select own.oid from pg_catalog.pg_database as own where own.datname = pg_catalog.current_database())
    and lock.objid = any (_in_the_way.keys::oid[])
    and lock.pid <> pg_catalog.pg_backend_pid()
    and (
      lock.classid = soniq._sign(part => _in_the_way.bell)::oid
      or lock.mode = 'ExclusiveLock'
      and lock.classid in (soniq._sign(part => 1024 + _in_the_way.bell / 32)::oid, soniq._sign(part => 2048)::oid)
    );
$$;

comment on function soniq._in_the_way(integer, integer[]) is
'The processes that keep this session from putting up a sign with this bell; NULL if there are none.';

create or replace function soniq._put_up(bell integer, keys integer[], up integer[])
returns integer[]
language plpgsql
volatile
as $$
declare
  -- Not a second time for one that was there already: claiming waits for this.
  is_known constant boolean := coalesce(pg_catalog.current_setting('soniq.sign_taken', true), '') = 'yes';
  tries integer := case when is_known then 1 else 25 end;
  missing integer[] := array(
    select wanted.key
    from pg_catalog.unnest(_put_up.keys) as wanted (key)
    where wanted.key <> all (_put_up.up)
  );
  processes text;
begin
  loop
    missing := array(
      select wanted.key
      from pg_catalog.unnest(missing) as wanted (key)
      where not soniq._try_sign(bell => _put_up.bell, key => wanted.key)
    );
    tries := tries - 1;
    exit when missing = '{}' or tries = 0;
    perform pg_catalog.pg_sleep(0.002);
  end loop;

  if missing <> '{}' and not is_known then
    processes := soniq._in_the_way(bell => _put_up.bell, keys => missing);
    if processes is not null then
      raise warning 'process % has the lock that is the sign that this session waits for jobs', processes
        using hint = pg_catalog.format(
          'Until it lets go, this runner is not woken, and finds jobs when it looks for them. See what it is: select * from pg_stat_activity where pid in (%s); select pg_terminate_backend(pid) ends it.',
          processes
        );
      perform pg_catalog.set_config('soniq.sign_taken', 'yes', false);
    end if;
  elsif missing = '{}' and is_known then
    perform pg_catalog.set_config('soniq.sign_taken', '', false);
  end if;

  return array(
    select wanted.key
    from pg_catalog.unnest(_put_up.keys) as wanted (key)
    where wanted.key <> all (missing)
  );
end;
$$;

comment on function soniq._put_up(integer, integer[], integer[]) is
'Puts up the sign for these queues, where it is not up, and answers for which it is then. An enqueue that asks has a lock of it for an instant, which is waited for; but anybody may take one and keep it, so not for long. A warning tells whose it is, once.';

create or replace function soniq.wait_for_jobs(queues text[] default null)
returns interval
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  as_of constant timestamptz := soniq.clock();
  bell constant integer := nullif(pg_catalog.current_setting('soniq.bell', true), '')::integer;
  up integer[] := coalesce(nullif(pg_catalog.current_setting('soniq.waits_for', true), ''), '{}')::integer[];
  keys integer[];
begin
  perform soniq._check_queues(queues => wait_for_jobs.queues);

  keys := array(
    select distinct pg_catalog.hashtext(wanted.queue) as key
    from pg_catalog.unnest(coalesce(wait_for_jobs.queues, '{""}')) as wanted (queue)
    order by key
  );
  -- A sign that is up stays up: down for an instant it would miss who asks then.
  if bell is not null and keys <> up then
    if not up <@ keys then
      perform soniq.stop_waiting();
      up := '{}';
    end if;
    up := soniq._put_up(bell => bell, keys => keys, up => up);
    perform pg_catalog.set_config('soniq.waits_for', up::text, false);
  end if;

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
'Puts up the sign that a runner waits for these queues (NULL: all), on the connection that listens to its bell (take_bell(), without which there is no sign). While it is up, whoever makes a job ready may notify this runner, and perhaps no other. The payload is a word and the queue: "each default" if each job was announced to a runner of its own, "more default" if there may be others. After putting it up, claim once more. The sign may stay up while the runner has jobs, as long as it looks for more when notified; if it does not, or if a claim may have left jobs that were announced to nobody, it calls wake_others(). Not through PgBouncer in transaction mode: the sign belongs to the session.

It never waits for who has taken the locks that are the sign, which anybody in the database can: a warning names the process, once, and each call tries again.

Answers how long until the next job that is scheduled for later is due; NULL if there is none. It may be called again while the sign is up, to hear this.

Errors: SQ002 queue.';

create or replace function soniq.stop_waiting()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  bell constant integer := nullif(pg_catalog.current_setting('soniq.bell', true), '')::integer;
  keys constant integer[] := nullif(pg_catalog.current_setting('soniq.waits_for', true), '')::integer[];
begin
  perform
    pg_catalog.pg_advisory_unlock_shared(soniq._sign(part => 2048), wanted.key),
    pg_catalog.pg_advisory_unlock_shared(soniq._sign(part => 1024 + bell / 32), wanted.key),
    pg_catalog.pg_advisory_unlock(soniq._sign(part => bell), wanted.key)
  from pg_catalog.unnest(keys) as wanted (key);
  perform pg_catalog.set_config('soniq.waits_for', '', false);
end;
$$;

comment on function soniq.stop_waiting() is
'Takes down the session''s waiting sign. A notification may still come, of a transaction that saw the sign: whoever does not claim then calls wake_others().';

create or replace function soniq.wake_others(queues text[])
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._check_queues(queues => nullif(wake_others.queues, '{}'));
  perform soniq.stop_waiting();
  perform soniq._wake(queue => ready.queue, jobs => ready.jobs::integer, may_be_more => true)
  from (
    select named.queue, pg_catalog.count(*) as jobs
    from pg_catalog.unnest(wake_others.queues) as named (queue)
    group by named.queue
  ) as ready;
end;
$$;

comment on function soniq.wake_others(text[]) is
'Takes down the session''s waiting sign and passes a wake-up on. Call it when a claim has brought as many jobs as it asked for, so that there may be more, and no notification said "each": with their queues, each as often as it brought jobs; as many others that wait are notified. And for a notification that is not followed by a claim, or by one that brought fewer jobs than were announced and may have left some: with its queue.

Errors: SQ002 queue.';
