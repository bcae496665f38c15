-- History: what became of jobs over time, for charts. tick() notes it once a minute, from what the tally has counted and
-- from the jobs that finished since: so a chart of a week reads 168 rows, whatever the number of jobs.
--
-- Each number is added to three rows, of the minute, of ten minutes and of the hour. Minutes are kept for two hours, tens for
-- two days, and hours for soniq.settings.history_retention.
--
-- Where more jobs finish in a minute than lie on the last 100 pages of their table, some five thousand, the minute is told from
-- these and from how many pages it has filled.

-- Durations are counted by size, 1-2-5 to the decade: such counts can be added up over queues and time, and any percentile be
-- told from the sum, at most half of a step off.
create or replace function soniq._duration_bounds()
returns double precision[]
language sql
immutable
parallel safe
as $$
  select '{
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000
  }'::double precision[];
$$;

comment on function soniq._duration_bounds() is
'In seconds, where one size of durations ends and the next begins.';

create or replace function soniq._by_size(durations interval[], weight double precision)
returns bigint[]
language sql
immutable
parallel safe
as $$
  select array(
    select (_by_size.weight * pg_catalog.count(each.size))::bigint
    from pg_catalog.generate_series(0, pg_catalog.cardinality(soniq._duration_bounds())) as known (size)
    left join (
      select pg_catalog.width_bucket(extract(epoch from given.duration)::double precision, soniq._duration_bounds())
      from pg_catalog.unnest(_by_size.durations) as given (duration)
      where given.duration is not null
    ) as each (size)
      on each.size = known.size
    group by known.size
    order by known.size
  );
$$;

comment on function soniq._by_size(interval[], double precision) is
'How many of the durations are of each size, each counting for so many.';

create or replace function soniq._sum_of(one bigint[], other bigint[])
returns bigint[]
language sql
immutable
parallel safe
as $$
  select array(
    select coalesce(pair.a, 0) + coalesce(pair.b, 0)
    from rows from (
      pg_catalog.unnest(_sum_of.one),
      pg_catalog.unnest(_sum_of.other)
    ) with ordinality as pair (a, b, size)
    order by pair.size
  );
$$;

comment on function soniq._sum_of(bigint[], bigint[]) is
'Two counts by size added up.';

create or replace function soniq._percentile(by_size bigint[], share double precision)
returns interval
language sql
immutable
strict
parallel safe
as $$
  select interval '1 second' * (
    reached.from_bound + (reached.to_bound - reached.from_bound) * (reached.wanted - reached.before) / reached.jobs
  )
  from (
    select
      each.jobs,
      _percentile.share * sum(each.jobs) over () as wanted,
      sum(each.jobs) over (order by each.size) as up_to,
      sum(each.jobs) over (order by each.size) - each.jobs as before,
      case when each.size = 1 then 0 else bounds.seconds[each.size - 1] end as from_bound,
      coalesce(bounds.seconds[each.size], bounds.seconds[each.size - 1]) as to_bound
    from pg_catalog.unnest(_percentile.by_size) with ordinality as each (jobs, size)
    cross join soniq._duration_bounds() as bounds (seconds)
  ) as reached
  where reached.jobs > 0
    and reached.up_to >= reached.wanted
  order by reached.up_to
  limit 1;
$$;

comment on function soniq._percentile(bigint[], double precision) is
'The duration that this share of them did not exceed, as if those of one size lay evenly within it; NULL for no durations.';

create or replace function soniq._finished_by_queue(since timestamptz, until timestamptz)
returns table (queue text, done bigint, cancelled bigint, failed bigint, wait_times bigint[], run_times bigint[])
language sql
volatile
set jit = off
as $$
  select
    finished.queue,
    coalesce(sum(finished.weight) filter (where finished.status = 'done'), 0)::bigint,
    coalesce(sum(finished.weight) filter (where finished.status = 'cancelled'), 0)::bigint,
    coalesce(sum(finished.weight) filter (where finished.failed_at > _finished_by_queue.since), 0)::bigint,
    soniq._by_size(
      durations => pg_catalog.array_agg(finished.wait_time) filter (where finished.status = 'done'),
      weight => pg_catalog.avg(finished.weight)
    ),
    soniq._by_size(
      durations => pg_catalog.array_agg(finished.run_time) filter (where finished.status = 'done'),
      weight => pg_catalog.avg(finished.weight)
    )
  from soniq._recently_finished(since => _finished_by_queue.since) as finished
  where finished.finished_at > _finished_by_queue.since
    and finished.finished_at <= _finished_by_queue.until
  group by finished.queue;
$$;

comment on function soniq._finished_by_queue(timestamptz, timestamptz) is
'What finished between the two times, by queue.';

create or replace function soniq._note_history(since timestamptz, counted soniq.tallies)
returns void
language plpgsql
volatile
set jit = off
as $$
#variable_conflict use_column
declare
  -- What was counted belongs to the span that most of the time between was in.
  middle constant timestamptz := since + (counted.taken_at - since) / 2;
begin
  insert into soniq.history as known (
    queue, span, began_at, done, cancelled, failed, dead, most_ready, longest_wait, wait_times, run_times
  )
  with live as (
    select *
    from soniq._tallied_queues(tally => counted)
  ),
  buried as (
    select letter.queue, pg_catalog.count(*) as jobs
    from (
      select latest.queue
      from soniq.dead_letter_jobs as latest
      where latest.dead_at > since
        and latest.dead_at <= counted.taken_at
      limit 10000
    ) as letter
    group by letter.queue
  ),
  by_queue as (
    select
      coalesce(live.queue, finished.queue, buried.queue) as queue,
      coalesce(finished.done, 0) as done,
      coalesce(finished.cancelled, 0) as cancelled,
      coalesce(live.failed, 0) + coalesce(finished.failed, 0) + coalesce(buried.jobs, 0) as failed,
      coalesce(buried.jobs, 0) as dead,
      coalesce(live.ready, 0) as ready,
      coalesce(counted.taken_at - least(head.scheduled_at, live.oldest_ready_at), interval '0') as longest_wait,
      coalesce(finished.wait_times, soniq._by_size(durations => null, weight => 1)) as wait_times,
      coalesce(finished.run_times, soniq._by_size(durations => null, weight => 1)) as run_times
    from live
    full join soniq._finished_by_queue(since => since, until => counted.taken_at) as finished
      on finished.queue = live.queue
    full join buried
      on buried.queue = coalesce(live.queue, finished.queue)
    left join soniq._tallied_heads(tally => counted) as head
      on head.queue = live.queue
  ),
  noted as (
    select *
    from by_queue
    where by_queue.done + by_queue.cancelled + by_queue.failed + by_queue.ready > 0
    union all
    select
      '',
      coalesce(sum(by_queue.done), 0),
      coalesce(sum(by_queue.cancelled), 0),
      coalesce(sum(by_queue.failed), 0),
      coalesce(sum(by_queue.dead), 0),
      coalesce(sum(by_queue.ready), 0),
      coalesce(max(by_queue.longest_wait), interval '0'),
      array(
        select coalesce(sum(each.jobs), 0)::bigint
        from by_queue as one
        cross join lateral pg_catalog.unnest(one.wait_times) with ordinality as each (jobs, size)
        group by each.size
        order by each.size
      ),
      array(
        select coalesce(sum(each.jobs), 0)::bigint
        from by_queue as one
        cross join lateral pg_catalog.unnest(one.run_times) with ordinality as each (jobs, size)
        group by each.size
        order by each.size
      )
    from by_queue
  )
  select
    noted.queue, spans.span, pg_catalog.date_bin(spans.span, middle, timestamptz 'epoch'), noted.done, noted.cancelled,
    noted.failed, noted.dead, noted.ready, noted.longest_wait, noted.wait_times, noted.run_times
  from noted
  cross join (values (interval '1 minute'), (interval '10 minutes'), (interval '1 hour')) as spans (span)
  order by noted.queue, spans.span
  on conflict (queue, span, began_at) do update
  set done = known.done + excluded.done,
    cancelled = known.cancelled + excluded.cancelled,
    failed = known.failed + excluded.failed,
    dead = known.dead + excluded.dead,
    most_ready = greatest(known.most_ready, excluded.most_ready),
    longest_wait = greatest(known.longest_wait, excluded.longest_wait),
    wait_times = soniq._sum_of(one => known.wait_times, other => excluded.wait_times),
    run_times = soniq._sum_of(one => known.run_times, other => excluded.run_times);
end;
$$;

comment on function soniq._note_history(timestamptz, soniq.tallies) is
'Adds to the history what happened between then and a tally.';

create or replace function soniq._prune_history()
returns void
language sql
volatile
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
  delete from soniq.history as old
  using (
    select ''
    union
    select lane.queue
    from soniq.lanes as lane
  ) as known (queue),
  (
    select kept.span, soniq.clock() - kept.keep
    from soniq.settings as settings
    cross join lateral (
      values
        (interval '1 minute', interval '2 hours'),
        (interval '10 minutes', interval '2 days'),
        (interval '1 hour', settings.history_retention)
    ) as kept (span, keep)
  ) as span (length, from_time)
  where old.queue = known.queue
    and old.span = span.length
    and old.began_at < span.from_time;
$$;

comment on function soniq._prune_history() is
'Forgets what is older than its span is kept.';

create or replace function soniq._history_span(length interval)
returns interval
language sql
immutable
parallel safe
as $$
  select case
    when _history_span.length <= interval '2 hours' then interval '1 minute'
    when _history_span.length <= interval '2 days' then interval '10 minutes'
    else interval '1 hour'
  end;
$$;

create or replace function soniq._check_history_length(length interval)
returns void
language plpgsql
volatile
as $$
begin
  -- As intervals compare, a year has 360 days.
  if length is null or length not between interval '1 minute' and interval '366 days' then
    perform soniq._refuse(
      'SQ006',
      pg_catalog.format('length is %s', coalesce(length::text, 'NULL')),
      'Give how far to look back, from ''1 minute'' to ''1 year''.'
    );
  end if;
end;
$$;

create or replace function soniq.history(length interval default '1 hour', queue text default null)
returns table (
  began_at timestamptz,
  span interval,
  is_whole boolean,
  done bigint,
  cancelled bigint,
  failed bigint,
  dead bigint,
  most_ready bigint,
  longest_wait interval,
  wait_p50 interval,
  wait_p95 interval,
  wait_p99 interval,
  run_p50 interval,
  run_p95 interval,
  run_p99 interval
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  step interval;
  from_time timestamptz;
begin
  perform
    soniq._check_unbound(what => 'history()'),
    soniq._check_history_length(length => history.length);
  step := soniq._history_span(length => length);
  from_time := pg_catalog.date_bin(step, as_of - length, timestamptz 'epoch') + step;

  -- All together have a row whenever something ticked, a queue only where something happened.
  return query
  with own as materialized (
    select noted.*
    from soniq.history as noted
    where noted.queue = coalesce(history.queue, '')
      and noted.span = step
      and noted.began_at >= from_time
  ),
  told as (
    select
      slot.began_at, step as span, false as is_whole, own.done, own.cancelled, own.failed, own.dead, own.most_ready,
      own.longest_wait, own.wait_times, own.run_times
    from pg_catalog.generate_series(from_time, pg_catalog.date_bin(step, as_of, timestamptz 'epoch'), step) as slot (began_at)
    left join own
      on own.began_at = slot.began_at
    union all
    select
      from_time,
      history.length,
      true,
      sum(own.done)::bigint,
      sum(own.cancelled)::bigint,
      sum(own.failed)::bigint,
      sum(own.dead)::bigint,
      max(own.most_ready),
      max(own.longest_wait),
      array(
        select sum(each.jobs)::bigint
        from own as one
        cross join lateral pg_catalog.unnest(one.wait_times) with ordinality as each (jobs, size)
        group by each.size
        order by each.size
      ),
      array(
        select sum(each.jobs)::bigint
        from own as one
        cross join lateral pg_catalog.unnest(one.run_times) with ordinality as each (jobs, size)
        group by each.size
        order by each.size
      )
    from own
  )
  select
    told.began_at,
    told.span,
    told.is_whole,
    coalesce(told.done, quiet.jobs),
    coalesce(told.cancelled, quiet.jobs),
    coalesce(told.failed, quiet.jobs),
    coalesce(told.dead, quiet.jobs),
    coalesce(told.most_ready, quiet.jobs),
    coalesce(told.longest_wait, quiet.jobs * interval '1 s'),
    soniq._percentile(by_size => told.wait_times, share => 0.5),
    soniq._percentile(by_size => told.wait_times, share => 0.95),
    soniq._percentile(by_size => told.wait_times, share => 0.99),
    soniq._percentile(by_size => told.run_times, share => 0.5),
    soniq._percentile(by_size => told.run_times, share => 0.95),
    soniq._percentile(by_size => told.run_times, share => 0.99)
  from told
  cross join lateral (
    select case when told.is_whole or history.queue is not null then 0::bigint end
  ) as quiet (jobs)
  order by told.is_whole, told.began_at;
end;
$$;

comment on function soniq.history(interval, text) is
'What became of jobs over time, a row for each span, oldest first: by the minute up to two hours back, by ten minutes up to two days, by the hour beyond. The last span is not over yet. After these comes a row of the whole time, of which is_whole is true. Of all queues together, what is counted is NULL where nothing ticked; percentiles are NULL where no job was done. Jobs that are kept for no time (retention 0) are not seen when they are done.

length: how far back, 1 minute to 1 year; hours are kept for soniq.settings.history_retention.
queue: of this queue; NULL is all together.

done, cancelled, dead: jobs that were done, cancelled, given up. failed: jobs of which an attempt failed.
most_ready, longest_wait: the most ready jobs and the longest that the oldest of them had been due, of what was looked at once a minute. Of jobs given up, at most 10,000 a minute are counted.
wait_p50, wait_p95, wait_p99: of the jobs done, what half of them, 95 and 99 percent did not exceed from being due to their last attempt; run_p50, run_p95, run_p99: and from there to their end.

Errors: SQ006 length, SQ027 the login is bound to a tenant.';
