-- What the catalog promises: who may call what, that no caller's search_path reaches into a function, and that
-- everything is explained where psql looks for it. Then version() and clock().

begin;
\ir support.sql
select no_plan();

create temporary view public_functions as
select
  function.oid,
  function.oid::regprocedure::text as signature,
  function.prosecdef as runs_as_owner,
  coalesce(function.proconfig, '{}') as settings
from pg_catalog.pg_proc as function
where function.pronamespace = 'soniq'::regnamespace
  and function.proname not like '\_%';

select set_eq(
  $$select distinct substring(signature from '^soniq\.(\w+)') from public_functions$$,
  array[
    'bind_tenant', 'cancel', 'claim', 'clock', 'complete', 'configure_queue', 'cron_next', 'cron_preview', 'delete_dead_letters',
    'deregister_runner', 'enqueue', 'enqueue_many', 'fail', 'get_job', 'grant_roles', 'heartbeat', 'history', 'metrics',
    'pause_queue', 'pause_schedule', 'preview_schedule', 'prune_dead_letters', 'prune_schedules', 'register_job_type',
    'register_runner', 'release', 'replay_dead_letters', 'resume_queue', 'resume_runner', 'resume_schedule',
    'retry', 'run_now', 'run_schedule_now', 'schedule', 'snooze', 'stop_waiting', 'take_bell', 'tick', 'unbind_tenant', 'unschedule',
    'version', 'wait_for_jobs', 'wake_others'
  ],
  'these functions are the interface, and no others'
);

-- Who may call what.

select set_eq(
  $$
    select function.oid::regprocedure::text
    from pg_catalog.pg_proc as function
    where function.pronamespace = 'soniq'::regnamespace
      and has_function_privilege('public', function.oid, 'execute')
  $$,
  array['soniq._bound_tenant()'],
  'nobody may execute a function of Soniq without a grant, but for what policies ask of everybody'
);

select is_empty(
  $$
    select relation.oid::regclass, privilege.name
    from pg_catalog.pg_class as relation
    cross join (values ('select'), ('insert'), ('update'), ('delete'), ('truncate')) as privilege (name)
    where relation.relnamespace = 'soniq'::regnamespace
      and relation.relkind in ('r', 'p', 'v')
      and has_table_privilege('public', relation.oid, privilege.name)
  $$,
  'nobody may read or write a table of Soniq without a grant'
);

select ok(not has_schema_privilege('public', 'soniq', 'usage'), 'nobody may use the schema without a grant');

-- clock() and version() read nothing that needs a right, and grant_roles() is for who owns what it gives away.
select is_empty(
  $$
    select signature
    from public_functions
    where signature not in ('soniq.clock()', 'soniq.version()', 'soniq.grant_roles()')
      and not (runs_as_owner and 'search_path=pg_catalog, pg_temp' = any (settings))
  $$,
  'every public function runs with its owner''s rights and a search_path that no caller can change'
);

create role soniq_test_producer;
grant usage on schema soniq to soniq_test_producer;
grant execute on function soniq.enqueue to soniq_test_producer;

create function pg_temp.as_producer(statement text)
returns text
language plpgsql
as $$
declare
  answer text;
begin
  set local role soniq_test_producer;
  execute as_producer.statement into answer;
  reset role;
  return answer;
end;
$$;

select is(
  pg_temp.status(job_id => pg_temp.as_producer($$select soniq.enqueue('catalog job', '{"secret": 1}')$$)::bigint),
  'queued',
  'a role with usage on the schema and execute on enqueue() can enqueue'
);

select throws_ok(
  format('select pg_temp.as_producer(%L)', forbidden.statement),
  '42501',
  format('permission denied for %s', forbidden.what),
  'such a role may not: ' || forbidden.statement
)
from (values
  ('select args from soniq.jobs', 'table jobs'),
  ('select args from soniq.all_jobs', 'view all_jobs'),
  ('update soniq.settings set max_args_bytes = 1', 'table settings'),
  ('select soniq.get_job(1)', 'function get_job'),
  ('select soniq.claim(1)', 'function claim'),
  ('select soniq.cancel(1)', 'function cancel')
) as forbidden (statement, what);

-- Explanations.

select is_empty(
  $$
    select signature
    from public_functions
    where obj_description(oid, 'pg_proc') is null
  $$,
  'every public function has a comment'
);

select is_empty(
  $$
    select signature, code.named
    from public_functions
    cross join lateral regexp_matches(obj_description(oid, 'pg_proc'), '\mSQ\d{3}\M', 'g') as code (named)
    where code.named[1] not between 'SQ001' and 'SQ027'
  $$,
  'the comments name no SQLSTATE that does not exist'
);

select is_empty(
  $$
    select relation.oid::regclass
    from pg_catalog.pg_class as relation
    where relation.relnamespace = 'soniq'::regnamespace
      and relation.relkind in ('r', 'p', 'v')
      and obj_description(relation.oid, 'pg_class') is null
  $$,
  'every table and view has a comment'
);

select is_empty(
  $$
    select relation.oid::regclass, attribute.attname
    from pg_catalog.pg_class as relation
    join pg_catalog.pg_attribute as attribute
      on attribute.attrelid = relation.oid
      and attribute.attnum > 0
      and not attribute.attisdropped
    where relation.relnamespace = 'soniq'::regnamespace
      and relation.relkind in ('r', 'p')
      and not relation.relispartition
      and col_description(relation.oid, attribute.attnum) is null
  $$,
  'every column of a table has a comment'
);

select is_empty(
  $$
    select type.oid::regtype
    from pg_catalog.pg_type as type
    left join pg_catalog.pg_class as relation
      on relation.oid = type.typrelid
    where type.typnamespace = 'soniq'::regnamespace
      and type.typcategory <> 'A'
      and (relation.oid is null or relation.relkind = 'c')
      and obj_description(type.oid, 'pg_type') is null
  $$,
  'every type has a comment'
);

select isnt(obj_description('soniq'::regnamespace, 'pg_namespace'), null, 'the schema has a comment');

select is_empty(
  $$
    select index.indexrelid::regclass
    from pg_catalog.pg_index as index
    join pg_catalog.pg_class as relation
      on relation.oid = index.indexrelid
    cross join lateral unnest(index.indcollation) as used (collation_id)
    where relation.relnamespace = 'soniq'::regnamespace
      and used.collation_id not in (0, 'pg_catalog."C"'::regcollation)
  $$,
  'no index is in the order of a language, which changes with the operating system'
);

-- version() and clock().

select matches(soniq.version(), '^\d+\.\d+\.\d+$', 'version() is major.minor.patch');

select ok(
  soniq.clock() between statement_timestamp() and clock_timestamp(),
  'clock() is the database''s time now, not the time when the transaction began'
);

select * from finish();
rollback;
