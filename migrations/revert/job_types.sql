-- Revert soniq:job_types from pg

begin;

drop table soniq.job_types;

commit;
