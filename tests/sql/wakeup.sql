-- Wake-ups: a waiting runner puts up a sign, an enqueue notifies where there is one and nowhere else, and
-- wait_for_jobs() says how long there is nothing to do.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

-- How long to wait.

select is(soniq.wait_for_jobs('{wakeup a}'), null, 'without jobs there is nothing to wait for');
select soniq.enqueue('late', queue => 'wakeup a', delay => '1 hour') \g /dev/null
select soniq.enqueue('ready', queue => 'wakeup a') \g /dev/null
select soniq.enqueue('early', queue => 'wakeup a', delay => '10 minutes', priority => 500) \g /dev/null
select soniq.enqueue('middle', queue => 'wakeup b', delay => '5 minutes') \g /dev/null
select is(soniq.wait_for_jobs(asked.queues), asked.wait, format('the next job for later in %s', asked.queues))
from (values
  (array['wakeup a'], interval '10 minutes'),
  (array['wakeup b'], interval '5 minutes'),
  (array['wakeup a', 'wakeup b'], interval '5 minutes'),
  (array['wakeup c'], null)
) as asked (queues, wait);
select soniq.enqueue('soon', queue => 'wakeup c', delay => '1 millisecond') \g /dev/null
select is(soniq.wait_for_jobs(), interval '1 millisecond', 'NULL is all queues');
select soniq.stop_waiting();

-- The sign: an advisory lock of the session for each queue, named SONQ in pg_locks.

create function pg_temp.signs(pid integer default pg_backend_pid())
returns bigint
language sql
as $$
  select count(*)
  from pg_catalog.pg_locks as lock
  where lock.locktype = 'advisory'
    and lock.classid = x'534f4e51'::integer::oid
    and lock.pid = signs.pid
    and lock.granted;
$$;

select is(pg_temp.signs(), 0::bigint, 'no sign is up');
select soniq.wait_for_jobs('{wakeup a,wakeup b}') \g /dev/null
select is(pg_temp.signs(), 2::bigint, 'a waiting session has one for each queue');
select soniq.enqueue('asks for signs', queue => 'wakeup d') \g /dev/null
select is(pg_temp.signs(), 2::bigint, 'an enqueue leaves none behind');
select pg_advisory_lock_shared(1, 2) \g /dev/null
select soniq.stop_waiting();
select is(pg_temp.signs(), 0::bigint, 'they come down together');
select ok(pg_advisory_unlock_shared(1, 2), 'and no lock of anyone else''s with them');
select lives_ok('select soniq.stop_waiting()', 'a session that does not wait may stop waiting');

select soniq.wait_for_jobs('{wakeup a}'), soniq.wait_for_jobs('{wakeup a}') \g /dev/null
select soniq.stop_waiting();
select is(pg_temp.signs(), 0::bigint, 'also after a runner has waited twice');

-- Who is notified. This takes sessions that commit. What they enqueue they delete in the same transaction, so
-- that nothing of it is ever seen, except the notification.

select exists (select from pg_catalog.pg_available_extensions where name = 'dblink') as has_dblink \gset
\if :has_dblink
create extension if not exists dblink;

create function pg_temp.connect(name text)
returns void
language sql
as $$
  select dblink_connect(
    connect.name,
    format(
      'host=''%s'' port=%s dbname=''%s'' user=''%s''',
      coalesce(host(inet_server_addr()), split_part(current_setting('unix_socket_directories'), ',', 1)),
      current_setting('port'), current_database(), current_user
    )
  );
$$;

create function pg_temp.ask(name text, query text)
returns text
language sql
as $$
  select answer.it
  from dblink(ask.name, ask.query) as answer (it text);
$$;

select pg_temp.connect('runner'), pg_temp.connect('producer');
select dblink_exec('runner', 'listen soniq_jobs') \g /dev/null
select pg_temp.ask('runner', 'select pg_backend_pid()') as runner_pid \gset
set local soniq_test.runner_pid = :runner_pid;

-- The sign for all queues can be refused for the instant in which another session's enqueue looks for it.
create function pg_temp.put_up_sign(queues text[])
returns void
language plpgsql
as $$
begin
  perform pg_temp.ask('runner', 'select soniq.stop_waiting()::text');
  while pg_temp.signs(pid => current_setting('soniq_test.runner_pid')::integer) = 0 loop
    perform pg_temp.ask('runner', format('select soniq.wait_for_jobs(%L)', put_up_sign.queues));
  end loop;
end;
$$;

create function pg_temp.commit(statements text)
returns void
language sql
as $$
  select dblink_exec(
    'producer',
    format('begin; %s;', commit.statements) || $cleanup$
      delete from soniq.jobs where queue like 'wakeup%';
      delete from soniq.finished_jobs where queue like 'wakeup%';
      delete from soniq.dead_letter_jobs where queue like 'wakeup%';
      delete from soniq.lanes where queue like 'wakeup%';
      delete from soniq.queues where queue like 'wakeup%';
      delete from soniq.job_types where job_name like 'wakeup%';
      delete from soniq.runners where host = 'wakeup';
      commit;
    $cleanup$
  );
$$;

-- What the runner has heard. A notification reaches it before the answer to a query that is asked later.
create function pg_temp.heard()
returns text
language sql
as $$
  select pg_temp.ask('runner', 'select 1');
  select coalesce(string_agg(distinct notification.extra, ', '), 'nothing')
  from dblink_get_notify('runner') as notification
  where notification.notify_name = 'soniq_jobs';
$$;

-- An enqueue of another session that looks for a sign in the same instant can be taken for one. Such a needless
-- wake-up does no harm, but it is not what is tested, so what is heard without cause is listened for again.
create function pg_temp.wakes(waits_for text[], statements text)
returns text
language plpgsql
as $$
declare
  message text;
begin
  for try in 1..3 loop
    perform pg_temp.put_up_sign(queues => wakes.waits_for), pg_temp.commit(statements => wakes.statements);
    message := pg_temp.heard();
    exit when message = 'nothing';
  end loop;
  return message;
end;
$$;

select is(pg_temp.wakes(example.waits_for, example.statements), example.message, example.what)
from (values
  (
    array['wakeup mine'], $$select soniq.enqueue('x', queue => 'wakeup mine')$$,
    'wakeup mine', 'an enqueue notifies a runner that waits for its queue, and names the queue'
  ),
  (
    array['wakeup mine'], $$select soniq.enqueue('x', queue => 'wakeup other')$$,
    'nothing', 'not one that waits for another queue'
  ),
  (
    null, $$select soniq.enqueue('x', queue => 'wakeup other')$$,
    'wakeup other', 'but one that waits for all'
  ),
  (
    array['wakeup mine'], $$select soniq.enqueue('x', queue => 'wakeup mine', delay => '1 hour')$$,
    'nothing', 'a job for later wakes nobody'
  ),
  (
    array['wakeup mine'], $$select soniq.enqueue_many('x', array_fill('{}'::jsonb, array[9]), queue => 'wakeup mine')$$,
    'wakeup mine', 'enqueue_many() notifies'
  ),
  (
    array['wakeup mine'], $$select soniq.enqueue_many('x', '{}', queue => 'wakeup mine')$$,
    'nothing', 'not without entries'
  ),
  (
    array['wakeup mine'], $$select soniq.enqueue_many('x', '{"{}"}', queue => 'wakeup mine', delay => '1 hour')$$,
    'nothing', 'nor for later'
  ),
  (
    array['wakeup mine'], $$select soniq.pause_queue('wakeup mine'), soniq.resume_queue('wakeup mine')$$,
    'wakeup mine', 'resume_queue() notifies'
  ),
  (
    array['wakeup mine'], $$select soniq.pause_queue('wakeup mine')$$,
    'nothing', 'pause_queue() does not'
  ),
  (
    array['wakeup mine'], $$select soniq.enqueue('x', queue => 'wakeup mine'); rollback; begin$$,
    'nothing', 'an enqueue that is rolled back wakes nobody'
  ),
  (
    array['wakeup mine'],
    $$select soniq.retry(soniq.enqueue('x', queue => 'wakeup mine', delay => '1 hour'))$$,
    'wakeup mine', 'retry() notifies'
  ),
  (
    array['wakeup mine'],
    $$
      select soniq.enqueue('x', queue => 'wakeup mine', delay => '1 millisecond');
      select pg_sleep(0.002), soniq.retry(job.id) from soniq.jobs as job where job.queue = 'wakeup mine'
    $$,
    'nothing', 'not for a job that is ready already'
  )
) as example (waits_for, statements, message, what);

-- What brings a job back, ready at once, notifies as well. (The enqueue before it, being for later, does not.)
select is(
  pg_temp.wakes(
    array['wakeup mine'],
    format(
      $$
        select soniq.register_job_type('wakeup x', retry_delays => '{0 s}');
        select soniq.enqueue('wakeup x', queue => 'wakeup mine', delay => '1 millisecond');
        select pg_sleep(0.002);
        %s
        from soniq.register_runner('wakeup') as runner
        cross join lateral soniq.claim(runner, '{wakeup mine}') as claimed
      $$,
      back.call
    )
  ),
  back.message,
  back.what
)
from (values
  ('select claimed.job_id', 'nothing', 'a claim wakes nobody'),
  ('select soniq.release(claimed.job_id, claimed.attempt)', 'wakeup mine', 'a release does'),
  ('select soniq.snooze(claimed.job_id, claimed.attempt, ''0'')', 'wakeup mine', 'so does a snooze of 0'),
  ('select soniq.snooze(claimed.job_id, claimed.attempt, ''1 hour'')', 'nothing', 'not a longer one'),
  ('select soniq.fail(claimed.job_id, claimed.attempt, ''{}'')', 'wakeup mine', 'a retry without delay does'),
  ('select soniq.fail(claimed.job_id, claimed.attempt, ''{}'', ''unknown_job'')', 'nothing', 'a death does not'),
  ('select soniq.complete(claimed.job_id, claimed.attempt)', 'nothing', 'nor does a completion'),
  ('select soniq.deregister_runner(runner), claimed.job_id', 'wakeup mine', 'a runner that leaves its job behind does')
) as back (call, message, what);

-- The end of the sign.

select pg_temp.put_up_sign('{wakeup mine}');
select pg_temp.ask('runner', 'select soniq.stop_waiting()::text') \g /dev/null
select pg_temp.commit($$select soniq.enqueue('x', queue => 'wakeup mine')$$) \g /dev/null
select is(pg_temp.heard(), 'nothing', 'a runner that has stopped waiting is left in peace');

select pg_temp.put_up_sign(null);
select lives_ok($$select soniq.enqueue('x', queue => 'wakeup mine')$$, 'a sign keeps no enqueue waiting');
select is(pg_temp.signs(pid => :runner_pid), 1::bigint, 'and stays up');
select dblink_disconnect('runner') \g /dev/null
do $$
begin
  -- The server process ends a moment after its client has gone.
  while exists (
    select
    from pg_catalog.pg_stat_activity as session
    where session.pid = current_setting('soniq_test.runner_pid')::integer
  ) loop
    perform pg_stat_clear_snapshot(), pg_sleep(0.001);
  end loop;
end;
$$;
select is(pg_temp.signs(pid => :runner_pid), 0::bigint, 'it vanishes with the runner');
\else
select skip('dblink is not installed, so that there is only one session', 24);
\endif

select * from finish();
rollback;
