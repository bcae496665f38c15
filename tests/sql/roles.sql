-- Who may do what: each of the five roles against everything in the schema, which is what soniq._rights() lists and no more;
-- then what that means to somebody who has one of them, and how they are granted.

begin;
\ir support.sql
select no_plan();

create temporary view roles as
select 'soniq_' || role.name as name
from unnest(array['producer', 'runner', 'observer', 'admin']) as role (name);

create temporary view granted as
select own.kind, own.name, own.columns, 'soniq_' || role.name as role
from soniq._rights() as own
cross join lateral unnest(own.roles) as role (name);

-- What is in the schema, and that somebody has thought of it.

select set_eq(
  $$
    select function.proname::text
    from pg_catalog.pg_proc as function
    where function.pronamespace = 'soniq'::regnamespace
      and (function.proname not like '\_%' or function.proname in (
        '_concerns', '_dead_letter_groups', '_job_stats', '_queue_counts', '_queue_stats', '_runner_stats', '_schedule_stats', '_shown_args'
      ))
  $$,
  $$select name from soniq._rights() where kind = 'function'$$,
  'soniq._rights() says of every public function whose it is, and of the underscore functions behind the views'
);
select set_eq(
  $$
    select relation.relname::text
    from pg_catalog.pg_class as relation
    where relation.relnamespace = 'soniq'::regnamespace
      and relation.relkind in ('r', 'p', 'v', 'm', 'f')
      and relation.relname !~ '^finished_jobs_\d{8}$'
  $$,
  $$select name from soniq._rights() where kind = 'relation'$$,
  'and of every table and view'
);
select is_empty(
  $$select role from granted where role not in (select name from roles)$$, 'it knows these four roles and no others'
);

-- Everything belongs to soniq_owner, which cannot log in, nor can the others, and none is a member of another.

create function pg_temp.owners()
returns text
language sql
as $$
  select string_agg(distinct object.owner::regrole::text, ', ')
  from (
    select nspowner from pg_catalog.pg_namespace where oid = 'soniq'::regnamespace
    union all
    select relowner from pg_catalog.pg_class where relnamespace = 'soniq'::regnamespace
    union all
    select typowner from pg_catalog.pg_type where typnamespace = 'soniq'::regnamespace
    union all
    select proowner from pg_catalog.pg_proc where pronamespace = 'soniq'::regnamespace
  ) as object (owner);
$$;

select is(pg_temp.owners(), 'soniq_owner', 'everything belongs to soniq_owner');
select is_empty(
  $$
    select rolname
    from pg_catalog.pg_roles
    where rolname like 'soniq\_%'
      and rolname not like 'soniq\_test\_%'
      and (rolcanlogin or rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)
  $$,
  'none of the roles may log in, or do anything to the cluster'
);
select set_eq(
  $$
    select member::regrole::text, roleid::regrole::text
    from pg_catalog.pg_auth_members
    where member in (select to_regrole(name) from roles union all select 'soniq_owner'::regrole)
  $$,
  $$values ('soniq_owner', 'pg_read_all_stats')$$,
  'the owner sees whose transaction holds up vacuum; else none is a member of any role'
);

-- The matrix. What PUBLIC may, each of them may.

select set_eq(
  $$
    select role.name, function.oid::regprocedure::text
    from roles as role
    cross join pg_catalog.pg_proc as function
    where function.pronamespace = 'soniq'::regnamespace
      and has_function_privilege(role.name, function.oid, 'execute')
  $$,
  $$
    select granted.role, function.oid::regprocedure::text
    from granted
    join pg_catalog.pg_proc as function
      on function.pronamespace = 'soniq'::regnamespace
      and function.proname = granted.name
    where granted.kind = 'function'
    union all
    select role.name, 'soniq._bound_tenant()'
    from roles as role
  $$,
  'each role may execute what soniq._rights() lists, and what policies ask of everybody, and no other function'
);

select set_eq(
  $$
    select role.name, relation.relname::text, attribute.attname::text
    from roles as role
    cross join pg_catalog.pg_class as relation
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = relation.oid
      and attribute.attnum > 0
      and not attribute.attisdropped
    where relation.relnamespace = 'soniq'::regnamespace
      and relation.relkind in ('r', 'p', 'v', 'm', 'f')
      and has_column_privilege(role.name, relation.oid, attribute.attnum, 'select')
  $$,
  $$
    select granted.role, granted.name, attribute.attname::text
    from granted
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = to_regclass('soniq.' || granted.name)
      and attribute.attnum > 0
      and not attribute.attisdropped
    where granted.kind = 'relation'
      and (granted.columns is null or attribute.attname = any (granted.columns))
  $$,
  'each role may read what soniq._rights() lists, column by column, and nothing else'
);
select is_empty(
  $$
    select role.name, relation.oid::regclass
    from roles as role
    cross join pg_catalog.pg_class as relation
    where relation.relnamespace = 'soniq'::regnamespace
      and case
        when relation.relkind = 'S' then has_sequence_privilege(role.name, relation.oid, 'usage, select, update')
        when relation.relkind in ('r', 'p', 'v', 'm', 'f') then
          has_table_privilege(role.name, relation.oid, 'insert, update, delete, truncate, references, trigger')
          or has_any_column_privilege(role.name, relation.oid, 'insert, update, references')
      end
  $$,
  'no role may write to a table, or use a sequence'
);
select is_empty(
  $$select name from roles where not has_schema_privilege(name, 'soniq', 'usage') or has_schema_privilege(name, 'soniq', 'create')$$,
  'each role may use the schema, and create nothing in it'
);
select is_empty(
  $$
    select object.identity, privilege.grantee::regrole, privilege.privilege_type
    from (
      select oid::regclass::text, relowner, relacl from pg_catalog.pg_class where relnamespace = 'soniq'::regnamespace
      union all
      select oid::regprocedure::text, proowner, proacl from pg_catalog.pg_proc where pronamespace = 'soniq'::regnamespace
    ) as object (identity, owner, acl)
    cross join lateral aclexplode(object.acl) as privilege
    where privilege.is_grantable
      and privilege.grantee <> object.owner
  $$,
  'nobody may pass on what was granted'
);

-- What the list itself may not say.

select is_empty(
  $$
    select granted.role, granted.name
    from granted
    where granted.role = 'soniq_producer'
      and (granted.kind, granted.name) not in (('function', 'enqueue'), ('function', 'enqueue_many'))
  $$,
  'a producer is granted enqueue() and enqueue_many()'
);
select is_empty(
  $$
    select granted.name, attribute.attname
    from granted
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = to_regclass('soniq.' || granted.name)
    where granted.role = 'soniq_observer'
      and granted.kind = 'relation'
      and (granted.columns is null or attribute.attname = any (granted.columns))
      and attribute.attname in ('args', 'headers', 'result', 'errors', 'dedup_key')
  $$,
  'an observer is granted no column of what a job carries or brings about'
);
select is_empty(
  $$
    select granted.role, granted.name, attribute.attname
    from granted
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = to_regclass('soniq.' || granted.name)
      and attribute.atttypid = 'jsonb'::regtype
    where granted.role = 'soniq_observer'
      and granted.kind = 'relation'
      and (granted.columns is null or attribute.attname = any (granted.columns))
  $$,
  'nor any document, whatever it is called'
);

-- With a role.

create function pg_temp.as_role(role text, statement text)
returns text
language plpgsql
as $$
declare
  answer text;
begin
  perform set_config('role', as_role.role, true);
  execute as_role.statement into answer;
  perform set_config('role', 'none', true);
  return answer;
end;
$$;

create function pg_temp.number(role text, statement text)
returns bigint
language sql
as $$
  select pg_temp.as_role(role => number.role, statement => number.statement)::bigint;
$$;

create temporary table jobs as
select
  pg_temp.number(
    'soniq_producer',
    $$select soniq.enqueue('roles job', '{"secret": "s3cret"}', queue => 'roles', dedup_key => 'roles key', headers => '{"x": "s3cret"}')$$
  ) as id;
select is(
  (select pg_temp.as_role('soniq_producer', $$select array_agg(id) from soniq.enqueue_many('roles job', '{"{}", "{}"}') as id$$) ~ '^{\d+,\d+}$'),
  true, 'a producer enqueues, one and many'
);
select is(
  pg_temp.number('soniq_producer', $$select soniq.enqueue('roles job', queue => 'roles', dedup_key => 'roles key')$$),
  (select id from jobs),
  'of a key that somebody has, a producer is told the id of the job, and nothing else'
);
select is((select pg_temp.job(id)).args, '{"secret": "s3cret"}', 'nor does that change the job') from jobs;

create temporary table attempts (role text, statement text, object text);
insert into attempts
values
  ('soniq_producer', 'select from soniq.jobs', 'table jobs'),
  ('soniq_producer', 'select args from soniq.jobs', 'table jobs'),
  ('soniq_producer', 'select id from soniq.all_jobs', 'view all_jobs'),
  ('soniq_producer', 'select from soniq.queue_stats', 'view queue_stats'),
  ('soniq_producer', 'select dedup_key from soniq.jobs', 'table jobs'),
  ('soniq_producer', $$insert into soniq.jobs (dedup_key) values ('roles key') on conflict do nothing$$, 'table jobs'),
  ('soniq_producer', 'delete from soniq.jobs', 'table jobs'),
  ('soniq_producer', 'truncate soniq.jobs', 'table jobs'),
  ('soniq_producer', 'lock table soniq.jobs in access share mode', 'table jobs'),
  ('soniq_producer', 'lock table soniq.lanes in access exclusive mode', 'table lanes'),
  ('soniq_producer', 'select from soniq.jobs for update', 'table jobs'),
  ('soniq_producer', $$select nextval('soniq.jobs_id_seq')$$, 'sequence jobs_id_seq'),
  ('soniq_producer', $$select setval('soniq.jobs_id_seq', 1)$$, 'sequence jobs_id_seq'),
  ('soniq_producer', 'select last_value from soniq.jobs_id_seq', 'sequence jobs_id_seq'),
  ('soniq_producer', 'select soniq.get_job(1)', 'function get_job'),
  ('soniq_producer', 'select soniq.cancel(1)', 'function cancel'),
  ('soniq_producer', 'select soniq.retry(1)', 'function retry'),
  ('soniq_producer', 'select soniq.claim(1)', 'function claim'),
  ('soniq_producer', 'select soniq.tick()', 'function tick'),
  ('soniq_producer', 'select soniq.metrics()', 'function metrics'),
  ('soniq_producer', $$select soniq.schedule('a', 'b', every => '1 day')$$, 'function schedule'),
  ('soniq_producer', $$select soniq.pause_queue('roles')$$, 'function pause_queue'),
  ('soniq_producer', 'create table soniq.mine (a integer)', 'schema soniq'),
  ('soniq_producer', 'create function soniq.clock() returns integer language sql as $f$select 1$f$', 'schema soniq'),
  ('soniq_runner', 'select from soniq.jobs', 'table jobs'),
  ('soniq_runner', 'select soniq.get_job(1)', 'function get_job'),
  ('soniq_runner', $$select soniq.enqueue('roles job')$$, 'function enqueue'),
  ('soniq_runner', 'select soniq.cancel(1)', 'function cancel'),
  ('soniq_runner', 'select soniq.replay_dead_letters(array[1])', 'function replay_dead_letters'),
  ('soniq_runner', 'select soniq.delete_dead_letters(array[1])', 'function delete_dead_letters'),
  ('soniq_runner', $$select soniq.prune_dead_letters('1 day')$$, 'function prune_dead_letters'),
  ('soniq_runner', $$select soniq.pause_queue('roles')$$, 'function pause_queue'),
  ('soniq_runner', $$select soniq.unschedule('roles')$$, 'function unschedule'),
  ('soniq_runner', 'update soniq.settings set max_args_bytes = 1', 'table settings'),
  ('soniq_admin', 'select args from soniq.jobs', 'table jobs'),
  ('soniq_admin', 'select args from soniq.finished_jobs', 'table finished_jobs'),
  ('soniq_admin', 'select args from soniq.dead_letter_jobs', 'table dead_letter_jobs'),
  ('soniq_observer', 'select args from soniq.all_jobs', 'view all_jobs'),
  ('soniq_observer', 'select headers from soniq.all_jobs', 'view all_jobs'),
  ('soniq_observer', 'select result from soniq.all_jobs', 'view all_jobs'),
  ('soniq_observer', 'select errors from soniq.all_jobs', 'view all_jobs'),
  ('soniq_observer', 'select dedup_key from soniq.all_jobs', 'view all_jobs'),
  ('soniq_observer', $$select id from soniq.all_jobs where args @> '{"secret": "s3cret"}'$$, 'view all_jobs'),
  ('soniq_observer', 'select job from soniq.all_jobs as job', 'view all_jobs'),
  ('soniq_observer', 'select from soniq.jobs', 'table jobs'),
  ('soniq_observer', 'select from soniq.finished_jobs', 'table finished_jobs'),
  ('soniq_observer', 'select from soniq.dead_letter_jobs', 'table dead_letter_jobs'),
  ('soniq_observer', 'select args from soniq.schedules', 'table schedules'),
  ('soniq_observer', 'select from soniq.tallies', 'table tallies'),
  ('soniq_observer', 'select soniq.get_job(1)', 'function get_job'),
  ('soniq_observer', 'select soniq.cancel(1)', 'function cancel'),
  ('soniq_observer', 'select soniq.tick()', 'function tick'),
  ('soniq_observer', $$select soniq.pause_queue('roles')$$, 'function pause_queue'),
  ('soniq_observer', 'lock table soniq.lanes in share mode', 'table lanes'),
  ('soniq_admin', 'select soniq.claim(1)', 'function claim'),
  ('soniq_admin', $$select soniq.enqueue('roles job')$$, 'function enqueue'),
  ('soniq_admin', 'select soniq.complete(1, 1)', 'function complete'),
  ('soniq_admin', 'delete from soniq.dead_letter_jobs', 'table dead_letter_jobs'),
  ('soniq_admin', 'lock table soniq.jobs in row exclusive mode', 'table jobs'),
  ('soniq_admin', 'select soniq.grant_roles()', 'function grant_roles');
select throws_ok(
  format('select pg_temp.as_role(%L, %L)', role, statement), '42501', format('permission denied for %s', object),
  format('%s may not: %s', role, statement)
)
from attempts;

-- An underscore function is the owner's.
select throws_ok(
  format('select pg_temp.as_role(%L, %L)', role.name, 'select soniq._take_tally()'), '42501', 'permission denied for function _take_tally',
  role.name || ' may not call an underscore function'
)
from roles as role;

-- Beside these, what each is for.

select pg_temp.forget_hints() \g /dev/null
create temporary table registered as
select pg_temp.number('soniq_runner', $$select soniq.register_runner(host => 'roles', pid => 1)$$) as runner_id;
select is(
  pg_temp.as_role(
    'soniq_runner',
    format($$select (job_id, args) from soniq.claim(runner_id => %s, queues => '{roles}', max_jobs => 1)$$, runner_id)
  ),
  format('(%s,"{""secret"": ""s3cret""}")', id),
  'a runner is handed a job with its arguments'
)
from registered, jobs;
select is(
  pg_temp.as_role('soniq_runner', format($$select soniq.fail(%s, 1, '{"message": "s3cret"}', 'permanent_failure')$$, id)),
  'dead_letter', 'and says what became of it'
)
from jobs;
select is(
  pg_temp.as_role('soniq_runner', 'select partitions_made >= 0 from soniq.tick()'), 'true', 'a runner ticks'
);

select matches(
  pg_temp.as_role('soniq_observer', 'select array_agg(shown)::text from ' || source || ' as shown'), 'roles',
  'an observer sees ' || source
)
from unnest(array['soniq.queue_stats', 'soniq.runner_stats', 'soniq.metrics()', 'soniq.runners', 'soniq.lanes']) as source;
select unalike(
  pg_temp.as_role('soniq_observer', 'select concat(array_agg(shown)) from ' || source || ' as shown'), '%s3cret%',
  'an observer sees nothing of a job''s inside in ' || source
)
from unnest(array[
  'soniq.metrics()', 'soniq.queue_stats', 'soniq.job_stats', 'soniq.runner_stats', 'soniq.chores', 'soniq.job_types',
  'soniq.lanes', 'soniq.queues', 'soniq.runners', 'soniq.settings'
]) as source;
select is(
  pg_temp.as_role('soniq_observer', format('select status from soniq.all_jobs where id = %s', id)), 'dead_letter',
  'an observer sees where a job is'
)
from jobs;

select is(
  pg_temp.as_role('soniq_admin', format('select errors -> 0 ->> %L from soniq.get_job(%s)', 'message', id)), 's3cret',
  'an admin sees why a job failed'
)
from jobs;
select is(
  pg_temp.as_role('soniq_admin', statement), answer, 'an admin may: ' || statement
)
from jobs
cross join lateral (
  values
    (format('select count(*) from soniq.replay_dead_letters(array[%s])', id), '1'),
    (format('select count(*) from soniq.delete_dead_letters(array[%s])', id), '1'),
    ($$select count(*) >= 0 from soniq.prune_dead_letters('100 years')$$, 'true'),
    ($$select soniq.schedule('roles schedule', 'roles job', every => '1 day') is not null$$, 'true'),
    ($$select soniq.unschedule('roles schedule')$$, 'true')
) as action (statement, answer);

-- A login is granted one, and has what it has.

create role soniq_test_shop login;
select throws_ok(
  $$select pg_temp.as_role('soniq_test_shop', 'select soniq.enqueue(''roles job'')')$$, '42501',
  'permission denied for schema soniq', 'who was granted nothing may do nothing'
);
grant soniq_producer to soniq_test_shop;
select isnt(
  pg_temp.as_role('soniq_test_shop', $$select soniq.enqueue('roles job')$$), null, 'with soniq_producer granted, it enqueues'
);

-- What grant_roles() is made of. Each is undone at once, for it changes the functions themselves, and statements are counted
-- (script/test coverage) for a function as it was deployed.

savepoint as_deployed;
select soniq._revoke_roles() \g /dev/null
select is_empty(
  $$
    select role.name, function.oid::regprocedure
    from roles as role
    cross join pg_catalog.pg_proc as function
    where function.pronamespace = 'soniq'::regnamespace
      and has_function_privilege(role.name, function.oid, 'execute')
      and not has_function_privilege('public', function.oid, 'execute')
  $$,
  '_revoke_roles() leaves no function to any role'
);
select is_empty(
  $$
    select role.name, relation.oid::regclass
    from roles as role
    cross join pg_catalog.pg_class as relation
    where relation.relnamespace = 'soniq'::regnamespace
      and relation.relkind in ('r', 'p', 'v')
      and has_any_column_privilege(role.name, relation.oid, 'select')
  $$,
  'nor any column of a table'
);
rollback to as_deployed;

savepoint as_deployed;
select soniq._own(owner => 'pg_monitor') \g /dev/null
select is(pg_temp.owners(), 'pg_monitor, soniq_owner', '_own() gives away all but the schema');
rollback to as_deployed;

savepoint as_deployed;
set local client_min_messages = error;
alter role soniq_runner rename to soniq_test_runner;
select soniq.grant_roles() \g /dev/null
select is(pg_temp.owners(), 'soniq_owner', 'grant_roles() goes on where a role is missing');
rollback to as_deployed;

-- grant_roles(), called again.

create function pg_temp.rights()
returns text
language sql
as $$
  select md5(string_agg(object.acl, e'\n' order by object.acl))
  from (
    select oid::regprocedure::text || (
      select string_agg(privilege::text, ' ' order by privilege::text) from aclexplode(proacl) as privilege
    )
    from pg_catalog.pg_proc
    where pronamespace = 'soniq'::regnamespace
    union all
    select oid::regclass::text || (
      select string_agg(privilege::text, ' ' order by privilege::text) from aclexplode(relacl) as privilege
    )
    from pg_catalog.pg_class
    where relnamespace = 'soniq'::regnamespace
    union all
    select attrelid::regclass::text || attname || (
      select string_agg(privilege::text, ' ' order by privilege::text) from aclexplode(attacl) as privilege
    )
    from pg_catalog.pg_attribute
    where attacl is not null
  ) as object (acl);
$$;

create temporary table before as
select pg_temp.rights() as rights;
select soniq.grant_roles() \g /dev/null
select is(pg_temp.rights(), rights, 'grant_roles() again changes nothing') from before;

grant select on soniq.jobs to soniq_producer;
grant update (paused) on soniq.queues to soniq_observer;
grant execute on function soniq.get_job to soniq_runner;
grant usage on sequence soniq.jobs_id_seq to soniq_producer;
grant execute on function soniq.clock to public;
select isnt(pg_temp.rights(), rights, 'what was granted by mistake') from before;
select soniq.grant_roles() \g /dev/null
select is(pg_temp.rights(), rights, 'is taken back by grant_roles()') from before;

grant execute on function soniq.cancel to soniq_test_shop;
select soniq.grant_roles() \g /dev/null
select ok(
  has_function_privilege('soniq_test_shop', 'soniq.cancel(bigint)', 'execute'), 'a grant to another role stays as it is'
);

-- Where one of them is missing, and whoever deploys may not be the owner.

set local client_min_messages = error;
update before set rights = pg_temp.rights();
select soniq._revoke_roles() \g /dev/null
alter role soniq_admin rename to soniq_test_admin;
alter role soniq_owner rename to soniq_test_owner;
create role "soniq test deployer";
alter schema soniq owner to "soniq test deployer";
select soniq._own(owner => '"soniq test deployer"') \g /dev/null
select format('grant create on database %I to "soniq test deployer"', current_database()) \gexec
select pg_temp.as_role('soniq test deployer', 'select soniq.grant_roles()') \g /dev/null
select is(
  pg_temp.owners(),
  '"soniq test deployer"',
  'without soniq_owner, everything stays with whoever deployed'
);
select is(
  (
    select array_agg(distinct privilege.grantee::regrole::text)
    from pg_catalog.pg_proc as function
    cross join lateral aclexplode(function.proacl) as privilege
    where function.pronamespace = 'soniq'::regnamespace
      and function.proname = 'metrics'
      and privilege.grantee <> function.proowner
  ),
  '{soniq_observer,soniq_runner}',
  'and the roles that there are have their rights'
);
select is(soniq._may_own(owner => 'soniq_test_owner'), true, 'a superuser may give everything away');
select is(
  pg_temp.as_role('soniq test deployer', $$select soniq._may_own(owner => 'soniq_test_owner')$$), 'false',
  'who is no member may not'
);
grant soniq_test_owner to "soniq test deployer";
select is(
  pg_temp.as_role('soniq test deployer', $$select soniq._may_own(owner => 'soniq_test_owner')$$), 'true',
  'a member may'
);
alter role soniq_test_admin rename to soniq_admin;
alter role soniq_test_owner rename to soniq_owner;
select pg_temp.as_role('soniq test deployer', 'select soniq.grant_roles()') \g /dev/null
select is(pg_temp.rights(), rights, 'once the roles are there, grant_roles() does the rest') from before;

select * from finish();
rollback;
