-- Deploy soniq:finished_jobs to pg

begin;

-- One partition for each day (UTC) on which jobs are to be forgotten, made ahead and dropped by tick(): so a queue or a
-- job type may keep its jobs for less than others, and that too is a dropped partition. The default
-- partition takes what no day has been made for, so that nothing is ever refused for want of one.
create table if not exists soniq.finished_jobs (
  id bigint not null,
  job_name text collate "C" not null,
  queue text collate "C" not null,
  priority smallint not null,
  status soniq.job_status not null check (status in ('done', 'cancelled')),
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
  failed_at timestamptz,
  errors jsonb not null,
  replay_of bigint,
  schedule text,
  due_at timestamptz,
  result jsonb,
  finished_at timestamptz not null,
  keep_until timestamptz not null,
  primary key (id, keep_until)
)
partition by range (keep_until);

create table if not exists soniq.finished_jobs_default partition of soniq.finished_jobs default;

comment on table soniq.finished_jobs is
  'Done and cancelled jobs, partitioned by the day on which they are to be forgotten, so that retention drops partitions instead of deleting rows.';
comment on table soniq.finished_jobs_default is 'Finished jobs for which no partition of their own was made.';
comment on column soniq.finished_jobs.id is 'The number it had as a live job.';
comment on column soniq.finished_jobs.job_name is 'Which handler ran it.';
comment on column soniq.finished_jobs.queue is 'Where it waited.';
comment on column soniq.finished_jobs.priority is '0 runs first, 1000 last.';
comment on column soniq.finished_jobs.status is 'done or cancelled.';
comment on column soniq.finished_jobs.args is 'The handler''s arguments.';
comment on column soniq.finished_jobs.scheduled_at is 'When it was due.';
comment on column soniq.finished_jobs.enqueued_at is 'When it was added.';
comment on column soniq.finished_jobs.attempt is 'The attempt that ended it; 0 if it was cancelled before any.';
comment on column soniq.finished_jobs.max_attempts is 'The attempt after which a failure would have been final.';
comment on column soniq.finished_jobs.timeout is 'How long one attempt might take; 0 is no limit.';
comment on column soniq.finished_jobs.dedup_key is 'The key it held while it was queued.';
comment on column soniq.finished_jobs.headers is 'What travelled with it beside its arguments.';
comment on column soniq.finished_jobs.tenant is 'Whose job it is, where tenants share one Soniq; NULL is nobody''s in particular.';
comment on column soniq.finished_jobs.runner_id is 'Who ran it.';
comment on column soniq.finished_jobs.claimed_at is 'When the last attempt began.';
comment on column soniq.finished_jobs.failed_at is 'When an attempt failed last.';
comment on column soniq.finished_jobs.errors is 'One entry for each failed attempt, as in soniq.jobs.';
comment on column soniq.finished_jobs.replay_of is 'The dead letter that this job replayed.';
comment on column soniq.finished_jobs.result is 'What the handler answered; NULL for nothing.';
comment on column soniq.finished_jobs.schedule is 'The schedule that enqueued it.';
comment on column soniq.finished_jobs.due_at is 'The time for which its schedule enqueued it.';
comment on column soniq.finished_jobs.finished_at is 'When it was completed or cancelled.';
comment on column soniq.finished_jobs.keep_until is
  'finished_at plus the retention then in force; the day''s partition is dropped once the day is over.';

commit;
