-- How long finished jobs are kept. Each carries the time until which it is kept (finish.sql) and lies in the partition of
-- that day (UTC). tick() makes the days that completions will need ahead of them and drops those that are over, so nothing
-- is deleted row by row, whichever queue or job type keeps its jobs for how long.
--
-- No completion may wait for this. Locks are taken only where they are free at once; what cannot be done now is
-- done by a later tick. Until a day is made, its rows go to the default partition.

create or replace function soniq._first_moment_of(day date)
returns timestamptz
language sql
immutable
parallel safe
as $$
  select day::timestamp at time zone 'UTC';
$$;

create or replace function soniq._partition_name(day date)
returns text
language sql
immutable
parallel safe
as $$
  select 'finished_jobs_' || pg_catalog.to_char(day, 'YYYYMMDD');
$$;

create or replace function soniq._missing_days()
returns setof date
language sql
volatile
as $$
  -- Three days ahead: while pg_dump reads all tables, which may take hours, none can be added.
  select needed.day
  from (
    select distinct ((soniq.clock() + policy.retention) at time zone 'UTC')::date + ahead.days as day
    from (
      select settings.retention
      from soniq.settings as settings
      union
      select type.retention
      from soniq.job_types as type
      where type.retention is not null
      union
      select waiting.retention
      from soniq.queues as waiting
      where waiting.retention is not null
    ) as policy
    cross join pg_catalog.generate_series(0, 2) as ahead (days)
    where policy.retention > interval '0'
  ) as needed
  where pg_catalog.to_regclass('soniq.' || soniq._partition_name(day => needed.day)) is null
  order by needed.day;
$$;

comment on function soniq._missing_days() is
'The days until which jobs will be kept that finish soon, as far as they have no partition yet.';

-- As the owner, so that a partition is the owner's also where a superuser calls this by hand: tick() could not drop it otherwise.
create or replace function soniq._make_partition(day date)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  name constant text := soniq._partition_name(day => _make_partition.day);
  first_moment constant timestamptz := soniq._first_moment_of(day => _make_partition.day);
  next_day constant timestamptz := soniq._first_moment_of(day => _make_partition.day + 1);
begin
  execute pg_catalog.format('create table soniq.%I (like soniq.finished_jobs including all)', name);
  execute pg_catalog.format('comment on table soniq.%I is %L', name, 'Finished jobs kept until ' || day || '.');

  -- A partition cannot be added while the default one holds rows of its day.
  execute pg_catalog.format(
    'with moved as (
      delete from soniq.finished_jobs_default as job
      where job.keep_until >= $1
        and job.keep_until < $2
      returning job.*
    )
    insert into soniq.%I
    select * from moved',
    name
  )
  using first_moment, next_day;

  execute pg_catalog.format(
    'alter table soniq.finished_jobs attach partition soniq.%I for values from (%L) to (%L)', name, first_moment, next_day
  );
end;
$$;

comment on function soniq._make_partition(date) is
'Adds the partition of a day to soniq.finished_jobs, with what waited for it in the default partition.';

create or replace function soniq._make_partitions()
returns integer
language plpgsql
volatile
as $$
declare
  days constant date[] := array(select soniq._missing_days());
  waiting constant bigint := pg_catalog.count(*) from (
    select
    from soniq.finished_jobs_default
    limit 10001
  ) as row;
begin
  -- Moving more would hold up the completions that still go there; those rows end in _clear_default_partition().
  if pg_catalog.cardinality(days) = 0 or waiting > 10000 then
    return 0;
  end if;

  -- A completion takes neither lock, unless its day has no partition: then it waits for this one, in the default one.
  lock table only soniq.finished_jobs in share update exclusive mode nowait;
  lock table soniq.finished_jobs_default in access exclusive mode nowait;
  perform soniq._make_partition(day => missing.day)
  from pg_catalog.unnest(days) as missing (day);
  return pg_catalog.cardinality(days);
exception
  when lock_not_available then
    perform soniq._call_for_chore(chore => 'partitions');
    return 0;
end;
$$;

comment on function soniq._make_partitions() is
'Makes the partitions that are needed soon, and answers how many. If a lock is not free at once, it makes none, and the next tick tries again.';

create or replace function soniq._drop_partition(name text)
returns boolean
language plpgsql
volatile
as $$
begin
  lock table only soniq.finished_jobs in access exclusive mode nowait;
  execute pg_catalog.format('lock table soniq.%I in access exclusive mode nowait', name);
  execute pg_catalog.format('drop table soniq.%I', name);
  return true;
exception
  when lock_not_available then
    return false;
end;
$$;

comment on function soniq._drop_partition(text) is
'Drops a partition; false if a completion, or a reader, is at work just now.';

create or replace function soniq._empty_partition(name text)
returns void
language plpgsql
volatile
as $$
begin
  execute pg_catalog.format('lock table soniq.%I in access exclusive mode nowait', name);
  execute pg_catalog.format('truncate table soniq.%I', name);
exception
  when lock_not_available then
    null;
end;
$$;

comment on function soniq._empty_partition(text) is
'Empties a partition, for which no completion need be kept away, unless somebody reads it just now.';

create or replace function soniq._drop_partitions()
returns integer
language plpgsql
volatile
as $$
declare
  today constant date := (soniq.clock() at time zone 'UTC')::date;
  dropped integer := 0;
  past record;
begin
  for past in
    select partition.relname::text as name
    from pg_catalog.pg_inherits as inheritance
    join pg_catalog.pg_class as partition
      on partition.oid = inheritance.inhrelid
    where inheritance.inhparent = 'soniq.finished_jobs'::pg_catalog.regclass
      and partition.relname ~ '^finished_jobs_[0-9]{8}$'
      and partition.relname < soniq._partition_name(day => today)
    order by partition.relname
  loop
    if soniq._drop_partition(name => past.name) then
      dropped := dropped + 1;
    else
      perform soniq._empty_partition(name => past.name);
    end if;
  end loop;
  return dropped;
end;
$$;

comment on function soniq._drop_partitions() is
'Drops the partitions whose day is over, and answers how many. One that cannot be dropped now is emptied, if that can be done.';

create or replace function soniq._clear_default_partition()
returns void
language sql
volatile
as $$
  delete from soniq.finished_jobs_default as job
  where job.ctid = any (array(
    select expired.ctid
    from soniq.finished_jobs_default as expired
    where expired.keep_until < soniq.clock()
    limit 10000
    for update skip locked
  ));
$$;

comment on function soniq._clear_default_partition() is
'Deletes, at most 10,000 at a time, jobs that are past their time in the default partition.';

create or replace function soniq._look_after_partitions(out made integer, out dropped integer)
returns record
language plpgsql
volatile
as $$
begin
  made := 0;
  dropped := 0;
  if soniq._take_chore(chore => 'partitions', every => '1 minute') then
    made := soniq._make_partitions();
    dropped := soniq._drop_partitions();
    perform soniq._clear_default_partition();
  end if;
end;
$$;

comment on function soniq._look_after_partitions() is
'Makes, drops and clears partitions if that is due, and answers how many were made and dropped.';

create or replace function soniq._retention_changed()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._make_partitions();
  return null;
end;
$$;

comment on function soniq._retention_changed() is
'Makes the partitions that another retention needs, before the first completion looks for them.';

create or replace trigger retention_changed
after update of retention on soniq.settings
for each row
when (new.retention is distinct from old.retention)
execute function soniq._retention_changed();

create or replace trigger retention_changed
after insert or update of retention on soniq.queues
for each row
when (new.retention is not null)
execute function soniq._retention_changed();

create or replace trigger retention_changed
after insert or update of retention on soniq.job_types
for each row
when (new.retention is not null)
execute function soniq._retention_changed();
