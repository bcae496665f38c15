-- What one job costs must not grow with how many there are: pages touched (in memory or not) for each job that is claimed,
-- completed and enqueued, at 1,000 and at 100,000 ready jobs, and above the traces of 100,000 that are gone. Those of this
-- transaction no vacuum can remove, as while some other transaction stays open.
--
-- benchmarks/cost.py has the same at millions.

begin;
\ir support.sql
select no_plan();

-- New in each run: index entries that an earlier run left behind would be walked over.
select format('cost %s %s', pg_backend_pid(), extract(epoch from now())) as queue \gset
select set_config('soniq_test.queue', :'queue', true) \g /dev/null

create function pg_temp.add_jobs(jobs integer)
returns void
language sql
as $$
  select soniq.enqueue_many(
    'cost', array_fill('{}'::jsonb, array[add_jobs.jobs]), queue => current_setting('soniq_test.queue')
  );
$$;

create function pg_temp.churn(jobs integer)
returns void
language plpgsql
as $$
begin
  for batch in 1 .. churn.jobs / 10000 loop
    perform soniq.complete(array_agg(claimed.job_id), array_agg(claimed.attempt))
    from soniq.claim(pg_temp.the_runner(), array[current_setting('soniq_test.queue')], 10000) as claimed;
  end loop;
end;
$$;

create temporary table measured (
  state text,
  what text,
  pages numeric -- for each of a hundred jobs
);

create function pg_temp.measure(state text, what text, statement text)
returns void
language sql
as $$
  insert into measured (state, what, pages)
  select measure.state, measure.what, pg_temp.pages(measure.statement) / 100.0;
$$;

create function pg_temp.measure_report(state text, what text, statement text)
returns void
language sql
as $$
  select pg_temp.measure(
    measure_report.state,
    measure_report.what,
    format(
      measure_report.statement,
      quote_literal(array_agg(claimed.job_id)) || '::bigint[]',
      quote_literal(array_agg(claimed.attempt)) || '::integer[]'
    )
  )
  from soniq.claim(pg_temp.the_runner(), array[current_setting('soniq_test.queue')], 100) as claimed;
$$;

create function pg_temp.measure_all(state text)
returns void
language plpgsql
as $$
declare
  queue constant text := current_setting('soniq_test.queue');
begin
  -- More than once, and the least counts: another session's DDL has this one read catalogs anew, and a claim may be the
  -- one whose turn it is to read the lane whole.
  for turn in 1 .. 5 loop
    perform
      pg_temp.measure(state, 'claim', format('select * from soniq.claim(%s, array[%L], 100)', pg_temp.the_runner(), queue)),
      pg_temp.measure_report(state, 'complete', 'select soniq.complete(%1$s, %2$s)'),
      pg_temp.measure(
        state, 'enqueue', format('select soniq.enqueue(%L, queue => %L) from generate_series(1, 100)', 'cost', queue)
      ),
      pg_temp.measure(
        state, 'enqueue_many',
        format('select soniq.enqueue_many(%L, array_fill(jsonb %L, array[100]), queue => %L)', 'cost', '{}', queue)
      );
  end loop;
end;
$$;

select pg_temp.add_jobs(2000) \g /dev/null
select pg_temp.measure_all('warm up') from generate_series(1, 2) \g /dev/null
select pg_temp.measure_all('1,000 ready') \g /dev/null
select pg_temp.add_jobs(99000) \g /dev/null
select pg_temp.measure_all('100,000 ready') \g /dev/null
select pg_temp.churn(100000) \g /dev/null
select pg_temp.measure_all('1,000 ready above 100,000 gone') \g /dev/null

create temporary view cost as
select measured.state, measured.what, min(measured.pages) as pages
from measured
where measured.state <> 'warm up'
group by measured.state, measured.what;

select is(format('%s figures', count(*)), '12 figures', 'four calls are measured in three states') from cost;

select cmp_ok(
  round(cost.pages, 1), '<=', bound.pages,
  format('%s, %s: at most %s pages a job', cost.what, cost.state, bound.pages)
)
from (values
  ('claim', 18.0),
  ('complete', 12.0),
  ('enqueue', 18.0),
  ('enqueue_many', 9.0)
) as bound (what, pages)
join cost
  on cost.what = bound.what
order by cost.state, cost.what;

select cmp_ok(
  round(cost.pages, 1), '<=', round(1.2 * least_jobs.pages, 1),
  format('%s, %s: at most a fifth more than with 1,000', cost.what, cost.state)
)
from cost
join cost as least_jobs
  on least_jobs.what = cost.what
  and least_jobs.state = '1,000 ready'
where cost.state <> '1,000 ready'
order by cost.state, cost.what;

select cmp_ok(
  soniq._walked(
    started_at => clock_timestamp() - interval '1 ms', read_before => soniq._entries_read() - 1021, jobs => 1
  ), '>', 0::bigint,
  'however fast the machine, a reading that came across so many more entries than jobs has walked'
);

select * from finish();
rollback;
