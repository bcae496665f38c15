-- Deploy soniq:runners to pg

begin;

-- fillfactor: a heartbeat rewrites one narrow row and should find room for it on the same page.
create table if not exists soniq.runners (
  runner_id bigint generated always as identity primary key,
  host text not null,
  pid integer not null,
  queues text[],
  concurrency integer not null check (concurrency > 0),
  runner_version text not null,
  heartbeat_timeout interval not null check (heartbeat_timeout > '0'),
  registered_at timestamptz not null,
  last_heartbeat_at timestamptz not null,
  lost_at timestamptz,
  resumes bigint
)
with (fillfactor = 50);

comment on table soniq.runners is
  'One row a runner process, from register_runner() to deregister_runner() or its death. A restarted process is a new runner.';
comment on column soniq.runners.runner_id is 'Never used twice, so a restarted process cannot be taken for its dead self.';
comment on column soniq.runners.host is 'The machine''s name, for people.';
comment on column soniq.runners.pid is 'The process on that machine, for people.';
comment on column soniq.runners.queues is 'The queues it serves; NULL is all.';
comment on column soniq.runners.concurrency is 'How many jobs it runs at once.';
comment on column soniq.runners.runner_version is 'The version of its soniq package.';
comment on column soniq.runners.heartbeat_timeout is 'Silent for longer than this, it is dead and its jobs are taken back.';
comment on column soniq.runners.registered_at is 'When it started.';
comment on column soniq.runners.last_heartbeat_at is 'When it last called heartbeat(), by the database''s clock.';
comment on column soniq.runners.lost_at is
  'When it was declared dead. The row stays until the last of its jobs is taken back.';
comment on column soniq.runners.resumes is
  'The runner_id with which it called resume_runner(), which may be called once more with it; NULL if it never did.';

commit;
