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

-- The sign: advisory locks of the session for each queue, named SO in pg_locks, beside the bell itself.

create function pg_temp.signs(pid integer default pg_backend_pid())
returns bigint
language sql
as $$
  select count(*)
  from pg_catalog.pg_locks as lock
  where lock.locktype = 'advisory'
    and lock.classid::bigint between x'534f0000'::bigint and x'534f0fff'::bigint
    and lock.pid = signs.pid
    and lock.granted;
$$;

select soniq.wait_for_jobs('{wakeup a}') \g /dev/null
select is(pg_temp.signs(), 0::bigint, 'without a bell there is no sign');
select lives_ok('select soniq.stop_waiting()', 'a session that does not wait may stop waiting');

select soniq.take_bell() as bell \gset
select is(soniq.take_bell(), :bell, 'a session has one bell, however often it asks');
select is(pg_temp.signs(), 0::bigint, 'a bell alone is no sign');
select soniq.wait_for_jobs('{wakeup a,wakeup b}') \g /dev/null
select is(pg_temp.signs(), 6::bigint, 'a waiting session has three locks for each queue');
select soniq.wait_for_jobs('{wakeup b,wakeup a,wakeup b}') \g /dev/null
select is(pg_temp.signs(), 6::bigint, 'and no more when it waits for them once more');
select soniq.enqueue('asks for signs', queue => 'wakeup d') \g /dev/null
select is(pg_temp.signs(), 6::bigint, 'an enqueue leaves none behind');
select soniq.wait_for_jobs('{wakeup c}') \g /dev/null
select is(pg_temp.signs(), 3::bigint, 'to wait for other queues takes down the sign for these');
select pg_advisory_lock_shared(1, 2) \g /dev/null
select soniq.stop_waiting();
select is(pg_temp.signs(), 0::bigint, 'stop_waiting() takes it down');
select soniq.stop_waiting();
select ok(pg_advisory_unlock_shared(1, 2), 'and no lock of anyone else''s with it');
select soniq.wait_for_jobs() \g /dev/null
select soniq.wake_others('{}');
select is(pg_temp.signs(), 0::bigint, 'so does wake_others(), which need not name a queue');
select is(
  pg_temp.refusal($$select soniq.wake_others('{wakeup a,null}')$$),
  pg_temp.refusal($$select soniq.wait_for_jobs('{wakeup a,null}')$$),
  'nor may it name what is none'
);

-- Who is notified. This takes sessions that commit. What they enqueue they delete in the same transaction, so
-- that nothing of it is ever seen, except the notification.

select exists (select from pg_catalog.pg_available_extensions where name = 'dblink') as has_dblink \gset
\if :has_dblink
create extension if not exists dblink;

create function pg_temp.ask(name text, query text)
returns text
language sql
as $$
  select answer.it
  from dblink(ask.name, ask.query) as answer (it text);
$$;

create function pg_temp.connect_runner(name text)
returns text
language sql
as $$
  select pg_temp.connect(connect_runner.name);
  select dblink_exec(
    connect_runner.name, 'listen soniq_bell_' || pg_temp.ask(connect_runner.name, 'select soniq.take_bell()')
  );
$$;

create function pg_temp.wait_for_jobs(name text, queues text[])
returns text
language sql
as $$
  select pg_temp.ask(wait_for_jobs.name, 'select soniq.stop_waiting()::text');
  select pg_temp.ask(wait_for_jobs.name, format('select soniq.wait_for_jobs(%L)', wait_for_jobs.queues));
$$;

select pg_temp.connect('producer');
select pg_temp.connect_runner('runner') \g /dev/null
select pg_temp.ask('runner', 'select pg_backend_pid()') as runner_pid \gset
set local soniq_test.runner_pid = :runner_pid;

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

-- What a runner has heard. A notification reaches it before the answer to a query that is asked later.
create function pg_temp.heard(name text default 'runner')
returns text
language sql
as $$
  select pg_temp.ask(heard.name, 'select 1');
  select coalesce(string_agg(distinct notification.extra, ', '), 'nothing')
  from dblink_get_notify(heard.name) as notification;
$$;

create function pg_temp.wakes(waits_for text[], statements text)
returns text
language sql
as $$
  select
    pg_temp.wait_for_jobs('runner', queues => wakes.waits_for),
    pg_temp.commit(statements => wakes.statements);
  select pg_temp.heard();
$$;

select is(pg_temp.wakes(example.waits_for, example.statements), example.message, example.what)
from (values
  (
    array['wakeup mine'], $$select soniq.enqueue('x', queue => 'wakeup mine')$$,
    'more wakeup mine', 'an enqueue notifies a runner that waits for its queue, and names the queue'
  ),
  (
    array['wakeup mine'], $$select soniq.enqueue('x', queue => 'wakeup other')$$,
    'nothing', 'not one that waits for another queue'
  ),
  (
    null, $$select soniq.enqueue('x', queue => 'wakeup other')$$,
    'more wakeup other', 'but one that waits for all'
  ),
  (
    array['wakeup mine'], $$select soniq.enqueue('x', queue => 'wakeup mine', delay => '1 hour')$$,
    'nothing', 'a job for later wakes nobody'
  ),
  (
    array['wakeup mine'], $$select soniq.enqueue_many('x', array_fill('{}'::jsonb, array[9]), queue => 'wakeup mine')$$,
    'each wakeup mine', 'enqueue_many() notifies, and says that each job is announced'
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
    'more wakeup mine', 'resume_queue() notifies'
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
    'more wakeup mine', 'retry() notifies'
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
  ('select soniq.release(claimed.job_id, claimed.attempt)', 'more wakeup mine', 'a release does'),
  ('select soniq.snooze(claimed.job_id, claimed.attempt, ''0'')', 'more wakeup mine', 'so does a snooze of 0'),
  ('select soniq.snooze(claimed.job_id, claimed.attempt, ''1 hour'')', 'nothing', 'not a longer one'),
  ('select soniq.fail(claimed.job_id, claimed.attempt, ''{}'')', 'more wakeup mine', 'a retry without delay does'),
  ('select soniq.fail(claimed.job_id, claimed.attempt, ''{}'', ''unknown_job'')', 'nothing', 'a death does not'),
  ('select soniq.complete(claimed.job_id, claimed.attempt)', 'nothing', 'nor does a completion'),
  ('select soniq.deregister_runner(runner), claimed.job_id', 'more wakeup mine', 'a runner that leaves its job behind does')
) as back (call, message, what);

-- One of several. They are found wherever their bells lie: alone in a block, or the last of a full one.

create function pg_temp.woken(statements text)
returns text[]
language sql
as $$
  select pg_temp.wait_for_jobs(runner.name, queues => '{wakeup mine}')
  from unnest('{runner,second,third}'::text[]) as runner (name);
  select pg_temp.commit(statements => woken.statements);
  select coalesce(array_agg(runner.name), '{}')
  from unnest('{runner,second,third}'::text[]) as runner (name)
  where pg_temp.heard(runner.name) like '% wakeup mine';
$$;

-- Ends when each has been the one.
create function pg_temp.wakes_each()
returns boolean
language plpgsql
as $$
declare
  seen text[] := '{}';
begin
  while not seen @> '{runner,second,third}' loop
    seen := seen || pg_temp.woken($statements$select soniq.enqueue('x', queue => 'wakeup mine')$statements$);
  end loop;
  return true;
end;
$$;

select pg_temp.connect_runner('second') \g /dev/null
select count(pg_try_advisory_lock(x'534f1000'::integer, number)) from generate_series(0, 700) as number \g /dev/null
select pg_temp.connect_runner('third') \g /dev/null
select is(
  pg_temp.ask('third', 'select soniq.take_bell()')::integer, 701,
  'a bell has the lowest number that is free'
);

select is(cardinality(pg_temp.woken(example.statements)), example.runners, example.what)
from (values
  ($$select soniq.enqueue('x', queue => 'wakeup mine')$$, 1, 'an enqueue wakes one'),
  (
    $$select soniq.enqueue_many('x', array_fill('{}'::jsonb, array[2]), queue => 'wakeup mine')$$,
    2, 'enqueue_many() one for each job'
  ),
  (
    $$select soniq.enqueue_many('x', array_fill('{}'::jsonb, array[9]), queue => 'wakeup mine')$$,
    3, 'as far as there are any'
  ),
  ($$select soniq.wake_others('{wakeup mine,wakeup mine}')$$, 2, 'wake_others() as many as queues are named')
) as example (statements, runners, what);

select ok(pg_temp.wakes_each(), 'not always the same');

select pg_temp.wait_for_jobs('runner', queues => null), pg_temp.wait_for_jobs('second', queues => '{wakeup mine}') \g /dev/null
select pg_temp.ask('third', 'select soniq.stop_waiting()::text') \g /dev/null
select pg_temp.commit($$select soniq.enqueue('x', queue => 'wakeup mine')$$) \g /dev/null
select is(
  pg_temp.heard('runner') || ', ' || pg_temp.heard('second'), 'nothing, more wakeup mine',
  'one that waits for this queue before one that waits for all'
);
select pg_temp.commit($$select soniq.enqueue('x', queue => 'wakeup other')$$) \g /dev/null
select is(
  pg_temp.heard('runner') || ', ' || pg_temp.heard('second'), 'more wakeup other, nothing',
  'and none that does not serve it'
);
select pg_temp.ask('second', $$select soniq.wake_others('{wakeup mine}')::text$$) \g /dev/null
select is(
  pg_temp.heard('runner') || ', ' || pg_temp.heard('second'), 'more wakeup mine, nothing',
  'wake_others() does not wake the caller'
);

-- A stranger has a lock that is part of the sign: it is done without for the queues concerned, until he lets go.

create function pg_temp.stranger(does text, part integer)
returns text
language sql
as $$
  select pg_temp.ask(
    'stranger',
    format('select pg_advisory_%s(%s, hashtext(%L))::text', stranger.does, soniq._sign(part => stranger.part), 'wakeup mine')
  );
$$;

select pg_temp.connect('stranger');
set local client_min_messages = error;
create temporary table parts as
select part.number, part.name
from (values (:bell, 'bell'), (1024 + :bell / 32, 'block'), (2048, 'whole')) as part (number, name);
create function pg_temp.signs_beside_a_stranger(part integer)
returns text
language sql
as $$
  select soniq.stop_waiting();
  select pg_temp.stranger(does => 'lock', part => signs_beside_a_stranger.part);
  select soniq.wait_for_jobs('{wakeup mine,wakeup other}');
  select soniq.wait_for_jobs('{wakeup mine,wakeup other}');
  select set_config('soniq_test.beside', pg_temp.signs() || ', known: ' || current_setting('soniq.sign_taken'), true);
  select pg_temp.stranger(does => 'unlock', part => signs_beside_a_stranger.part);
  select soniq.wait_for_jobs('{wakeup mine,wakeup other}');
  select format(
    '%s; then %s, known: %s',
    current_setting('soniq_test.beside'), pg_temp.signs(), current_setting('soniq.sign_taken')
  );
$$;
select is(
  pg_temp.signs_beside_a_stranger(part => number), '3, known: yes; then 6, known: ',
  format('with the %s taken by a stranger, the signs for other queues go up, and all when it is free', name)
)
from parts;

select soniq.stop_waiting();
select pg_temp.stranger(does => 'lock', part => 2048) \g /dev/null
select is(
  soniq._in_the_way(bell => :bell, keys => array[hashtext('wakeup other'), hashtext('wakeup mine')]),
  pg_temp.ask('stranger', 'select pg_backend_pid()'),
  'who is in the way is known'
);
select is(
  pg_temp.wakes(array['wakeup other'], $$select soniq.enqueue('x', queue => 'wakeup mine')$$), 'nothing',
  'an enqueue is not held up by a stranger either'
);
select dblink_disconnect('stranger') \g /dev/null
set local client_min_messages = warning;

-- No bell is left.

select count(pg_try_advisory_lock(x'534f1000'::integer, number)) from generate_series(701, 1023) as number \g /dev/null
select pg_temp.connect('late');
select is(pg_temp.ask('late', 'select soniq.take_bell()'), null, 'when all bells are taken, there is none');
select pg_temp.ask('late', 'select soniq.wait_for_jobs()') \g /dev/null

-- The end of the sign.

select pg_temp.wait_for_jobs('runner', queues => '{wakeup mine}') \g /dev/null
select pg_temp.ask('runner', 'select soniq.stop_waiting()::text') \g /dev/null
select pg_temp.commit($$select soniq.enqueue('x', queue => 'wakeup mine')$$) \g /dev/null
select is(pg_temp.heard(), 'nothing', 'a runner that has stopped waiting is left in peace');

select pg_temp.wait_for_jobs('runner', queues => null) \g /dev/null
select lives_ok($$select soniq.enqueue('x', queue => 'wakeup mine')$$, 'a sign keeps no enqueue waiting');
select is(pg_temp.signs(pid => :runner_pid), 3::bigint, 'and stays up');
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
select skip('dblink is not installed, so that there is only one session', 29);
\endif

select * from finish();
rollback;
