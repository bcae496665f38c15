-- Verify soniq:roles on pg

-- Where roles may not be made there are none, and that is well, too.
select 1 / pg_catalog.has_schema_privilege(role.oid, 'soniq', 'usage')::integer
from pg_catalog.pg_roles as role
where role.rolname in ('soniq_producer', 'soniq_runner', 'soniq_observer', 'soniq_admin');
