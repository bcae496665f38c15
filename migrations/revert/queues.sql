-- Revert soniq:queues from pg

begin;

drop table soniq.queues;

commit;
