-- Who owns Soniq, and who may call and read what. PostgreSQL lets everyone execute a new function; Soniq lets nobody but its
-- owner, until a grant says otherwise. The public functions run with their owner's rights, so whoever calls one needs no
-- rights on tables.
--
-- The migration `roles` makes five roles without login, and soniq._rights() says what is granted to four of them; the
-- fifth, soniq_owner, owns all there is. Programs and people have logins of their own:
--
--   grant soniq_producer to shop;
--
-- Where nobody may make roles, or somebody needs less, functions are granted one by one:
--
--   grant usage on schema soniq to shop;
--   grant execute on function soniq.enqueue to shop;

-- Each public function is named here, so that none is without a decision. Underscore functions are the owner's alone, but for
-- those behind the views: a view reads tables with its owner's rights, and calls functions with its reader's.
create or replace function soniq._rights()
returns table (kind text, name text, columns text[], roles text[])
language sql
immutable
as $$
  values
    -- Producing.
    ('function', 'enqueue', null::text[], '{producer}'::text[]),
    ('function', 'enqueue_many', null, '{producer}'),

    -- Running.
    ('function', 'claim', null, '{runner}'),
    ('function', 'complete', null, '{runner}'),
    ('function', 'deregister_runner', null, '{runner}'),
    ('function', 'fail', null, '{runner}'),
    ('function', 'heartbeat', null, '{runner}'),
    ('function', 'register_job_type', null, '{runner}'),
    ('function', 'register_runner', null, '{runner}'),
    ('function', 'release', null, '{runner}'),
    ('function', 'resume_runner', null, '{runner}'),
    ('function', 'snooze', null, '{runner}'),
    ('function', 'stop_waiting', null, '{runner}'),
    ('function', 'take_bell', null, '{runner}'),
    ('function', 'wait_for_jobs', null, '{runner}'),
    ('function', 'wake_others', null, '{runner}'),
    -- A runner registers the schedules that its code declares.
    ('function', 'prune_schedules', null, '{runner,admin}'),
    ('function', 'schedule', null, '{runner,admin}'),
    ('function', 'tick', null, '{runner,admin}'),

    -- Watching.
    ('function', 'clock', null, '{runner,observer,admin}'),
    ('function', 'cron_next', null, '{observer,admin}'),
    ('function', 'cron_preview', null, '{observer,admin}'),
    ('function', 'history', null, '{observer,admin}'),
    ('function', 'metrics', null, '{runner,observer,admin}'),
    ('function', 'preview_schedule', null, '{observer,admin}'),
    ('function', 'version', null, '{runner,observer,admin}'),
    ('function', '_concerns', null, '{observer,admin}'),
    ('function', '_dead_letter_groups', null, '{admin}'),
    ('function', '_job_stats', null, '{observer,admin}'),
    ('function', '_queue_counts', null, '{observer,admin}'),
    ('function', '_queue_stats', null, '{observer,admin}'),
    ('function', '_runner_stats', null, '{observer,admin}'),
    ('function', '_schedule_stats', null, '{observer,admin}'),
    ('relation', 'concerns', null, '{observer,admin}'),
    ('relation', 'job_stats', null, '{observer,admin}'),
    ('relation', 'queue_counts', null, '{observer,admin}'),
    ('relation', 'queue_stats', null, '{observer,admin}'),
    ('relation', 'runner_stats', null, '{observer,admin}'),
    ('relation', 'schedule_stats', null, '{observer,admin}'),
    ('relation', 'chores', null, '{observer,admin}'),
    ('relation', 'job_types', null, '{observer,admin}'),
    ('relation', 'lanes', null, '{observer,admin}'),
    ('relation', 'queues', null, '{observer,admin}'),
    ('relation', 'runners', null, '{observer,admin}'),
    ('relation', 'settings', null, '{observer,admin}'),
    -- How many lie there is for `soniq doctor`.
    ('relation', 'finished_jobs_default', '{keep_until}', '{observer}'),
    -- Not what a job carries or brings about: args, headers, dedup_key, result, errors.
    (
      'relation',
      'all_jobs',
      '{
        id,status,job_name,queue,priority,scheduled_at,enqueued_at,attempt,max_attempts,timeout,runner_id,claimed_at,
        deadline,replay_of,schedule,due_at,ended_at,reason,replay_count,tenant
      }',
      '{observer}'
    ),
    (
      'relation',
      'schedules',
      '{
        name,job_name,cron,every,timezone,queue,priority,max_attempts,timeout,missed_runs,max_missed_runs,allow_overlap,paused,
        next_run_at,last_due_at,last_job_id,source,tenant,created_at,registered_at
      }',
      '{observer}'
    ),

    -- Acting. Whoever decides what becomes of a job has to see what it is about and why it failed.
    ('function', 'cancel', null, '{admin}'),
    ('function', 'configure_queue', null, '{admin}'),
    ('function', 'delete_dead_letters', null, '{admin}'),
    ('function', 'get_job', null, '{admin}'),
    ('function', 'pause_queue', null, '{admin}'),
    ('function', 'pause_schedule', null, '{admin}'),
    ('function', 'prune_dead_letters', null, '{admin}'),
    ('function', 'replay_dead_letters', null, '{admin}'),
    ('function', 'resume_queue', null, '{admin}'),
    ('function', 'resume_schedule', null, '{admin}'),
    ('function', 'retry', null, '{admin}'),
    ('function', 'run_now', null, '{admin}'),
    ('function', 'run_schedule_now', null, '{admin}'),
    ('function', 'unschedule', null, '{admin}'),
    ('function', '_shown_args', null, '{admin}'),
    ('relation', 'all_jobs', null, '{admin}'),
    ('relation', 'dead_letter_groups', null, '{admin}'),
    ('relation', 'dead_letters', null, '{admin}'),
    -- Some args are secret, and the views show those as ***.
    (
      'relation',
      'dead_letter_jobs',
      '{
        id,job_name,queue,priority,scheduled_at,enqueued_at,attempt,max_attempts,timeout,dedup_key,headers,tenant,runner_id,
        claimed_at,errors,replay_of,schedule,due_at,reason,dead_at,replay_count,last_replayed_at,error_type,error_pattern
      }',
      '{admin}'
    ),
    (
      'relation',
      'finished_jobs',
      '{
        id,job_name,queue,priority,status,scheduled_at,enqueued_at,attempt,max_attempts,timeout,dedup_key,headers,tenant,runner_id,
        claimed_at,failed_at,errors,replay_of,schedule,due_at,result,finished_at,keep_until
      }',
      '{admin}'
    ),
    (
      'relation',
      'finished_jobs_default',
      '{
        id,job_name,queue,priority,status,scheduled_at,enqueued_at,attempt,max_attempts,timeout,dedup_key,headers,tenant,runner_id,
        claimed_at,failed_at,errors,replay_of,schedule,due_at,result,finished_at,keep_until
      }',
      '{admin}'
    ),
    (
      'relation',
      'jobs',
      '{
        id,job_name,queue,priority,status,scheduled_at,enqueued_at,attempt,max_attempts,timeout,dedup_key,headers,tenant,runner_id,
        claimed_at,deadline,failed_at,errors,replay_of,schedule,due_at
      }',
      '{admin}'
    ),
    ('relation', 'schedules', null, '{admin}'),

    -- The owner's alone.
    ('function', 'bind_tenant', null, '{}'),
    ('function', 'grant_roles', null, '{}'),
    ('function', 'unbind_tenant', null, '{}'),
    ('relation', 'claimed_job', null, '{}'),
    ('relation', 'history', null, '{}'),
    ('relation', 'history_of_all', null, '{}'),
    ('relation', 'history_of_queues', null, '{}'),
    ('relation', 'tallies', null, '{}'),
    ('relation', 'tenant_logins', null, '{}');
$$;

comment on function soniq._rights() is
'Which of the roles soniq_producer, soniq_runner, soniq_observer and soniq_admin may execute a function, or select from a table or view; columns is NULL for all of them.';

create or replace function soniq._own(owner regrole)
returns void
language plpgsql
volatile
as $$
declare
  relation regclass;
  routine regprocedure;
  type regtype;
begin
  for relation in
    select part.oid::regclass
    from pg_catalog.pg_class as part
    where part.relnamespace = 'soniq'::regnamespace
      and part.relkind in ('r', 'p', 'v')
      and part.relowner <> _own.owner
  loop
    execute pg_catalog.format('alter table %s owner to %s', relation, owner);
  end loop;

  for routine in
    select part.oid::regprocedure
    from pg_catalog.pg_proc as part
    where part.pronamespace = 'soniq'::regnamespace
      and part.proowner <> _own.owner
  loop
    execute pg_catalog.format('alter function %s owner to %s', routine, owner);
  end loop;

  for type in
    select part.oid::regtype
    from pg_catalog.pg_type as part
    left join pg_catalog.pg_class as row
      on row.oid = part.typrelid
    where part.typnamespace = 'soniq'::regnamespace
      and (part.typtype = 'e' or row.relkind = 'c')
      and part.typowner <> _own.owner
  loop
    execute pg_catalog.format('alter type %s owner to %s', type, owner);
  end loop;
end;
$$;

comment on function soniq._own(regrole) is
'Makes a role the owner of everything in the schema; what hangs on a table, such as its sequence, goes with it.';

create or replace function soniq._revoke_roles()
returns void
language plpgsql
volatile
as $$
declare
  grantee regrole;
begin
  for grantee in
    select known.oid::regrole
    from pg_catalog.pg_roles as known
    where known.rolname in ('soniq_producer', 'soniq_runner', 'soniq_observer', 'soniq_admin')
  loop
    execute pg_catalog.format('revoke all on all functions in schema soniq from %s', grantee);
    execute pg_catalog.format('revoke all on all tables in schema soniq from %s', grantee);
    execute pg_catalog.format('revoke all on all sequences in schema soniq from %s', grantee);
  end loop;
end;
$$;

comment on function soniq._revoke_roles() is
'Takes from the four roles whatever they may do in the schema.';

-- Ownership takes being a member that inherits, and from PostgreSQL 16 on also one that may take on the role.
create or replace function soniq._may_own(owner regrole)
returns boolean
language sql
stable
as $$
  select pg_catalog.pg_has_role(_may_own.owner, 'usage')
    and pg_catalog.pg_has_role(
      _may_own.owner,
      case when pg_catalog.current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end
    );
$$;

comment on function soniq._may_own(regrole) is
'Whether this user may give a role what is its own, and go on using it; NULL for no role.';

create or replace function soniq.grant_roles()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  missing constant text[] := array(
    select wanted.name
    from pg_catalog.unnest(array[
      'soniq_owner', 'soniq_producer', 'soniq_runner', 'soniq_observer', 'soniq_admin'
    ]) as wanted (name)
    where pg_catalog.to_regrole(wanted.name) is null
  );
  may_own constant boolean := coalesce(soniq._may_own(owner => pg_catalog.to_regrole('soniq_owner')), false);
  remedies constant text[] := array(
    select pg_catalog.format('create role %I nologin', absent.name)
    from pg_catalog.unnest(missing) as absent (name)
    union all
    select 'grant pg_read_all_stats to soniq_owner'
    where 'soniq_owner' = any (missing)
    union all
    select pg_catalog.format('grant soniq_owner to %I', current_user)
    where not may_own
  );
  granted record;
begin
  if may_own then
    alter schema soniq owner to soniq_owner;
    perform soniq._own(owner => 'soniq_owner');
  end if;

  revoke all on all functions in schema soniq from public;
  -- The policies ask it with the rights of whoever reads, who may have been granted a table or view alone. It tells
  -- nothing but the caller's own tenant.
  grant all on function soniq._bound_tenant() to public;
  perform soniq._revoke_roles();
  for granted in
    select own.kind, own.name, own.columns, 'soniq_' || role.name as grantee, function.oid::regprocedure as routine
    from soniq._rights() as own
    cross join lateral pg_catalog.unnest(own.roles) as role (name)
    left join pg_catalog.pg_proc as function
      on own.kind = 'function'
      and function.pronamespace = 'soniq'::regnamespace
      and function.proname = own.name
    where 'soniq_' || role.name <> all (missing)
  loop
    execute pg_catalog.format('grant usage on schema soniq to %I', granted.grantee);
    if granted.kind = 'function' then
      execute pg_catalog.format('grant execute on function %s to %I', granted.routine, granted.grantee);
    else
      execute pg_catalog.format(
        'grant select %s on soniq.%I to %I',
        (
          select '(' || pg_catalog.string_agg(pg_catalog.quote_ident(name), ', ') || ')'
          from pg_catalog.unnest(granted.columns) as name
        ),
        granted.name,
        granted.grantee
      );
    end if;
  end loop;

  if cardinality(remedies) > 0 then
    raise warning 'Soniq''s schema belongs to %, and of its roles are missing: %',
      (select part.nspowner::regrole from pg_catalog.pg_namespace as part where part.oid = 'soniq'::regnamespace),
      coalesce(nullif(pg_catalog.array_to_string(missing, ', '), ''), 'none')
      using hint = pg_catalog.format(
        'have an administrator run: %s; then, as this user: select soniq.grant_roles();',
        pg_catalog.array_to_string(remedies, '; ')
      );
  end if;
end;
$$;

comment on function soniq.grant_roles() is
'Gives everything in the schema to soniq_owner, and to soniq_producer, soniq_runner, soniq_observer and soniq_admin exactly the rights that docs/security.md lists. Every deployment calls it. Call it, as the owner or whoever deployed, where roles could not be made then and have been since, or where something was granted to one of the five by mistake; grants to other roles stay as they are.

Roles that there are not are left out, and where there is no soniq_owner of which the caller is a member, the owner stays who it is. A warning says so, and what an administrator has to run. Where jobs run already, a change of owner waits for a moment at which nobody uses a table.';

-- Bindings outlive the functions, with which the policies go, and a release may bring tables that need one.
do $$
begin
  perform soniq.grant_roles();
  lock table soniq.tenant_logins in share row exclusive mode;
  if exists (select from soniq.tenant_logins) then
    perform soniq._keep_tenants_apart();
  end if;
end;
$$;
