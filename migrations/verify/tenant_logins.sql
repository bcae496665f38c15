-- Verify soniq:tenant_logins on pg

select login, tenant
from soniq.tenant_logins
where false;
