-- Deploy soniq:schedules to pg

begin;

create table if not exists soniq.schedules (
  name text collate "C" primary key,
  job_name text not null,
  cron text,
  every interval check (every >= '1 second'),
  timezone text not null default 'UTC',
  args jsonb not null default '{}' check (pg_catalog.jsonb_typeof(args) = 'object'),
  queue text,
  priority smallint check (priority between 0 and 1000),
  max_attempts integer check (max_attempts between 1 and 1000),
  timeout interval check (timeout >= '0'),
  missed_runs text not null default 'skip' check (missed_runs in ('skip', 'run_once', 'run_all')),
  max_missed_runs integer not null default 100 check (max_missed_runs between 1 and 1000),
  allow_overlap boolean not null default true,
  paused boolean not null default false,
  next_run_at timestamptz,
  last_due_at timestamptz,
  last_job_id bigint,
  source text,
  tenant text collate "C",
  created_at timestamptz not null,
  registered_at timestamptz not null,
  constraint schedules_either_cron_or_every check ((cron is null) <> (every is null))
);

create index if not exists schedules_due on soniq.schedules (next_run_at)
where not paused;

comment on table soniq.schedules is
  'Periodic jobs. Written by schedule(), unschedule(), pause_schedule() and resume_schedule(); tick() enqueues what is due and moves next_run_at, in one transaction.';
comment on column soniq.schedules.name is 'The schedule''s name.';
comment on column soniq.schedules.job_name is 'What it enqueues.';
comment on column soniq.schedules.cron is 'When, as a cron expression; or every.';
comment on column soniq.schedules.every is 'When, as an interval between runs; or cron.';
comment on column soniq.schedules.timezone is 'In whose local time the cron expression is read: an IANA name.';
comment on column soniq.schedules.args is 'The handler''s arguments.';
comment on column soniq.schedules.queue is 'Where its jobs wait; NULL leaves it to the job type, as for enqueue().';
comment on column soniq.schedules.priority is '0 runs first, 1000 last; NULL leaves it to the job type.';
comment on column soniq.schedules.max_attempts is 'How often each job is tried; NULL leaves it to the job type.';
comment on column soniq.schedules.timeout is
  'How long one attempt may take, 0 is no limit; NULL leaves it to the job type.';
comment on column soniq.schedules.missed_runs is
  'What becomes of runs missed while nothing ticked: skip, run_once or run_all.';
comment on column soniq.schedules.max_missed_runs is
  'run_all makes up for so many missed runs, the oldest first, and skips the others.';
comment on column soniq.schedules.allow_overlap is
  'False: no new job while the last one is queued or processing.';
comment on column soniq.schedules.paused is 'Paused: nothing is enqueued, and nothing counts as missed.';
comment on column soniq.schedules.next_run_at is 'When it is due next; NULL if never again.';
comment on column soniq.schedules.last_due_at is 'The due time of the job it enqueued last.';
comment on column soniq.schedules.last_job_id is 'The job it enqueued last.';
comment on column soniq.schedules.source is
  'Whose code registered it; NULL for one made by hand, which prune_schedules() never touches.';
comment on column soniq.schedules.tenant is 'Whose its jobs are; NULL is nobody''s in particular.';
comment on column soniq.schedules.created_at is 'When it was first registered; runs of every are counted from here.';
comment on column soniq.schedules.registered_at is 'When its definition was last changed.';

commit;
