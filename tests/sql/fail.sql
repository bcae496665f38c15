-- fail(): when a job is tried again, when it is given up and why, and what is kept of each attempt.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');
select setseed(0.42) \g /dev/null

-- Retry policies. A job of this type fails again and again; these are the waits it is given.
create function pg_temp.waits(job_name text, failures integer)
returns interval[]
language plpgsql
as $$
declare
  id constant bigint := pg_temp.new_job(job_name => waits.job_name, max_attempts => waits.failures + 1);
  waited interval[] := '{}';
begin
  for n in 1..waits.failures loop
    perform soniq.fail(job_id => id, attempt => pg_temp.take(job_id => id), error => '{}');
    waited := waited || ((pg_temp.job(job_id => id)).scheduled_at - soniq.clock());
    perform pg_temp.wait(waited[n]);
  end loop;
  return waited;
end;
$$;

select soniq.register_job_type('one delay', retry_delays => '{10 s}');
select soniq.register_job_type('a list', retry_delays => '{1 s, 10 s, 1 minute}');
select soniq.register_job_type(
  'a fixed list', retry_delays => '{1 s, 10 s, 1 minute}', backoff => 'fixed', max_retry_delay => '5 s'
);
select soniq.register_job_type('at once', retry_delays => '{0 s}');
select soniq.register_job_type('fixed, and no delay', backoff => 'fixed');
select is(
  pg_temp.waits(policy.job_name, failures => 5),
  policy.waits,
  format('fixed backoff, %s', policy.job_name)
)
from (values
  ('one delay', array['10 s', '10 s', '10 s', '10 s', '10 s']::interval[]),
  ('a list', array['1 s', '10 s', '1 minute', '1 minute', '1 minute']::interval[]),
  ('a fixed list', array['1 s', '10 s', '1 minute', '1 minute', '1 minute']::interval[]),
  ('at once', array['0 s', '0 s', '0 s', '0 s', '0 s']::interval[]),
  ('fixed, and no delay', array['5 s', '5 s', '5 s', '5 s', '5 s']::interval[])
) as policy (job_name, waits);

-- Exponential: between half and all of the doubled delay, up to the cap.

create function pg_temp.within_bounds(job_name text, bounds interval[])
returns setof text
language plpgsql
as $$
declare
  waits constant interval[] := pg_temp.waits(within_bounds.job_name, failures => cardinality(within_bounds.bounds));
begin
  for n in 1..cardinality(waits) loop
    return next cmp_ok(waits[n], '>=', bounds[n] / 2, format('%s: wait %s: %s / 2 or more', job_name, n, bounds[n]));
    return next cmp_ok(waits[n], '<=', bounds[n], format('%s: wait %s: %s or less', job_name, n, bounds[n]));
  end loop;
end;
$$;

select soniq.register_job_type('exponential', retry_delays => '{10 s}', backoff => 'exponential');
select soniq.register_job_type('exponential, and no delay', backoff => 'exponential');
select soniq.register_job_type(
  'with a cap', retry_delays => '{10 s}', backoff => 'exponential', max_retry_delay => '25 s'
);
select soniq.register_job_type(
  'with a low cap', retry_delays => '{10 s}', backoff => 'exponential', max_retry_delay => '3 s'
);
select soniq.register_job_type('only a cap', max_retry_delay => '7 s');

select pg_temp.within_bounds(policy.job_name, policy.bounds)
from (values
  ('exponential', array['10 s', '20 s', '40 s', '80 s']::interval[]),
  ('exponential, and no delay', array['5 s', '10 s', '20 s', '40 s']::interval[]),
  ('with a cap', array['10 s', '20 s', '25 s', '25 s']::interval[]),
  ('with a low cap', array['3 s', '3 s']::interval[]),
  ('only a cap', array['5 s', '7 s', '7 s']::interval[]),
  ('of no registered type', array['5 s', '10 s', '20 s', '40 s']::interval[])
) as policy (job_name, bounds);

select soniq.register_job_type('exponential from a year on', retry_delays => '{1 year}', backoff => 'exponential');
select lives_ok(
  format('select pg_temp.waits(%L, failures => 60)', job_name),
  format('%s: 60 failures', job_name)
)
from unnest(array['exponential', 'exponential from a year on']) as job_name;
select is(
  (
    select count(*)
    from soniq.jobs as job
    where job.job_name like 'exponential%'
      and jsonb_array_length(job.errors) = 60
      and job.scheduled_at - (job.errors -> -1 ->> 'failed_at')::timestamptz between '30 minutes' and '1 hour'
  ),
  2::bigint,
  'after which both wait an hour at most, as their types set no cap'
);

-- Many jobs that fail at once do not come back at once.

select soniq.enqueue_many('exponential', array_fill('{}'::jsonb, array[500]), queue => 'fail jitter') \g /dev/null
create temporary table spread as
select extract(epoch from job.scheduled_at - soniq.clock()) as seconds
from (
  select unnest(array_agg(job_id)) as job_id
  from pg_temp.claim('{fail jitter}', max_jobs => 500)
  having cardinality(soniq.fail(array_agg(job_id), array_agg(attempt), array_agg('{}'::jsonb))) = 500
) as failed
cross join lateral pg_temp.job(failed.job_id) as job;
select is((select count(*) from spread where seconds between 5 and 10), 500::bigint, 'of 500 jobs, all wait 5 to 10 s');
select cmp_ok((select min(seconds) from spread), '<', 5.2, 'some hardly more than half');
select cmp_ok((select max(seconds) from spread), '>', 9.8, 'some nearly all');
select ok((select avg(seconds) from spread) between 7.2 and 7.8, 'and the mean lies in the middle');

update soniq.settings
set default_retry_delays = '{7 s, 8 s}',
  default_backoff = 'fixed';
select is(
  pg_temp.waits('of no registered type', failures => 3),
  array['7 s', '8 s', '8 s']::interval[],
  'the policy of a type that has none is a setting'
);
update soniq.settings
set default_backoff = 'exponential',
  default_max_retry_delay = '9 s';
select pg_temp.within_bounds('of no registered type', array['7 s', '9 s', '9 s']::interval[]);

-- What counts is failures: a snooze does not lengthen the wait.

select pg_temp.new_job(job_name => 'a list') as id \gset
select soniq.snooze(:id, pg_temp.take(:id), '0') from generate_series(1, 3) \g /dev/null
select soniq.fail(:id, pg_temp.take(:id), '{}') \g /dev/null
select is(
  (pg_temp.job(:id)).scheduled_at - soniq.clock(), interval '1 s',
  'a job that was snoozed three times and failed once waits as after its first failure'
);

-- When a job is given up, and why.

select is(
  soniq.fail((held).job_id, (held).attempt, '{}', example.reason),
  example.status,
  example.what
)
from (
  select *, pg_temp.new_lease(job_name => 'reason ' || what, max_attempts => max_attempts) as held
  from (values
    (2, null, 'queued', 'an error with attempts left'),
    (2, 'timeout', 'queued', 'a timeout with attempts left'),
    (1, null, 'dead_letter', 'an error at the last attempt'),
    (1, 'timeout', 'dead_letter', 'a timeout at the last attempt'),
    (2, 'permanent_failure', 'dead_letter', 'a permanent failure'),
    (2, 'unknown_job', 'dead_letter', 'a job that the runner does not know'),
    (2, 'invalid_arguments', 'dead_letter', 'arguments that the handler does not take'),
    (1, 'permanent_failure', 'dead_letter', 'a permanent failure at the last attempt')
  ) as example (max_attempts, reason, status, what)
) as example;

select is(
  (
    select array_agg(letter.reason)
    from soniq.dead_letter_jobs as letter
    where letter.job_name = 'reason ' || example.what
  ),
  example.reasons,
  format('%s: its dead letter''s reason', example.what)
)
from (values
  ('an error with attempts left', null),
  ('a timeout with attempts left', null),
  ('an error at the last attempt', array['max_attempts_exceeded']),
  ('a timeout at the last attempt', array['timeout']),
  ('a permanent failure', array['permanent_failure']),
  ('a job that the runner does not know', array['unknown_job']),
  ('arguments that the handler does not take', array['invalid_arguments']),
  ('a permanent failure at the last attempt', array['permanent_failure'])
) as example (what, reasons);

-- What is kept of each attempt.

select pg_temp.stop_clock('2030-06-01 12:00+00');
select soniq.register_runner('ada.example.org', pid => 4711) as runner \gset
select soniq.enqueue(
  'recorded', '{"n": 1}', queue => 'fail record', max_attempts => 2, timeout => '1 minute'
) as id \gset

select attempt from pg_temp.claim('{fail record}', runner_id => :runner) \gset
select pg_temp.wait('3 seconds') \g /dev/null
select soniq.fail(
  :id, :attempt, '{"type": "ValueError", "message": "no such order", "traceback": "line 1\nline 2", "extra": "dropped"}'
) \g /dev/null
select is(
  (pg_temp.job(:id)).errors,
  '[{
    "attempt": 1, "type": "ValueError", "message": "no such order", "traceback": "line 1\nline 2", "reason": null,
    "runner": "ada.example.org:4711", "started_at": "2030-06-01T12:00:00+00:00",
    "failed_at": "2030-06-01T12:00:03+00:00"
  }]'::jsonb,
  'an attempt''s error is kept with its runner and its times'
);

select pg_temp.wait('1 minute') \g /dev/null
select soniq.fail(claimed.job_id, claimed.attempt, '{"type": 5, "message": null}', 'timeout')
from pg_temp.claim('{fail record}') as claimed \g /dev/null
select is(
  (pg_temp.job(:id)).errors - 0,
  '[{
    "attempt": 2, "type": "5", "message": null, "traceback": null, "reason": "timeout",
    "runner": "test-host:42", "started_at": "2030-06-01T12:01:03+00:00", "failed_at": "2030-06-01T12:01:03+00:00"
  }]'::jsonb,
  'the second after the first, whatever little is said of it'
);

select row_eq(
  $$
    select job_name, args, queue, priority, attempt, max_attempts, timeout, enqueued_at, claimed_at, runner_id, reason,
      dead_at, jsonb_array_length(errors), replay_count, last_replayed_at
    from soniq.dead_letter_jobs
    where id = $$ || :id,
  row(
    'recorded'::text collate "C", '{"n": 1}'::jsonb, 'fail record'::text collate "C", 100::smallint, 2, 2, interval '1 minute',
    timestamptz '2030-06-01 12:00+00', timestamptz '2030-06-01 12:01:03+00', pg_temp.the_runner(), 'timeout'::text,
    timestamptz '2030-06-01 12:01:03+00', 2, 0, null::timestamptz
  ),
  'a dead letter has all that the job had, and both errors'
);
select is_empty('select id from soniq.jobs where id = ' || :id, 'and is no longer a live job');

create function pg_temp.recorded(error jsonb)
returns jsonb
language plpgsql
as $$
declare
  held constant pg_temp.lease := pg_temp.new_lease();
begin
  perform soniq.fail(job_id => held.job_id, attempt => held.attempt, error => recorded.error);
  return (pg_temp.job(held.job_id)).errors -> 0;
end;
$$;

select is(
  pg_temp.recorded(jsonb_build_object(bound.key, bound.text)) ->> bound.key,
  bound.kept,
  format('%s is cut to %s characters', bound.what, length(bound.kept))
)
from (values
  ('type', 'a type', repeat('t', 200) || 'x', repeat('t', 200)),
  ('message', 'a message', repeat('ü', 4000) || 'x', repeat('ü', 4000)),
  ('traceback', 'a traceback''s beginning', 'x' || repeat('ü', 16000), repeat('ü', 16000))
) as bound (key, what, text, kept);

update soniq.settings
set max_error_message_chars = 5,
  max_traceback_chars = 3;
select is(
  (
    select format('%s | %s', record.kept ->> 'message', record.kept ->> 'traceback')
    from pg_temp.recorded('{"message": "broken pipe", "traceback": "first, last"}') as record (kept)
  ),
  'broke | ast',
  'these bounds are settings'
);

-- Many at once.

create temporary table batch as
select lease.position, (lease.held).*
from (
  select position, pg_temp.new_lease(max_attempts => case position when 2 then 1 else 5 end) as held
  from generate_series(1, 6) as position
) as lease;
select soniq.complete(job_id, attempt) from batch where position = 5 \g /dev/null

select is(
  (
    select soniq.fail(
      job_ids => array_agg(case position when 4 then -1 else job_id end order by position desc),
      attempts => array_agg(case position when 3 then attempt - 1 else attempt end order by position desc),
      errors => array_agg(jsonb_build_object('message', position) order by position desc),
      reasons => array_agg(case position when 6 then 'unknown_job' end order by position desc)
    )
    from batch
  ),
  array['dead_letter', null, null, null, 'dead_letter', 'queued'],
  'a batch is answered in its order: unknown name, completed before, unknown id, stale, spent, to be retried'
);
select results_eq(
  $$
    select job.status::text, job.errors -> 0 ->> 'message'
    from batch
    cross join lateral pg_temp.job(batch.job_id) as job
    order by batch.position
  $$,
  $$
    values ('queued', '1'), ('dead_letter', '2'), ('processing', null), ('processing', null), ('done', null),
      ('dead_letter', '6')
  $$,
  'each got its own error, and those whose lease was not good were left alone'
);
select is(
  soniq.fail(job_ids => '{}', attempts => '{}', errors => '{}'), '{}'::text[],
  'no leases, no answers'
);

select * from pg_temp.new_lease() \gset
select is(
  soniq.fail(array[:job_id, :job_id], array[:attempt, :attempt + 1], array['{}', '{}']::jsonb[]),
  array['queued', null],
  'a stale lease gets no answer, also beside a good one of the same job'
);
select * from pg_temp.new_lease() \gset
select is(
  cardinality(soniq.fail(array[:job_id, :job_id], array[:attempt, :attempt], array['{}', '{}']::jsonb[])),
  2,
  'a lease that is given twice gets two answers'
);
select is(
  jsonb_array_length((pg_temp.job(:job_id)).errors), 1,
  'and its error is kept once'
);

select * from finish();
rollback;
