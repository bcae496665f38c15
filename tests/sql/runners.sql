-- Runners: registered with what they say of themselves, alive as long as they send heartbeats, told which of their
-- leases they have lost, and relieved of their jobs when they leave. How silent ones are declared dead: tick.sql.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

-- Register.

create function pg_temp.particulars(runner_id bigint)
returns text
language sql
as $$
  select format(
    '%s:%s serves %s, %s at once, version "%s", silent for %s at most; since %s, alive at %s', runner.host, runner.pid,
    coalesce(runner.queues::text, 'all'), runner.concurrency, runner.runner_version, runner.heartbeat_timeout,
    to_char(runner.registered_at, 'HH24:MI'), to_char(runner.last_heartbeat_at, 'HH24:MI')
  )
  from soniq.runners as runner
  where runner.runner_id = particulars.runner_id;
$$;

select soniq.register_runner(
  'ada.example.org', pid => 4711, queues => '{mail,bills}', concurrency => 8, heartbeat_timeout => '30 seconds',
  runner_version => '1.2.3'
) as runner \gset
select is(
  pg_temp.particulars(:runner),
  'ada.example.org:4711 serves {mail,bills}, 8 at once, version "1.2.3", silent for 00:00:30 at most;'
  ' since 12:00, alive at 12:00',
  'a runner is kept as it describes itself'
);
select soniq.register_runner('ada.example.org') as bare \gset
select is(
  pg_temp.particulars(:bare),
  'ada.example.org:0 serves all, 1 at once, version "", silent for 00:05:00 at most; since 12:00, alive at 12:00',
  'its host is enough'
);
select soniq.register_runner('ada.example.org', pid => null, runner_version => null) as nulls \gset
select is(
  pg_temp.particulars(:nulls), pg_temp.particulars(:bare),
  'a NULL pid or version is none'
);
select isnt(
  soniq.register_runner('ada.example.org', pid => 4711), :'runner',
  'the same process registered again is another runner'
);
select lives_ok(
  $$select soniq.register_runner(repeat('h', 255), heartbeat_timeout => '1 millisecond')$$,
  'a host of 255 characters'
);

-- Heartbeat.

select pg_temp.wait('1 minute') \g /dev/null
select row_eq(
  format('select * from soniq.heartbeat(%s)', :runner),
  row(true, '{}'::bigint[], '{}'::integer[]),
  'a heartbeat is answered'
);
select alike(pg_temp.particulars(:runner), '%alive at 12:01', 'and dated');
select row_eq(
  'select * from soniq.heartbeat(-1)', row(false, '{}'::bigint[], '{}'::integer[]),
  'an unknown runner is told that it is not registered'
);
select row_eq(
  'select * from soniq.heartbeat(null)', row(false, '{}'::bigint[], '{}'::integer[]),
  'so is one that does not know its id'
);

-- Leases that a runner believes it holds.

create temporary table held as
select lease.name, (lease.held).*
from (
  select
    name,
    pg_temp.new_lease(job_name => name, runner_id => case name when 'another''s' then :bare else :runner end) as held
  from unnest(array['good', 'done', 'released', 'claimed again', 'another''s', 'unknown', 'good too']) as name
) as lease;
select soniq.complete(job_id, attempt) from held where name = 'done' \g /dev/null
select soniq.release(job_id, attempt) from held where name in ('released', 'claimed again') \g /dev/null
select pg_temp.take(job_id, runner_id => :runner) from held where name = 'claimed again' \g /dev/null
update held
set job_id = 9223372036854775807
where name = 'unknown';

select is(
  (
    select array_agg(held.name order by lost.ordinality)
    from (select array_agg(job_id) as job_ids, array_agg(attempt) as attempts from held) as asked
    cross join lateral soniq.heartbeat(:runner, asked.job_ids, asked.attempts) as answer
    cross join lateral unnest(answer.lost_jobs) with ordinality as lost (job_id, ordinality)
    join held
      on held.job_id = lost.job_id
  ),
  array['done', 'released', 'claimed again', 'another''s', 'unknown'],
  'a heartbeat answers which leases are lost: each that is not this runner''s at this attempt'
);
select is(
  (
    select answer.lost_attempts
    from held
    cross join lateral soniq.heartbeat(
      :runner, array[held.job_id, held.job_id], array[held.attempt, held.attempt + 1]
    ) as answer
    where held.name = 'claimed again'
  ),
  '{1}',
  'and where it has claimed the job again, only its former lease is'
);

-- Deregister.

select ok(soniq.deregister_runner(:runner), 'a runner leaves');
select is_empty('select * from soniq.runners where runner_id = ' || :runner, 'and is off the list');
select results_eq(
  $$
    select held.name, job.status::text, job.attempt, job.max_attempts, job.scheduled_at, jsonb_array_length(job.errors)
    from held, pg_temp.job(held.job_id) as job
    where held.name in ('good', 'good too', 'claimed again', 'another''s', 'done')
    order by held.name
  $$,
  $$
    values
      ('another''s', 'processing', 1, 3, timestamptz '2030-01-01 12:01+00', 0),
      ('claimed again', 'queued', 2, 5, timestamptz '2030-01-01 12:01+00', 0),
      ('done', 'done', 1, 3, timestamptz '2030-01-01 12:01+00', 0),
      ('good', 'queued', 1, 4, timestamptz '2030-01-01 12:01+00', 0),
      ('good too', 'queued', 1, 4, timestamptz '2030-01-01 12:01+00', 0)
  $$,
  'what it held is queued again, in its place, without an attempt spent; other jobs are left alone'
);
select ok(not soniq.deregister_runner(:runner), 'it cannot leave twice');
select ok(not soniq.deregister_runner(null), 'nor can nobody leave');
select lives_ok(format('select soniq.deregister_runner(%s)', :nulls), 'a runner without jobs leaves');
select is(
  pg_temp.refusal(format('select * from soniq.claim(%s)', :runner)),
  pg_temp.refused_with(
    'SQ011',
    format('runner %s is not registered', :runner),
    'Call soniq.register_runner() and claim with the id it answers; a runner declared dead has to do so anew.'
  ),
  'a runner that has left cannot claim'
);
select is(
  (soniq.heartbeat(:runner)).registered, false,
  'and its heartbeat is not taken'
);

-- Resume, after a connection broke.

select soniq.register_runner(
  'ada.example.org', pid => 4711, queues => '{mail,bills}', concurrency => 8, heartbeat_timeout => '30 seconds',
  runner_version => '1.2.3'
) as runner \gset
select pg_temp.wait('1 minute') \g /dev/null
create temporary table resumed as
select lease.name, (lease.held).*
from (
  select
    name,
    pg_temp.new_lease(job_name => name, runner_id => case name when 'a stranger''s' then :bare else :runner end) as held
  from unnest(array['known', 'never learned of', 'named at another attempt', 'a stranger''s']) as name
) as lease;
select soniq.resume_runner(
  :runner,
  array_agg(job_id order by name),
  array_agg(attempt + case name when 'named at another attempt' then 1 else 0 end order by name)
) as resumed
from resumed
where name <> 'never learned of' \gset
select isnt(:resumed, :'runner', 'a runner that resumes gets a new id');
select is(
  pg_temp.particulars(:resumed),
  'ada.example.org:4711 serves {mail,bills}, 8 at once, version "1.2.3", silent for 00:00:30 at most;'
  ' since 12:01, alive at 12:02',
  'and is otherwise the one it was'
);
select results_eq(
  format(
    $$
      select resumed.name, job.status::text, case job.runner_id when %s then 'its own' when %s then 'a stranger''s' end,
        job.attempt, job.max_attempts
      from resumed
      cross join lateral pg_temp.job(resumed.job_id) as job
      order by resumed.name
    $$,
    :resumed, :bare
  ),
  $$
    values
      ('a stranger''s', 'processing', 'a stranger''s', 1, 3),
      ('known', 'processing', 'its own', 1, 3),
      ('named at another attempt', 'queued', null, 1, 4),
      ('never learned of', 'queued', null, 1, 4)
  $$,
  'it keeps the leases it names; what else it held is queued again without an attempt spent'
);
select is(
  pg_temp.refusal(format('select * from soniq.claim(%s)', :runner)),
  pg_temp.refused_with(
    'SQ011',
    format('runner %s is not registered', :runner),
    'Call soniq.register_runner() and claim with the id it answers; a runner declared dead has to do so anew.'
  ),
  'nothing can be claimed under its former id'
);
select is(
  soniq.complete(resumed.job_id, resumed.attempt), resumed.name = 'known',
  format('the lease %s', resumed.name)
)
from resumed
where name in ('known', 'never learned of');
-- The answer to that was lost, and to the next.
select pg_temp.new_lease(job_name => 'kept', runner_id => :resumed) as kept \gset
select soniq.resume_runner(:runner, array[(:'kept'::pg_temp.lease).job_id], array[(:'kept'::pg_temp.lease).attempt])
  as resumed \gset
select is(
  (select job.runner_id from pg_temp.job((:'kept'::pg_temp.lease).job_id) as job), :'resumed'::bigint,
  'it may resume once more as the one it was, and keeps its leases'
);
select soniq.resume_runner(:runner) as resumed \gset
select is(
  pg_temp.status((:'kept'::pg_temp.lease).job_id), 'queued', 'and again, and what it then does not name is queued again'
);
select is(
  pg_temp.particulars(:resumed),
  'ada.example.org:4711 serves {mail,bills}, 8 at once, version "1.2.3", silent for 00:00:30 at most;'
  ' since 12:01, alive at 12:02',
  'and is still the one it was'
);
select is(
  (select array_agg(known.runner_id) from soniq.runners as known where known.resumes = :runner), array[:resumed::bigint],
  'and is on the list once'
);

update soniq.runners
set lost_at = soniq.clock()
where runner_id = :resumed;
select alike(
  pg_temp.refusal(format('select soniq.resume_runner(%s)', id)), 'SQ011: %',
  'one that was declared dead has to register anew'
)
from unnest(array[:resumed, :runner]) as id;

select * from finish();
rollback;
