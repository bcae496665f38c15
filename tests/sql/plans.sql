-- What calls cost with 100,000 ready jobs and 100,000 for later in the table, so that nobody undoes the plans that
-- Soniq depends on. A page is a buffer touched, in memory or not; the bounds are about 1.5 times what is measured on
-- PostgreSQL 14 to 18. A plan that reads or sorts the backlog costs hundreds of times more.
--
-- Everything is measured four times: with no statistics, with statistics from when the table was empty, which is
-- when the planner errs most, with true ones, and with tenants kept apart, when each plan has the policies in it; each
-- time with the plans that PostgreSQL settles on after many calls.

begin;
\ir support.sql
select no_plan();

-- Other files, rolled back, leave pages full of what is gone.
truncate soniq.jobs, soniq.finished_jobs, soniq.dead_letter_jobs, soniq.lanes;

-- The queues are new in each run: index entries that an earlier run left behind would be walked over.
create function pg_temp.queue(name text)
returns text
language sql
as $$
  select format('plans %s %s %s', queue.name, pg_backend_pid(), extract(epoch from now()));
$$;

create function pg_temp.add_jobs(name text, jobs integer, delay interval default null)
returns void
language sql
as $$
  select soniq.enqueue_many(
    'plans',
    array_fill('{}'::jsonb, array[add_jobs.jobs]),
    queue => pg_temp.queue(add_jobs.name),
    delay => add_jobs.delay
  );
$$;

-- Queued jobs with keys: looking one up must not read them all.
create function pg_temp.add_keyed_jobs(jobs integer)
returns void
language sql
as $$
  select soniq.enqueue('plans', queue => pg_temp.queue('keyed'), dedup_key => format('plans %s %s', pg_backend_pid(), n))
  from generate_series(1, add_keyed_jobs.jobs) as n;
$$;

create function pg_temp.add_ready_jobs(state text, jobs integer)
returns void
language sql
as $$
  select pg_temp.add_jobs('ready ' || add_ready_jobs.state, add_ready_jobs.jobs / 2);
  select pg_temp.add_jobs(format('shared %s %s', n, add_ready_jobs.state), add_ready_jobs.jobs / 20)
  from generate_series(1, 10) as n;
$$;

create temporary table measured (
  state text,
  what text,
  pages bigint,
  entries bigint, -- read of the index of ready jobs
  full_scans bigint -- of soniq.jobs
);

create function pg_temp.measure(state text, what text, statement text)
returns void
language plpgsql
as $$
declare
  jobs constant oid := 'soniq.jobs'::regclass;
  ready constant oid := 'soniq.jobs_ready'::regclass;
  entries constant bigint := pg_stat_get_xact_tuples_returned(ready);
  full_scans constant bigint := pg_stat_get_xact_numscans(jobs);
  pages constant bigint := pg_temp.pages(measure.statement);
begin
  insert into measured
  values (
    measure.state, measure.what, pages, pg_stat_get_xact_tuples_returned(ready) - entries,
    pg_stat_get_xact_numscans(jobs) - full_scans
  );
end;
$$;

-- What changes nothing can be asked again: the least of three, since another session's DDL has this one read catalogs anew.
create function pg_temp.measure_settled(state text, what text, statement text)
returns void
language sql
as $$
  select pg_temp.measure(measure_settled.state, measure_settled.what, measure_settled.statement)
  from generate_series(1, 3);
  delete from measured
  using measured as better
  where measured.state = measure_settled.state
    and measured.what = measure_settled.what
    and (better.state, better.what) = (measured.state, measured.what)
    and (better.pages, better.ctid) < (measured.pages, measured.ctid);
$$;

create function pg_temp.measure_claim(state text, what text, names text[], max_jobs integer)
returns void
language sql
as $$
  select pg_temp.measure(
    measure_claim.state,
    measure_claim.what,
    format(
      'select * from soniq.claim(%s, %L, %s)',
      pg_temp.the_runner(),
      array(select pg_temp.queue(name) from unnest(measure_claim.names) as name),
      measure_claim.max_jobs
    )
  );
$$;

-- A call about jobs that are being processed: %1$s stands for their ids and %2$s for their attempts.
create function pg_temp.measure_report(state text, what text, jobs integer, statement text, name text default null)
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
  from soniq.claim(
    pg_temp.the_runner(), array[pg_temp.queue(coalesce(measure_report.name, 'ready ' || measure_report.state))],
    measure_report.jobs
  ) as claimed;
$$;

create function pg_temp.measure_everything(state text)
returns void
language plpgsql
as $$
declare
  ready constant text := 'ready ' || state;
  shared constant text[] := array(select format('shared %s %s', n, state) from generate_series(1, 10) as n);
  one_more constant text := format('select soniq.enqueue(%L, queue => %L)', 'plans', pg_temp.queue('other'));
  with_a_key constant text := format('select soniq.enqueue(%L, dedup_key => %L)', 'plans', pg_temp.queue(state));
  hundred_more constant text := format(
    'select soniq.enqueue_many(%L, array_fill(%L::jsonb, array[100]), queue => %L)',
    'plans', '{}', pg_temp.queue('other')
  );
  heartbeat constant text := format('select soniq.heartbeat(%s, %%1$s, %%2$s)', pg_temp.the_runner());
  hundred_failures constant text := 'select soniq.fail(%1$s, %2$s, array_fill(jsonb ''{}'', array[100]))';
  a_job constant bigint := max(job.id) from soniq.jobs as job;
  a_job_for_later constant bigint := soniq.enqueue('plans', queue => pg_temp.queue('retried'), delay => '1 day');
begin
  perform
    pg_temp.measure_claim(state, 'claim 1', array[ready], 1),
    pg_temp.measure_claim(state, 'claim 100', array[ready], 100),
    pg_temp.measure_claim(state, 'claim 100 of ten queues', shared, 100),
    pg_temp.measure_claim(state, 'claim where all is for later', array['later'], 100),
    pg_temp.measure_report(state, 'heartbeat for 100', 100, heartbeat),
    pg_temp.measure_report(state, 'complete 100', 100, 'select soniq.complete(%1$s, %2$s)'),
    pg_temp.measure_report(state, 'complete 1', 1, 'select soniq.complete(%1$s, %2$s)'),
    pg_temp.measure_report(state, 'fail 100', 100, hundred_failures),
    pg_temp.measure_report(state, 'fail 100 with keys', 100, hundred_failures, 'keyed'),
    pg_temp.measure(state, 'enqueue', one_more),
    pg_temp.measure(state, 'enqueue with a key', with_a_key),
    pg_temp.measure(state, 'enqueue with a key that is held', with_a_key),
    pg_temp.measure(state, 'enqueue 100', hundred_more),
    pg_temp.measure_settled(state, 'tick with nothing due', 'select soniq.tick()'),
    pg_temp.measure(state, 'wait_for_jobs', format('select soniq.wait_for_jobs(array[%L])', pg_temp.queue('later'))),
    pg_temp.measure(state, 'tally', 'select soniq._take_tally()'),
    pg_temp.measure(state, 'metrics', 'select * from soniq.metrics()'),
    pg_temp.measure(state, 'queue_stats', 'select * from soniq.queue_stats'),
    pg_temp.measure(state, 'job_stats', 'select * from soniq.job_stats'),
    pg_temp.measure(state, 'runner_stats', 'select * from soniq.runner_stats'),
    pg_temp.measure(state, 'get_job', format('select soniq.get_job(%s)', a_job)),
    pg_temp.measure(state, 'retry', format('select soniq.retry(%s)', a_job_for_later)),
    pg_temp.measure(state, 'cancel', format('select soniq.cancel(%s)', a_job));
  perform soniq.cancel(job.id)
  from soniq.jobs as job
  where job.dedup_key = pg_temp.queue(state);
end;
$$;

-- Statistics as they were when there was next to nothing. Being rolled back, a run would leave others behind.
create function pg_temp.set_statistics(pages integer, rows real)
returns void
language sql
as $$
  update pg_catalog.pg_class as relation
  set relpages = set_statistics.pages,
    reltuples = set_statistics.rows
  where relation.oid = 'soniq.jobs'::regclass
    or relation.oid in (
      select index.indexrelid
      from pg_catalog.pg_index as index
      where index.indrelid = 'soniq.jobs'::regclass
    );
  delete from pg_catalog.pg_statistic as statistic
  where statistic.starelid = 'soniq.jobs'::regclass;
$$;

-- What a tick has to look through.
select count(soniq.schedule(format('plans %s', n), cron => '0 0 1 1 *')) from generate_series(1, 1000) as n \g /dev/null
select count(soniq.register_runner('plans.example.org')) from generate_series(1, 200) \g /dev/null

-- Keeps autovacuum away, which writes statistics too.
lock table soniq.jobs in share update exclusive mode;

select pg_temp.add_keyed_jobs(20000) \g /dev/null
select pg_temp.add_ready_jobs('warm up', 30000), pg_temp.add_jobs('later', 100000, delay => '1 week') \g /dev/null
select pg_temp.add_ready_jobs(state, 30000)
from unnest(array['never analysed', 'analysed when empty', 'analysed', 'tenants apart']) as state \g /dev/null

select pg_temp.set_statistics(pages => 0, rows => -1);
select pg_temp.measure_everything('warm up') from generate_series(1, 7) \g /dev/null
select pg_temp.measure_everything('never analysed') \g /dev/null

select pg_temp.set_statistics(pages => 1, rows => 0);
select pg_temp.measure_everything('warm up') from generate_series(1, 7) \g /dev/null
select pg_temp.measure_everything('analysed when empty') \g /dev/null

analyze soniq.jobs;
select pg_temp.measure_everything('warm up') from generate_series(1, 7) \g /dev/null
select pg_temp.measure_everything('analysed') \g /dev/null

set local client_min_messages = error;
create role soniq_test_plans login;
select soniq.bind_tenant('soniq_test_plans', 'plans') \g /dev/null
select pg_temp.measure_everything('warm up') from generate_series(1, 7) \g /dev/null
select pg_temp.measure_everything('tenants apart') \g /dev/null

select is(
  format('%s calls', count(*)), '92 calls',
  'each of 23 calls is measured four times'
)
from measured
where state <> 'warm up';

select cmp_ok(
  measured.pages, '<=', bound.pages,
  format('%s, %s: at most %s pages%s', measured.what, measured.state, bound.pages, coalesce(', ' || bound.per, ''))
)
from (values
  ('claim 1', 60::bigint, null),
  ('claim 100', 2000, '20 a job'),
  ('claim 100 of ten queues', 2200, '22 a job'),
  ('claim where all is for later', 30, null),
  ('heartbeat for 100', 800, '8 a job'),
  ('complete 100', 1500, '15 a job'),
  ('complete 1', 20, null),
  ('fail 100', 5500, '55 a job'),
  ('fail 100 with keys', 7000, '70 a job'),
  ('enqueue', 25, null),
  ('enqueue with a key', 25, null),
  ('enqueue with a key that is held', 18, null),
  ('enqueue 100', 1100, '11 a job'),
  ('tick with nothing due', 50, 'with 1,000 schedules and 200 runners'),
  ('wait_for_jobs', 12, null),
  ('tally', 14000, 'with 50 lanes'),
  ('metrics', 450, 'with 50 lanes'),
  ('queue_stats', 450, 'with 50 lanes'),
  ('job_stats', 30, null),
  ('runner_stats', 30, null),
  ('get_job', 35, null),
  ('retry', 25, null),
  ('cancel', 50, null)
) as bound (what, pages, per)
join measured
  on measured.what = bound.what
where measured.state <> 'warm up';

select is(
  measured.full_scans, 0::bigint,
  format('%s, %s: soniq.jobs is never read as a whole', measured.what, measured.state)
)
from measured
where state <> 'warm up';

-- What one transaction claims stays in the index until it ends, hence 1 more for the job before the hundred.
select cmp_ok(
  measured.entries, '<=', bound.entries,
  format('%s, %s: at most %s entries of the index of ready jobs are read', measured.what, measured.state, bound.entries)
)
from (values
  ('claim 1', 1::bigint),
  ('claim 100', 101),
  ('claim 100 of ten queues', 1100),
  ('claim where all is for later', 0),
  ('tally', 45000),
  ('metrics', 3100)
) as bound (what, entries)
join measured
  on measured.what = bound.what
where measured.state <> 'warm up';

select * from finish();
rollback;
