-- dedup_key: one queued job a key. While it is queued an enqueue answers with its id; as soon as it is not, the key is
-- free; and a job that comes back to find its key taken is kept all the same. (50 callers at once: the Python tests.)

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock();

create function pg_temp.keyed(key text, delay interval default null)
returns bigint
language sql
as $$
  select pg_temp.new_job(dedup_key => keyed.key, delay => keyed.delay);
$$;

create function pg_temp.key(job_id bigint)
returns text
language sql
as $$
  select (pg_temp.job(job_id => key.job_id)).dedup_key;
$$;

-- One queued job a key.

select soniq.enqueue('first', '{"n": 1}', queue => 'dedup', dedup_key => 'dedup same') as job_id \gset
select is(
  soniq.enqueue('second', '{"n": 2}', queue => 'dedup other', priority => 1, dedup_key => 'dedup same'),
  :'job_id',
  'a second enqueue with the key answers with the first job''s id, whatever its name and queue'
);
select is(
  (select format('%s %s %s', job.job_name, job.args, job.queue) from soniq.get_job(:job_id) as job),
  'first {"n": 1} dedup',
  'and leaves the first job as it was'
);
select is(
  (select count(*) from soniq.jobs as job where job.dedup_key = 'dedup same'),
  1::bigint,
  'there is one job'
);
select isnt(pg_temp.keyed('dedup same, not quite'), :'job_id', 'another key is another job');
select isnt(pg_temp.new_job(), pg_temp.new_job(), 'jobs without a key are never the same');

select pg_temp.keyed('dedup later', delay => '1 hour') as job_id \gset
select is(pg_temp.keyed('dedup later'), :'job_id', 'a job queued for later holds its key');

-- The key is free as soon as its job is not queued.

select pg_temp.keyed('dedup claimed') as job_id \gset
select pg_temp.take(:job_id) as attempt \gset
select isnt(pg_temp.keyed('dedup claimed'), :'job_id', 'it is free after a claim');

select pg_temp.keyed('dedup cancelled') as job_id \gset
select soniq.cancel(:job_id) \g /dev/null
select isnt(pg_temp.keyed('dedup cancelled'), :'job_id', 'after a cancel');

select * from pg_temp.new_lease(dedup_key => 'dedup done') \gset
select soniq.complete(:job_id, :attempt) \g /dev/null
select isnt(pg_temp.keyed('dedup done'), :'job_id', 'after a completion');

select * from pg_temp.new_lease(dedup_key => 'dedup dead') \gset
select soniq.fail(:job_id, :attempt, '{}', 'permanent_failure') \g /dev/null
select isnt(pg_temp.keyed('dedup dead'), :'job_id', 'after a death');
select is(pg_temp.key(:job_id), 'dedup dead', 'the record of the dead letter names the key it had');

-- A job that comes back to the queue takes its key again.

create temporary table back as
select lease.way, (lease.held).*
from (
  select way, pg_temp.new_lease(dedup_key => 'dedup ' || way) as held
  from unnest(array['retried', 'snoozed', 'released']) as way
) as lease;

select soniq.fail(job_id, attempt, '{}') from back where way = 'retried' \g /dev/null
select soniq.snooze(job_id, attempt, '1 minute') from back where way = 'snoozed' \g /dev/null
select soniq.release(job_id, attempt) from back where way = 'released' \g /dev/null

select is(pg_temp.keyed('dedup ' || way), job_id, format('a job that is %s holds its key again', way))
from back;

-- A job that comes back to a key that is taken waits without it.

select * from pg_temp.new_lease(dedup_key => 'dedup taken') \gset
select pg_temp.keyed('dedup taken') as newer \gset
select is(soniq.fail(:job_id, :attempt, '{}'), 'queued', 'a job whose key was taken meanwhile is retried');
select is(pg_temp.key(:job_id), null, 'without the key');
select is(pg_temp.key(:newer), 'dedup taken', 'which the newer job keeps');

-- Two jobs that had one key come back in one call: only one can have it.

select * from pg_temp.new_lease(dedup_key => 'dedup twins') \gset
select job_id as younger, attempt as younger_attempt from pg_temp.new_lease(dedup_key => 'dedup twins') \gset
select * from pg_temp.new_lease(dedup_key => 'dedup third') \gset other_
select is(
  soniq.fail(
    array[:job_id, :younger, :other_job_id],
    array[:attempt, :younger_attempt, :other_attempt],
    array_fill('{}'::jsonb, array[3])
  ),
  array['queued', 'queued', 'queued'],
  'two jobs with one key come back at once: both are kept, and so is the third'
);
select is(
  array[pg_temp.key(:job_id), pg_temp.key(:younger), pg_temp.key(:other_job_id)],
  array['dedup twins', null, 'dedup third'],
  'the older of the two has their key, and the third its own'
);

select soniq.deregister_runner(pg_temp.the_runner()) \g /dev/null
select is_empty(
  $$
    select job.dedup_key
    from soniq.jobs as job
    where job.dedup_key like 'dedup %'
      and job.status = 'queued'
    group by job.dedup_key
    having count(*) > 1
  $$,
  'no two queued jobs share a key after all this'
);

select * from finish();
rollback;
