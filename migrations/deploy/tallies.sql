-- Deploy soniq:tallies to pg

begin;

-- A new row a minute, read whole and never changed: under a transaction that is open for hours, rows written over and over
-- would pile up where they are looked for. Of the time's index only the end is read.
create table if not exists soniq.tallies (
  taken_at timestamptz primary key,
  queues jsonb,
  heads jsonb,
  job_names jsonb,
  runners jsonb,
  letters jsonb,
  schedules jsonb not null
);

comment on table soniq.tallies is
  'What was counted last, by tick(), once a minute: one row. It is what metrics() and the views tell where counting would take too long.';
comment on column soniq.tallies.taken_at is 'When it was counted.';
comment on column soniq.tallies.queues is 'One object a queue: jobs by state, dead letters, and whether these are estimates.';
comment on column soniq.tallies.heads is
  'The first queued job of each queue and priority that had any, from which on later readers of the index read.';
comment on column soniq.tallies.job_names is 'One object a job name: what the view job_stats shows.';
comment on column soniq.tallies.runners is 'One object a runner that holds jobs: how many, and since when it holds the oldest.';
comment on column soniq.tallies.letters is 'One object a group of dead letters: what the view dead_letter_groups shows.';
comment on column soniq.tallies.schedules is 'How many schedules there are by state.';

commit;
