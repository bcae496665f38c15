-- Revert soniq:tallies from pg

begin;

drop table soniq.tallies;

commit;
