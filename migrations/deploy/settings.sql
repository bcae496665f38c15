-- Deploy soniq:settings to pg

begin;

create table if not exists soniq.settings (
  only_row boolean primary key default true check (only_row),
  max_args_bytes integer not null default 1048576 check (max_args_bytes > 0),
  default_queue text not null default 'default',
  default_priority smallint not null default 100 check (default_priority between 0 and 1000),
  default_max_attempts integer not null default 10 check (default_max_attempts between 1 and 1000),
  default_timeout interval not null default '5 minutes' check (default_timeout >= '0'),
  default_retry_delays interval[] not null default '{5 seconds}',
  default_backoff text not null default 'exponential' check (default_backoff in ('fixed', 'exponential')),
  default_max_retry_delay interval not null default '1 hour' check (default_max_retry_delay >= '0'),
  lease_grace interval not null default '30 seconds' check (lease_grace >= '0'),
  retention interval not null default '7 days' check (retention between '0' and '100 years'),
  history_retention interval not null default '35 days' check (history_retention between '2 hours' and '100 years'),
  schedule_tolerance interval not null default '1 minute' check (schedule_tolerance >= '0'),
  max_error_message_chars integer not null default 4000 check (max_error_message_chars > 0),
  max_traceback_chars integer not null default 16000 check (max_traceback_chars > 0)
);

insert into soniq.settings (only_row)
values (true)
on conflict (only_row) do nothing;

comment on table soniq.settings is
  'Soniq''s defaults and limits: one row, changed with a plain UPDATE, in force from the next call.';
comment on column soniq.settings.only_row is 'Keeps the table at one row.';
comment on column soniq.settings.max_args_bytes is
  'The largest args that enqueue() takes, in bytes of its JSON text.';
comment on column soniq.settings.default_queue is
  'The queue of a job when neither the call nor its job type names one.';
comment on column soniq.settings.default_priority is
  'The priority when nothing else sets one: 0 runs first, 1000 last.';
comment on column soniq.settings.default_max_attempts is
  'How often a job is tried when nothing else says.';
comment on column soniq.settings.default_timeout is
  'How long one attempt may take when nothing else says; 0 is no limit.';
comment on column soniq.settings.default_retry_delays is
  'The wait before each retry when the job type has none; the last entry repeats.';
comment on column soniq.settings.default_backoff is
  'fixed takes the delays as they are; exponential doubles the first one at each failure.';
comment on column soniq.settings.default_max_retry_delay is 'No exponential wait is longer than this.';
comment on column soniq.settings.lease_grace is
  'How long past its deadline a job is left to a runner that is alive but does not report it.';
comment on column soniq.settings.retention is
  'How long a finished job is kept when neither its type nor its queue says; 0 is not at all.';
comment on column soniq.settings.history_retention is
  'How long history() reaches back by the hour.';
comment on column soniq.settings.schedule_tolerance is
  'A periodic run this much behind its time is late and still takes place; later than that, it counts as missed.';
comment on column soniq.settings.max_error_message_chars is
  'Longer error messages are cut when an attempt is recorded.';
comment on column soniq.settings.max_traceback_chars is
  'Longer tracebacks lose their beginning when an attempt is recorded: the end names the failure.';

commit;
