-- retry(): a job that waits is made ready, and is otherwise as it was. What retry() answers for a job in any other status
-- is in leases.sql, whom it wakes in wakeup.sql.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

create function pg_temp.run_at(job_id bigint)
returns timestamptz
language sql
as $$
  select (pg_temp.job(job_id => run_at.job_id)).scheduled_at;
$$;

-- Whatever it waits for.

create temporary table waiting as
select *, pg_temp.new_lease() as lease
from (values ('a retry'), ('a snooze')) as wait (what);
select soniq.fail((lease).job_id, (lease).attempt, '{"message": "once"}') from waiting where what = 'a retry' \g /dev/null
select soniq.snooze((lease).job_id, (lease).attempt, '1 hour') from waiting where what = 'a snooze' \g /dev/null
insert into waiting
select 'its time', row(pg_temp.new_job(delay => '1 hour'), 0)::pg_temp.lease;

create temporary table before as
select job.*
from waiting
cross join lateral soniq.get_job((lease).job_id) as job;
select pg_temp.wait('1 second') \g /dev/null

select is(pg_temp.take((lease).job_id), null, format('a job that waits for %s is not handed out', what))
from waiting;
select is(soniq.retry((lease).job_id), 'queued', format('retried, while it waits for %s', what))
from waiting;
select is(pg_temp.run_at((lease).job_id), soniq.clock(), format('it is ready now that waited for %s', what))
from waiting;
select results_eq(
  $$
    select to_jsonb(job) - 'scheduled_at'
    from waiting
    cross join lateral soniq.get_job((lease).job_id) as job
    order by job.id
  $$,
  $$select to_jsonb(before) - 'scheduled_at' from before order by id$$,
  'and otherwise as it was: its attempt, its errors, what it may yet try'
);
select is(pg_temp.take((lease).job_id), (lease).attempt + 1, format('a claim hands it out: %s', what))
from waiting;

-- The fence: the lease from before the wait is over.

select is(soniq.complete((lease).job_id, (lease).attempt), false, 'the lease from before is over: ' || what)
from waiting
where (lease).attempt > 0;
select is(soniq.retry((lease).job_id), 'processing', 'a second retry leaves the new lease alone: ' || what)
from waiting;
select is(soniq.complete((lease).job_id, (lease).attempt + 1), true, 'which holds: ' || what)
from waiting;

-- A job that is ready keeps its place.

select pg_temp.new_job() as ready \gset
select pg_temp.run_at(:ready) as since \gset
select pg_temp.wait('1 minute') \g /dev/null
select is(soniq.retry(:ready), 'queued', 'a job that is ready already is left as it is,');
select is(pg_temp.run_at(:ready), :'since', 'in its place');

-- Keys.

select pg_temp.new_job(delay => '1 hour', dedup_key => 'retry key') as keyed \gset
select soniq.retry(:keyed) \g /dev/null
select is(pg_temp.new_job(dedup_key => 'retry key'), :'keyed', 'a retried job holds its dedup_key while it is queued');
select is(pg_temp.take(:keyed), 1, 'until it is claimed,');
select isnt(pg_temp.new_job(dedup_key => 'retry key'), :'keyed', 'when another may take it');

-- A paused queue.

select soniq.enqueue('retry', queue => 'retry paused', delay => '1 hour') as paused \gset
select soniq.pause_queue('retry paused') \g /dev/null
select is(soniq.retry(:paused), 'queued', 'a job of a paused queue is made ready,');
select is(pg_temp.take(:paused), null, 'is not handed out');
select soniq.resume_queue('retry paused') \g /dev/null
select is(pg_temp.take(:paused), 1, 'until the queue is resumed');

-- What is over stays so.

select pg_temp.new_dead_letter() as letter \gset
select is(soniq.retry(:letter), 'dead_letter', 'a dead letter is not replayed');
select is((pg_temp.job(:letter)).replay_count, 0, 'nor counts one');
select is(soniq.retry(null), null, 'NULL is no job');

-- Run now, whatever it is.

select soniq.enqueue('retry', delay => '1 hour') as later \gset
select is(soniq.run_now(:later)::text, format('(queued,%s)', :later), 'what waits runs as itself');
select is((pg_temp.job(:later)).scheduled_at, soniq.clock(), 'at once');
create temporary table ran as
select * from soniq.run_now(:letter);
select is((select status from ran), 'dead_letter', 'a dead letter runs');
select is(
  (select (job_name, status::text, replay_of) from soniq.all_jobs where id = (select runs_as from ran)),
  (select (letter.job_name, 'queued'::text, letter.id) from soniq.dead_letter_jobs as letter where letter.id = :letter),
  'as a new job'
);
select is((pg_temp.job(:letter)).replay_count, 1, 'which the letter counts');
select is((soniq.run_now(:letter)).status, 'dead_letter', 'and again, as often as it is asked');
select job_id as at_work from pg_temp.new_lease() \gset
select is(soniq.run_now(:at_work)::text, '(processing,)', 'what is at work runs already');
select soniq.cancel(:later) \g /dev/null
select is(soniq.run_now(:later)::text, '(cancelled,)', 'what is over stays so');
select is(soniq.run_now(null)::text, '(,)', 'and NULL is no job');

-- One that is deleted between the look and the replay.
create or replace function soniq.retry(job_id bigint)
returns text
language sql
volatile
as $$ select 'dead_letter' $$;
select is(soniq.run_now(-1)::text, '(,)', 'a letter that is deleted meanwhile is none');

select * from finish();
rollback;
