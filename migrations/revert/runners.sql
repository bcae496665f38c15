-- Revert soniq:runners from pg

begin;

drop table soniq.runners;

commit;
