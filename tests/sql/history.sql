-- history(): what is noted once a minute adds up by the minute, by ten and by the hour, for each queue and for all.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2031-01-01 12:00:00+00');
-- Other files' jobs are not to be counted, nor what others have noted.
truncate soniq.jobs, soniq.finished_jobs, soniq.dead_letter_jobs, soniq.tallies, soniq.history;
select set_config('soniq_test.runner', pg_temp.new_runner(heartbeat_timeout => '99 years')::text, true) \g /dev/null

-- Durations by size.

select is(
  soniq._by_size('{0,0.5 ms,1 ms,3 s,NULL,20000 s,-1 s}', 2),
  '{6,2,0,0,0,0,0,0,0,0,0,2,0,0,0,0,0,0,0,0,0,0,2}', 'durations are counted by size, each for so many'
);
select is(cardinality(soniq._by_size(null, 1)), 23, 'of none, there are none of each size');
select is(soniq._percentile(soniq._by_size(null, 1), 0.5), null, 'and no percentile');
select is(soniq._percentile('{0,0,4,0}', 0.5), interval '3.5 ms', 'a percentile lies evenly within its size');
select is(soniq._percentile('{4,0,0,0}', 0.25), interval '0.25 ms', 'the smallest begins at 0');
select is(
  soniq._percentile(soniq._by_size('{99999 s}', 1), 0.5), interval '10000 s', 'of what is longer than all, it is told that it is'
);
select cmp_ok(
  abs(extract(epoch from soniq._percentile(soniq._by_size(array_agg(n * interval '10 ms'), 1), share)) / (share * 10) - 1),
  '<', 0.1, format('%s of a thousand durations, a tenth off at most', share)
)
from generate_series(1, 1000) as n
cross join unnest(array[0.5, 0.95, 0.99]) as share
group by share;

-- A minute.

create function pg_temp.work(queue text, jobs integer, waited interval, took interval)
returns void
language plpgsql
as $$
begin
  perform soniq.enqueue_many('history job', array_fill(jsonb '{}', array[work.jobs]), queue => work.queue);
  perform pg_temp.wait(work.waited);
  create temporary table held on commit drop as
  select * from pg_temp.claim(array[work.queue], work.jobs);
  perform pg_temp.wait(work.took);
  perform soniq.complete(array_agg(held.job_id), array_agg(held.attempt)) from held;
  drop table held;
end;
$$;

select soniq._take_tally() \g /dev/null
select pg_temp.work('history a', 4, waited => '3 s', took => '100 ms') \g /dev/null
select pg_temp.work('history b', 2, waited => '30 s', took => '1 s') \g /dev/null
select soniq.enqueue_many('history job', '{"{}","{}","{}"}', queue => 'history a') \g /dev/null
select soniq.fail(job_id, attempt, '{}') from pg_temp.claim('{history a}') \g /dev/null
select soniq.fail(job_id, attempt, '{}', 'permanent_failure') from pg_temp.claim('{history a}') \g /dev/null
select soniq.cancel(soniq.enqueue('history job', queue => 'history b')) \g /dev/null
select pg_temp.wait('59.9 s' - (soniq.clock() - '2031-01-01 12:00+00')) \g /dev/null
select soniq._take_tally() \g /dev/null

prepare minute as
select queue, done, cancelled, failed, dead, most_ready, longest_wait
from soniq.history
where span = '1 minute'
  and began_at = '2031-01-01 12:00+00';
select results_eq(
  'execute minute',
  $$
    values
      ('' collate "C", 6::bigint, 1::bigint, 2::bigint, 1::bigint, 2::bigint, interval '25.8 s'),
      ('history a', 4, 0, 2, 1, 2, '25.8 s'),
      ('history b', 2, 1, 0, 0, 0, '0')
  $$,
  'what became of the jobs of each queue, and of all'
);
select is(
  (select (wait_p50, run_p50) from soniq.history('1 minute', 'history b') where is_whole), row(interval '35 s', interval '1.5 s'),
  'how long half of them waited and ran, to the size'
);
select is(
  (select wait_p50 from soniq.history('1 minute') where is_whole), interval '4.25 s', 'and of all queues together'
);
select results_eq(
  $$select span, done, failed from soniq.history where queue = 'history a' order by span$$,
  $$values (interval '1 minute', 4::bigint, 2::bigint), ('10 minutes', 4, 2), ('1 hour', 4, 2)$$, 'in each span'
);

-- What happened once is noted once, and adds up.

select pg_temp.wait('1 minute') \g /dev/null
select pg_temp.work('history a', 1, waited => '1 s', took => '1 s') \g /dev/null
select soniq._take_tally() \g /dev/null
select results_eq(
  $$select began_at::time, done, failed from soniq.history('5 minutes', 'history a') where done > 0 and not is_whole$$,
  $$values (time '12:00', 4::bigint, 2::bigint), ('12:01', 1, 0)$$, 'the next minute has its own'
);
select is(
  (select (done, failed, dead) from soniq.history('1 hour', 'history a') where is_whole), row(5::bigint, 2::bigint, 1::bigint), 'the summary has both'
);
select is((select (wait_p50, wait_p99) from soniq.history() where is_whole), row(interval '4.625 s', interval '96.5 s'), 'with its percentiles');
select results_eq(
  $$select span, done from soniq.history where queue = 'history a' and span > '1 minute' order by span$$,
  $$values (interval '10 minutes', 5::bigint), ('1 hour', 5)$$, 'and so have the longer spans'
);
select soniq._take_tally() \g /dev/null
select is((select done from soniq.history() where is_whole), 7::bigint, 'a tally at the same moment adds nothing');

-- A retry that ends well within the minute counts as failed and as done.
select pg_temp.wait('1 minute') \g /dev/null
select soniq.enqueue('history job', queue => 'history c') \g /dev/null
select soniq.fail(job_id, attempt, '{}') from pg_temp.claim('{history c}') \g /dev/null
select pg_temp.wait('10 s') \g /dev/null
select soniq.complete(job_id, attempt) from pg_temp.claim('{history c}') \g /dev/null
select soniq._take_tally() \g /dev/null
select is((select (done, failed) from soniq.history('1 hour', 'history c') where is_whole), row(1::bigint, 1::bigint), 'failed, and then done');

-- Where nobody looked, nothing is known; where nothing happened, that is.
select pg_temp.wait('3 minutes') \g /dev/null
select soniq._take_tally() \g /dev/null
select bag_eq(
  $$select began_at::time, done, wait_p50 from soniq.history('5 minutes') where began_at >= '2031-01-01 12:03+00' and not is_whole$$,
  $$
    values
      (time '12:03', null::bigint, null::interval), ('12:04', 0, null), ('12:05', null, null), ('12:06', null, null)
  $$,
  'quiet minutes are 0, those in which nothing ticked NULL'
);
select is(
  (select array_agg(done order by began_at) from soniq.history('5 minutes', 'history b') where not is_whole), '{0,0,0,0,0}', 'of a queue, all are 0'
);
select is(
  (select (min(span), max(span), count(*)) from soniq.history(length) where not is_whole), row(span, span, points),
  format('%s back is told by %s', length, span)
)
from (
  values
    (interval '1 hour', interval '1 minute', 60::bigint), ('1 day', '10 minutes', 144), ('7 days', '1 hour', 168)
) as asked (length, span, points);

-- What is completed while the tally is taken is of the next minute alone.
select pg_temp.wait('1 minute') \g /dev/null
select soniq.enqueue('history job', queue => 'history d') \g /dev/null
select soniq.complete(job_id, attempt) from pg_temp.claim('{history d}') \g /dev/null
select pg_temp.wait('-100 ms') \g /dev/null
select soniq._take_tally() \g /dev/null
select pg_temp.wait('1 minute') \g /dev/null
select soniq._take_tally() \g /dev/null
select is((select done from soniq.history('1 hour', 'history d') where is_whole), 1::bigint, 'done once');

-- Of what nobody looked at for long, the last hour is noted.
select soniq.enqueue('history job', queue => 'history e', max_attempts => 3) \g /dev/null
select soniq.fail(job_id, attempt, '{}') from pg_temp.claim('{history e}') \g /dev/null
select pg_temp.wait('61 minutes') \g /dev/null
select soniq.cancel(soniq.enqueue('history job', queue => 'history e')) \g /dev/null
select soniq._take_tally() \g /dev/null
select is(
  (select (sum(failed), sum(cancelled)) from soniq.history where queue = 'history e' and span = '1 hour'), row(0::numeric, 1::numeric),
  'what failed before is not'
);

-- More than the last pages hold: the minute is told from these.

select pg_temp.work('history many', 1000, waited => '0', took => '0') \g /dev/null
select pg_temp.wait('10 minutes') \g /dev/null
select soniq._take_tally() \g /dev/null
select pg_temp.wait('30 s') \g /dev/null
select pg_temp.work('history many', 4000, waited => '0', took => '0') \g /dev/null
select pg_temp.wait('15 s') \g /dev/null
select pg_temp.work('history many', 5000, waited => '0', took => '0') \g /dev/null
select pg_temp.wait('15 s') \g /dev/null
select soniq._take_tally() \g /dev/null
select ok(
  (select done from soniq.history('2 minutes', 'history many') where is_whole) between 8500 and 9500,
  'how many they were is told from the latest, and from how many pages they fill'
);

-- Pages whose rows nobody sees, as rolled back completions leave them, tell nothing: those behind them do.

do $$
begin
  perform pg_temp.work('history old', 3000, waited => '0', took => '0');
  perform pg_temp.wait('1 hour');
  begin
    perform pg_temp.work('history undone', 9000, waited => '0', took => '0');
    raise exception 'undone';
  exception
    when raise_exception then null;
  end;
  perform pg_temp.work('history old', 3000, waited => '0', took => '0');
  perform pg_temp.wait('1 hour');
  perform pg_temp.work('history new', 1500, waited => '0', took => '0');
end;
$$;
select is(
  soniq._pages_since(part.relname, pg_relation_size(part.oid) / 8192, soniq.clock() - interval '1 minute'),
  (
    select count(distinct (job.ctid::text::point)[0]) - 1
    from soniq.finished_jobs as job
    where job.queue = 'history new'
  ),
  'the pages are found that begin with what is recent'
)
from pg_class as part
where part.oid in (select job.tableoid from soniq.finished_jobs as job where job.queue = 'history new');

-- How long it is kept.

select pg_temp.wait('2 hours 1 minute') \g /dev/null
select soniq._prune_history() \g /dev/null
select is((select count(*) from soniq.history where span = '1 minute'), 0::bigint, 'minutes are kept for two hours');
select cmp_ok((select count(*) from soniq.history where span = '10 minutes'), '>', 0::bigint, 'and not the longer spans');
select pg_temp.wait('2 days') \g /dev/null
select soniq._prune_history() \g /dev/null
select is((select count(*) from soniq.history where span = '10 minutes'), 0::bigint, 'tens of them for two days');
select cmp_ok((select count(*) from soniq.history), '>', 0::bigint, 'hours for longer');
update soniq.settings set history_retention = '1 day';
select soniq._prune_history() \g /dev/null
select is_empty('select * from soniq.history', 'as soniq.settings says');

-- tick() does all this.

update soniq.chores set due_at = '-infinity' where chore in ('tally', 'history');
insert into soniq.history
select '', interval '1 minute', soniq.clock() - interval '3 hours', 1, 1, 1, 1, 1, '0', '{}', '{}';
select soniq.tick() \g /dev/null
select results_eq(
  $$select span, done from soniq.history where queue = '' order by span$$,
  $$values (interval '1 minute', 0::bigint), ('10 minutes', 0), ('1 hour', 0)$$, 'a tick notes and forgets'
);

-- Whenever ticks come, each minute has its row; only the last is not over.

create function pg_temp.minutes_noted(ticks timestamptz[])
returns text
language plpgsql
as $$
declare
  moment timestamptz;
begin
  truncate soniq.history, soniq.tallies;
  update soniq.chores set due_at = case when chore = 'tally' then '-infinity' else 'infinity' end::timestamptz;
  foreach moment in array ticks loop
    perform pg_temp.wait(moment - soniq.clock());
    perform soniq.tick();
  end loop;
  return (
    select string_agg(coalesce(done, -1)::text, ' ' order by began_at)
    from soniq.history('20 minutes')
    where not is_whole
      and began_at < date_bin('1 minute', moment, 'epoch')
  );
end;
$$;
select is(
  pg_temp.minutes_noted(array_agg(timestamptz '2031-02-01 12:00+00' + moment order by moment)),
  array_to_string(array_fill(0, '{19}'), ' '), 'each minute has a row with ticks ' || pace
)
from (
  select 'each second', n * interval '1 s'
  from generate_series(0, 1200) as n
  union all
  select 'every 7 s', n * interval '7 s'
  from generate_series(0, 172) as n
  union all
  select 'every 25 s', n * interval '25 s'
  from generate_series(0, 48) as n
  union all
  select 'of cron, once a minute', n * interval '1 minute' + sin(n * n) * interval '50 ms'
  from generate_series(0, 20) as n
  union all
  select 'of cron, late by some seconds', n * interval '1 minute' + (1 + sin(n * n)) * interval '4 s'
  from generate_series(0, 20) as n
) as ticking (pace, moment)
group by pace
order by pace;

-- Bad input.

select lives_ok('select * from soniq.history(''365 days'')', 'a year may be told in days');
select is(
  pg_temp.refusal(format('select * from soniq.history(%L)', length)),
  pg_temp.refused_with('SQ006', problem, 'Give how far to look back, from ''1 minute'' to ''1 year''.'), problem
)
from (
  values (null, 'length is NULL'), ('30 s', 'length is 00:00:30'), ('2 years', 'length is 2 years'), ('170000000 years', 'length is 170000000 years')
) as bad (length, problem);

select * from finish();
rollback;
