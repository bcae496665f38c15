-- Tenants: whose a job is, where several share one Soniq. A job's tenant is a text that comes with enqueue(), or with the
-- transaction's setting soniq.tenant; most jobs have none.
--
-- A login may be bound to a tenant. Whatever it then calls or selects, it meets that tenant's jobs and no others, and what it
-- enqueues is that tenant's. This is row security on the tables of jobs, forced upon their owner too, since functions and
-- views run with its rights: so no function has to think of it. Row security is switched on with the first
-- binding and off with the last; who binds nobody pays nothing.
--
-- A login is who connected: SET ROLE does not change it, and inside a function nothing else is known of the caller.

-- What the policies ask, also for those who select from a table with rights of their own. Parallel workers have their
-- leader's session_user.
create or replace function soniq._bound_tenant()
returns text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select binding.tenant
  from soniq.tenant_logins as binding
  where binding.login = session_user;
$$;

comment on function soniq._bound_tenant() is
'The tenant that this session''s login is bound to; NULL if it is not.';

create or replace function soniq._checked_tenant(given text)
returns text
language plpgsql
volatile
as $$
declare
  bound constant text := soniq._bound_tenant();
  wanted constant text := coalesce(given, nullif(pg_catalog.current_setting('soniq.tenant', true), ''));
begin
  perform soniq._check_name(code => 'SQ026', what => 'tenant', name => wanted, longest => 200);
  if wanted <> bound then
    perform soniq._refuse(
      'SQ026',
      pg_catalog.format('tenant is %L, and the login %I is bound to another', wanted, session_user),
      'Leave the tenant out, and the setting soniq.tenant unset: this login''s jobs are its own tenant''s.'
    );
  end if;
  return coalesce(bound, wanted);
end;
$$;

-- Most jobs have no tenant, and where nobody is bound, row security is off: to find that out costs an enqueue no call.
create or replace function soniq._tenant_for(given text)
returns text
language sql
volatile
as $$
  select case
    when _tenant_for.given is not null
      or pg_catalog.current_setting('soniq.tenant', true) <> ''
      or pg_catalog.row_security_active('soniq.jobs'::regclass)
    then soniq._checked_tenant(given => _tenant_for.given)
  end;
$$;

comment on function soniq._tenant_for(text) is
'Whose the caller''s job is to be: the tenant its login is bound to, else that given, else that of the setting soniq.tenant. Raises SQ026 where what is given is not the one bound to.';

create or replace function soniq._check_unbound(what text)
returns void
language plpgsql
stable
as $$
declare
  tenant constant text := soniq._bound_tenant();
begin
  if tenant is not null then
    perform soniq._refuse(
      'SQ027',
      pg_catalog.format(
        '%s is for the whole system, and the login %I is bound to the tenant %L', what, session_user, tenant
      ),
      'Use a login that is bound to no tenant.'
    );
  end if;
end;
$$;

comment on function soniq._check_unbound(text) is
'Raises SQ027 where this session''s login is bound to a tenant: what tells of all tenants, or acts on all, is not for it.';

-- On the tables of jobs, it binds their owner too, with whose rights functions and views run. Of the others, which say
-- nothing of a single job, functions need all rows, and a tenant is to see none.
create or replace function soniq._row_security()
returns table (relation regclass, policy name, forced boolean, has_policy boolean, state text)
language sql
stable
as $$
  select
    wanted.relation,
    wanted.policy,
    wanted.forced,
    own.has_policy,
    case
      when own.has_policy and part.relrowsecurity and part.relforcerowsecurity = wanted.forced then 'on'
      when own.has_policy or part.relrowsecurity or part.relforcerowsecurity then 'in part'
      else 'off'
    end
  from (
    values
      (1, 'soniq.runners'::regclass, 'no_tenant'::name, false),
      (2, 'soniq.jobs', 'own_tenant', true),
      (3, 'soniq.lanes', 'no_tenant', false),
      (4, 'soniq.queues', 'no_tenant', false),
      (5, 'soniq.settings', 'no_tenant', false),
      (6, 'soniq.job_types', 'no_tenant', false),
      (7, 'soniq.chores', 'no_tenant', false),
      (8, 'soniq.finished_jobs', 'own_tenant', true),
      (9, 'soniq.finished_jobs_default', 'own_tenant', true),
      (10, 'soniq.dead_letter_jobs', 'own_tenant', true),
      (11, 'soniq.schedules', 'own_tenant', true)
  ) as wanted (place, relation, policy, forced)
  join pg_catalog.pg_class as part
    on part.oid = wanted.relation
  cross join lateral (
    select exists (
      select
      from pg_catalog.pg_policy as known
      where known.polrelid = wanted.relation
        and known.polname = wanted.policy
    ) as has_policy
  ) as own
  order by wanted.place;
$$;

comment on function soniq._row_security() is
'On which tables row security is to be while a login is bound, by which policy, and whether it is: on, off, or in part; in the order in which _lock_tables() locks them.';

-- Claims, enqueues and reports lock these tables each in an order of its own, so to wait for one while holding another ends in
-- deadlocks, for which PostgreSQL looks after a second (deadlock_timeout) and makes somebody's claim fail. Not to wait (nowait)
-- would find all of them free at once only where little goes on. So each is waited for so briefly that all eleven
-- take less than that second, and if one is not free in time, all are let go, whoever waited goes on, and it begins again. Runners
-- come first, as in a claim: no claim is on its way to its other tables once they are locked; then jobs, as in an enqueue.
--
-- The default is that of the caller's lock_timeout, before the function has its own.
create or replace function soniq._lock_tables(
  patience interval default coalesce(nullif(pg_catalog.current_setting('lock_timeout')::interval, interval '0'), interval '1 minute')
)
returns void
language plpgsql
volatile
set lock_timeout = '50 ms'
as $$
declare
  give_up_at constant timestamptz := pg_catalog.clock_timestamp() + patience;
  pause interval := interval '20 ms';
  own record;
begin
  loop
    begin
      for own in
        select known.relation
        from soniq._row_security() as known
      loop
        execute pg_catalog.format('lock table only %s in access exclusive mode', own.relation);
      end loop;
      return;
    exception
      when lock_not_available then
        if pg_catalog.clock_timestamp() > give_up_at then
          perform soniq._refuse(
            '55P03',
            pg_catalog.format(
              'to switch row security on or off takes a moment at which nobody uses %s, and in %s there was none',
              own.relation, patience
            ),
            pg_catalog.format(
              'See who does: select * from pg_stat_activity where pid in (select pid from pg_locks where relation = %L::regclass). Call it again when they are through, or set lock_timeout to how long it may try.',
              own.relation
            )
          );
        end if;
    end;
    -- Meanwhile nobody waits for this; so where a table is held for long, calls are slowed down less and less.
    perform pg_catalog.pg_sleep_for(pause);
    pause := least(1.5 * pause, interval '1 second');
  end loop;
end;
$$;

comment on function soniq._lock_tables(interval) is
'Locks the tables of _row_security() for what is left of the transaction, without anybody''s running into a deadlock.';

create or replace function soniq._keep_tenants_apart()
returns void
language plpgsql
volatile
as $$
declare
  own record;
begin
  if not exists (select from soniq._row_security() as known where known.state <> 'on') then
    return;
  end if;

  perform soniq._lock_tables();
  for own in
    select known.relation, known.policy, known.forced, known.has_policy
    from soniq._row_security() as known
    where known.state <> 'on'
  loop
    if not own.has_policy and own.forced then
      execute pg_catalog.format(
        'create policy own_tenant on %s using ((select soniq._bound_tenant()) is null or tenant = (select soniq._bound_tenant()))',
        own.relation
      );
    elsif not own.has_policy then
      execute pg_catalog.format(
        'create policy no_tenant on %s using ((select soniq._bound_tenant()) is null)', own.relation
      );
    end if;
    execute pg_catalog.format(
      'alter table %s enable row level security, %s row level security',
      own.relation,
      case when own.forced then 'force' else 'no force' end
    );
  end loop;
end;
$$;

comment on function soniq._keep_tenants_apart() is
'Switches row security on where it is not.';

create or replace function soniq._stop_keeping_tenants_apart()
returns void
language plpgsql
volatile
as $$
declare
  own record;
begin
  if not exists (select from soniq._row_security() as known where known.state <> 'off') then
    return;
  end if;

  perform soniq._lock_tables();
  for own in
    select known.relation, known.policy
    from soniq._row_security() as known
    where known.state <> 'off'
  loop
    execute pg_catalog.format('drop policy if exists %I on %s', own.policy, own.relation);
    execute pg_catalog.format('alter table %s no force row level security, disable row level security', own.relation);
  end loop;
end;
$$;

comment on function soniq._stop_keeping_tenants_apart() is
'Switches row security off again, also where it is on without a policy, or the other way round.';

-- With SET ROLE, a member becomes what row security does not hold, or may read and write what has none: the partitions of
-- finished jobs, the bindings, files. What is granted to a login later, nobody watches.
create or replace function soniq._check_bindable(login text)
returns void
language plpgsql
stable
as $$
declare
  role constant regrole := pg_catalog.to_regrole(pg_catalog.quote_ident(login));
  mighty text;
begin
  if role is null then
    perform soniq._refuse(
      'SQ026', pg_catalog.format('there is no role %I', login), 'Create the login first, then bind it.'
    );
  end if;

  select
    case
      when other.oid = role and other.rolsuper then 'is a superuser'
      when other.oid = role and other.rolbypassrls then 'has BYPASSRLS'
      when other.oid = jobs.relowner then 'is a member of Soniq''s owner'
      when other.rolsuper then pg_catalog.format('is a member of %I, a superuser', other.rolname)
      when other.rolbypassrls then pg_catalog.format('is a member of %I, which has BYPASSRLS', other.rolname)
      else pg_catalog.format('is a member of %I', other.rolname)
    end
  into mighty
  from pg_catalog.pg_roles as other
  join pg_catalog.pg_class as jobs
    on jobs.oid = 'soniq.jobs'::regclass
  where pg_catalog.pg_has_role(role, other.oid, 'member')
    and (
      other.rolsuper
      or other.rolbypassrls
      or other.oid = jobs.relowner
      or other.rolname in (
        'soniq_runner', 'pg_read_all_data', 'pg_write_all_data',
        'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'
      )
    )
  order by other.oid <> role, other.rolname
  limit 1;
  if mighty is not null then
    perform soniq._refuse(
      'SQ026',
      pg_catalog.format('the login %I %s, and no tenant could hold it', login, mighty),
      'Bind logins that are members of soniq_producer, soniq_observer or soniq_admin, and are nothing more.'
    );
  end if;
end;
$$;

-- Functions run with the rights of their owner, and even forced row security does not hold these two kinds.
create or replace function soniq._check_held(owner name)
returns void
language plpgsql
stable
as $$
declare
  unheld text;
begin
  select
    case
      when role.rolsuper then 'a superuser'
      when role.rolbypassrls then 'a role with BYPASSRLS'
    end
  into unheld
  from pg_catalog.pg_roles as role
  where role.rolname = _check_held.owner;
  if unheld is not null then
    perform soniq._refuse(
      'SQ026',
      pg_catalog.format('Soniq''s functions run with the rights of %I, %s, whom row security does not hold', owner, unheld),
      'Have all belong to soniq_owner, and that be neither: select soniq.grant_roles(); alter role soniq_owner nosuperuser nobypassrls.'
    );
  end if;
end;
$$;

-- Bindings are made and taken away one after the other, for which both functions lock their table before they look at it.
-- If who takes the last one away did not see who makes the next, it would leave a bound login without row security.
create or replace function soniq._check_sees_others(isolation text)
returns void
language plpgsql
stable
as $$
begin
  if isolation not in ('read committed', 'read uncommitted') then
    perform soniq._refuse(
      'SQ026',
      pg_catalog.format('the transaction''s isolation level is %s, at which it does not see other bindings made meanwhile', isolation),
      'Bind and unbind in a transaction of its own: begin isolation level read committed.'
    );
  end if;
end;
$$;

create or replace function soniq.bind_tenant(login text, tenant text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform
    soniq._check_given(code => 'SQ026', what => 'login', value => bind_tenant.login),
    soniq._check_given(code => 'SQ026', what => 'tenant', value => bind_tenant.tenant),
    soniq._check_name(code => 'SQ026', what => 'tenant', name => bind_tenant.tenant, longest => 200),
    soniq._check_bindable(login => bind_tenant.login),
    soniq._check_held(owner => current_user),
    soniq._check_sees_others(isolation => pg_catalog.current_setting('transaction_isolation'));
  lock table soniq.tenant_logins in share row exclusive mode;
  insert into soniq.tenant_logins (login, tenant)
  values (bind_tenant.login, bind_tenant.tenant)
  on conflict (login) do update
  set tenant = excluded.tenant;
  perform soniq._keep_tenants_apart();
end;
$$;

comment on function soniq.bind_tenant(text, text) is
'Binds a login to a tenant: from its next statement on, in sessions that are open too, it sees and acts on that tenant''s jobs, dead letters and schedules alone, what it enqueues is that tenant''s, and what is about the whole system it is refused. It still needs one of Soniq''s roles. A login has one tenant, the one bound last; a tenant has any number of logins.

login: the role that connects, by its name; not a superuser, nor with BYPASSRLS, nor a member, be it through another role, of one that is, of soniq_owner, of soniq_runner, or of a role of PostgreSQL''s that reads or writes all data. Other roles that it takes on with SET ROLE make no difference. What is granted to it later is not watched: to have it looked at, bind it again. Under another name it is another login: bind that before you rename it.
tenant: 1 to 200 characters.

The first binding switches row security on, for which it needs a moment at which nobody uses the tables. It tries for a minute, or for as long as lock_timeout says, while calls of others go on; then it gives up with lock_not_available (55P03). From then on, who dumps the database has to be a superuser or have BYPASSRLS.

Errors: SQ026 login, tenant, or isolation level.';

create or replace function soniq.unbind_tenant(login text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform soniq._check_sees_others(isolation => pg_catalog.current_setting('transaction_isolation'));
  lock table soniq.tenant_logins in share row exclusive mode;
  delete from soniq.tenant_logins as binding
  where binding.login = unbind_tenant.login;
  if not found then
    return false;
  end if;

  if not exists (select from soniq.tenant_logins) then
    perform soniq._stop_keeping_tenants_apart();
  end if;
  return true;
end;
$$;

comment on function soniq.unbind_tenant(text) is
'Takes a binding away: the login then may do to the jobs of all tenants what its roles allow, so take those away first. False if it was not bound. With the last binding, row security is switched off, for which it waits as bind_tenant() does.

Errors: SQ026 isolation level.';
