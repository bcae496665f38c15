-- Deploy soniq:roles to pg

begin;

-- Roles are the cluster's: another database with Soniq has them already, or is making them now. Who may not make roles goes
-- on without; soniq.grant_roles(), with which every deployment ends, says which are missing. It also says what each may do.
do $$
declare
  role record;
begin
  for role in
    select wanted.name, wanted.purpose
    from (
      values
        ('soniq_owner', 'Soniq: owns its schema. For whoever deploys it.'),
        ('soniq_producer', 'Soniq: enqueues, and does nothing else.'),
        ('soniq_runner', 'Soniq: does what a runner does.'),
        ('soniq_observer', 'Soniq: watches, and sees no arguments, results and errors.'),
        ('soniq_admin', 'Soniq: watches, sees all, and decides what becomes of jobs, queues and schedules.')
    ) as wanted (name, purpose)
    where pg_catalog.to_regrole(wanted.name) is null
  loop
    begin
      execute pg_catalog.format('create role %I nologin', role.name);
      execute pg_catalog.format('comment on role %I is %L', role.name, role.purpose);
    exception
      when insufficient_privilege or duplicate_object or unique_violation then
        continue;
    end;
    if role.name = 'soniq_owner' then
      begin
        -- What holds vacuum up is a transaction of anybody.
        grant pg_read_all_stats to soniq_owner;
      exception
        when insufficient_privilege then
          raise notice 'soniq.metrics() will not see how old other users'' transactions are: grant pg_read_all_stats to soniq_owner';
      end;
    end if;
  end loop;

  begin
    -- Who makes a role is not thereby a member.
    if not pg_catalog.pg_has_role('soniq_owner', 'usage') then
      grant soniq_owner to current_user;
    end if;
    -- One that does not inherit could not go on.
    if pg_catalog.pg_has_role('soniq_owner', 'usage') then
      alter schema soniq owner to soniq_owner;
    end if;
  exception
    when insufficient_privilege or undefined_object then
      null;
  end;

  -- From here on they are used by this database, so that they outlive their end in another.
  for role in
    select known.rolname as name
    from pg_catalog.pg_roles as known
    where known.rolname in ('soniq_producer', 'soniq_runner', 'soniq_observer', 'soniq_admin')
  loop
    execute pg_catalog.format('grant usage on schema soniq to %I', role.name);
  end loop;
end;
$$;

commit;
