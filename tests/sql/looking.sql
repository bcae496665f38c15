-- What it costs to look: metrics(), the views and what the commands list, at 20,000 jobs and at 220,000, in thirty lanes.
-- A page is a buffer touched, in memory or not. Nothing is visible to all here, which is the worst case for a count:
-- all is of one open transaction. script/bench --only scrape measures the same, and more, at ten million.

begin;
\ir support.sql
select no_plan();

-- Other files, rolled back, leave pages full of what is gone.
truncate soniq.jobs, soniq.finished_jobs, soniq.dead_letter_jobs;

create temporary table measured (
  jobs bigint,
  what text,
  pages bigint
);

create function pg_temp.add_jobs(jobs integer)
returns void
language sql
as $$
  insert into soniq.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
  select
    format('looking %s', n % 20),
    format('looking %s', n % 10),
    n / 10 % 3,
    '{}',
    now() - n * interval '1 millisecond' + case when n % 11 = 0 then interval '1 day' else interval '0' end,
    now(),
    3,
    interval '1 hour'
  from generate_series(1, add_jobs.jobs) as n;
$$;

-- The least of three, since another session's DDL has this one read catalogs anew.
create function pg_temp.measure(what text, statement text)
returns void
language sql
as $$
  insert into measured
  select (select count(*) from soniq.jobs), measure.what, min(pg_temp.pages(measure.statement))
  from generate_series(1, 3);
$$;

create function pg_temp.measure_everything()
returns void
language plpgsql
as $$
begin
  perform soniq._take_tally();
  perform
    pg_temp.measure('metrics()', 'select * from soniq.metrics()'),
    pg_temp.measure('queue_stats', 'select * from soniq.queue_stats'),
    pg_temp.measure('job_stats', 'select * from soniq.job_stats'),
    pg_temp.measure('runner_stats', 'select * from soniq.runner_stats'),
    pg_temp.measure('queue_counts', 'select * from soniq.queue_counts'),
    pg_temp.measure('concerns', 'select * from soniq.concerns'),
    pg_temp.measure('dead_letter_groups', 'select * from soniq.dead_letter_groups'),
    pg_temp.measure('history of an hour', 'select * from soniq.history(interval ''1 hour'')'),
    pg_temp.measure('history of a day', 'select * from soniq.history(interval ''1 day'', ''looking 1'')'),
    pg_temp.measure('history of a week', 'select * from soniq.history(interval ''7 days'')'),
    pg_temp.measure('history of a week of a queue', 'select * from soniq.history(interval ''7 days'', ''looking 1'')'),
    pg_temp.measure('the latest jobs', 'select id from soniq.all_jobs order by id desc limit 50');
end;
$$;

insert into soniq.lanes (queue, priority)
select format('looking %s', queue), priority
from generate_series(0, 9) as queue
cross join generate_series(0, 2) as priority;

-- A week of history, and a thousand queues at work in it: rows lie in the order in which they were noted.
insert into soniq.history
select
  case n when 0 then '' else format('looking %s', n) end,
  spans.span,
  date_bin(spans.span, now(), 'epoch') - spans.span * step,
  1, 0, 0, 0, 1, '1 s', array_fill(1::bigint, '{23}'), array_fill(1::bigint, '{23}')
from (values (interval '1 minute', 60), ('10 minutes', 144), ('1 hour', 168)) as spans (span, steps)
cross join lateral generate_series(spans.steps, 0, -1) as step
cross join generate_series(0, 200) as n
order by step desc, n;

select pg_temp.add_jobs(20000);
select pg_temp.measure_everything();
select pg_temp.add_jobs(200000);
select pg_temp.measure_everything();

select cmp_ok(pages, '<', 200::bigint, format('%s at %s jobs: under 200 pages', what, jobs))
from measured;

-- A larger index may have a level more, which is a page for each lane that is asked.
select cmp_ok(abs(large.pages - small.pages), '<=', 30::bigint, small.what || ': the same with eleven times as many jobs')
from measured as small
join measured as large
  on large.what = small.what
  and large.jobs > small.jobs;

-- What is claimed leaves its entries in the index, at the very place where a lane begins, until vacuum comes.
select pg_temp.claim(array[format('looking %s', n)], 1000) from generate_series(0, 9) as n \g /dev/null
select soniq._take_tally();
select pg_temp.claim(array[format('looking %s', n)], 5) from generate_series(0, 9) as n \g /dev/null
truncate measured;
select pg_temp.measure('metrics()', 'select * from soniq.metrics()');
select cmp_ok(pages, '<', 260::bigint, 'metrics() after 10,000 claims: under 260 pages')
from measured;

-- A thousand queues more, each with a job.
truncate measured;
insert into soniq.lanes (queue, priority)
select format('looking at %s', queue), 1
from generate_series(1, 1000) as queue;
insert into soniq.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
select 'looking', format('looking at %s', queue), 1, '{}', now() - interval '1 hour', now(), 3, interval '1 hour'
from generate_series(1, 1000) as queue;
select soniq._take_tally();
select
  pg_temp.measure('queue_counts', 'select * from soniq.queue_counts'),
  pg_temp.measure('concerns', 'select * from soniq.concerns');
select cmp_ok(pages, '<', 200::bigint, format('%s of a thousand queues: under 200 pages', what))
from measured;

select * from finish();
rollback;
