-- Revert soniq:schema from pg

begin;

drop schema soniq;

commit;
