-- Revert soniq:settings from pg

begin;

drop table soniq.settings;

commit;
