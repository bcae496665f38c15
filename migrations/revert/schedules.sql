-- Revert soniq:schedules from pg

begin;

drop table soniq.schedules;

commit;
