-- Revert soniq:chores from pg

begin;

drop table soniq.chores;

commit;
