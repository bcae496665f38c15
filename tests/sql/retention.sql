-- Retention: finished jobs go to the partition of the day until which they are kept; tick() makes the days ahead and
-- drops those that are over. More on what waits for whom when several sessions are at it: test_retention.py.
--
-- This file is run alone, since it makes and drops partitions, which others would be in the way of.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

create function pg_temp.days()
returns text
language sql
as $$
  select coalesce(string_agg(substring(partition.relname from '\d{8}$'), ', ' order by partition.relname), 'none')
  from pg_catalog.pg_inherits as inheritance
  join pg_catalog.pg_class as partition
    on partition.oid = inheritance.inhrelid
  where inheritance.inhparent = 'soniq.finished_jobs'::regclass
    and partition.relname ~ '203\d{5}$';
$$;

create function pg_temp.upkeep()
returns text
language plpgsql
as $$
declare
  done record;
begin
  update soniq.chores
  set due_at = '-infinity'
  where chore = 'partitions';
  done := soniq.tick();
  return format('%s made, %s dropped', done.partitions_made, done.partitions_dropped);
end;
$$;

create function pg_temp.finished_job(job_name text default 'retention', queue text default 'retention')
returns bigint
language plpgsql
as $$
declare
  job_id constant bigint := soniq.enqueue(finished_job.job_name, queue => finished_job.queue);
begin
  perform soniq.complete(job_id, pg_temp.take(job_id));
  return job_id;
end;
$$;

create function pg_temp.lies_in(job_id bigint)
returns text
language sql
as $$
  select coalesce(
    (
      select job.tableoid::regclass::text
      from soniq.finished_jobs as job
      where job.id = lies_in.job_id
    ),
    'nowhere'
  );
$$;

-- Other sessions, and first, while this one holds no lock that they need.

select exists (select from pg_catalog.pg_available_extensions where name = 'dblink') as has_dblink \gset
\if :has_dblink
create extension if not exists dblink;

create function pg_temp.call(name text, call text)
returns void
language sql
as $$
  select dblink_exec(call.name, format('do %L', format('begin perform %s; end', call.call)));
$$;

select pg_temp.connect('other'), pg_temp.connect('completing') \g /dev/null
select pg_temp.call('other', 'soniq._make_partition(day => ''2001-01-01'')') \g /dev/null

-- A completion that has chosen the default partition waits while the partition of its day is added. By the clock of
-- those sessions it is today.

select 'retention race ' || pg_backend_pid() as race \gset
select (current_timestamp at time zone 'UTC')::date + 7 as day \gset
select soniq._partition_name(day => :'day') as partition_of_the_day \gset
select pg_temp.call('completing', format('soniq.enqueue(%L, queue => %1$L)', :'race')) \g /dev/null
select pg_temp.call('completing', format('soniq.claim(soniq.register_runner(%L), array[%1$L])', :'race')) \g /dev/null
select dblink_exec('other', 'begin') \g /dev/null
select pg_temp.call('other', format('soniq._make_partition(day => %L)', :'day')) \g /dev/null
select dblink_send_query(
  'completing',
  format('select soniq.complete(job.id, 1) from soniq.jobs as job where job.queue = %L', :'race')
) \g /dev/null
do $$
begin
  while not exists (
    select
    from pg_catalog.pg_locks
    where not granted
      and relation = 'soniq.finished_jobs_default'::regclass
  ) loop
    perform pg_catalog.pg_sleep(0.01);
  end loop;
end;
$$;
select dblink_exec('other', 'commit') \g /dev/null
select is(
  (select answer.completed from dblink_get_result('completing') as answer (completed boolean)), true,
  'a completion during which its day is added succeeds'
);
select is(
  (select job.tableoid::regclass::text from soniq.finished_jobs as job where job.queue = :'race'),
  'soniq.' || :'partition_of_the_day',
  'and goes to that day'
);

-- Where a lock is needed that another session holds, nobody waits. There is a day that is long over.

select dblink_exec('other', 'begin; lock table only soniq.finished_jobs in share update exclusive mode') \g /dev/null
insert into soniq.finished_jobs (
  id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, errors,
  finished_at, keep_until
)
values (
  0, 'retention', 'retention', 0, 'done', '{}', '2001-01-01', '2001-01-01', 1, 1, '0', '[]', '2001-01-01', '2001-01-01'
);
select is(pg_temp.upkeep(), '0 made, 0 dropped', 'while another session alters the table, nothing is made or dropped');
select is(pg_temp.status(0), null, 'but a day that is over is emptied');
select is((soniq.tick()).partitions_made, 0, 'the next tick tries again');
select dblink_exec('other', 'rollback; begin; lock table only soniq.finished_jobs in row exclusive mode') \g /dev/null
select is((soniq.tick()).partitions_made, 3, 'completions under way are in the way of dropping only');
select isnt(to_regclass('soniq.finished_jobs_20010101'), null, 'the day stays until they are through');
select dblink_exec('other', 'rollback') \g /dev/null
select matches(pg_temp.upkeep(), '^0 made, [1-9]', 'and is dropped then');
select dblink_disconnect('other'), dblink_disconnect('completing') \g /dev/null
drop table soniq.finished_jobs_20300108, soniq.finished_jobs_20300109, soniq.finished_jobs_20300110;
\else
select skip('this server has no dblink', 8);
\endif

select set_config('soniq_test.runner', pg_temp.new_runner(heartbeat_timeout => '99 years')::text, true) \g /dev/null
select pg_temp.finished_job() as before_the_first_tick \gset
select is(
  pg_temp.lies_in(:before_the_first_tick), 'soniq.finished_jobs_default',
  'a job that finishes before its day is made is kept all the same'
);

-- Partitions of other days, today's among them, may be there from before; only those of 2030 are this test's.
select matches(pg_temp.upkeep(), '^3 made, \d+ dropped$', 'tick() makes three days');
select is(pg_temp.days(), '20300108, 20300109, 20300110', 'those on which jobs that finish soon are to be forgotten');
select is(
  pg_temp.lies_in(:before_the_first_tick), 'soniq.finished_jobs_20300108',
  'what waited in the default partition moves to its day'
);
select is(pg_temp.status(:before_the_first_tick), 'done', 'and can still be found');
select pg_temp.finished_job() as finished \gset
select is(pg_temp.lies_in(:finished), 'soniq.finished_jobs_20300108', 'a job goes to the day until which it is kept');
select is(
  (select keep_until from soniq.finished_jobs where id = :finished), '2030-01-08 12:00+00', 'which is seven days later'
);
select soniq.enqueue('retention', queue => 'retention') as cancelled \gset
select soniq.cancel(:cancelled) \g /dev/null
select is(pg_temp.lies_in(:cancelled), 'soniq.finished_jobs_20300108', 'so does one that is cancelled');
select is(
  obj_description('soniq.finished_jobs_20300108'::regclass), 'Finished jobs kept until 2030-01-08.',
  'a partition says what it is'
);
select is(pg_temp.upkeep(), '0 made, 0 dropped', 'the next time there is nothing to do');

-- The chore itself.

select soniq.tick() \g /dev/null
select is(
  (select due_at from soniq.chores where chore = 'partitions'), '2030-01-01 12:01+00',
  'partitions are looked after once a minute'
);
update soniq.settings
set retention = '8 days';
select is(
  pg_temp.days(), '20300108, 20300109, 20300110, 20300111', 'and when the retention changes, for which days are made at once'
);
select soniq.configure_queue('retention short', retention => '1 day');
select soniq.register_job_type('retention longer', retention => '30 days');
select is(
  pg_temp.days(),
  '20300102, 20300103, 20300104, 20300108, 20300109, 20300110, 20300111, 20300131, 20300201, 20300202',
  'also of a queue or a job type'
);
select soniq.register_job_type('retention none', retention => '0');
select soniq.configure_queue('retention none', retention => '0');
select is(pg_temp.upkeep(), '0 made, 0 dropped', 'a retention of 0 needs none');

-- Who keeps what for how long.

select is(
  (select job.keep_until - job.finished_at from soniq.finished_jobs as job where job.id = pg_temp.finished_job()),
  null, 'a statement does not see the job that it makes itself'
);
select pg_temp.finished_job() as plain,
  pg_temp.finished_job(queue => 'retention short') as short,
  pg_temp.finished_job(job_name => 'retention longer') as longer,
  pg_temp.finished_job(job_name => 'retention longer', queue => 'retention short') as both,
  pg_temp.finished_job(job_name => 'retention none') as type_none,
  pg_temp.finished_job(queue => 'retention none') as queue_none,
  pg_temp.finished_job(job_name => 'retention longer', queue => 'retention none') as longer_in_none \gset
select is(pg_temp.lies_in(:plain), 'soniq.finished_jobs_20300109', 'the setting is for all that say nothing else');
select is(pg_temp.lies_in(:short), 'soniq.finished_jobs_20300102', 'a queue may say something else');
select is(pg_temp.lies_in(:longer), 'soniq.finished_jobs_20300131', 'so may a job type');
select is(pg_temp.lies_in(:both), 'soniq.finished_jobs_20300131', 'the type is asked before the queue');
select is(pg_temp.lies_in(:longer_in_none), 'soniq.finished_jobs_20300131', 'also where the queue keeps nothing');
select is(pg_temp.lies_in(:type_none), 'nowhere', '0: a finished job of this type is not kept');
select is(pg_temp.lies_in(:queue_none), 'nowhere', '0: nor one of this queue');
select is(pg_temp.status(:type_none), null, 'nothing is known of it');
select soniq.enqueue('retention none') as cancelled_unkept \gset
select is(soniq.cancel(:cancelled_unkept), 'cancelled', '0: a job can be cancelled');
select is(soniq.cancel(:cancelled_unkept), null, 'and is not kept either');

-- Days go by.

select pg_temp.wait('1 day 11 hours 59 minutes') \g /dev/null
select is(pg_temp.upkeep(), '3 made, 0 dropped', 'while a day lasts, nothing is dropped');
select is(pg_temp.status(:short), 'done', 'and its jobs can be found');
select pg_temp.wait('1 minute') \g /dev/null
select is(pg_temp.upkeep(), '3 made, 1 dropped', 'when it is over, its partition is dropped');
select is(pg_temp.status(:short), null, 'with all that lay in it');
select is(pg_temp.status(:plain), 'done', 'jobs that are kept for longer are there');

-- Everything was down for months.

select pg_temp.wait('3 months') \g /dev/null
select pg_temp.finished_job() as after_the_break \gset
select is(
  pg_temp.lies_in(:after_the_break), 'soniq.finished_jobs_default',
  'a job that finishes when no day is ready is kept'
);
select matches(pg_temp.upkeep(), '^9 made, \d\d dropped$', 'the next tick makes the days that are needed and drops the others');
select is(pg_temp.lies_in(:after_the_break), 'soniq.finished_jobs_20300411', 'what was kept goes to its day');
select is(pg_temp.status(:plain), null, 'what is past its time is gone');
select is_empty(
  $$select id from soniq.finished_jobs_default where queue = 'retention'$$, 'and nothing stays in the default partition'
);

-- More than may be moved at once.

select soniq.enqueue_many(
  'retention', array_fill('{}'::jsonb, array[10001]), queue => 'retention many'
) \g /dev/null
select pg_temp.wait('1 month') \g /dev/null
select soniq.complete(array_agg(claimed.job_id), array_agg(claimed.attempt))
from pg_temp.claim('{retention many}', max_jobs => 10000) as claimed \g /dev/null
select soniq.complete(claimed.job_id, claimed.attempt)
from pg_temp.claim('{retention many}') as claimed \g /dev/null
select is(
  (select count(*) from soniq.finished_jobs_default where queue = 'retention many'), 10001::bigint,
  'where very many jobs finish on a day that is not made'
);
select is(left(pg_temp.upkeep(), 6), '0 made', 'they stay where they are');
select pg_temp.wait('9 days') \g /dev/null
select pg_temp.upkeep() \g /dev/null
select is(
  (select count(*) from soniq.finished_jobs_default where queue = 'retention many'), 1::bigint,
  'and are deleted when their time is over, ten thousand at a time'
);
select is(left(pg_temp.upkeep(), 6), '9 made', 'then days are made again');
select is(
  (select count(*) from soniq.finished_jobs_default where queue = 'retention many'), 0::bigint, 'and none is left'
);

select * from finish();
rollback;

drop table if exists soniq.finished_jobs_20010101;
\if :has_dblink
drop table soniq.:"partition_of_the_day";
delete from soniq.runners
where host = :'race';
delete from soniq.lanes
where queue = :'race';
\endif
