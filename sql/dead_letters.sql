-- Dead letters: jobs given up. They are replayed once their cause is mended, deleted, or pruned by age.

create or replace view soniq.dead_letters as
select
  letter.id,
  letter.job_name,
  letter.queue,
  letter.priority,
  soniq._shown_args(job_name => letter.job_name, args => letter.args) as args,
  letter.scheduled_at,
  letter.enqueued_at,
  letter.attempt,
  letter.max_attempts,
  letter.timeout,
  letter.dedup_key,
  letter.headers,
  letter.runner_id,
  letter.claimed_at,
  letter.errors,
  letter.replay_of,
  letter.schedule,
  letter.due_at,
  letter.reason,
  letter.dead_at,
  letter.replay_count,
  letter.last_replayed_at,
  letter.tenant,
  letter.error_type,
  letter.error_pattern
from soniq.dead_letter_jobs as letter;

comment on view soniq.dead_letters is
'Dead letters, for looking: soniq.dead_letter_jobs, with *** in the place of args that their job type declares as secret.';

-- What they died of. Each is one look away from its page; what all died of takes reading them, so of many the latest tell.
create or replace function soniq._group_letters(most integer)
returns table (
  job_name text,
  error_type text,
  error_pattern text,
  letters bigint,
  first_at timestamptz,
  last_at timestamptz,
  latest_id bigint,
  is_partial boolean
)
language sql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
  select
    letter.job_name,
    letter.error_type,
    letter.error_pattern,
    pg_catalog.count(*),
    min(letter.dead_at),
    max(letter.dead_at),
    max(letter.id),
    pg_catalog.bool_or(letter.read = _group_letters.most) or pg_catalog.count(*) over () > 100
  from (
    select latest.*, pg_catalog.count(*) over () as read
    from (
      select waiting.job_name, waiting.error_type, waiting.error_pattern, waiting.dead_at, waiting.id
      from soniq.dead_letter_jobs as waiting
      where waiting.replay_count = 0
      order by waiting.dead_at desc
      limit _group_letters.most
    ) as latest
  ) as letter
  group by letter.job_name, letter.error_type, letter.error_pattern
  order by pg_catalog.count(*) desc, max(letter.dead_at) desc
  limit 100;
$$;

comment on function soniq._group_letters(integer) is
'The dead letters not replayed, by what they died of: the hundred largest groups of the latest so many.';

create or replace function soniq._dead_letter_groups()
returns table (
  job_name text,
  error_type text,
  error_pattern text,
  letters bigint,
  first_at timestamptz,
  last_at timestamptz,
  latest_id bigint,
  is_partial boolean,
  count_age interval
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  tally soniq.tallies;
begin
  -- A tenant's own were not counted apart.
  if soniq._bound_tenant() is not null or soniq._pages(relation => 'soniq.dead_letter_jobs') <= 100 then
    return query
    select own.*, interval '0'
    from soniq._group_letters(most => 1000) as own;
    return;
  end if;

  tally := soniq._latest_tally();
  return query
  select each.*, greatest(soniq.clock() - tally.taken_at, interval '0')
  from pg_catalog.jsonb_to_recordset(tally.letters) as each (
    job_name text,
    error_type text,
    error_pattern text,
    letters bigint,
    first_at timestamptz,
    last_at timestamptz,
    latest_id bigint,
    is_partial boolean
  );
end;
$$;

comment on function soniq._dead_letter_groups() is
'What the view dead_letter_groups shows.';

create or replace view soniq.dead_letter_groups as
select *
from soniq._dead_letter_groups();

comment on view soniq.dead_letter_groups is
'What the dead letters died of that were not replayed, the most frequent first: by job name, and by type and pattern of the last error. As of now while the table has at most 100 pages, of the latest 1,000; beyond, as tick() counted the latest 20,000.';
comment on column soniq.dead_letter_groups.job_name is 'Which job.';
comment on column soniq.dead_letter_groups.error_type is 'The type of the last error; empty if it told none.';
comment on column soniq.dead_letter_groups.error_pattern is
  'The beginning of its message, in one line, with # for UUIDs, hexadecimal addresses and what has four digits in a row, so that messages that differ in an id are one; empty if it told none.';
comment on column soniq.dead_letter_groups.letters is 'How many.';
comment on column soniq.dead_letter_groups.first_at is 'When the first of them was given up.';
comment on column soniq.dead_letter_groups.last_at is 'When the last of them was.';
comment on column soniq.dead_letter_groups.latest_id is 'The highest id among them.';
comment on column soniq.dead_letter_groups.is_partial is 'True where there are more dead letters than were looked at, or more groups than the hundred largest.';
comment on column soniq.dead_letter_groups.count_age is 'How long ago they were counted; 0 if just now.';

-- Declared immutable and of one expression, so that the planner puts it in place of the call, and finds the indexes.
create or replace function soniq._is_selected(
  letter soniq.dead_letter_jobs,
  ids bigint[],
  job_name text,
  queue text,
  since timestamptz,
  before timestamptz,
  error_type text,
  error_pattern text,
  after_id bigint,
  only_waiting boolean
)
returns boolean
language sql
immutable
parallel safe
as $$
  select (_is_selected.ids is null or (_is_selected.letter).id = any (_is_selected.ids))
    and (_is_selected.job_name is null or (_is_selected.letter).job_name = _is_selected.job_name)
    and (_is_selected.queue is null or (_is_selected.letter).queue = _is_selected.queue)
    and (_is_selected.since is null or (_is_selected.letter).dead_at >= _is_selected.since)
    and (_is_selected.before is null or (_is_selected.letter).dead_at < _is_selected.before)
    and (_is_selected.error_type is null or (_is_selected.letter).error_type = _is_selected.error_type)
    and (_is_selected.error_pattern is null or (_is_selected.letter).error_pattern = _is_selected.error_pattern)
    and (_is_selected.after_id is null or (_is_selected.letter).id > _is_selected.after_id)
    and (not _is_selected.only_waiting or (_is_selected.letter).replay_count = 0);
$$;

comment on function soniq._is_selected(
  soniq.dead_letter_jobs, bigint[], text, text, timestamptz, timestamptz, text, text, bigint, boolean
) is
'Whether a dead letter matches all that is given, and, where only_waiting, was never replayed.';

create or replace function soniq._selected_letters(
  ids bigint[],
  job_name text,
  queue text,
  since timestamptz,
  before timestamptz,
  error_type text,
  error_pattern text,
  max_letters integer,
  after_id bigint,
  only_waiting boolean
)
returns setof soniq.dead_letter_jobs
language sql
stable
as $$
  select letter.*
  from soniq.dead_letter_jobs as letter
  where soniq._is_selected(
      letter => letter,
      ids => _selected_letters.ids,
      job_name => _selected_letters.job_name,
      queue => _selected_letters.queue,
      since => _selected_letters.since,
      before => _selected_letters.before,
      error_type => _selected_letters.error_type,
      error_pattern => _selected_letters.error_pattern,
      after_id => _selected_letters.after_id,
      only_waiting => _selected_letters.only_waiting
    )
  order by letter.id
  limit _selected_letters.max_letters;
$$;

comment on function soniq._selected_letters(
  bigint[], text, text, timestamptz, timestamptz, text, text, integer, bigint, boolean
) is
'The dead letters that are selected, the lowest ids first.';

-- Under the lock a letter is looked at again: what another session has just replayed is passed over for the next.
create or replace function soniq._lock_letters(
  ids bigint[],
  job_name text,
  queue text,
  since timestamptz,
  before timestamptz,
  error_type text,
  error_pattern text,
  max_letters integer,
  after_id bigint,
  only_waiting boolean
)
returns bigint[]
language plpgsql
volatile
as $$
#variable_conflict use_column
begin
  return array(
    select letter.id
    from soniq.dead_letter_jobs as letter
    where soniq._is_selected(
        letter => letter,
        ids => _lock_letters.ids,
        job_name => _lock_letters.job_name,
        queue => _lock_letters.queue,
        since => _lock_letters.since,
        before => _lock_letters.before,
        error_type => _lock_letters.error_type,
        error_pattern => _lock_letters.error_pattern,
        after_id => _lock_letters.after_id,
        only_waiting => _lock_letters.only_waiting
      )
    order by letter.id
    limit _lock_letters.max_letters
    for update
  );
end;
$$;

comment on function soniq._lock_letters(
  bigint[], text, text, timestamptz, timestamptz, text, text, integer, bigint, boolean
) is
'Locks the dead letters that are selected, and answers with their ids, the lowest first.';

-- Each call is planned for what it is given: a plan for any selection would read all letters for each batch.
create or replace function soniq.replay_dead_letters(
  ids bigint[] default null,
  job_name text default null,
  queue text default null,
  since timestamptz default null,
  before timestamptz default null,
  error_type text default null,
  error_pattern text default null,
  everything boolean default false,
  max_letters integer default null,
  after_id bigint default null,
  dry_run boolean default false
)
returns setof soniq.replayed_job
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  -- Who names a letter means it, also a second time; who names a crowd means those that wait.
  only_waiting constant boolean := replay_dead_letters.ids is null;
  chosen bigint[];
begin
  perform soniq._check_selection(
    ids => replay_dead_letters.ids,
    job_name => replay_dead_letters.job_name,
    queue => replay_dead_letters.queue,
    since => replay_dead_letters.since,
    before => replay_dead_letters.before,
    error_type => replay_dead_letters.error_type,
    error_pattern => replay_dead_letters.error_pattern,
    everything => replay_dead_letters.everything,
    max_letters => replay_dead_letters.max_letters
  );

  if replay_dead_letters.dry_run then
    return query
    select letter.id, letter.job_name, letter.queue, null::bigint
    from soniq._selected_letters(
      ids => replay_dead_letters.ids,
      job_name => replay_dead_letters.job_name,
      queue => replay_dead_letters.queue,
      since => replay_dead_letters.since,
      before => replay_dead_letters.before,
      error_type => replay_dead_letters.error_type,
      error_pattern => replay_dead_letters.error_pattern,
      max_letters => replay_dead_letters.max_letters,
      after_id => replay_dead_letters.after_id,
      only_waiting => only_waiting
    ) as letter;
    return;
  end if;

  chosen := soniq._lock_letters(
    ids => replay_dead_letters.ids,
    job_name => replay_dead_letters.job_name,
    queue => replay_dead_letters.queue,
    since => replay_dead_letters.since,
    before => replay_dead_letters.before,
    error_type => replay_dead_letters.error_type,
    error_pattern => replay_dead_letters.error_pattern,
    max_letters => replay_dead_letters.max_letters,
    after_id => replay_dead_letters.after_id,
    only_waiting => only_waiting
  );

  update soniq.dead_letter_jobs as letter
  set replay_count = letter.replay_count + 1,
    last_replayed_at = as_of
  where letter.id = any (chosen);

  perform soniq._open_lane(queue => lane.queue, priority => lane.priority)
  from (
    select distinct letter.queue, letter.priority
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
  ) as lane;

  -- An attempt that was not spent (snoozed or released) left no error and had raised max_attempts by one.
  return query
  with minted as (
    insert into soniq.jobs (
      job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, headers, tenant, replay_of,
      schedule, due_at
    )
    select
      letter.job_name,
      letter.queue,
      letter.priority,
      letter.args,
      as_of,
      as_of,
      letter.max_attempts - (letter.attempt - pg_catalog.jsonb_array_length(letter.errors)),
      letter.timeout,
      letter.headers,
      letter.tenant,
      letter.id,
      letter.schedule,
      letter.due_at
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
    order by letter.id
    returning soniq.jobs.replay_of, soniq.jobs.job_name, soniq.jobs.queue, soniq.jobs.id
  )
  select minted.replay_of, minted.job_name, minted.queue, minted.id
  from minted
  order by minted.replay_of;

  perform soniq._wake(queue => minted.queue, jobs => minted.jobs::integer)
  from (
    select letter.queue, pg_catalog.count(*) as jobs
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
    group by letter.queue
  ) as minted;
end;
$$;

comment on function soniq.replay_dead_letters(
  bigint[], text, text, timestamptz, timestamptz, text, text, boolean, integer, bigint, boolean
) is
'Gives dead letters another life: each becomes a new job, ready at once, with fresh attempts, whose replay_of is the dead letter. The dead letter stays and counts its replays. Answers with each dead letter and the id of its new job, in the order of the letters'' ids.

ids: these, also if they were replayed before. Without ids, only letters not replayed yet, so that a second call does not run jobs twice.
job_name, queue: those of this name or queue.
since, before: those that died at this time or later, and before that one.
error_type, error_pattern: those whose last error was of this type, and of this pattern, as dead_letter_groups tells them. What is given of all these must match together.
everything: every letter not replayed yet.
max_letters: at most so many, those with the lowest ids.
after_id: only those with a higher id; for working in batches, the last that the call before answered with.
dry_run: changes nothing, locks nothing and answers what would be replayed, with a NULL job_id.

Errors: SQ012 max_letters, SQ014 no selection, everything with a filter, or since later than before.';

create or replace function soniq.delete_dead_letters(
  ids bigint[] default null,
  job_name text default null,
  queue text default null,
  since timestamptz default null,
  before timestamptz default null,
  error_type text default null,
  error_pattern text default null,
  everything boolean default false,
  max_letters integer default null,
  after_id bigint default null,
  dry_run boolean default false,
  only_waiting boolean default false
)
returns setof soniq.deleted_letter
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  chosen bigint[];
begin
  perform soniq._check_selection(
    ids => delete_dead_letters.ids,
    job_name => delete_dead_letters.job_name,
    queue => delete_dead_letters.queue,
    since => delete_dead_letters.since,
    before => delete_dead_letters.before,
    error_type => delete_dead_letters.error_type,
    error_pattern => delete_dead_letters.error_pattern,
    everything => delete_dead_letters.everything,
    max_letters => delete_dead_letters.max_letters
  );

  if delete_dead_letters.dry_run then
    return query
    select letter.id, letter.job_name, letter.queue
    from soniq._selected_letters(
      ids => delete_dead_letters.ids,
      job_name => delete_dead_letters.job_name,
      queue => delete_dead_letters.queue,
      since => delete_dead_letters.since,
      before => delete_dead_letters.before,
      error_type => delete_dead_letters.error_type,
      error_pattern => delete_dead_letters.error_pattern,
      max_letters => delete_dead_letters.max_letters,
      after_id => delete_dead_letters.after_id,
      only_waiting => delete_dead_letters.only_waiting is true
    ) as letter;
    return;
  end if;

  chosen := soniq._lock_letters(
    ids => delete_dead_letters.ids,
    job_name => delete_dead_letters.job_name,
    queue => delete_dead_letters.queue,
    since => delete_dead_letters.since,
    before => delete_dead_letters.before,
    error_type => delete_dead_letters.error_type,
    error_pattern => delete_dead_letters.error_pattern,
    max_letters => delete_dead_letters.max_letters,
    after_id => delete_dead_letters.after_id,
    only_waiting => delete_dead_letters.only_waiting is true
  );

  return query
  with gone as (
    delete from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
    returning letter.id, letter.job_name, letter.queue
  )
  select gone.id, gone.job_name, gone.queue
  from gone
  order by gone.id;
end;
$$;

comment on function soniq.delete_dead_letters(
  bigint[], text, text, timestamptz, timestamptz, text, text, boolean, integer, bigint, boolean, boolean
) is
'Deletes dead letters for good, and answers with each, its job name and its queue, in the order of their ids.

ids, job_name, queue: those that match all that is given.
since, before: of these those that died at this time or later, and before that one.
error_type, error_pattern: of these those whose last error was of this type, and of this pattern, as dead_letter_groups tells them.
everything: all of them.
max_letters: at most so many, those with the lowest ids.
after_id: only those with a higher id; for working in batches, the last that the call before answered with.
dry_run: deletes nothing and answers with what would be deleted.
only_waiting: of these those that were not replayed; otherwise those that were, too.

Errors: SQ012 max_letters, SQ014 no selection, everything with a filter, or since later than before.';

create or replace function soniq.prune_dead_letters(
  older_than interval,
  max_letters integer default null,
  dry_run boolean default false
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    soniq._check_given(code => 'SQ006', what => 'older_than', value => prune_dead_letters.older_than::text),
    soniq._check_delay(code => 'SQ006', what => 'older_than', delay => prune_dead_letters.older_than);

  return (
    select pg_catalog.count(*)
    from soniq.delete_dead_letters(
      before => soniq.clock() - prune_dead_letters.older_than,
      max_letters => prune_dead_letters.max_letters,
      dry_run => prune_dead_letters.dry_run
    )
  );
end;
$$;

comment on function soniq.prune_dead_letters(interval, integer, boolean) is
'Deletes the dead letters that died longer ago than this and answers how many.

max_letters: at most so many, those with the lowest ids, so that a first pruning need not be one long transaction.
dry_run: only counts.

Errors: SQ006 older_than, SQ012 max_letters.';
