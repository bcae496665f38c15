-- Deploy soniq:dead_letter_jobs to pg

begin;

create table if not exists soniq.dead_letter_jobs (
  id bigint primary key,
  job_name text collate "C" not null,
  queue text collate "C" not null,
  priority smallint not null,
  args jsonb not null,
  scheduled_at timestamptz not null,
  enqueued_at timestamptz not null,
  attempt integer not null,
  max_attempts integer not null,
  timeout interval not null,
  dedup_key text,
  headers jsonb,
  tenant text collate "C",
  runner_id bigint,
  claimed_at timestamptz,
  errors jsonb not null,
  replay_of bigint,
  schedule text,
  due_at timestamptz,
  reason text not null check (reason in (
    'max_attempts_exceeded', 'permanent_failure', 'unknown_job', 'invalid_arguments', 'timeout', 'runner_lost'
  )),
  dead_at timestamptz not null,
  replay_count integer not null default 0,
  last_replayed_at timestamptz,
  error_type text collate "C" generated always as (
    coalesce(pg_catalog.left(errors -> -1 ->> 'type', 200), '')
  ) stored,
  error_pattern text collate "C" generated always as (coalesce(pg_catalog.left(pg_catalog.regexp_replace(
    pg_catalog.regexp_replace(
      pg_catalog.left(errors -> -1 ->> 'message', 500),
      '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\m0x[0-9a-fA-F]+|\m[0-9a-zA-Z_-]*[0-9]{4}[0-9a-zA-Z_-]*',
      '#',
      'g'
    ),
    '\s+',
    ' ',
    'g'
  ), 200), '')) stored
);

create index if not exists dead_letter_jobs_by_time on soniq.dead_letter_jobs (dead_at);

-- What is counted for each queue, since each waits for somebody to look at it.
create index if not exists dead_letter_jobs_not_replayed on soniq.dead_letter_jobs (queue, id)
where replay_count = 0;

-- The latest of these tell what jobs die of.
create index if not exists dead_letter_jobs_not_replayed_by_time on soniq.dead_letter_jobs (dead_at)
where replay_count = 0;

-- Likewise for a login that sees the letters of one tenant alone.
create index if not exists dead_letter_jobs_of_tenant on soniq.dead_letter_jobs (tenant, dead_at)
where replay_count = 0
  and tenant is not null;

-- Those that died of one thing, the latest first.
create index if not exists dead_letter_jobs_by_error on soniq.dead_letter_jobs (job_name, error_type, error_pattern, id);

do $$
begin
  create type soniq.replayed_job as (dead_letter_id bigint, job_name text, queue text, job_id bigint);
exception
  when duplicate_object then null; -- a second run of this script
end;
$$;

do $$
begin
  create type soniq.deleted_letter as (dead_letter_id bigint, job_name text, queue text);
exception
  when duplicate_object then null; -- a second run of this script
end;
$$;

comment on type soniq.deleted_letter is
  'A dead letter that was deleted, or would be: what delete_dead_letters() answers.';
comment on type soniq.replayed_job is
  'A dead letter that was replayed, or would be, and the new job: what replay_dead_letters() answers.';
comment on table soniq.dead_letter_jobs is
  'Jobs given up, with every attempt''s error. A replay mints a new job; the row stays as the record until it is deleted or pruned.';
comment on column soniq.dead_letter_jobs.id is 'The number it had as a live job.';
comment on column soniq.dead_letter_jobs.job_name is 'Which handler ran it, or was missing.';
comment on column soniq.dead_letter_jobs.queue is 'Where it waited.';
comment on column soniq.dead_letter_jobs.priority is '0 runs first, 1000 last.';
comment on column soniq.dead_letter_jobs.args is 'The handler''s arguments.';
comment on column soniq.dead_letter_jobs.scheduled_at is 'When its last attempt was due.';
comment on column soniq.dead_letter_jobs.enqueued_at is 'When it was added.';
comment on column soniq.dead_letter_jobs.attempt is 'The attempt that ended it.';
comment on column soniq.dead_letter_jobs.max_attempts is 'The attempt after which a failure was final.';
comment on column soniq.dead_letter_jobs.timeout is 'How long one attempt might take; 0 is no limit.';
comment on column soniq.dead_letter_jobs.dedup_key is 'The key it held while it was queued.';
comment on column soniq.dead_letter_jobs.headers is 'What travelled with it beside its arguments.';
comment on column soniq.dead_letter_jobs.tenant is 'Whose job it is, where tenants share one Soniq; NULL is nobody''s in particular.';
comment on column soniq.dead_letter_jobs.runner_id is 'Who held it last.';
comment on column soniq.dead_letter_jobs.claimed_at is 'When the last attempt began.';
comment on column soniq.dead_letter_jobs.errors is
  'One entry for each failed attempt: attempt, type, message, traceback, reason, runner, started_at, failed_at.';
comment on column soniq.dead_letter_jobs.replay_of is 'The dead letter that this job itself replayed.';
comment on column soniq.dead_letter_jobs.schedule is 'The schedule that enqueued it.';
comment on column soniq.dead_letter_jobs.due_at is 'The time for which its schedule enqueued it.';
comment on column soniq.dead_letter_jobs.reason is
  'Why it was given up: max_attempts_exceeded, permanent_failure, unknown_job, invalid_arguments, timeout or runner_lost.';
comment on column soniq.dead_letter_jobs.dead_at is 'When it was given up.';
comment on column soniq.dead_letter_jobs.replay_count is 'How many jobs were minted from it.';
comment on column soniq.dead_letter_jobs.error_type is
  'The type of the last error; empty if it told none.';
comment on column soniq.dead_letter_jobs.error_pattern is
  'The beginning of the last error''s message, in one line, with # for UUIDs, hexadecimal addresses and what has four digits in a row; empty if it told none.';
comment on column soniq.dead_letter_jobs.last_replayed_at is 'When the last of them was.';

commit;
