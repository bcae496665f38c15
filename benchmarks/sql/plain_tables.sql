-- The tables of plain SQL: the columns, checks, indexes and storage settings of Soniq's own, and none of its functions.

create schema plain;

create table plain.jobs (like soniq.jobs including all)
with (
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_insert_scale_factor = 0.2,
  autovacuum_analyze_scale_factor = 0.1
);

create table plain.finished_jobs (like soniq.finished_jobs including all)
partition by range (keep_until);

create table plain.finished_jobs_default partition of plain.finished_jobs default;

-- What enqueue_many() and its counterpart take in, made beforehand.
create table plain.batch (args jsonb[]);
