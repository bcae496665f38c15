-- enqueue(): a job is kept as it was asked for, what is not asked for comes from the job type, then the queue, then
-- the settings, the limits are exact, and a job lives and dies with the transaction that enqueued it.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

-- What is kept.

create temporary view kept as
select
  job.id,
  job.job_name,
  job.args,
  job.queue,
  job.priority,
  job.status,
  job.scheduled_at,
  job.enqueued_at,
  job.attempt,
  job.max_attempts,
  job.timeout,
  job.dedup_key,
  job.runner_id,
  job.claimed_at,
  job.deadline,
  job.errors,
  job.replay_of
from soniq.jobs as job;

select soniq.enqueue('plain job') as id \gset
select row_eq(
  $$select * from kept where id = $$ || :id,
  row(
    :id::bigint, 'plain job'::text, '{}'::jsonb, 'default'::text, 100::smallint, 'queued'::soniq.job_status,
    timestamptz '2030-01-01 12:00+00', timestamptz '2030-01-01 12:00+00', 0, 10, interval '5 minutes', null::text,
    null::bigint, null::timestamptz, null::timestamptz, '[]'::jsonb, null::bigint
  )::kept,
  'a name is enough: ready now, in the queue default, priority 100, 10 attempts of 5 minutes'
);

select soniq.enqueue(
  'full job',
  '{"to": "ada@example.org", "deep": {"list": [1, null, "ü"]}}',
  queue => 'enqueue full',
  priority => 7,
  scheduled_at => '2031-02-03 04:05:06.789+02',
  max_attempts => 4,
  timeout => '90 seconds',
  dedup_key => 'enqueue full key'
) as id \gset
select row_eq(
  $$select * from kept where id = $$ || :id,
  row(
    :id::bigint, 'full job'::text, '{"to": "ada@example.org", "deep": {"list": [1, null, "ü"]}}'::jsonb,
    'enqueue full'::text, 7::smallint, 'queued'::soniq.job_status, timestamptz '2031-02-03 02:05:06.789+00',
    timestamptz '2030-01-01 12:00+00', 0, 4, interval '90 seconds', 'enqueue full key'::text,
    null::bigint, null::timestamptz, null::timestamptz, '[]'::jsonb, null::bigint
  )::kept,
  'every option is kept as it was given'
);

select is(
  (pg_temp.job(soniq.enqueue('timed job', delay => timed.delay))).scheduled_at,
  timed.due,
  format('a delay of %s counts from now', timed.delay)
)
from (values
  (interval '0', timestamptz '2030-01-01 12:00+00'),
  (interval '1.5 seconds', timestamptz '2030-01-01 12:00:01.5+00'),
  (interval '1 month', timestamptz '2030-02-01 12:00+00')
) as timed (delay, due);

select is(
  (pg_temp.job(soniq.enqueue('timed job', scheduled_at => '2020-01-01 00:00+00'))).scheduled_at,
  timestamptz '2020-01-01 00:00+00',
  'a time in the past is kept: the job is older than the others'
);

select soniq.enqueue('first job') as first \gset
select soniq.enqueue('second job') as second \gset
select cmp_ok(:first, '<', :second, 'ids grow in the order of the calls');

-- Where an option comes from.

update soniq.settings
set default_queue = 'enqueue settings',
  default_priority = 11,
  default_max_attempts = 11,
  default_timeout = '11 seconds';
select soniq.configure_queue('enqueue settings');
select soniq.configure_queue('enqueue queue', priority => 22, max_attempts => 22, timeout => '22 seconds');
select soniq.register_job_type('type without options');
select soniq.register_job_type('type with a queue', queue => 'enqueue queue');
select soniq.register_job_type(
  'type with options', queue => 'enqueue queue', priority => 33, max_attempts => 33, timeout => '33 seconds'
);

create function pg_temp.options(job_id bigint)
returns text
language sql
as $$
  select format('%s, priority %s, %s attempts, timeout %s', job.queue, job.priority, job.max_attempts, job.timeout)
  from soniq.get_job(job_id => options.job_id) as job;
$$;

select is(
  pg_temp.options(soniq.enqueue(
    example.job_name,
    queue => example.queue,
    priority => example.number,
    max_attempts => example.number,
    timeout => example.number * interval '1 second'
  )),
  example.options,
  example.rule
)
from (values
  (
    'options from nowhere', null, null::integer,
    'enqueue settings, priority 11, 11 attempts, timeout 00:00:11', 'settings, where nothing else says'
  ),
  (
    'type without options', null, null,
    'enqueue settings, priority 11, 11 attempts, timeout 00:00:11', 'settings, where the type and the queue leave it'
  ),
  (
    'options from the queue', 'enqueue queue', null,
    'enqueue queue, priority 22, 22 attempts, timeout 00:00:22', 'the queue before the settings'
  ),
  (
    'type with a queue', null, null,
    'enqueue queue, priority 22, 22 attempts, timeout 00:00:22', 'the type''s queue, and that queue''s options'
  ),
  (
    'type with options', null, null,
    'enqueue queue, priority 33, 33 attempts, timeout 00:00:33', 'the type before the queue'
  ),
  (
    'type with options', 'enqueue other', null,
    'enqueue other, priority 33, 33 attempts, timeout 00:00:33', 'the call''s queue before the type''s'
  ),
  (
    'type with options', 'enqueue other', 44,
    'enqueue other, priority 44, 44 attempts, timeout 00:00:44', 'the call before the type'
  )
) as example (job_name, queue, number, options, rule);

select is(
  pg_temp.options(soniq.enqueue('type with options', priority => 0, timeout => '0')),
  'enqueue queue, priority 0, 33 attempts, timeout 00:00:00',
  'a zero is an option, not the want of one'
);

select soniq.enqueue('type with options') as id \gset
select soniq.register_job_type('type with options', queue => 'enqueue elsewhere', priority => 1);
select soniq.configure_queue('enqueue queue');
select is(
  pg_temp.options(:id),
  'enqueue queue, priority 33, 33 attempts, timeout 00:00:33',
  'a job keeps its options when the defaults change'
);

-- What is just allowed. bad_input.sql has what is just not.

select lives_ok(format('select soniq.enqueue(%s)', allowed.arguments), allowed.what)
from (values
  ($$'x'$$, 'a job name of 1 character'),
  ($$repeat('ü', 200)$$, 'a job name of 200 characters'),
  ($$'billing.charge the card / v2'$$, 'a job name with spaces and signs inside'),
  ($$'x', queue => repeat('ü', 100)$$, 'a queue of 100 characters'),
  ($$'x', dedup_key => repeat('ü', 500)$$, 'a dedup_key of 500 characters'),
  ($$'x', priority => 0$$, 'priority 0'),
  ($$'x', priority => 1000$$, 'priority 1000'),
  ($$'x', max_attempts => 1$$, 'max_attempts 1'),
  ($$'x', max_attempts => 1000$$, 'max_attempts 1000')
) as allowed (arguments, what);

-- The size of args: bytes of the JSON text as PostgreSQL writes it.

create function pg_temp.args_of(bytes integer, letter text default 'a')
returns jsonb
language sql
as $$
  select jsonb_build_object(
    'x', repeat(args_of.letter, (args_of.bytes - octet_length('{"x": ""}')) / octet_length(args_of.letter))
  );
$$;

create function pg_temp.taken_in(args jsonb)
returns text
language sql
as $$
  select pg_temp.refusal(format('select soniq.enqueue(%L, %L)', 'sized job', taken_in.args));
$$;

select is(octet_length(pg_temp.args_of(1048576)::text), 1048576, 'the next test enqueues exactly 1 MiB');
select is(pg_temp.taken_in(pg_temp.args_of(1048576)), 'nothing was refused', 'args of exactly 1 MiB are taken in');
select is(
  pg_temp.taken_in(pg_temp.args_of(1048577)),
  pg_temp.refused_with(
    'SQ004',
    'args take 1048577 bytes; the limit is 1048576',
    'Store the data in a table and enqueue its key, or raise soniq.settings.max_args_bytes.'
  ),
  'one byte more is not'
);

update soniq.settings
set max_args_bytes = 99;
select is(pg_temp.taken_in(pg_temp.args_of(99)), 'nothing was refused', 'the limit is a setting: 99 bytes');
select alike(pg_temp.taken_in(pg_temp.args_of(100)), 'SQ004: args take 100 bytes; the limit is 99%', 'and not 100');
select alike(
  pg_temp.taken_in(pg_temp.args_of(101, letter => 'ü')),
  'SQ004: args take 101 bytes; the limit is 99%',
  'it counts bytes, not characters'
);
select alike(
  pg_temp.refusal(format(
    'select soniq.enqueue_many(%L, array[%L, %L]::jsonb[])', 'sized job', pg_temp.args_of(99), pg_temp.args_of(100)
  )),
  'SQ004: args take 100 bytes; the limit is 99%',
  'enqueue_many() holds each entry to the limit'
);

-- The caller's transaction.

savepoint before_the_job;
select soniq.enqueue('job that never was', queue => 'enqueue rolled back') as id \gset
select is(pg_temp.status(:id), 'queued', 'its own transaction sees the job at once');
rollback to savepoint before_the_job;
select is(pg_temp.status(:id), null, 'rolled back, the job never existed');
select is_empty(
  $$select * from pg_temp.claim(queues => '{enqueue rolled back}')$$,
  'and no claim finds it'
);

select * from finish();
rollback;
