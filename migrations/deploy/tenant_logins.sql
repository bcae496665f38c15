-- Deploy soniq:tenant_logins to pg

begin;

-- By name, so that a dump is whole on a server that has not the roles yet, and binds them once they come.
create table if not exists soniq.tenant_logins (
  login text collate "C" primary key,
  tenant text collate "C" not null
);

comment on table soniq.tenant_logins is
  'Logins that see and touch one tenant''s jobs alone. Written by bind_tenant() and unbind_tenant().';
comment on column soniq.tenant_logins.login is 'The role that connects.';
comment on column soniq.tenant_logins.tenant is 'The tenant whose jobs it is bound to.';

commit;
