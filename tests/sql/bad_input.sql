-- Bad input: every public function refuses what it must, with its SQLSTATE, a message that names the value and a
-- hint that names the remedy. The tables below are the catalogue of these errors; each row is read whole.

begin;
\ir support.sql
select no_plan();

-- Some calls get as far as their bad argument only with a runner that is registered and a lease that holds.
select set_config('soniq_test.a_runner', pg_temp.the_runner()::text, true) \g /dev/null
select set_config('soniq_test.a_lease', format('%s, %s', job_id, attempt), true) from pg_temp.new_lease() \g /dev/null

create function pg_temp.refusal_of(call text)
returns text
language sql
as $$
  select pg_temp.refusal(
    'select * from soniq.' || replace(
      replace(refusal_of.call, '{runner}', current_setting('soniq_test.a_runner')),
      '{lease}',
      current_setting('soniq_test.a_lease')
    )
  );
$$;

-- Names: four kinds, each refused by every function that takes one.

create temporary table names as
select *
from (values
  ('SQ001', 'job_name', 200),
  ('SQ002', 'queue', 100),
  ('SQ009', 'dedup_key', 500),
  ('SQ015', 'host', 255),
  ('SQ019', 'schedule''s name', 200)
) as name (code, what, longest);

create temporary table places as
select *
from (values
  ('job_name', 'enqueue(%s)'),
  ('job_name', 'enqueue_many(%s, array[''{}'']::jsonb[])'),
  ('job_name', 'register_job_type(%s)'),
  ('queue', 'enqueue(''x'', queue => %s)'),
  ('queue', 'enqueue_many(''x'', array[''{}'']::jsonb[], queue => %s)'),
  ('queue', 'register_job_type(''x'', queue => %s)'),
  ('queue', 'configure_queue(%s)'),
  ('queue', 'pause_queue(%s)'),
  ('queue', 'resume_queue(%s)'),
  ('queue', 'register_runner(''x'', queues => array[''good'', %s])'),
  ('queue', 'claim({runner}, queues => array[''good'', %s])'),
  ('queue', 'wait_for_jobs(array[''good'', %s])'),
  ('dedup_key', 'enqueue(''x'', dedup_key => %s)'),
  ('host', 'register_runner(%s)'),
  ('job_name', 'schedule(''x'', job_name => %s)'),
  ('queue', 'schedule(''x'', every => ''1 hour'', queue => %s)'),
  ('schedule''s name', 'schedule(%s)')
) as place (what, call);

select is(
  pg_temp.refusal_of(format(place.call, quote_literal(bad.value))),
  pg_temp.refused_with(
    name.code,
    format('%s has %s characters: %L', name.what, length(bad.value), left(bad.value, 60)),
    format('Give 1 to %s characters.', name.longest)
  ),
  format(place.call, format('<a %s of %s characters>', name.what, length(bad.value)))
)
from names as name
join places as place
  on place.what = name.what
cross join lateral (values (''), (repeat('n', name.longest + 1))) as bad (value);

select is(
  pg_temp.refusal_of(format(place.call, quote_literal(bad.value))),
  pg_temp.refused_with(
    name.code,
    format('%s has white space at an end or a control character: %L', name.what, bad.value),
    'Remove it: such names look alike and are not.'
  ),
  format(place.call, to_json(bad.value))
)
from names as name
join places as place
  on place.what = name.what
cross join (values (' '), (' x'), ('x '), (E'x\n'), (E'a\tb'), (E'a\u007fb')) as bad (value);

select is(
  pg_temp.refusal_of(format(place.call, 'null')),
  pg_temp.refused_with(name.code, format('%s is NULL', name.what), format('Give the %s.', name.what)),
  format(place.call, 'null')
)
from names as name
join places as place
  on place.what = name.what
where place.call not like '%=> \%s)'; -- NULL is the default there

-- Options: each refused by every function that takes it.

create temporary table options as
select *
from (values
  ('priority', 'enqueue(''x'', %s)'),
  ('priority', 'enqueue_many(''x'', array[''{}'']::jsonb[], %s)'),
  ('priority', 'register_job_type(''x'', %s)'),
  ('priority', 'configure_queue(''x'', %s)'),
  ('max_attempts', 'enqueue(''x'', %s)'),
  ('max_attempts', 'enqueue_many(''x'', array[''{}'']::jsonb[], %s)'),
  ('max_attempts', 'register_job_type(''x'', %s)'),
  ('max_attempts', 'configure_queue(''x'', %s)'),
  ('timeout', 'enqueue(''x'', %s)'),
  ('timeout', 'enqueue_many(''x'', array[''{}'']::jsonb[], %s)'),
  ('timeout', 'register_job_type(''x'', %s)'),
  ('timeout', 'configure_queue(''x'', %s)'),
  ('priority', 'schedule(''x'', every => ''1 hour'', %s)'),
  ('max_attempts', 'schedule(''x'', every => ''1 hour'', %s)'),
  ('timeout', 'schedule(''x'', every => ''1 hour'', %s)'),
  ('retention', 'configure_queue(''x'', %s)'),
  ('max_depth', 'configure_queue(''x'', %s)'),
  ('retention', 'register_job_type(''x'', %s)'),
  ('time', 'enqueue(''x'', %s)'),
  ('time', 'enqueue_many(''x'', array[''{}'']::jsonb[], %s)'),
  ('retry policy', 'register_job_type(''x'', %s)')
) as place (option, call);

select is(
  pg_temp.refusal_of(format(place.call, bad.argument)),
  pg_temp.refused_with(bad.code, bad.problem, bad.remedy),
  format(place.call, bad.argument)
)
from options as place
join (values
  (
    'priority', 'priority => -1', 'SQ005',
    'priority -1 is out of range', 'Give a whole number from 0 (runs first) to 1000 (runs last).'
  ),
  (
    'priority', 'priority => 1001', 'SQ005',
    'priority 1001 is out of range', 'Give a whole number from 0 (runs first) to 1000 (runs last).'
  ),
  (
    'priority', 'priority => 2147483647', 'SQ005',
    'priority 2147483647 is out of range', 'Give a whole number from 0 (runs first) to 1000 (runs last).'
  ),
  (
    'max_depth', 'max_depth => 0', 'SQ023',
    'max_depth 0 is out of range', 'Give a whole number from 1 to 1000000, or NULL for no limit.'
  ),
  (
    'max_depth', 'max_depth => 1000001', 'SQ023',
    'max_depth 1000001 is out of range', 'Give a whole number from 1 to 1000000, or NULL for no limit.'
  ),
  (
    'max_attempts', 'max_attempts => 0', 'SQ007',
    'max_attempts 0 is out of range', 'Give a whole number from 1 (no retry) to 1000.'
  ),
  (
    'max_attempts', 'max_attempts => 1001', 'SQ007',
    'max_attempts 1001 is out of range', 'Give a whole number from 1 (no retry) to 1000.'
  ),
  (
    'timeout', 'timeout => ''-1 second''', 'SQ008',
    'timeout is negative: -00:00:01', 'Give an interval such as ''30 seconds''; 0 is no limit.'
  ),
  (
    'timeout', 'timeout => ''300000 years''', 'SQ008',
    'timeout is too long: 300000 years', 'Give at most 100 years.'
  ),
  (
    'retention', 'retention => ''-1 second''', 'SQ021',
    'retention is negative: -00:00:01', 'Give an interval of 0 or more, as in ''5 minutes''.'
  ),
  (
    'retention', 'retention => ''300000 years''', 'SQ021',
    'retention is too long: 300000 years', 'Give at most 100 years.'
  ),
  (
    'time', 'delay => ''-1 second''', 'SQ006',
    'delay is negative: -00:00:01', 'Give an interval of 0 or more, as in ''5 minutes''.'
  ),
  (
    'time', 'delay => ''300000 years''', 'SQ006',
    'delay is too long: 300000 years', 'Give at most 100 years.'
  ),
  (
    'time', 'scheduled_at => ''infinity''', 'SQ006',
    'scheduled_at is infinity', 'Give a time on the calendar.'
  ),
  (
    'time', 'scheduled_at => ''-infinity''', 'SQ006',
    'scheduled_at is -infinity', 'Give a time on the calendar.'
  ),
  (
    'time', 'scheduled_at => ''0044-03-15 00:00+00 BC''', 'SQ006',
    'scheduled_at is 0044-03-15 00:00:00+00 BC', 'Give a time between the years 1 and 9999.'
  ),
  (
    'time', 'scheduled_at => ''10000-01-01 00:00+00''', 'SQ006',
    'scheduled_at is 10000-01-01 00:00:00+00', 'Give a time between the years 1 and 9999.'
  ),
  (
    'time', 'scheduled_at => now(), delay => ''1 second''', 'SQ006',
    'scheduled_at and delay are both given', 'Give scheduled_at for a time, or delay for a wait from now.'
  ),
  (
    'retry policy', 'retry_delays => ''{}''', 'SQ010',
    'retry_delays is ''{}''', 'Give one interval for every retry, or a list of 1 to 1000 of them, each 0 or more.'
  ),
  (
    'retry policy', 'retry_delays => ''{1 s, NULL}''', 'SQ010',
    'retry_delays is ''{00:00:01,NULL}''',
    'Give one interval for every retry, or a list of 1 to 1000 of them, each 0 or more.'
  ),
  (
    'retry policy', 'retry_delays => ''{1 s, -1 s}''', 'SQ010',
    'retry_delays is ''{00:00:01,-00:00:01}''',
    'Give one interval for every retry, or a list of 1 to 1000 of them, each 0 or more.'
  ),
  (
    'retry policy', 'retry_delays => ''{{1 s},{2 s}}''', 'SQ010',
    'retry_delays is ''{{00:00:01},{00:00:02}}''',
    'Give one interval for every retry, or a list of 1 to 1000 of them, each 0 or more.'
  ),
  (
    'retry policy', 'retry_delays => ''{1 s, 300000 years}''', 'SQ010',
    'retry_delays is too long: 300000 years', 'Give at most 100 years.'
  ),
  (
    'retry policy', 'backoff => ''linear''', 'SQ010',
    'backoff is ''linear''', 'Give ''fixed'' or ''exponential''.'
  ),
  (
    'retry policy', 'backoff => ''''', 'SQ010',
    'backoff is ''''', 'Give ''fixed'' or ''exponential''.'
  ),
  (
    'retry policy', 'retry_delays => ''{1 s, 2 s}'', backoff => ''exponential''', 'SQ010',
    'backoff is exponential and retry_delays is a list: ''{00:00:01,00:00:02}''',
    'Give exponential backoff one delay to double, or use backoff ''fixed'' with the list.'
  ),
  (
    'retry policy', 'max_retry_delay => ''-1 second''', 'SQ010',
    'max_retry_delay is negative: -00:00:01', 'Give an interval of 0 or more, as in ''5 minutes''.'
  ),
  (
    'retry policy', 'max_retry_delay => ''300000 years''', 'SQ010',
    'max_retry_delay is too long: 300000 years', 'Give at most 100 years.'
  )
) as bad (option, argument, code, problem, remedy)
  on bad.option = place.option;

select alike(
  pg_temp.refusal_of('register_job_type(''x'', retry_delays => array_fill(interval ''1 s'', array[1001]))'),
  E'SQ010: retry\\_delays is ''{00:00:01,00:00:01,%'
  '\nGive one interval for every retry, or a list of 1 to 1000 of them, each 0 or more.',
  'retry_delays of 1001 entries'
);

select current_setting('server_version_num')::integer >= 170000 as has_infinite_intervals \gset
\if :has_infinite_intervals
select is(
  pg_temp.refusal_of(endless.call),
  pg_temp.refused_with(endless.code, format('%s is too long: infinity', endless.what), 'Give at most 100 years.'),
  endless.call
)
from (values
  ('enqueue(''x'', delay => ''infinity'')', 'SQ006', 'delay'),
  ('enqueue(''x'', timeout => ''infinity'')', 'SQ008', 'timeout'),
  ('register_job_type(''x'', retry_delays => ''{infinity}'')', 'SQ010', 'retry_delays'),
  ('register_job_type(''x'', max_retry_delay => ''infinity'')', 'SQ010', 'max_retry_delay'),
  ('register_runner(''x'', heartbeat_timeout => ''infinity'')', 'SQ015', 'heartbeat_timeout'),
  ('snooze({lease}, ''infinity'')', 'SQ006', 'delay'),
  ('schedule(''x'', every => ''infinity'')', 'SQ019', 'every'),
  ('configure_queue(''x'', retention => ''infinity'')', 'SQ021', 'retention'),
  ('prune_dead_letters(''infinity'')', 'SQ006', 'older_than')
) as endless (call, code, what);
\endif

-- The rest, function by function.

select is(
  pg_temp.refusal_of(bad.call),
  pg_temp.refused_with(bad.code, bad.problem, bad.remedy),
  bad.call
)
from (values
  (
    'enqueue(''x'', null)', 'SQ003',
    'args must be a JSON object, not NULL',
    'Name the handler''s arguments, as in {"to": "ada@example.org"}; {} for none.'
  ),
  (
    'enqueue(''x'', ''null'')', 'SQ003',
    'args must be a JSON object, not null',
    'Name the handler''s arguments, as in {"to": "ada@example.org"}; {} for none.'
  ),
  (
    'enqueue(''x'', ''[1]'')', 'SQ003',
    'args must be a JSON object, not array',
    'Name the handler''s arguments, as in {"to": "ada@example.org"}; {} for none.'
  ),
  (
    'enqueue(''x'', ''"text"'')', 'SQ003',
    'args must be a JSON object, not string',
    'Name the handler''s arguments, as in {"to": "ada@example.org"}; {} for none.'
  ),

  (
    'schedule(''x'')', 'SQ019',
    'neither of cron and every is given', 'Give either cron, as in ''0 3 * * *'', or every, as in ''10 minutes''.'
  ),
  (
    'schedule(''x'', cron => ''* * * * *'', every => ''1 hour'')', 'SQ019',
    'both of cron and every is given', 'Give either cron, as in ''0 3 * * *'', or every, as in ''10 minutes''.'
  ),
  (
    'schedule(''x'', every => ''1 year'')', 'SQ019',
    'every is 1 year, and months differ in length',
    'Give days, hours, minutes or seconds, or use cron: ''0 0 1 * *'' is the first of each month.'
  ),
  (
    'schedule(''x'', every => ''1 month 3 days'')', 'SQ019',
    'every is 1 mon 3 days, and months differ in length',
    'Give days, hours, minutes or seconds, or use cron: ''0 0 1 * *'' is the first of each month.'
  ),
  (
    'schedule(''x'', every => ''0.5 seconds'')', 'SQ019',
    'every is too short: 00:00:00.5', 'Give at least one second.'
  ),
  (
    'schedule(''x'', every => ''-1 hour'')', 'SQ019',
    'every is too short: -01:00:00', 'Give at least one second.'
  ),
  (
    'schedule(''x'', every => ''37000 days'')', 'SQ019',
    'every is too long: 37000 days', 'Give at most 100 years.'
  ),
  (
    'schedule(''x'', cron => ''61 * * * *'')', 'SQ017',
    'cron expression ''61 * * * *'': minute is ''61'', which is not 0 to 59',
    'Give 0 to 59, or * for all.'
  ),
  (
    'schedule(''x'', cron => ''0 3 * * *'', timezone => ''Europe/Lodnon'')', 'SQ018',
    'time zone ''Europe/Lodnon'' is not known',
    'Did you mean Europe/London, Europe/Oslo, Europe/Rome? Names are those of pg_timezone_names.'
  ),
  (
    'schedule(''x'', every => ''1 hour'', missed_runs => ''run'')', 'SQ019',
    'missed_runs is ''run''', 'Give ''skip'', ''run_once'' or ''run_all''.'
  ),
  (
    'schedule(''x'', every => ''1 hour'', max_missed_runs => 0)', 'SQ019',
    'max_missed_runs 0 is out of range', 'Give a whole number from 1 to 1000.'
  ),
  (
    'schedule(''x'', every => ''1 hour'', max_missed_runs => 1001)', 'SQ019',
    'max_missed_runs 1001 is out of range', 'Give a whole number from 1 to 1000.'
  ),
  (
    'schedule(''x'', every => ''1 hour'', args => ''[]'')', 'SQ003',
    'args must be a JSON object, not array',
    'Name the handler''s arguments, as in {"to": "ada@example.org"}; {} for none.'
  ),
  (
    'schedule(''x'', every => ''1 hour'', source => '' '')', 'SQ019',
    'schedule''s source has white space at an end or a control character: '' ''',
    'Remove it: such names look alike and are not.'
  ),
  (
    'prune_schedules(null, ''{}'')', 'SQ019',
    'schedule''s source is NULL', 'Give the schedule''s source.'
  ),
  (
    'prune_schedules(''x'', null)', 'SQ019',
    'list of schedules to keep is NULL', 'Give the list of schedules to keep.'
  ),
  (
    'pause_schedule(''dayly'')', 'SQ020',
    'there is no schedule ''dayly''', 'There are none; call soniq.schedule() first.'
  ),
  (
    'preview_schedule(''dayly'')', 'SQ020',
    'there is no schedule ''dayly''', 'There are none; call soniq.schedule() first.'
  ),
  ('preview_schedule(''x'', runs => 0)', 'SQ012', 'runs is 0', 'Give a whole number from 1 to 1000.'),
  ('preview_schedule(''x'', runs => null)', 'SQ012', 'runs is NULL', 'Give a whole number from 1 to 1000.'),

  (
    'register_runner(''x'', queues => ''{}'')', 'SQ002',
    'queues is an empty list', 'Name the queues to serve, or give NULL for all.'
  ),
  (
    'register_runner(''x'', concurrency => 0)', 'SQ015',
    'concurrency is 0', 'Give how many jobs the runner runs at once, 1 or more.'
  ),
  (
    'register_runner(''x'', concurrency => null)', 'SQ015',
    'concurrency is NULL', 'Give how many jobs the runner runs at once, 1 or more.'
  ),
  (
    'register_runner(''x'', heartbeat_timeout => ''0'')', 'SQ015',
    'heartbeat_timeout is 00:00:00',
    'Give how long the runner may be silent before its jobs are taken back, as in ''5 minutes''.'
  ),
  (
    'register_runner(''x'', heartbeat_timeout => ''-1 second'')', 'SQ015',
    'heartbeat_timeout is -00:00:01',
    'Give how long the runner may be silent before its jobs are taken back, as in ''5 minutes''.'
  ),
  (
    'register_runner(''x'', heartbeat_timeout => null)', 'SQ015',
    'heartbeat_timeout is NULL',
    'Give how long the runner may be silent before its jobs are taken back, as in ''5 minutes''.'
  ),
  (
    'register_runner(''x'', heartbeat_timeout => ''300000 years'')', 'SQ015',
    'heartbeat_timeout is too long: 300000 years', 'Give at most 100 years.'
  ),

  (
    'claim({runner}, queues => ''{}'')', 'SQ002',
    'queues is an empty list', 'Name the queues to serve, or give NULL for all.'
  ),
  ('claim({runner}, max_jobs => 0)', 'SQ012', 'max_jobs is 0', 'Give a whole number from 1 to 10000.'),
  ('claim({runner}, max_jobs => -1)', 'SQ012', 'max_jobs is -1', 'Give a whole number from 1 to 10000.'),
  ('claim({runner}, max_jobs => 10001)', 'SQ012', 'max_jobs is 10001', 'Give a whole number from 1 to 10000.'),
  ('claim({runner}, max_jobs => null)', 'SQ012', 'max_jobs is NULL', 'Give a whole number from 1 to 10000.'),
  (
    'claim(-1)', 'SQ011',
    'runner -1 is not registered',
    'Call soniq.register_runner() and claim with the id it answers; a runner declared dead has to do so anew.'
  ),
  (
    'claim(null)', 'SQ011',
    'runner NULL is not registered',
    'Call soniq.register_runner() and claim with the id it answers; a runner declared dead has to do so anew.'
  ),

  (
    'resume_runner(-1)', 'SQ011',
    'runner -1 is not registered',
    'Call soniq.register_runner() and claim with the id it answers; a runner declared dead has to do so anew.'
  ),
  (
    'resume_runner(null)', 'SQ011',
    'runner NULL is not registered',
    'Call soniq.register_runner() and claim with the id it answers; a runner declared dead has to do so anew.'
  ),
  (
    'resume_runner({runner}, array[null]::bigint[], array[1])', 'SQ016',
    'a lease in the batch is NULL', 'Give job_ids and attempts as claim() answered them.'
  ),
  (
    'resume_runner({runner}, array[1], array[1, 2])', 'SQ012',
    'the arrays differ in length: 1 job_ids, 2 attempts', 'Give one entry a job in each array.'
  ),

  ('wait_for_jobs(''{}'')', 'SQ002', 'queues is an empty list', 'Name the queues to serve, or give NULL for all.'),

  (
    'complete(null::bigint, 1)', 'SQ016',
    'the lease (job_id NULL, attempt 1) is not whole', 'Give job_id and attempt as claim() answered them.'
  ),
  (
    'complete(7::bigint, null::integer)', 'SQ016',
    'the lease (job_id 7, attempt NULL) is not whole', 'Give job_id and attempt as claim() answered them.'
  ),
  (
    'fail(null::bigint, null::integer, ''{}'')', 'SQ016',
    'the lease (job_id NULL, attempt NULL) is not whole', 'Give job_id and attempt as claim() answered them.'
  ),
  (
    'snooze(null, 1, ''1 second'')', 'SQ016',
    'the lease (job_id NULL, attempt 1) is not whole', 'Give job_id and attempt as claim() answered them.'
  ),
  (
    'release(7, null)', 'SQ016',
    'the lease (job_id 7, attempt NULL) is not whole', 'Give job_id and attempt as claim() answered them.'
  ),

  ('snooze({lease}, null)', 'SQ006', 'delay is NULL', 'Give the delay.'),
  (
    'snooze({lease}, ''-1 second'')', 'SQ006',
    'delay is negative: -00:00:01', 'Give an interval of 0 or more, as in ''5 minutes''.'
  ),
  ('snooze({lease}, ''300000 years'')', 'SQ006', 'delay is too long: 300000 years', 'Give at most 100 years.'),

  (
    'complete(array[1, null]::bigint[], array[1, 1])', 'SQ016',
    'a lease in the batch is NULL', 'Give job_ids and attempts as claim() answered them.'
  ),
  (
    'complete(array[1, 2]::bigint[], array[1, null])', 'SQ016',
    'a lease in the batch is NULL', 'Give job_ids and attempts as claim() answered them.'
  ),
  (
    'complete(null::bigint[], array[1])', 'SQ016',
    'a lease in the batch is NULL', 'Give job_ids and attempts as claim() answered them.'
  ),
  (
    'complete(array[1]::bigint[], null::integer[])', 'SQ016',
    'a lease in the batch is NULL', 'Give job_ids and attempts as claim() answered them.'
  ),
  (
    'complete(array[1, 2]::bigint[], array[1])', 'SQ012',
    'the arrays differ in length: 2 job_ids, 1 attempts', 'Give one entry a job in each array.'
  ),
  (
    'complete(array[1]::bigint[], array[1], array[''1'', ''2'']::jsonb[])', 'SQ012',
    'the arrays differ in length: 1 job_ids, 1 attempts, 2 results', 'Give one entry a job in each array.'
  ),
  (
    'complete(array[[1, 2]]::bigint[], array[[1, 1]])', 'SQ012',
    'the arrays have 2 dimensions', 'Give one-dimensional arrays.'
  ),
  (
    'fail(array[null]::bigint[], array[1], array[''{}'']::jsonb[])', 'SQ016',
    'a lease in the batch is NULL', 'Give job_ids and attempts as claim() answered them.'
  ),
  (
    'fail(array[1, 2]::bigint[], array[1, 1], array[''{}'']::jsonb[])', 'SQ012',
    'the arrays differ in length: 2 job_ids, 2 attempts, 1 errors', 'Give one entry a job in each array.'
  ),
  (
    'fail(array[1]::bigint[], array[1], array[''{}'']::jsonb[], ''{timeout, timeout}'')', 'SQ012',
    'the arrays differ in length: 1 job_ids, 1 attempts, 2 reasons', 'Give one entry a job in each array.'
  ),
  (
    'fail(array[1, 2]::bigint[], array[1, 1], array[''{}'', null]::jsonb[])', 'SQ013',
    'error must be a JSON object, not NULL',
    'Give {"type": ..., "message": ..., "traceback": ...}, each a text, none required.'
  ),
  (
    'fail(array[1]::bigint[], array[1], array[''{}'']::jsonb[], ''{lost}'')', 'SQ013',
    'reason is ''lost''',
    'Give timeout, permanent_failure, unknown_job or invalid_arguments, or NULL for an ordinary error.'
  ),
  (
    'heartbeat({runner}, array[null]::bigint[], array[1])', 'SQ016',
    'a lease in the batch is NULL', 'Give job_ids and attempts as claim() answered them.'
  ),
  (
    'heartbeat({runner}, array[1], array[1, 2])', 'SQ012',
    'the arrays differ in length: 1 job_ids, 2 attempts', 'Give one entry a job in each array.'
  ),

  (
    'fail({lease}, null)', 'SQ013',
    'error must be a JSON object, not NULL',
    'Give {"type": ..., "message": ..., "traceback": ...}, each a text, none required.'
  ),
  (
    'fail({lease}, ''"it broke"'')', 'SQ013',
    'error must be a JSON object, not string',
    'Give {"type": ..., "message": ..., "traceback": ...}, each a text, none required.'
  ),
  (
    'fail({lease}, ''{}'', ''runner_lost'')', 'SQ013',
    'reason is ''runner_lost''',
    'Give timeout, permanent_failure, unknown_job or invalid_arguments, or NULL for an ordinary error.'
  ),
  (
    'fail({lease}, ''{}'', '''')', 'SQ013',
    'reason is ''''',
    'Give timeout, permanent_failure, unknown_job or invalid_arguments, or NULL for an ordinary error.'
  ),

  (
    'replay_dead_letters()', 'SQ014',
    'no dead letters are selected',
    'Give ids, job_name, queue, since, before, error_type or error_pattern, or everything => true; dry_run => true shows what would be taken.'
  ),
  (
    'replay_dead_letters(everything => null)', 'SQ014',
    'no dead letters are selected',
    'Give ids, job_name, queue, since, before, error_type or error_pattern, or everything => true; dry_run => true shows what would be taken.'
  ),
  (
    'replay_dead_letters(job_name => ''x'', everything => true)', 'SQ014',
    'everything is asked for and a filter is given', 'Leave out either everything or the filters.'
  ),
  (
    'delete_dead_letters(dry_run => true)', 'SQ014',
    'no dead letters are selected',
    'Give ids, job_name, queue, since, before, error_type or error_pattern, or everything => true; dry_run => true shows what would be taken.'
  ),
  (
    'delete_dead_letters(ids => ''{1}'', everything => true)', 'SQ014',
    'everything is asked for and a filter is given', 'Leave out either everything or the filters.'
  ),
  (
    'delete_dead_letters(max_letters => 1)', 'SQ014',
    'no dead letters are selected',
    'Give ids, job_name, queue, since, before, error_type or error_pattern, or everything => true; dry_run => true shows what would be taken.'
  ),
  (
    'replay_dead_letters(since => ''2030-01-01'', everything => true)', 'SQ014',
    'everything is asked for and a filter is given', 'Leave out either everything or the filters.'
  ),
  (
    'delete_dead_letters(before => ''2030-01-01'', everything => true)', 'SQ014',
    'everything is asked for and a filter is given', 'Leave out either everything or the filters.'
  ),
  (
    'replay_dead_letters(since => ''2030-01-02'', before => ''2030-01-01'')', 'SQ014',
    'since is later than before: 2030-01-02 00:00:00+00 is after 2030-01-01 00:00:00+00',
    'Give as since the beginning of a time and as before its end.'
  ),
  (
    'delete_dead_letters(ids => ''{1}'', since => ''infinity'', before => ''2030-01-01'', dry_run => true)', 'SQ014',
    'since is later than before: infinity is after 2030-01-01 00:00:00+00',
    'Give as since the beginning of a time and as before its end.'
  ),
  (
    'replay_dead_letters(everything => true, max_letters => 0)', 'SQ012',
    'max_letters is 0', 'Give a whole number of 1 or more, or NULL for all.'
  ),
  (
    'delete_dead_letters(everything => true, max_letters => -1)', 'SQ012',
    'max_letters is -1', 'Give a whole number of 1 or more, or NULL for all.'
  ),
  (
    'prune_dead_letters(''1 day'', max_letters => 0)', 'SQ012',
    'max_letters is 0', 'Give a whole number of 1 or more, or NULL for all.'
  ),

  ('prune_dead_letters(null)', 'SQ006', 'older_than is NULL', 'Give the older_than.'),
  (
    'prune_dead_letters(''-1 day'')', 'SQ006',
    'older_than is negative: -1 days', 'Give an interval of 0 or more, as in ''5 minutes''.'
  ),
  (
    'prune_dead_letters(''300000 years'')', 'SQ006',
    'older_than is too long: 300000 years', 'Give at most 100 years.'
  )
) as bad (call, code, problem, remedy);

-- An option that does not exist is PostgreSQL's to refuse.

select throws_ok(
  unknown.call,
  '42883',
  null,
  unknown.call
)
from (values
  ('select soniq.enqueue(''x'', colour => ''red'')'),
  ('select soniq.enqueue_many(''x'', array[''{}'']::jsonb[], dedup_key => ''k'')'),
  ('select soniq.claim(1, limit_to => 5)')
) as unknown (call);

select soniq.schedule('daily', every => '24 hours'), soniq.schedule('hourly', every => '1 hour') \g /dev/null
select is(
  pg_temp.refusal_of(format('%s(''dayly'')', call.name)),
  pg_temp.refused_with('SQ020', 'there is no schedule ''dayly''', 'There are: daily, hourly.'),
  call.name || ' of a schedule that does not exist'
)
from (values ('resume_schedule'), ('run_schedule_now'), ('preview_schedule')) as call (name);

select * from finish();
rollback;
