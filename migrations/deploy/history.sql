-- Deploy soniq:history to pg

begin;

-- What is of all queues together lies apart, and so on few pages: it is what is asked for most.
create table if not exists soniq.history (
  queue text collate "C" not null,
  span interval not null,
  began_at timestamptz not null,
  done bigint not null,
  cancelled bigint not null,
  failed bigint not null,
  dead bigint not null,
  most_ready bigint not null,
  longest_wait interval not null,
  wait_times bigint[] not null,
  run_times bigint[] not null,
  primary key (queue, span, began_at)
)
partition by list (queue);

-- A row is written once a minute while its span lasts, and finds room for that on its page.
create table if not exists soniq.history_of_all partition of soniq.history
for values in ('')
with (fillfactor = 70);

create table if not exists soniq.history_of_queues partition of soniq.history
default
with (fillfactor = 70);

comment on table soniq.history is
  'What became of jobs, by the minute, by ten and by the hour, for each queue that had any and for all together. Written by tick() once a minute; read by history().';
comment on table soniq.history_of_all is 'What is of all queues together.';
comment on table soniq.history_of_queues is 'What is of each queue.';
comment on column soniq.history.queue is 'The queue; empty for all together.';
comment on column soniq.history.span is '1 minute, 10 minutes or 1 hour.';
comment on column soniq.history.began_at is 'When the span began.';
comment on column soniq.history.done is 'Jobs that were done in it.';
comment on column soniq.history.cancelled is 'Jobs that were cancelled in it.';
comment on column soniq.history.failed is 'Jobs of which an attempt failed in it.';
comment on column soniq.history.dead is 'Jobs that were given up in it.';
comment on column soniq.history.most_ready is 'The most jobs that were ready, of what was counted once a minute.';
comment on column soniq.history.longest_wait is
  'The longest that the oldest ready job had been due, of what was looked at once a minute.';
comment on column soniq.history.wait_times is
  'Of those done, how many waited how long from being due to their last attempt: less than 1 ms, 2 ms, 5 ms, 10 ms and so on up to 10,000 s, and longer.';
comment on column soniq.history.run_times is 'Likewise from their last attempt to their end.';

commit;
