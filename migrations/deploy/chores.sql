-- Deploy soniq:chores to pg

begin;

-- Written once a minute by one session, whatever the number of those that tick.
create table if not exists soniq.chores (
  chore text collate "C" primary key,
  due_at timestamptz not null default '-infinity'
);

insert into soniq.chores (chore)
values ('partitions'), ('absent_runners'), ('overdue_jobs'), ('tally'), ('history')
on conflict (chore) do nothing;

comment on table soniq.chores is
  'What tick() does now and then instead of every time: whoever finds a chore due puts it off and does it.';
comment on column soniq.chores.chore is
  'partitions: those of finished_jobs are made and dropped; absent_runners: jobs of runners that are not on the list are taken back; overdue_jobs: all leases are looked through, not only those that came due since the last tick; tally: what metrics() and history() tell is counted; history: what is too old is forgotten.';
comment on column soniq.chores.due_at is 'When it is to be done next.';

commit;
