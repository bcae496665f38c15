-- Where a claim starts to read its lane. With an open transaction somewhere, vacuum cannot remove the entries of jobs
-- long gone from the head of the index, and each claim would walk over all of them. So a session remembers
-- the key it claimed last and starts above it.
--
-- Transactions commit in another order than they took their keys, so a job may turn up a little below that key. While the
-- runner keeps up with the jobs, it therefore starts above a key that was the last a tenth of a second ago or before; as
-- long as there is none, it reads from the beginning. Where it got as many as it asked for, there are more above, and it
-- starts at the last.
--
-- It is a hint and no more: a slow transaction may commit a job further below. So the whole lane is read again as soon
-- as twenty times what the last whole reading took has passed, which leaves at most a twentieth of the time
-- to it; and where a whole reading is cheap, as on any healthy database, the hint is not used at all.
--
-- The hint lives in a setting of the session, soniq.lane_<lane_id>, as an array of whole numbers; times are in microseconds:
--
--   1, 2      the key claimed last: its scheduled_at and its id
--   3, 4      when the lane was last read whole, and how long that took
--   5, 6      a key that was the last a tenth of a second ago or before; 0, 0 if there is none
--   7, 8, 9   the key that will be next in that place, and when it was the last
--   10        1 if the last reading got as much as it wanted, else 0
--
-- The server's clock may be set back, so what it says to be in the future is over.
--
-- Whole priorities are passed over likewise: the index tells which is the next that has queued jobs. To ask it may walk
-- over the same entries, so it rests for twenty times as long (soniq.priorities_rest_until), and the first priority, from
-- which most jobs are taken, is only asked about where the last look into its lanes was in vain (soniq.vain_look).
--
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

create or replace function soniq._is_in_force(hint bigint[])
returns boolean
language sql
volatile
as $$
  select soniq._microseconds(pg_catalog.clock_timestamp()) - _is_in_force.hint[3]
    between 0 and 20 * _is_in_force.hint[4] - 1;
$$;

create or replace function soniq._scan_start(lane_id integer)
returns table (scheduled_at timestamptz, job_id bigint)
language plpgsql
volatile
as $$
declare
  hint constant bigint[] := soniq._scan_hint(lane_id => _scan_start.lane_id);
  start bigint[];
begin
  if soniq._is_in_force(hint => hint) then
    start := case when hint[10] = 1 then hint[1:2] else hint[5:6] end;
  end if;
  if start[2] > 0 then
    return query select timestamptz 'epoch' + start[1] * interval '1 microsecond', start[2];
  else
    return query select timestamptz '-infinity', bigint '0';
  end if;
end;
$$;

comment on function soniq._scan_start(integer) is
'The key above which a claim reads this lane: the session''s hint, or the very beginning.';

create or replace function soniq._entries_read()
returns bigint
language sql
volatile
as $$
  select pg_catalog.pg_stat_get_xact_tuples_returned('soniq.jobs_ready'::regclass);
$$;

comment on function soniq._entries_read() is
'How many entries of the index that claims read this transaction has come across, live or not; 0 where track_counts is off.';

create or replace function soniq._walked(started_at timestamptz, read_before bigint, jobs integer)
returns bigint
language sql
volatile
as $$
  -- A fast machine hides a long walk from the clock, and entries that are known to be dead are not counted.
  select greatest(
    reading.took - case
      when soniq._entries_read() - read_before > 1000 + 20 * jobs then 0
      -- Locking what it picks is work that any reading does; only the rest counts as walking.
      else 5000 + 50 * jobs
    end,
    0
  )
  from (
    select soniq._microseconds(pg_catalog.clock_timestamp()) - soniq._microseconds(started_at) as took
  ) as reading;
$$;

comment on function soniq._walked(timestamptz, bigint, integer) is
'How many microseconds a reading that picked so many jobs has spent on what it did not pick; 0 where it was quick and came across few entries. read_before: _entries_read() when it started.';

create or replace function soniq._remember_scan(
  lane_id integer,
  walked bigint,
  whole boolean,
  full_share boolean,
  picked tid[]
)
returns void
language plpgsql
volatile
as $$
declare
  before constant bigint[] := soniq._scan_hint(lane_id => _remember_scan.lane_id);
  now constant bigint := soniq._microseconds(pg_catalog.clock_timestamp());
  jobs constant integer := pg_catalog.cardinality(picked);
  last_key bigint[];
  older bigint[] := before[5:6];
  newer bigint[] := before[7:9];
  hint bigint[];
begin
  if _remember_scan.walked > 0 or not whole then
    select array[soniq._microseconds(job.scheduled_at), job.id]
    into last_key
    from soniq.jobs as job
    where job.ctid = picked[jobs];

    -- A reading that found fewer jobs than it wanted has left nothing behind, however low its last one lies.
    if not full_share then
      last_key := coalesce(greatest(before[1:2], last_key), '{0,0}');
    end if;

    if before is null or newer[1:2] > last_key then
      -- A whole reading has begun anew, and what is a little late may lie below anything that it has found.
      older := '{0,0}';
      newer := last_key || now;
    elsif now - newer[3] not between 0 and 99999 then
      older := newer[1:2];
      newer := last_key || now;
    end if;

    hint := last_key
      || case when whole then array[now, _remember_scan.walked] else before[3:4] end
      || older
      || newer
      || full_share::integer::bigint;
  end if;

  perform pg_catalog.set_config('soniq.lane_' || lane_id, coalesce(hint::text, ''), false);
end;
$$;

comment on function soniq._remember_scan(integer, bigint, boolean, boolean, tid[]) is
'Keeps, for this session, where its next claim may start to read the lane; forgets it where a whole reading was quick.

walked: the time that a whole reading took, from _walked(). picked: in the order of their keys.';

create or replace function soniq._last_empty_priority(from_priority smallint)
returns smallint
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
  started_at constant timestamptz := pg_catalog.clock_timestamp();
  read_before constant bigint := soniq._entries_read();
  -- Until then it is not asked, which is at most a minute.
  rests_until constant bigint := nullif(pg_catalog.current_setting('soniq.priorities_rest_until', true), '')::bigint;
  next_priority smallint;
  walked bigint;
begin
  if rests_until - soniq._microseconds(started_at) between 0 and 60000000 then
    return from_priority;
  end if;
  select job.priority
  into next_priority
  from soniq.jobs as job
  where job.status = 'queued'
    and job.priority > from_priority
  order by job.priority
  limit 1;

  walked := soniq._walked(started_at => started_at, read_before => read_before, jobs => 0);
  if walked > 0 then
    perform pg_catalog.set_config(
      'soniq.priorities_rest_until',
      (soniq._microseconds(pg_catalog.clock_timestamp()) + least(20 * walked, 60000000))::text,
      false
    );
  end if;
  return (next_priority - 1)::smallint;
end;
$$;

comment on function soniq._last_empty_priority(smallint) is
'The priority before the next that has queued jobs, so that a claim need not read the lanes in between; NULL where none is queued behind. While that would walk over what vacuum cannot remove, it is from_priority itself.';

create or replace function soniq._note_vain_look(priority smallint)
returns void
language sql
volatile
as $$
  select pg_catalog.set_config('soniq.vain_look', coalesce(_note_vain_look.priority::text, ''), false);
$$;

comment on function soniq._note_vain_look(smallint) is
'Keeps, for this session, the first priority if none of its lanes had a job; NULL forgets it.';

create or replace function soniq._first_passed()
returns smallint
language plpgsql
volatile
as $$
declare
  vain constant smallint := nullif(pg_catalog.current_setting('soniq.vain_look', true), '')::smallint;
  passed smallint := smallint '-1';
begin
  if vain is not null then
    passed := soniq._last_empty_priority(from_priority => passed);
    if passed < vain then
      perform soniq._note_vain_look(priority => null);
    end if;
  end if;
  return passed;
end;
$$;

comment on function soniq._first_passed() is
'The priority after which a claim begins: -1, but where the last look into the lanes of the first was in vain, the one before the next that has queued jobs; NULL if none has. To look into many lanes takes longer than to ask, and to ask takes longer where jobs are being taken from them.';
