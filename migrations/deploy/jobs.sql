-- Deploy soniq:jobs to pg

begin;

do $$
begin
  create type soniq.job_status as enum ('queued', 'processing', 'done', 'cancelled', 'dead_letter');
exception
  when duplicate_object then null; -- a second run of this script
end;
$$;

-- What indexes are ordered by is collated as bytes, here and in the other tables: that is quickest, and an index
-- in the order of a language is broken when the operating system learns that language better.

-- Every job that has not ended is here and nothing else, so the table stays small whatever the
-- history. Each row is written at most three times in its life: enqueued, claimed, removed. Vacuum
-- comes early because what is left behind lies on the path of the next claim.
create table if not exists soniq.jobs (
  id bigint generated always as identity primary key,
  job_name text collate "C" not null,
  queue text collate "C" not null,
  priority smallint not null check (priority between 0 and 1000),
  status soniq.job_status not null default 'queued' check (status in ('queued', 'processing')),
  args jsonb not null check (pg_catalog.jsonb_typeof(args) = 'object'),
  scheduled_at timestamptz not null,
  enqueued_at timestamptz not null,
  attempt integer not null default 0,
  max_attempts integer not null,
  timeout interval not null check (timeout >= '0'),
  dedup_key text collate "C",
  headers jsonb check (pg_catalog.jsonb_typeof(headers) = 'object'),
  tenant text collate "C",
  runner_id bigint,
  claimed_at timestamptz,
  deadline timestamptz,
  failed_at timestamptz,
  errors jsonb not null default '[]',
  replay_of bigint,
  schedule text,
  due_at timestamptz,
  constraint jobs_attempt_in_range check (attempt between 0 and max_attempts),
  constraint jobs_lease_is_whole check (
    (status = 'processing') = (runner_id is not null)
    and (status = 'processing') = (claimed_at is not null)
  )
)
with (
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_insert_scale_factor = 0.2,
  autovacuum_analyze_scale_factor = 0.1
);

-- A claim reads one contiguous range of this index: a priority, a queue, up to now. It sees from it, too, which is
-- the next priority that has any job.
create index if not exists jobs_ready on soniq.jobs (priority, queue, scheduled_at, id)
where status = 'queued';

create unique index if not exists jobs_dedup_key on soniq.jobs (dedup_key, coalesce(tenant, ''))
where status = 'queued' and dedup_key is not null;

-- Overdue leases, and by its predicate the whole of what is being processed.
create index if not exists jobs_leased on soniq.jobs (deadline)
where status = 'processing';

comment on type soniq.job_status is
  'queued (now or later) and processing are live; done, cancelled and dead_letter are ends.';
comment on table soniq.jobs is
  'Live jobs only: queued (now or later) and processing. A job that ends moves to finished_jobs or dead_letter_jobs.';
comment on column soniq.jobs.id is 'The job''s number, kept when it moves to another table.';
comment on column soniq.jobs.job_name is 'Which handler runs it.';
comment on column soniq.jobs.queue is 'Where it waits.';
comment on column soniq.jobs.priority is '0 runs first, 1000 last.';
comment on column soniq.jobs.status is 'queued or processing.';
comment on column soniq.jobs.args is 'A JSON object: the handler''s arguments by name.';
comment on column soniq.jobs.scheduled_at is 'Not handed out before this time; the order among equals.';
comment on column soniq.jobs.enqueued_at is 'When it was added.';
comment on column soniq.jobs.attempt is
  'How often it was claimed. With the id it is the lease, and it only grows: a fence against runners that come back late.';
comment on column soniq.jobs.max_attempts is
  'The attempt after which a failure is final. Snoozing and releasing raise it by one, since neither spends an attempt.';
comment on column soniq.jobs.timeout is 'How long one attempt may take; 0 is no limit.';
comment on column soniq.jobs.dedup_key is 'No two queued jobs of a tenant share one.';
comment on column soniq.jobs.headers is
  'What travels with the job beside its arguments, such as a trace''s context; a JSON object, NULL for none.';
comment on column soniq.jobs.tenant is 'Whose job it is, where tenants share one Soniq; NULL is nobody''s in particular.';
comment on column soniq.jobs.runner_id is 'Who holds the lease.';
comment on column soniq.jobs.claimed_at is 'When the current attempt began.';
comment on column soniq.jobs.deadline is 'When the current attempt has to be over; NULL without a timeout.';
comment on column soniq.jobs.failed_at is 'When an attempt failed last.';
comment on column soniq.jobs.errors is
  'One entry for each failed attempt: attempt, type, message, traceback, reason, runner, started_at, failed_at.';
comment on column soniq.jobs.replay_of is 'The dead letter that this job replays.';
comment on column soniq.jobs.schedule is 'The schedule that enqueued it.';
comment on column soniq.jobs.due_at is
  'The time for which its schedule enqueued it; stays what it is when the job is retried.';

commit;
