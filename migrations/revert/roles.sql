-- Revert soniq:roles from pg

begin;

do $$
declare
  role record;
begin
  alter schema soniq owner to current_user;

  for role in
    select known.rolname as name
    from pg_catalog.pg_roles as known
    where known.rolname in ('soniq_producer', 'soniq_runner', 'soniq_observer', 'soniq_admin', 'soniq_owner')
  loop
    execute pg_catalog.format('revoke all on schema soniq from %I', role.name);
    begin
      execute pg_catalog.format('drop role %I', role.name);
    exception
      when dependent_objects_still_exist then
        null; -- another database uses it
      when insufficient_privilege then
        null; -- somebody else made it
    end;
  end loop;
end;
$$;

commit;
