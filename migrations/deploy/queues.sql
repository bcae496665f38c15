-- Deploy soniq:queues to pg

begin;

create table if not exists soniq.queues (
  queue text collate "C" primary key,
  paused boolean not null default false,
  priority smallint check (priority between 0 and 1000),
  max_attempts integer check (max_attempts between 1 and 1000),
  timeout interval check (timeout >= '0'),
  retention interval check (retention >= '0'),
  max_depth integer check (max_depth between 1 and 1000000)
);

-- What a completion reads: nothing, where no queue has a retention of its own.
create index if not exists queues_retention on soniq.queues (queue) include (retention)
where retention is not null;

comment on table soniq.queues is
  'Queues that are paused or have defaults of their own; a queue needs no row here to be used. Written by configure_queue(), pause_queue() and resume_queue().';
comment on column soniq.queues.queue is 'The queue''s name.';
comment on column soniq.queues.paused is 'Paused: jobs are taken in but not handed out.';
comment on column soniq.queues.priority is 'For jobs whose type sets none; 0 runs first, 1000 last.';
comment on column soniq.queues.max_attempts is 'For jobs whose type sets none.';
comment on column soniq.queues.timeout is 'For jobs whose type sets none; 0 is no limit.';
comment on column soniq.queues.retention is
  'How long its finished jobs are kept when their type does not say; 0 is not at all.';
comment on column soniq.queues.max_depth is 'How many jobs may wait in it; NULL is no limit.';

commit;
