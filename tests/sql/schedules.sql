-- Schedules: registered, changed, paused, removed, and run by tick(), each run once, whatever was missed, whoever registers
-- and whichever way the clock goes. When cron expressions fire is cron.sql's matter.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');
select set_config('soniq_test.runner', pg_temp.new_runner(heartbeat_timeout => '99 years')::text, true) \g /dev/null

-- The jobs of a schedule, by their due times.
create function pg_temp.runs(name text)
returns text
language sql
as $$
  select coalesce(string_agg(to_char(job.due_at, 'MM-DD HH24:MI:SS'), ', ' order by job.id), 'none')
  from soniq.all_jobs as job
  where job.schedule = runs.name;
$$;

create function pg_temp.next_run(name text)
returns timestamptz
language sql
as $$
  select schedule.next_run_at
  from soniq.schedules as schedule
  where schedule.name = next_run.name;
$$;

create function pg_temp.last_job(name text)
returns soniq.all_jobs
language sql
as $$
  select job.*
  from soniq.schedules as schedule
  join soniq.all_jobs as job
    on job.id = schedule.last_job_id
  where schedule.name = last_job.name;
$$;

create function pg_temp.finish_last_job(name text)
returns boolean
language sql
as $$
  select soniq.complete(job.id, pg_temp.take(job.id))
  from pg_temp.last_job(finish_last_job.name) as job;
$$;

-- Time passes in steps, with a tick after each, as it does where runners tick every second.
create function pg_temp.live_through(length interval, step interval)
returns void
language plpgsql
as $$
declare
  finish constant timestamptz := soniq.clock() + length;
begin
  while soniq.clock() < finish loop
    perform pg_temp.wait(step);
    perform soniq.tick();
  end loop;
end;
$$;

-- One schedule, from its registration to its run.

select is(
  soniq.schedule(
    'report', 'schedules report', cron => '0 3 * * *', timezone => 'Europe/London', args => '{"kind": "daily"}',
    queue => 'schedules', priority => 7, max_attempts => 2, timeout => '1 hour'
  ),
  '2030-01-02 03:00+00'::timestamptz,
  'schedule() answers when it is due next'
);
select is((soniq.tick()).scheduled_jobs, 0, 'nothing is enqueued before');
select pg_temp.wait('15 hours') \g /dev/null
select is((soniq.tick()).scheduled_jobs, 1, 'when it is due, a job is enqueued');
select is((soniq.tick()).scheduled_jobs, 0, 'and only one');
select row_eq(
  $$
    select job_name, args, queue, priority, max_attempts, timeout, status, scheduled_at, schedule, due_at
    from pg_temp.last_job('report')
  $$,
  row(
    'schedules report'::text collate "C", '{"kind": "daily"}'::jsonb, 'schedules'::text collate "C", 7::smallint, 2, interval '1 hour',
    'queued'::soniq.job_status, timestamptz '2030-01-02 03:00+00', 'report'::text, timestamptz '2030-01-02 03:00+00'
  ),
  'which is as the schedule says, ready now, and carries the time it was due'
);
select is(pg_temp.next_run('report'), '2030-01-03 03:00+00', 'the schedule moves to its next run');
select row_eq(
  $$select schedule, due_at from soniq.claim(pg_temp.the_runner(), '{schedules}')$$,
  row('report'::text, timestamptz '2030-01-02 03:00+00'),
  'a claim tells the runner both'
);
select pg_temp.wait('10 seconds') \g /dev/null
select soniq.fail(job.id, 1, '{}') from pg_temp.last_job('report') as job \g /dev/null
select row_eq(
  $$select status, due_at from pg_temp.last_job('report')$$,
  row('queued'::soniq.job_status, timestamptz '2030-01-02 03:00+00'),
  'a retry keeps the time it was due'
);
select pg_temp.wait('1 hour') \g /dev/null
select soniq.fail(claimed.job_id, claimed.attempt, '{}')
from soniq.claim(pg_temp.the_runner(), '{schedules}') as claimed \g /dev/null
select row_eq(
  $$select reason, schedule, due_at from pg_temp.last_job('report')$$,
  row('max_attempts_exceeded'::text, 'report'::text, timestamptz '2030-01-02 03:00+00'),
  'so does a dead letter'
);
select row_eq(
  $$
    select schedule, due_at
    from soniq.replay_dead_letters(ids => array[(pg_temp.last_job('report')).id]) as replayed
    cross join lateral pg_temp.job(replayed.job_id) as job
  $$,
  row('report'::text, timestamptz '2030-01-02 03:00+00'),
  'and its replay'
);
select soniq.unschedule('report') \g /dev/null

select soniq.register_job_type('schedules typed', queue => 'schedules typed', priority => 3);
select soniq.schedule('schedules typed', every => '1 hour') \g /dev/null
select pg_temp.wait('1 hour') \g /dev/null
select soniq.tick() \g /dev/null
select row_eq(
  $$select job_name, args, queue, priority, max_attempts from pg_temp.last_job('schedules typed')$$,
  row('schedules typed'::text collate "C", '{}'::jsonb, 'schedules typed'::text collate "C", 3::smallint, 10),
  'the job''s name is the schedule''s unless told, and what is not told is the job type''s'
);
select soniq.unschedule('schedules typed') \g /dev/null

-- Late and missed runs. They are late up to the tolerance, which is a minute.

select pg_temp.stop_clock('2030-02-01 12:00+00');
select soniq.schedule('skips', cron => '*/10 * * * *') \g /dev/null
select soniq.schedule('runs once', cron => '*/10 * * * *', missed_runs => 'run_once') \g /dev/null
select soniq.schedule('runs all', cron => '*/10 * * * *', missed_runs => 'run_all') \g /dev/null
select soniq.schedule('runs two', cron => '*/10 * * * *', missed_runs => 'run_all', max_missed_runs => 2) \g /dev/null

select pg_temp.wait('11 minutes') \g /dev/null
select soniq.tick() \g /dev/null
select is(
  array[pg_temp.runs('skips'), pg_temp.runs('runs once'), pg_temp.runs('runs all'), pg_temp.runs('runs two')],
  array_fill('02-01 12:10:00'::text, array[4]),
  'a run that is a minute behind its time takes place, whatever the policy'
);
select pg_temp.wait('36 minutes') \g /dev/null
select soniq.tick() \g /dev/null
select is(pg_temp.runs('skips'), '02-01 12:10:00', 'skip: what was missed is forgotten');
select is(pg_temp.runs('runs once'), '02-01 12:10:00, 02-01 12:20:00', 'run_once: one job stands for what was missed');
select is(
  pg_temp.runs('runs all'), '02-01 12:10:00, 02-01 12:20:00, 02-01 12:30:00, 02-01 12:40:00',
  'run_all: each missed run gets its job'
);
select is(
  pg_temp.runs('runs two'), '02-01 12:10:00, 02-01 12:20:00, 02-01 12:30:00',
  'up to max_missed_runs, the oldest first'
);
select is(
  array(select distinct next_run_at from soniq.schedules), array['2030-02-01 12:50+00'::timestamptz],
  'all of them go on with the next run'
);
select pg_temp.wait('13 minutes') \g /dev/null
select soniq.tick() \g /dev/null
select is(pg_temp.runs('skips'), '02-01 12:10:00, 02-01 13:00:00', 'skip: a run that is only late is not missed');
select is(
  pg_temp.runs('runs once'), '02-01 12:10:00, 02-01 12:20:00, 02-01 13:00:00',
  'run_once: where one takes place anyway, it stands for those missed before it'
);
update soniq.settings
set schedule_tolerance = '1 hour';
select pg_temp.wait('40 minutes') \g /dev/null
select soniq.tick() \g /dev/null
select is(
  pg_temp.runs('skips'),
  '02-01 12:10:00, 02-01 13:00:00, 02-01 13:10:00, 02-01 13:20:00, 02-01 13:30:00, 02-01 13:40:00',
  'the tolerance is a setting'
);
update soniq.settings
set schedule_tolerance = '1 minute';
select pg_temp.wait('1 year') \g /dev/null
select is(
  (soniq.tick()).scheduled_jobs, 106,
  'after a year, run_all makes up for a hundred runs or for two, and each of the four has one on time'
);
delete from soniq.schedules;

-- Intervals.

select pg_temp.stop_clock('2030-03-01 12:00:30+00');
select is(
  soniq.schedule('interval', every => '90 minutes'), '2030-03-01 13:30:30+00', 'every: the first run is an interval away'
);
select pg_temp.wait('90 minutes 20 seconds') \g /dev/null
select soniq.tick() \g /dev/null
select is(pg_temp.runs('interval'), '03-01 13:30:30', 'it runs');
select is(pg_temp.next_run('interval'), '2030-03-01 15:00:30+00', 'and lateness does not add up');
set local timezone = 'Europe/London';
select is(
  soniq.schedule('days', every => '1 day', timezone => 'Europe/London'), '2030-03-02 13:30:50+00',
  'a day is 24 hours'
);
select pg_temp.live_through('40 days', step => '1 day');
select is(pg_temp.next_run('days'), '2030-04-10 13:30:50+00', 'also when daylight saving time begins');
set local timezone = 'UTC';
delete from soniq.schedules;

-- Overlap.

select pg_temp.stop_clock('2030-04-01 12:00+00');
select soniq.schedule('alone', every => '10 seconds', allow_overlap => false, queue => 'schedules alone') \g /dev/null
select pg_temp.live_through('30 seconds', step => '1 second');
select is(pg_temp.runs('alone'), '04-01 12:00:10', 'no overlap: no job is enqueued while the last one is queued');
select pg_temp.take(job.id) from pg_temp.last_job('alone') as job \g /dev/null
select pg_temp.live_through('10 seconds', step => '1 second');
select is(pg_temp.runs('alone'), '04-01 12:00:10', 'nor while it is processed');
select is(soniq.run_schedule_now('alone'), null, 'also not at once');
select soniq.complete(job.id, 1) from pg_temp.last_job('alone') as job \g /dev/null
select pg_temp.live_through('10 seconds', step => '1 second');
select is(pg_temp.runs('alone'), '04-01 12:00:10, 04-01 12:00:50', 'but at the next run after its end');
select pg_temp.finish_last_job('alone') \g /dev/null
select pg_temp.wait('50 seconds') \g /dev/null
select soniq.tick() \g /dev/null
select is(
  pg_temp.runs('alone'), '04-01 12:00:10, 04-01 12:00:50, 04-01 12:01:40',
  'of several runs that are late at once, the last takes place'
);
delete from soniq.schedules;

-- Pause, resume, run now.

select soniq.schedule('pausing', cron => '0 * * * *', missed_runs => 'run_all') \g /dev/null
select is(soniq.pause_schedule('pausing'), true, 'pause_schedule() pauses');
select is(soniq.pause_schedule('pausing'), false, 'and says if that was so already');
select pg_temp.live_through('3 hours', step => '10 minutes');
select is(pg_temp.runs('pausing'), 'none', 'a paused schedule enqueues nothing');
select is(
  (select count(*) from soniq.schedule('pausing', cron => '30 * * * *', missed_runs => 'run_all')), 1::bigint,
  'its definition can be changed'
);
select is(
  (select paused from soniq.schedules where name = 'pausing'), true, 'without ending the pause'
);
select ok(soniq.run_schedule_now('pausing') is not null, 'it can be run by hand');
select is(pg_temp.runs('pausing'), '04-01 15:01:40', 'that job is due now');
select is(soniq.resume_schedule('pausing'), true, 'resume_schedule() resumes');
select is(soniq.resume_schedule('pausing'), false, 'and says if there was nothing to resume');
select is(pg_temp.next_run('pausing'), '2030-04-01 15:30+00', 'it goes on with the next run');
select soniq.tick() \g /dev/null
select is(pg_temp.runs('pausing'), '04-01 15:01:40', 'what fell into the pause was not missed');
select soniq.run_schedule_now('pausing') \g /dev/null
select is(pg_temp.next_run('pausing'), '2030-04-01 15:30+00', 'a run by hand leaves the next run when it is');

-- Removing.

select is(soniq.unschedule('pausing'), true, 'unschedule() removes');
select is(soniq.unschedule('pausing'), false, 'and says if there was nothing to remove');
select is(pg_temp.runs('pausing'), '04-01 15:01:40, 04-01 15:01:40', 'the jobs stay');

select soniq.schedule('by hand', every => '1 hour') \g /dev/null
select soniq.schedule(name, every => '1 hour', source => source)
from (values ('kept', 'shop.jobs'), ('removed', 'shop.jobs'), ('elsewhere', 'mail.jobs')) as given (name, source) \g /dev/null
select set_eq(
  $$select soniq.prune_schedules('shop.jobs', keep => '{kept,new}', dry_run => true)$$, array['removed'],
  'prune_schedules() finds what its source has no longer'
);
select is((select count(*) from soniq.schedules), 4::bigint, 'a dry run removes nothing');
select set_eq(
  $$select soniq.prune_schedules('shop.jobs', keep => '{kept,new}')$$, array['removed'], 'without it, that is removed'
);
select set_eq(
  $$select name from soniq.schedules$$, array['by hand', 'elsewhere', 'kept'],
  'but nothing of other sources, and nothing made by hand'
);
delete from soniq.schedules;

-- Registered again, and again otherwise, as by the replicas of two releases.

create function pg_temp.noticed(statement text)
returns text
language plpgsql
as $$
begin
  set local client_min_messages = notice;
  execute noticed.statement;
  return 'see the notice';
end;
$$;

select pg_temp.stop_clock('2030-05-01 12:00+00');
select soniq.schedule('replicas', cron => '0 * * * *', source => 'shop.jobs') \g /dev/null
select ctid as row from soniq.schedules where name = 'replicas' \gset
select pg_temp.wait('10 minutes') \g /dev/null
select is(
  soniq.schedule('replicas', cron => '0 * * * *', source => 'shop.jobs'), '2030-05-01 13:00+00',
  'the same definition again answers the same'
);
select is(
  (select ctid from soniq.schedules where name = 'replicas'), :'row'::tid, 'and writes nothing'
);
select is(
  soniq.schedule('replicas', cron => '30 * * * *', source => 'shop.jobs'), '2030-05-01 12:30+00',
  'another definition wins over the former'
);
select is(
  soniq.schedule('replicas', cron => '30 * * * *', source => 'shop.jobs', args => '{"n": 1}'), '2030-05-01 12:30+00',
  'one with other args leaves the next run when it is'
);
select row_eq(
  $$select created_at, registered_at, args from soniq.schedules where name = 'replicas'$$,
  row(timestamptz '2030-05-01 12:00+00', timestamptz '2030-05-01 12:10+00', '{"n": 1}'::jsonb),
  'when it came and when it was changed is kept'
);

select pg_temp.wait('20 minutes 1 second') \g /dev/null
select is(
  soniq.schedule('replicas', cron => '0 * * * *', source => 'shop.jobs'), '2030-05-01 13:00+00',
  'another definition that comes when a run is due and before a tick'
);
select is(pg_temp.runs('replicas'), '05-01 12:30:00', 'enqueues that run first');
select is(
  soniq.schedule('replicas', cron => '* * * * *', source => 'shop.jobs'), '2030-05-01 12:31+00',
  'two replicas that disagree'
);
select pg_temp.wait('59 seconds') \g /dev/null
select is(
  soniq.schedule('replicas', cron => '0 * * * *', source => 'shop.jobs'), '2030-05-01 13:00+00',
  'and register by turns'
);
select is(pg_temp.runs('replicas'), '05-01 12:30:00, 05-01 12:31:00', 'lose no run');
delete from soniq.schedules;

select soniq.schedule('flapping', every => '1 hour') \g /dev/null
create function pg_temp.flap()
returns void
language plpgsql
as $$
begin
  for n in 1..24 loop
    perform pg_temp.wait('10 minutes');
    perform soniq.tick();
    perform soniq.schedule('flapping', every => case when n % 2 = 0 then interval '1 hour' else interval '2 hours' end);
  end loop;
end;
$$;
select pg_temp.flap();
select is(
  pg_temp.runs('flapping'), '05-01 14:31:00, 05-01 16:31:00',
  'nor do intervals begin anew with each registration, which would put off the first run for ever'
);
delete from soniq.schedules;

-- The clock of a promoted standby may be behind.

select pg_temp.stop_clock('2030-06-01 11:59:59+00');
select soniq.schedule('standby', cron => '*/5 * * * *') \g /dev/null
select pg_temp.wait('1 second') \g /dev/null
select soniq.tick() \g /dev/null
select pg_temp.wait('-3 minutes') \g /dev/null
select soniq.tick() \g /dev/null
select is(pg_temp.runs('standby'), '06-01 12:00:00', 'a clock that was set back enqueues no run again');
select is(
  soniq.schedule('standby', cron => '*/10 * * * *'), '2030-06-01 12:10+00',
  'nor does a schedule that is changed then'
);
select soniq.pause_schedule('standby'), soniq.resume_schedule('standby') \g /dev/null
select is(pg_temp.next_run('standby'), '2030-06-01 12:10+00', 'or resumed');
select pg_temp.live_through('20 minutes', step => '1 minute');
select is(
  pg_temp.runs('standby'), '06-01 12:00:00, 06-01 12:10:00', 'when the time has come again, it goes on'
);
delete from soniq.schedules;

-- Schedules that never run again, and one that cannot.

select is(soniq.schedule('30 February', cron => '0 0 30 2 *'), null, 'a schedule that never runs has no next run');
select soniq.schedule('broken', cron => '* * * * *') \g /dev/null
select soniq.schedule('whole', cron => '* * * * *') \g /dev/null
update soniq.schedules
set timezone = 'Atlantis/Capital'
where name = 'broken';
select pg_temp.wait('1 minute') \g /dev/null
set local client_min_messages = error;
select is((soniq.tick()).scheduled_jobs, 1, 'a schedule that cannot be run keeps no other from it');
set local client_min_messages = warning;
select is(pg_temp.runs('whole'), '06-01 12:18:00', 'the other runs');
update soniq.schedules
set timezone = 'UTC'
where name = 'broken';
select soniq.tick() \g /dev/null
select is(pg_temp.runs('broken'), '06-01 12:18:00', 'and the broken one, once it is mended');
delete from soniq.schedules;

-- Previews.

select soniq.schedule('previewed', cron => '30 1 * * *', timezone => 'Europe/London') \g /dev/null
select soniq.schedule('previewed interval', every => '36 hours') \g /dev/null
select soniq.schedule('previewed never', cron => '0 0 30 2 *') \g /dev/null
select results_eq(
  $$select * from soniq.preview_schedule('previewed', runs => 2)$$,
  $$
    values
      (timestamptz '2030-06-02 00:30+00', timestamp '2030-06-02 01:30'),
      (timestamptz '2030-06-03 00:30+00', timestamp '2030-06-03 01:30')
  $$,
  'preview_schedule() tells the next runs and their local times'
);
select results_eq(
  $$select run_at from soniq.preview_schedule('previewed interval', runs => 2)$$,
  $$values (timestamptz '2030-06-03 00:18+00'), (timestamptz '2030-06-04 12:18+00')$$,
  'also of an interval'
);
select is_empty($$select * from soniq.preview_schedule('previewed never')$$, 'and none where there are none');
select is((select count(*) from soniq.preview_schedule('previewed')), 10::bigint, 'ten, unless told');

-- How they stand.

update soniq.settings set schedule_tolerance = '5 minutes';
select soniq.schedule('stands', 'stands', every => '1 hour') \g /dev/null
select soniq.schedule('stands paused', 'stands', every => '1 hour'), soniq.pause_schedule('stands paused') \g /dev/null
select soniq.schedule('stands ended', 'stands', cron => '0 0 1 1 *') \g /dev/null
update soniq.schedules set next_run_at = null where name = 'stands ended';
create function pg_temp.states()
returns text
language sql
as $$
  select string_agg(state, ' ' order by name) from soniq.schedule_stats where name like 'stands%';
$$;
select is(pg_temp.states(), 'active ended paused', 'as they stand');
select pg_temp.wait('1 hour 5 minutes') \g /dev/null
select is(pg_temp.states(), 'active ended paused', 'a run may be behind by as much as soniq.settings says');
select pg_temp.wait('1 microsecond') \g /dev/null
select is(pg_temp.states(), 'late ended paused', 'and no more');
select is(
  (select stats::text from soniq.schedule_stats as stats where name = 'stands'),
  (select row(name, job_name, 'late', next_run_at, last_due_at, last_job_id)::text from soniq.schedules where name = 'stands'),
  'with what a schedule is about'
);

select * from finish();
rollback;
