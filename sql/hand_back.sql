-- Jobs that go back to the queue, whatever the reason: to be retried, snoozed by their handler, or released by a runner that
-- stops. The callers hold the rows' locks and have checked the leases.

create or replace function soniq._jobs_that_get_their_keys(job_ids bigint[])
returns setof bigint
language sql
volatile
as $$
  -- While a job was processed, another may have been enqueued with its key. Both are kept, and the one that comes back
  -- waits without the key; of several that come back with one key, the oldest gets it. The holder is looked
  -- up for each job: an anti-join would read all keys.
  select min(job.id)
  from soniq.jobs as job
  where job.id = any (_jobs_that_get_their_keys.job_ids)
    and job.dedup_key is not null
    and (
      select holder.id
      from soniq.jobs as holder
      where holder.dedup_key = job.dedup_key
        and coalesce(holder.tenant, '') = coalesce(job.tenant, '')
        and holder.status = 'queued'
    ) is null
  group by job.dedup_key, job.tenant;
$$;

create or replace function soniq._put_back(
  job_ids bigint[],
  run_ats timestamptz[],
  failures jsonb[]
)
returns void
language sql
volatile
as $$
  update soniq.jobs as job
  set status = 'queued',
    scheduled_at = coalesce(back.run_at, job.scheduled_at),
    max_attempts = job.max_attempts + case when back.failure is null then 1 else 0 end,
    failed_at = coalesce((back.failure ->> 'failed_at')::timestamptz, job.failed_at),
    errors = case when back.failure is null then job.errors else job.errors || back.failure end,
    dedup_key = case when keyed.job_id is not null then job.dedup_key end,
    runner_id = null,
    claimed_at = null,
    deadline = null
  from rows from (
    pg_catalog.unnest(_put_back.job_ids),
    pg_catalog.unnest(_put_back.run_ats),
    pg_catalog.unnest(_put_back.failures)
  ) as back (job_id, run_at, failure)
  left join soniq._jobs_that_get_their_keys(job_ids => _put_back.job_ids) as keyed (job_id)
    on keyed.job_id = back.job_id
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
begin
  -- The violation arises where another transaction gives a key away meanwhile. The next try sees that.
  loop
    begin
      perform soniq._put_back(
        job_ids => _requeue.job_ids, run_ats => _requeue.run_ats, failures => _requeue.failures
      );
      exit;
    exception
      when unique_violation then
        null;
    end;
  end loop;

  perform soniq._wake(queue => ready.queue, jobs => ready.jobs::integer)
  from (
    select job.queue, pg_catalog.count(*) as jobs
    from soniq.jobs as job
    where job.id = any (_requeue.job_ids)
      and job.scheduled_at <= as_of
    group by job.queue
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
