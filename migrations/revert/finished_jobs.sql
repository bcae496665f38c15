-- Revert soniq:finished_jobs from pg

begin;

drop table soniq.finished_jobs;

commit;
