-- Revert soniq:dead_letter_jobs from pg

begin;

drop table soniq.dead_letter_jobs;
drop type soniq.replayed_job;
drop type soniq.deleted_letter;

commit;
