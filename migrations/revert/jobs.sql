-- Revert soniq:jobs from pg

begin;

drop table soniq.jobs;
drop type soniq.job_status;

commit;
