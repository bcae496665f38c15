-- What producers and handlers note in the database itself, in the transactions that they work in.

create schema chaos;

create table chaos.enqueued (
  job_id bigint primary key,
  kind text not null
);

create table chaos.runs (
  job_id bigint not null,
  attempt integer not null,
  event text not null,
  unique (job_id, attempt, event)
);

-- An effect and the completion of its job, in one transaction: whatever happens, once.
create table chaos.posted (
  job_id bigint primary key,
  attempt integer not null
);
