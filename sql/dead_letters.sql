-- Dead letters: jobs given up. They are replayed once their cause is mended, deleted, or pruned by age.

create or replace function soniq.replay_dead_letters(
  ids bigint[] default null,
  job_name text default null,
  queue text default null,
  everything boolean default false,
  dry_run boolean default false
)
returns setof soniq.replayed_job
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  chosen bigint[];
begin
  perform soniq._check_selection(
    ids => replay_dead_letters.ids,
    job_name => replay_dead_letters.job_name,
    queue => replay_dead_letters.queue,
    everything => replay_dead_letters.everything
  );

  chosen := array(
    select letter.id
    from soniq.dead_letter_jobs as letter
    where (replay_dead_letters.ids is null or letter.id = any (replay_dead_letters.ids))
      and (replay_dead_letters.job_name is null or letter.job_name = replay_dead_letters.job_name)
      and (replay_dead_letters.queue is null or letter.queue = replay_dead_letters.queue)
      and (letter.replay_count = 0 or replay_dead_letters.ids is not null)
    order by letter.id
    for update
  );

  if replay_dead_letters.dry_run then
    return query
    select letter.id, letter.job_name, letter.queue, null::bigint
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
    order by letter.id;
    return;
  end if;

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
      job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, headers, replay_of,
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

  perform soniq._wake(queue => woken.queue)
  from (
    select distinct letter.queue
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
  ) as woken;
end;
$$;

comment on function soniq.replay_dead_letters(bigint[], text, text, boolean, boolean) is
'Gives dead letters another life: each becomes a new job, ready at once, with fresh attempts, whose replay_of is the dead letter. The dead letter stays and counts its replays. Answers with each dead letter and the id of its new job.

ids: these, also if they were replayed before.
job_name, queue: those of this name or queue, together with ids where both are given; only letters not replayed yet, so that a second call does not run jobs twice.
everything: every letter not replayed yet.
dry_run: changes nothing and answers what would be replayed, with a NULL job_id.

Errors: SQ014 no selection, or everything with a filter.';

create or replace function soniq.delete_dead_letters(
  ids bigint[] default null,
  job_name text default null,
  queue text default null,
  everything boolean default false,
  dry_run boolean default false
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  deleted bigint;
begin
  perform soniq._check_selection(
    ids => delete_dead_letters.ids,
    job_name => delete_dead_letters.job_name,
    queue => delete_dead_letters.queue,
    everything => delete_dead_letters.everything
  );

  with chosen as (
    select letter.id
    from soniq.dead_letter_jobs as letter
    where (delete_dead_letters.ids is null or letter.id = any (delete_dead_letters.ids))
      and (delete_dead_letters.job_name is null or letter.job_name = delete_dead_letters.job_name)
      and (delete_dead_letters.queue is null or letter.queue = delete_dead_letters.queue)
  ),
  gone as (
    delete from soniq.dead_letter_jobs as letter
    using chosen
    where letter.id = chosen.id
      and delete_dead_letters.dry_run is not true
  )
  select pg_catalog.count(*)
  into deleted
  from chosen;
  return deleted;
end;
$$;

comment on function soniq.delete_dead_letters(bigint[], text, text, boolean, boolean) is
'Deletes dead letters for good and answers how many.

ids, job_name, queue: those that match all that is given; everything: all of them.
dry_run: only counts.

Errors: SQ014 no selection, or everything with a filter.';

create or replace function soniq.prune_dead_letters(older_than interval, dry_run boolean default false)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  as_of constant timestamptz := soniq.clock();
  pruned bigint;
begin
  perform
    soniq._check_given(code => 'SQ006', what => 'older_than', value => prune_dead_letters.older_than::text),
    soniq._check_delay(code => 'SQ006', what => 'older_than', delay => prune_dead_letters.older_than);

  with chosen as (
    select letter.id
    from soniq.dead_letter_jobs as letter
    where letter.dead_at < as_of - prune_dead_letters.older_than
  ),
  gone as (
    delete from soniq.dead_letter_jobs as letter
    using chosen
    where letter.id = chosen.id
      and prune_dead_letters.dry_run is not true
  )
  select pg_catalog.count(*)
  into pruned
  from chosen;
  return pruned;
end;
$$;

comment on function soniq.prune_dead_letters(interval, boolean) is
'Deletes the dead letters that died longer ago than this and answers how many.

dry_run: only counts.

Errors: SQ006 older_than.';
