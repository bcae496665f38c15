-- Revert soniq:tenant_logins from pg

begin;

drop table soniq.tenant_logins;

commit;
