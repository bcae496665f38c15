-- complete(): a job that is done moves to finished_jobs with its result and all it had, one by one or many at once.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

-- What is kept.

select soniq.register_job_type('completed', retry_delays => '{0 s}');
select soniq.enqueue(
  'completed', '{"n": 1}', queue => 'complete', priority => 5, timeout => '90 seconds', dedup_key => 'complete key'
) as id \gset
select soniq.fail(job_id, attempt, '{"type": "Oops", "message": "once"}') from pg_temp.claim('{complete}') \g /dev/null
select pg_temp.wait('1 minute') \g /dev/null
select claimed.attempt from pg_temp.claim('{complete}') as claimed \gset
select pg_temp.wait('1 second') \g /dev/null
select ok(soniq.complete(:id, :attempt, '{"sum": 42}'), 'a completion answers true');

select row_eq(
  format(
    $$
      select job_name, args, queue, priority, status, attempt, scheduled_at, enqueued_at, claimed_at, finished_at,
        timeout, dedup_key, runner_id, result, errors -> 0 ->> 'message', jsonb_array_length(errors)
      from soniq.finished_jobs
      where id = %s
    $$,
    :id
  ),
  row(
    'completed'::text collate "C", '{"n": 1}'::jsonb, 'complete'::text collate "C", 5::smallint, 'done'::soniq.job_status, 2,
    timestamptz '2030-01-01 12:00+00', timestamptz '2030-01-01 12:00+00', timestamptz '2030-01-01 12:01+00',
    timestamptz '2030-01-01 12:01:01+00', interval '90 seconds', 'complete key'::text, pg_temp.the_runner(),
    '{"sum": 42}'::jsonb, 'once'::text, 1
  ),
  'the finished job has its result, its times and the errors of its earlier attempts'
);
select is_empty('select id from soniq.jobs where id = ' || :id, 'and is no longer a live job');
select row_eq(
  'select status, result, ended_at from soniq.get_job(' || :id || ')',
  row('done'::soniq.job_status, '{"sum": 42}'::jsonb, timestamptz '2030-01-01 12:01:01+00'),
  'get_job() answers with it'
);

create temporary table answered as
select answer.result, pg_temp.new_lease() as held
from (values
  (jsonb '{"a": [1, 2]}'), (jsonb '[]'), (jsonb '"text"'), (jsonb '0'), (jsonb 'false'), (jsonb 'null'), (null)
) as answer (result);
select soniq.complete((held).job_id, (held).attempt, result) from answered \g /dev/null
select is(
  (pg_temp.job((held).job_id)).result,
  result,
  format('a result is any JSON: %s', coalesce(result::text, 'none at all'))
)
from answered;

-- Many at once.

create temporary table batch as
select lease.position, (lease.held).*
from (
  select position, pg_temp.new_lease() as held
  from generate_series(1, 5) as position
) as lease;
select soniq.complete(job_id, attempt) from batch where position = 4 \g /dev/null

select is(
  (
    select soniq.complete(
      job_ids => array_agg(case position when 3 then -1 else job_id end order by position),
      attempts => array_agg(case position when 2 then attempt + 1 else attempt end order by position),
      results => array_agg(to_jsonb(position) order by position)
    )
    from batch
  ),
  array[true, false, false, false, true],
  'a batch is answered in its order: good, stale, unknown, completed before, good'
);
select results_eq(
  $$select (pg_temp.job(job_id)).status::text, (pg_temp.job(job_id)).result from batch order by position$$,
  $$values ('done', jsonb '1'), ('processing', null), ('processing', null), ('done', null), ('done', jsonb '5')$$,
  'each good one got its own result, and the others were left alone'
);

select is(
  (
    select soniq.complete(
      job_ids => array_agg(job_id order by position), attempts => array_agg(attempt order by position)
    )
    from batch
    where position in (2, 3)
  ),
  array[true, true],
  'results may be left out'
);
select is(
  soniq.complete(job_ids => '{}', attempts => '{}'::integer[]), '{}'::boolean[],
  'no leases, no answers'
);

select * from pg_temp.new_lease() \gset
select is(
  cardinality(array_positions(
    soniq.complete(job_ids => array[:job_id, :job_id], attempts => array[:attempt, :attempt]), true
  )),
  1,
  'a job that is named twice is completed once'
);

select * from finish();
rollback;
