-- Deploy soniq:job_types to pg

begin;

create table if not exists soniq.job_types (
  job_name text collate "C" primary key,
  queue text,
  priority smallint check (priority between 0 and 1000),
  max_attempts integer check (max_attempts between 1 and 1000),
  timeout interval check (timeout >= '0'),
  retry_delays interval[],
  backoff text check (backoff in ('fixed', 'exponential')),
  max_retry_delay interval check (max_retry_delay >= '0'),
  retention interval check (retention >= '0'),
  secret_args text[],
  registered_at timestamptz not null
);

-- What a completion reads: nothing, where no type has a retention of its own.
create index if not exists job_types_retention on soniq.job_types (job_name) include (retention)
where retention is not null;

comment on table soniq.job_types is
  'What handlers declare about their jobs, so that an enqueue from any language gets the same policy. NULL leaves a matter to the queue, then to soniq.settings. Written by register_job_type().';
comment on column soniq.job_types.job_name is 'The name that producers enqueue and runners look up.';
comment on column soniq.job_types.queue is 'Where these jobs wait.';
comment on column soniq.job_types.priority is '0 runs first, 1000 last.';
comment on column soniq.job_types.max_attempts is 'How often a job is tried before it becomes a dead letter.';
comment on column soniq.job_types.timeout is 'How long one attempt may take; 0 is no limit.';
comment on column soniq.job_types.retry_delays is
  'The wait before the first, second, ... retry; the last entry repeats.';
comment on column soniq.job_types.backoff is
  'fixed takes retry_delays as they are; exponential doubles the only one at each failure, with jitter.';
comment on column soniq.job_types.max_retry_delay is 'No exponential wait is longer than this.';
comment on column soniq.job_types.retention is 'How long a finished job is kept; 0 is not at all.';
comment on column soniq.job_types.secret_args is
  'Arguments that only the handler is to see; to others they are shown as ***.';
comment on column soniq.job_types.registered_at is 'When this policy was last changed.';

commit;
