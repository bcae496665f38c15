-- enqueue_many(): one job for each entry, ids in the order of the entries, the same options for all, and all or none.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

create temporary table entered as
select entry.id, entry.position
from soniq.enqueue_many(
  'many',
  array(select jsonb_build_object('n', n) from generate_series(1, 1000) as n),
  queue => 'enqueue_many'
) with ordinality as entry (id, position);

select results_eq(
  $$
    select (job.args ->> 'n')::integer
    from entered
    join soniq.jobs as job
      on job.id = entered.id
    order by entered.position
  $$,
  $$select n from generate_series(1, 1000) as n$$,
  'the ids are in the order of the entries'
);
select results_eq(
  $$select position from entered order by id$$,
  $$select position from entered order by position$$,
  'and grow, so that jobs enqueued together run in this order'
);
select results_eq(
  $$select job_id from pg_temp.claim('{enqueue_many}', max_jobs => 1000) with ordinality order by ordinality$$,
  $$select id from entered order by position$$,
  'as a claim confirms'
);

-- Options.

create function pg_temp.options(job_id bigint)
returns text
language sql
as $$
  select format(
    '%s in %s, priority %s, at %s, %s attempts, timeout %s', job.job_name, job.queue, job.priority,
    job.scheduled_at, job.max_attempts, job.timeout
  )
  from soniq.get_job(job_id => options.job_id) as job;
$$;

select soniq.register_job_type('typed many', queue => 'enqueue_many typed', priority => 33);
select soniq.configure_queue('enqueue_many typed', priority => 22, max_attempts => 22);

select is(
  pg_temp.options(entry.id),
  'typed many in enqueue_many typed, priority 33, at 2030-01-01 12:00:00+00, 22 attempts, timeout 00:05:00',
  'defaults come from the type, the queue and the settings, as in enqueue()'
)
from soniq.enqueue_many('typed many', array['{}']::jsonb[]) as entry (id);

select is(
  pg_temp.options(entry.id),
  'typed many in other, priority 1, at 2030-01-01 12:00:30+00, 2 attempts, timeout 00:00:03',
  'each entry gets the options of the call'
)
from soniq.enqueue_many(
  'typed many',
  array['{}', '{}']::jsonb[],
  queue => 'other',
  priority => 1,
  delay => '30 seconds',
  max_attempts => 2,
  timeout => '3 seconds'
) as entry (id);

select is(
  (pg_temp.job(entry.id)).scheduled_at,
  timestamptz '2031-01-01 00:00+00',
  'scheduled_at too'
)
from soniq.enqueue_many('many', array['{}']::jsonb[], scheduled_at => '2031-01-01 00:00+00') as entry (id);

-- All or none.

select is_empty($$select soniq.enqueue_many('many', '{}', queue => 'enqueue_many none')$$, 'no entries, no jobs');

select is(
  pg_temp.refusal(format(
    'select soniq.enqueue_many(%L, %L::jsonb[], queue => %L)', 'many', bad.args, 'enqueue_many refused'
  )),
  pg_temp.refused_with(
    'SQ003',
    format('args must be a JSON object, not %s', bad.type),
    'Name the handler''s arguments, as in {"to": "ada@example.org"}; {} for none.'
  ),
  format('one entry that is %s refuses them all', bad.type)
)
from (values
  (array['{"n": 1}', '[1]', '{"n": 3}'], 'array'),
  (array['{"n": 1}', '"text"'], 'string'),
  (array['1', '{}'], 'number'),
  (array['{}', 'null'], 'null'),
  (array['{}', null, '{}'], 'NULL')
) as bad (args, type);

select is(
  pg_temp.refusal($$select soniq.enqueue_many('many', null)$$),
  pg_temp.refused_with('SQ003', 'args is NULL', 'Give an array of JSON objects, one for each job.'),
  'NULL is not a list'
);

select * from finish();
rollback;
