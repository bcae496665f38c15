-- Revert soniq:history from pg

begin;

drop table soniq.history;

commit;
