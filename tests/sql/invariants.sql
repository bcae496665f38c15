-- What holds whatever is called in whatever order: six hundred random calls, after each of which every job is looked
-- at. No job is lost or doubled, attempts only grow and stay within their bound, and no status changes except by the
-- call that may change it. The walk is random but for its seed.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');
select setseed(0.2718) \g /dev/null

select soniq.register_job_type('walk', retry_delays => '{0 s, 1 minute}', timeout => '10 minutes');

create temporary table steps (
  step integer primary key,
  call text,
  at timestamptz,
  paused text[]
);

-- Every job after each step.
create temporary table states as
select 0 as step, job.*
from soniq.all_jobs as job
where false;

create function pg_temp.random_of(variadic choices text[])
returns text
language sql
as $$
  select random_of.choices[1 + floor(random() * cardinality(random_of.choices))];
$$;

create function pg_temp.random_queues()
returns text[]
language sql
as $$
  select array[pg_temp.random_of('walk a', 'walk b'), pg_temp.random_of('walk b', 'walk c')];
$$;

-- Any job in this status; its own attempt, or now and then another.
create function pg_temp.random_job(status text)
returns pg_temp.lease
language sql
as $$
  select job.id, job.attempt + case when random() < 0.1 then -1 else 0 end
  from soniq.all_jobs as job
  where job.status::text = random_job.status
  order by random()
  limit 1;
$$;

create function pg_temp.random_runner()
returns bigint
language plpgsql
as $$
declare
  chosen bigint := (
    select runner.runner_id from soniq.runners as runner where runner.host = 'walk' order by random() limit 1
  );
begin
  return coalesce(chosen, soniq.register_runner('walk', heartbeat_timeout => '20 minutes'));
end;
$$;

create function pg_temp.call(name text)
returns void
language plpgsql
as $$
declare
  processing constant pg_temp.lease := pg_temp.random_job('processing');
  some_job constant bigint := (
    pg_temp.random_job(pg_temp.random_of('queued', 'processing', 'done', 'cancelled', 'dead_letter'))
  ).job_id;
begin
  case call.name
    when 'enqueue' then
      perform soniq.enqueue(
        'walk',
        queue => pg_temp.random_of('walk a', 'walk b', 'walk c'),
        priority => pg_temp.random_of('1', '2')::integer,
        delay => pg_temp.random_of('0', '0', '5 minutes')::interval,
        max_attempts => pg_temp.random_of('1', '2', '5')::integer,
        timeout => pg_temp.random_of(null, '0')::interval,
        dedup_key => 'walk ' || pg_temp.random_of(null, null, 'one', 'two')
      );
    when 'claim' then
      perform pg_temp.claim(
        pg_temp.random_queues(), max_jobs => 1 + (random() * 4)::integer, runner_id => pg_temp.random_runner()
      );
    when 'complete' then
      perform soniq.complete(processing.job_id, processing.attempt) where processing.job_id is not null;
    when 'fail' then
      perform soniq.fail(
        processing.job_id, processing.attempt, '{}', pg_temp.random_of(null, null, 'timeout', 'unknown_job')
      )
      where processing.job_id is not null;
    when 'snooze' then
      perform soniq.snooze(processing.job_id, processing.attempt, '1 minute') where processing.job_id is not null;
    when 'release' then
      perform soniq.release(processing.job_id, processing.attempt) where processing.job_id is not null;
    when 'cancel' then
      perform soniq.cancel(some_job);
    when 'retry' then
      perform soniq.retry(some_job);
    when 'tick' then
      perform soniq.tick();
    when 'heartbeat' then
      perform soniq.heartbeat(pg_temp.random_runner());
    when 'resume_runner' then
      perform soniq.resume_runner(
        pg_temp.random_runner(), array_remove(array[processing.job_id], null),
        array_remove(array[processing.attempt], null)
      );
    when 'deregister_runner' then
      perform soniq.deregister_runner(pg_temp.random_runner());
    when 'replay_dead_letters' then
      perform soniq.replay_dead_letters(ids => array[some_job]);
    when 'pause_queue' then
      perform soniq.pause_queue((pg_temp.random_queues())[1]);
    when 'resume_queue' then
      perform soniq.resume_queue((pg_temp.random_queues())[1]);
    when 'wait' then
      perform pg_temp.wait(random() * interval '20 minutes');
  end case;
end;
$$;

create function pg_temp.walk(length integer)
returns void
language plpgsql
as $$
declare
  call text;
begin
  for step in 1..walk.length loop
    call := pg_temp.random_of(
      'enqueue', 'enqueue', 'enqueue', 'claim', 'claim', 'complete', 'fail', 'fail', 'snooze', 'release', 'cancel',
      'retry', 'tick', 'tick', 'heartbeat', 'resume_runner', 'deregister_runner', 'replay_dead_letters', 'pause_queue',
      'resume_queue', 'resume_queue', 'wait'
    );
    insert into steps
    select step, call, soniq.clock(), array(select known.queue from soniq.queues as known where known.paused);
    begin
      perform pg_temp.call(call);
    exception
      when sqlstate 'SQ011' then
        null; -- a call of a runner that is dead, but not yet forgotten
    end;
    insert into states
    select step, job.*
    from soniq.all_jobs as job;
  end loop;
end;
$$;

select pg_temp.walk(length => 600);
create index on states (step, id);
analyze states;

select is_empty(
  $$select step, id from states group by step, id having count(*) > 1$$,
  'a job is in one table at a time'
);
select is_empty(
  $$
    select before.step, before.id
    from states as before
    left join states as after
      on after.step = before.step + 1
      and after.id = before.id
    where before.step < (select max(step) from steps)
      and after.id is null
  $$,
  'no job is lost'
);
select is_empty(
  $$
    select step, id
    from states
    where attempt > max_attempts
      or jsonb_array_length(errors) > attempt
  $$,
  'a job has no more attempts than it may have, and no more errors than attempts'
);
select is_empty(
  $$
    select step, id
    from states
    where (status = 'processing' and runner_id is null)
      or (status = 'queued' and runner_id is not null)
      or (status = 'dead_letter') <> (reason is not null)
  $$,
  'a job that is processed has a runner, one that is queued has none, and a dead letter has a reason'
);
select is_empty(
  $$
    select step, dedup_key
    from states
    where status = 'queued'
      and dedup_key is not null
    group by step, dedup_key
    having count(*) > 1
  $$,
  'no two queued jobs share a key'
);
select is_empty(
  $$
    select after.step, after.id
    from states as before
    join states as after
      on after.step = before.step + 1
      and after.id = before.id
    where (after.job_name, after.args, after.queue, after.priority, after.timeout, after.enqueued_at)
        is distinct from (before.job_name, before.args, before.queue, before.priority, before.timeout,
          before.enqueued_at)
      or after.replay_of is distinct from before.replay_of
  $$,
  'a job stays what it was enqueued as'
);
select is_empty(
  $$
    select after.step, after.id
    from states as before
    join states as after
      on after.step = before.step + 1
      and after.id = before.id
    where after.attempt < before.attempt
      or after.max_attempts < before.max_attempts
      or not after.errors @> before.errors
  $$,
  'attempts and errors only grow'
);
select is_empty(
  $$
    select steps.step, after.id
    from steps
    join states as before
      on before.step = steps.step - 1
      and before.status = 'queued'
    join states as after
      on after.step = steps.step
      and after.id = before.id
      and after.status = 'processing'
    where before.scheduled_at > steps.at
      or before.queue = any (steps.paused)
      or after.attempt <> before.attempt + 1
  $$,
  'a claim hands out what is due, of queues that are not paused, at the next attempt'
);

-- Changes of status. 'none' is before the first.

create temporary table changes as
select steps.call, coalesce(before.status::text, 'none') as status_before, after.status::text as status_after
from steps
join states as after
  on after.step = steps.step
left join states as before
  on before.step = steps.step - 1
  and before.id = after.id
where before.status is distinct from after.status;

select is_empty(
  $$
    select call, status_before, status_after
    from changes
    except
    values
      ('enqueue', 'none', 'queued'),
      ('replay_dead_letters', 'none', 'queued'),
      ('claim', 'queued', 'processing'),
      ('complete', 'processing', 'done'),
      ('fail', 'processing', 'queued'),
      ('fail', 'processing', 'dead_letter'),
      ('snooze', 'processing', 'queued'),
      ('release', 'processing', 'queued'),
      ('resume_runner', 'processing', 'queued'),
      ('deregister_runner', 'processing', 'queued'),
      ('tick', 'processing', 'queued'),
      ('tick', 'processing', 'dead_letter'),
      ('cancel', 'queued', 'cancelled')
  $$,
  'a status is changed by the calls that may change it, and by no other'
);
select cmp_ok(
  (select count(distinct (call, status_before, status_after)) from changes), '>=', 10::bigint,
  'the walk has been nearly everywhere: at least 10 of the 12 changes that there are'
);

select * from finish();
rollback;
