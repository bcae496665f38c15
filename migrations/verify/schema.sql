-- Verify soniq:schema on pg

select pg_catalog.has_schema_privilege('soniq', 'usage');
