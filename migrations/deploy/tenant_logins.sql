-- Deploy soniq:tenant_logins to pg

begin;

-- By the role and not by its name: who is renamed stays bound.
create table if not exists soniq.tenant_logins (
  login regrole primary key,
  tenant text collate "C" not null
);

comment on table soniq.tenant_logins is
  'Logins that see and touch one tenant''s jobs alone. Written by bind_tenant() and unbind_tenant().';
comment on column soniq.tenant_logins.login is 'The role that connects.';
comment on column soniq.tenant_logins.tenant is 'The tenant whose jobs it is bound to.';

commit;
