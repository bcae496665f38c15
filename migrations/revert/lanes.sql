-- Revert soniq:lanes from pg

begin;

drop table soniq.lanes;

commit;
