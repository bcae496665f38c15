-- Scan hints: a session may start to read a lane above the key it claimed last, but only for a short while, and no job
-- is lost for it. A hint comes into force by itself where reading the whole lane is slow, as under a pinned xmin; here
-- it is set by hand, as sql/scan_hints.sql describes it.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');
select pg_temp.the_runner() as runner \gset

-- What takes long is said here, and not found out on a machine that may be busy.
create or replace function soniq._walked(started_at timestamptz, read_before bigint, jobs integer)
returns bigint
language sql
volatile
as $$
  select bigint '0';
$$;

create function pg_temp.hint_name(queue text)
returns text
language sql
as $$
  select 'soniq.lane_' || min(lane.lane_id)
  from soniq.lanes as lane
  where lane.queue = hint_name.queue;
$$;

-- The session read the whole lane so long ago, it took so long, and the last job it claimed was this one; the key that was
-- the last long enough ago is that of `earlier`, by default the same, and the next in its place that of `newer`, kept so
-- long ago.
create function pg_temp.set_hint(
  job_id bigint, read_ago interval, reading_took interval, earlier bigint default null, full_share boolean default false,
  newer bigint default null, kept_ago interval default '0'
)
returns void
language sql
as $$
  select set_config(
    pg_temp.hint_name(queue => job.queue),
    array[
      extract(epoch from job.scheduled_at) * 1000000,
      job.id,
      extract(epoch from clock_timestamp() - set_hint.read_ago) * 1000000,
      extract(epoch from set_hint.reading_took) * 1000000,
      extract(epoch from earlier.scheduled_at) * 1000000,
      earlier.id,
      extract(epoch from newer.scheduled_at) * 1000000,
      newer.id,
      extract(epoch from clock_timestamp() - set_hint.kept_ago) * 1000000,
      set_hint.full_share::integer
    ]::bigint[]::text,
    true
  )
  from soniq.get_job(set_hint.job_id) as job
  cross join soniq.get_job(coalesce(set_hint.earlier, set_hint.job_id)) as earlier
  cross join soniq.get_job(coalesce(set_hint.newer, set_hint.job_id)) as newer;
$$;

create function pg_temp.last_key(queue text)
returns bigint
language sql
as $$
  select (nullif(current_setting(pg_temp.hint_name(queue => last_key.queue)), '')::bigint[])[2];
$$;

-- Claims by their names and in their order, with the session's hints.
create function pg_temp.claimed(queues text[], max_jobs integer default 100, skip_jobs text[] default null)
returns text
language sql
as $$
  select coalesce(string_agg(job.job_name, ' ' order by job.ordinality), 'nothing')
  from soniq.claim(
    pg_temp.the_runner(), claimed.queues, max_jobs => claimed.max_jobs, skip_jobs => claimed.skip_jobs
  ) with ordinality as job;
$$;

-- Four jobs, a minute apart.
create function pg_temp.four_jobs(queue text)
returns bigint[]
language sql
as $$
  select array_agg(
    soniq.enqueue(
      'j' || n,
      queue => four_jobs.queue,
      scheduled_at => timestamptz '2030-01-01 11:00+00' + n * interval '1 minute'
    )
    order by n
  )
  from generate_series(1, 4) as n;
$$;

-- In force.

select pg_temp.four_jobs('hints a') as jobs \gset
select pg_temp.set_hint((:'jobs'::bigint[])[2], read_ago => '1 second', reading_took => '1 second') \g /dev/null
select is(pg_temp.claimed('{hints a}', max_jobs => 1), 'j3', 'a claim starts above the hint');
select is(pg_temp.last_key('hints a'), (:'jobs'::bigint[])[3], 'and the hint moves on to what it claimed');
select is(pg_temp.claimed('{hints a}'), 'j4', 'the next claim starts there');
select is(pg_temp.claimed('{hints a}'), 'nothing', 'what lies below is not read');
select is(
  pg_temp.last_key('hints a'), (:'jobs'::bigint[])[4],
  'a claim that finds nothing leaves the hint where it was'
);

select pg_temp.set_hint((:'jobs'::bigint[])[4], read_ago => '19 seconds', reading_took => '1 second') \g /dev/null
select is(pg_temp.claimed('{hints a}'), 'nothing', 'nor is it before twenty times the last whole reading has passed');
select pg_temp.set_hint((:'jobs'::bigint[])[4], read_ago => '20 seconds', reading_took => '1 second') \g /dev/null
select is(pg_temp.claimed('{hints a}', max_jobs => 1), 'j1', 'then the whole lane is read again');
select is(pg_temp.last_key('hints a'), null, 'and as that was quick, the hint is forgotten');
select is(pg_temp.claimed('{hints a}'), 'j2', 'no job is lost');

select pg_temp.four_jobs('hints back') as jobs \gset
select pg_temp.claimed('{hints back}') \g /dev/null
select soniq.release((:'jobs'::bigint[])[2], 1) \g /dev/null
select pg_temp.set_hint((:'jobs'::bigint[])[4], read_ago => '1 hour', reading_took => '1 second') \g /dev/null
select is(pg_temp.claimed('{hints back}'), 'j2', 'a job that was released below the hint is found');

-- A whole reading that took long, of which the hint is what it claimed last.

create function pg_temp.remember(job_id bigint, full_share boolean)
returns void
language sql
as $$
  select soniq._remember_scan(
    lane_id => (select min(lane.lane_id) from soniq.lanes as lane where lane.queue = job.queue),
    walked => 1000000,
    whole => true,
    full_share => remember.full_share,
    picked => array[job.ctid]
  )
  from soniq.jobs as job
  where job.id = remember.job_id;
$$;

select pg_temp.remember((:'jobs'::bigint[])[4], full_share => true) \g /dev/null
select is(pg_temp.last_key('hints back'), (:'jobs'::bigint[])[4], 'a reading that took long leaves a hint');
select is(
  (current_setting(pg_temp.hint_name('hints back'))::bigint[])[5:6], '{0,0}',
  'and as none was the last a tenth of a second ago, the lane is read whole again while it is not found full'
);
select pg_temp.remember((:'jobs'::bigint[])[2], full_share => false) \g /dev/null
select is(
  pg_temp.last_key('hints back'), (:'jobs'::bigint[])[4],
  'and where it found less than it asked for, the hint does not go back'
);
select pg_temp.remember((:'jobs'::bigint[])[2], full_share => true) \g /dev/null
select is(
  pg_temp.last_key('hints back'), (:'jobs'::bigint[])[2],
  'where it found as much, more may lie above, and it does'
);

-- What commits late lies a little below the key that was claimed last.

select pg_temp.four_jobs('hints late') as jobs \gset
select pg_temp.set_hint(
  (:'jobs'::bigint[])[4], read_ago => '1 second', reading_took => '1 second', earlier => (:'jobs'::bigint[])[2],
  full_share => true
) \g /dev/null
select is(pg_temp.claimed('{hints late}'), 'nothing', 'a claim that left more above starts at the last key');
select pg_temp.set_hint(
  (:'jobs'::bigint[])[4], read_ago => '1 second', reading_took => '1 second', earlier => (:'jobs'::bigint[])[2]
) \g /dev/null
select is(pg_temp.claimed('{hints late}'), 'j3 j4', 'one that left nothing starts at an earlier one');
select is(
  pg_temp.last_key('hints late'), (:'jobs'::bigint[])[4], 'and the last key does not go back to what came late'
);

select pg_temp.four_jobs('hints kept') as jobs \gset
select pg_temp.set_hint(
  (:'jobs'::bigint[])[3], read_ago => '1 second', reading_took => '1 second', earlier => (:'jobs'::bigint[])[1],
  newer => (:'jobs'::bigint[])[2], kept_ago => '0'
) \g /dev/null
select is(pg_temp.claimed('{hints kept}', max_jobs => 1), 'j2', 'it goes on to start at the same');
select is(
  (current_setting(pg_temp.hint_name('hints kept'))::bigint[])[6], (:'jobs'::bigint[])[1],
  'until another was the last a tenth of a second ago'
);
select pg_temp.set_hint(
  (:'jobs'::bigint[])[3], read_ago => '1 second', reading_took => '1 second', earlier => (:'jobs'::bigint[])[1],
  newer => (:'jobs'::bigint[])[2], kept_ago => '100 milliseconds'
) \g /dev/null
select is(pg_temp.claimed('{hints kept}'), 'j3 j4', 'a claim that finds all there is');
select is(
  (current_setting(pg_temp.hint_name('hints kept'))::bigint[])[6:8],
  array[(:'jobs'::bigint[])[2], extract(epoch from job.scheduled_at) * 1000000, job.id]::bigint[],
  'puts that in its place, and keeps its own last for later'
)
from soniq.get_job((:'jobs'::bigint[])[4]) as job;

-- The server's clock is set back.

select pg_temp.four_jobs('hints clock') as jobs \gset
select pg_temp.set_hint((:'jobs'::bigint[])[4], read_ago => '-1 hour', reading_took => '1 second') \g /dev/null
select is(pg_temp.claimed('{hints clock}', max_jobs => 1), 'j1', 'a hint of the future is not in force');
select set_config('soniq.priorities_rest_until', (soniq._microseconds(clock_timestamp()) + 3600000000)::text, true) \g /dev/null
select isnt(soniq._last_empty_priority('1000'), '1000', 'nor is a rest that ends in more than a minute');

-- A job of long ago.

select pg_temp.four_jobs('hints epoch') as jobs \gset
select soniq.enqueue('j0', queue => 'hints epoch', scheduled_at => '1969-01-01 00:00+00') \g /dev/null
select pg_temp.set_hint((:'jobs'::bigint[])[4], read_ago => '1 second', reading_took => '1 second') \g /dev/null
select set_config(
  pg_temp.hint_name('hints epoch'),
  (hint.value[1:4] || '{0,0}'::bigint[] || hint.value[7:10])::text,
  true
)
from (select current_setting(pg_temp.hint_name('hints epoch'))::bigint[] as value) as hint \g /dev/null
select is(pg_temp.claimed('{hints epoch}', max_jobs => 1), 'j0', 'where there is no earlier key, the very first is found');

-- Not in force.

select pg_temp.four_jobs('hints b') as jobs \gset
select pg_temp.set_hint((:'jobs'::bigint[])[2], read_ago => '0', reading_took => '0') \g /dev/null
select is(pg_temp.claimed('{hints b}', max_jobs => 1), 'j1', 'where a whole reading is cheap, the hint is not used');
select set_config(pg_temp.hint_name('hints b'), '', true) \g /dev/null
select is(pg_temp.claimed('{hints b}', max_jobs => 1), 'j2', 'nor where there is none');

-- Jobs that are skipped lie below what is claimed, so a claim that skips leaves no hint.

select pg_temp.four_jobs('hints skip') as jobs \gset
select is(pg_temp.claimed('{hints skip}', max_jobs => 1, skip_jobs => '{j1}'), 'j2', 'a claim that skips a job');
select is(current_setting(pg_temp.hint_name('hints skip'), true), null, 'leaves no hint');
select pg_temp.set_hint((:'jobs'::bigint[])[3], read_ago => '1 second', reading_took => '1 second') \g /dev/null
select is(pg_temp.claimed('{hints skip}', skip_jobs => '{j1}'), 'j4', 'but keeps to the one there is');
select is(pg_temp.last_key('hints skip'), (:'jobs'::bigint[])[3], 'which it leaves alone');

-- Two queues of one priority.

select pg_temp.four_jobs('hints left') as left_jobs, pg_temp.four_jobs('hints right') as right_jobs \gset
select pg_temp.set_hint((:'left_jobs'::bigint[])[3], read_ago => '1 second', reading_took => '1 second') \g /dev/null
select is(
  pg_temp.claimed('{hints left,hints right}', max_jobs => 4), 'j1 j2 j3 j4',
  'each queue has a hint of its own: the oldest of what lies above both,'
);
select is(
  (
    select array_agg(job.id order by job.id)
    from soniq.jobs as job
    where job.queue in ('hints left', 'hints right')
      and job.status = 'queued'
  ),
  (:'left_jobs'::bigint[])[1:3] || (:'right_jobs'::bigint[])[4:4],
  'which is not j1 to j3 of the left'
);
select pg_temp.set_hint((:'left_jobs'::bigint[])[4], read_ago => '1 hour', reading_took => '1 second') \g /dev/null
select is(pg_temp.claimed('{hints left,hints right}'), 'j1 j2 j3 j4', 'and the others when the hint is due');

-- Priorities that have no jobs are passed over in one step, unless that takes long.

create function pg_temp.job_of_priority(priority integer, delay interval default null)
returns bigint
language sql
as $$
  select soniq.enqueue(
    'p' || job_of_priority.priority, queue => 'hints levels', priority => job_of_priority.priority,
    delay => job_of_priority.delay
  );
$$;

select pg_temp.job_of_priority(n) from generate_series(100, 900, 100) as n \g /dev/null
select pg_temp.claimed(null, max_jobs => 1000) \g /dev/null
select pg_temp.job_of_priority(400, delay => '1 minute'), pg_temp.job_of_priority(800) \g /dev/null
select is(
  array[soniq._last_empty_priority('100'), soniq._last_empty_priority('399'), soniq._last_empty_priority('400')],
  '{399,399,799}'::smallint[],
  'up to the next priority that has jobs for now or later there are none'
);
select is(soniq._last_empty_priority('800'), null, 'nor are there any behind the last that has');
select is(pg_temp.claimed('{hints levels}'), 'p800', 'a claim goes on to it');
select is(pg_temp.claimed('{hints levels}'), 'nothing', 'and does not hand out what is for later');

-- Where several lanes of the first priority had nothing, the next claim asks the index before it looks into them.

create function pg_temp.first_jobs(name text)
returns setof bigint
language sql
as $$
  select soniq.enqueue(first_jobs.name, queue => queue, priority => 0)
  from unnest(array['hints first', 'hints second']) as queue;
$$;

delete from soniq.jobs where priority = 100;
select pg_temp.first_jobs('f1') \g /dev/null
select is(pg_temp.claimed('{hints first,hints second}', max_jobs => 2), 'f1 f1', 'both of them');
select is(soniq._first_passed(), '-1'::smallint, 'a claim begins with the first priority,');
select pg_temp.job_of_priority(800) \g /dev/null
select is(pg_temp.claimed('{hints first,hints second,hints levels}', max_jobs => 1), 'p800', 'goes on to another,');
select is(soniq._first_passed(), '399'::smallint, 'and the next claim with those after it,');
select pg_temp.job_of_priority(800) \g /dev/null
select pg_temp.first_jobs('f2') \g /dev/null
select is(
  pg_temp.claimed('{hints first,hints second,hints levels}'), 'f2 f2 p800', 'which does not pass over what is new'
);
select is(soniq._first_passed(), '-1'::smallint, 'and so is forgotten');

-- Two queues that are read in one go, which took long.

create or replace function soniq._walked(started_at timestamptz, read_before bigint, jobs integer)
returns bigint
language sql
volatile
as $$
  select bigint '1000000';
$$;

select pg_temp.four_jobs('hints slow') as left_jobs, pg_temp.four_jobs('hints slower') as right_jobs \gset
select is(pg_temp.claimed('{hints slow,hints slower}', max_jobs => 2), 'j1 j1', 'the oldest of both');
select is(
  array[pg_temp.last_key('hints slow'), pg_temp.last_key('hints slower')],
  array[(:'left_jobs'::bigint[])[1], (:'right_jobs'::bigint[])[1]],
  'and each has a hint of its own'
);
select is(pg_temp.claimed('{hints slow,hints slower}', max_jobs => 3), 'j2 j2 j3', 'above which it is read from then on');

select set_config('soniq.priorities_rest_until', '', true) \g /dev/null
select is(soniq._last_empty_priority('400'), null, 'where passing over priorities took long');
select is(soniq._last_empty_priority('400'), '400'::smallint, 'they are read one by one for a while');

-- Two claims of the same jobs in the same moment: what the other is taking is skipped, not what lies behind.

create or replace function soniq._fair_share(
  lane_queues text[], priority smallint, starts_at timestamptz[], start_ids bigint[], max_jobs integer, skip_jobs text[],
  as_of timestamptz
)
returns table (place tid, lane integer)
language sql
as $$
  select job.ctid, array_position(_fair_share.lane_queues, job.queue)
  from soniq.jobs as job
  where job.queue = any (_fair_share.lane_queues)
    and job.job_name in ('j1', 'j2')
  order by job.id
  limit _fair_share.max_jobs;
$$;

select pg_temp.four_jobs('hints mine'), pg_temp.four_jobs('hints others') \g /dev/null
select is(
  pg_temp.claimed('{hints mine,hints others}', max_jobs => 4), 'j1 j1 j2 j2', 'jobs that nobody is taking are taken'
);
select is(
  pg_temp.claimed('{hints mine,hints others}', max_jobs => 4), 'j3 j3 j4 j4',
  'in the place of those that are being taken, as many of each lane'
);
select is(pg_temp.claimed('{hints mine,hints others}', max_jobs => 4), 'nothing', 'until there are none');

select * from finish();
rollback;
