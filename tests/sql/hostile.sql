-- Who has one of the roles, and may make what he likes in a schema of his own and for his session, tries to have it run with
-- the owner's rights: functions, operators, types and casts of the names that Soniq uses, views in the place of its tables,
-- texts that look like SQL, and false settings.

begin;
\ir support.sql
select no_plan();

-- What the catalog says.

create temporary view routines as
select
  function.oid,
  function.oid::regprocedure::text as signature,
  function.proname::text as name,
  function.prosecdef as runs_as_owner,
  coalesce(function.proconfig, '{}') as settings,
  function.proowner::regrole::text as owner,
  language.lanname = 'plpgsql' as is_plpgsql,
  regexp_replace(function.prosrc, '--[^\n]*', '', 'g') as code
from pg_catalog.pg_proc as function
join pg_catalog.pg_language as language
  on language.oid = function.prolang
where function.pronamespace = 'soniq'::regnamespace;

select is_empty(
  $$
    select signature
    from routines
    where runs_as_owner
      and not ('search_path=pg_catalog, pg_temp' = any (settings) and owner = 'soniq_owner')
  $$,
  'what runs with its owner''s rights runs with those of soniq_owner, and says where names are looked up'
);
select is_empty(
  $$
    select role.role_name, signature
    from routines
    cross join unnest(array['public', 'soniq_producer', 'soniq_runner', 'soniq_observer', 'soniq_admin']) as role (role_name)
    where name like '\_%'
      and not runs_as_owner
      and has_function_privilege(role.role_name, oid, 'execute')
  $$,
  'no other underscore function may be called'
);
select set_eq(
  $$
    select distinct name
    from routines
    cross join unnest(array['soniq_producer', 'soniq_runner', 'soniq_observer', 'soniq_admin']) as role (role_name)
    where not runs_as_owner
      and has_function_privilege(role.role_name, oid, 'execute')
  $$,
  array['clock', 'version'],
  'with the caller''s own rights, and his search_path, run two that name nothing without its schema'
);
-- At the end of a transaction they would run with the search_path of whoever commits.
select is_empty(
  $$
    select trigger.tgrelid::regclass, trigger.tgname
    from pg_catalog.pg_trigger as trigger
    join pg_catalog.pg_class as relation
      on relation.oid = trigger.tgrelid
    where relation.relnamespace = 'soniq'::regnamespace
      and (trigger.tgdeferrable or not (select runs_as_owner from routines where routines.oid = trigger.tgfoid))
      and not (trigger.tgisinternal and not trigger.tgdeferrable)
  $$,
  'no trigger waits for the end of the transaction, and each runs with the owner''s rights'
);
-- Of a name without its schema, pg_catalog's is meant: it comes first, and functions are not looked for in pg_temp.
select is_empty(
  $$
    select signature, reference.name[1]
    from routines
    cross join lateral regexp_matches(regexp_replace(code, '''[^'']*''', '', 'g'), '\m(?:from|join|into|update|table)\s+(\w+)\M(?![.(])', 'g') as reference (name)
    where exists (
      select
      from pg_catalog.pg_class as relation
      where relation.relname = reference.name[1]
        and relation.relnamespace in ('soniq'::regnamespace, 'pg_catalog'::regnamespace)
    )
  $$,
  'no function names a table without its schema'
);
select is_empty(
  $$
    select signature, called.name[1]
    from routines
    cross join lateral regexp_matches(code, '(?<![\w."''])(\w+)\(', 'g') as called (name)
    where called.name[1] in (select name from routines)
      and code !~ (called.name[1] || '\(s\)')
      and code !~ ('(as|not|lateral|with) ' || called.name[1] || '\(')
  $$,
  'nor one of Soniq''s functions without it'
);

-- What a backslash means in a plain literal is for the session to set (standard_conforming_strings).
select is_empty(
  $$
    select signature
    from routines
    where regexp_replace(code, '\mE''[^'']*''', '', 'g') like '%\\%'
  $$,
  'no literal means another thing to a session with old-fashioned strings'
);

-- EXECUTE: what is put together from strings, and why it has to be.

create temporary table executed (function text, starts text, reason text);
insert into executed
values
  ('_own', 'alter table %s', 'utility statements take no parameters: a regclass and a regrole'),
  ('_lock_tables', 'lock table only %s', 'a regclass'),
  ('_keep_tenants_apart', 'create policy own_tenant on %s', 'a regclass'),
  ('_keep_tenants_apart', 'create policy no_tenant on %s', 'a regclass'),
  ('_keep_tenants_apart', 'alter table %s enable row level security, %s', 'a regclass, and force or no force'),
  ('_stop_keeping_tenants_apart', 'drop policy if exists %I on %s', 'a policy of ours and a regclass'),
  ('_stop_keeping_tenants_apart', 'alter table %s no force row level security', 'a regclass'),
  ('_own', 'alter function %s', 'a regprocedure and a regrole'),
  ('_own', 'alter type %s', 'a regtype and a regrole'),
  ('_revoke_roles', 'revoke all on all functions in schema soniq from %s', 'a regrole'),
  ('_revoke_roles', 'revoke all on all tables in schema soniq from %s', 'a regrole'),
  ('_revoke_roles', 'revoke all on all sequences in schema soniq from %s', 'a regrole'),
  ('grant_roles', 'grant usage on schema soniq to %I', 'a role of soniq._rights()'),
  ('grant_roles', 'grant execute on function %s to %I', 'a regprocedure'),
  ('grant_roles', 'grant select %s on soniq.%I to %I', 'columns of soniq._rights(), each through quote_ident()'),
  ('_make_partition', 'create table soniq.%I', 'named after a day'),
  ('_make_partition', 'comment on table soniq.%I is %L', 'the same'),
  ('_make_partition', 'with moved as', 'into that table; the values are parameters'),
  ('_make_partition', 'alter table soniq.finished_jobs attach partition soniq.%I for values from (%L) to (%L)', 'the same'),
  ('_drop_partition', 'lock table soniq.%I', 'a partition, which the planner need not look for in all of them'),
  ('_drop_partition', 'drop table soniq.%I', 'the same'),
  ('_empty_partition', 'lock table soniq.%I', 'the same'),
  ('_empty_partition', 'truncate table soniq.%I', 'the same'),
  ('_pages_since', 'select job.finished_at < $2', 'a partition; the values are parameters'),
  ('_recently_finished', 'select exists (', 'a partition; the values are parameters'),
  ('_recently_finished', 'select job.queue', 'the same');

create temporary view executions as
select
  name,
  -- What follows USING is no part of it.
  regexp_replace(regexp_replace(statement.parts[1], '\s+', ' ', 'g'), ' using .*$', '') as statement
from routines
cross join lateral regexp_matches(code, '\mexecute\s+([^;]+);', 'gi') as statement (parts)
where is_plpgsql;

select is_empty(
  $$
    select name, statement
    from executions
    where statement !~ '^pg_catalog\.format\( ?'''
  $$,
  'what is executed is put together by format()'
);
select is_empty(
  $$
    select name, statement
    from executions
    where not exists (
      select
      from executed
      where executed.function = name
        and starts_with(regexp_replace(statement, '^pg_catalog\.format\( ?''', ''), executed.starts)
    )
  $$,
  'and each such statement is in the list, with its reason'
);
select is(
  (select count(*) from executions), (select count(*) from executed), 'which lists no more than there are'
);
select set_eq(
  $$
    select distinct name
    from executions
    where regexp_replace(statement, '%%|%I|%L', '', 'g') ~ '%'
  $$,
  array['_keep_tenants_apart', '_lock_tables', '_own', '_revoke_roles', '_stop_keeping_tenants_apart', 'grant_roles'],
  '%s, which quotes nothing, is for what is a name of the catalog by its type, or a literal, where nobody but the owner calls'
);
-- Callers without rights, whose text would otherwise reach it.
select is_empty(
  $$
    select signature
    from routines
    where name in (select name from executions)
      and name not in ('_make_partition', 'grant_roles')
      and runs_as_owner
  $$,
  'none of them is called by anybody but Soniq'
);

-- The attackers.

create schema evil;
grant all on schema evil to public;
create sequence evil.as_owner;
create sequence evil.as_somebody;
grant all on all sequences in schema evil to public;
create function evil.trap()
returns boolean
language plpgsql
set search_path = pg_catalog
as $$
begin
  -- A sequence keeps what was counted, whatever is rolled back.
  perform case when current_user in ('soniq_owner', session_user) then nextval('evil.as_owner') else nextval('evil.as_somebody') end;
  return true;
end;
$$;
create function pg_temp.trapped()
returns text
language sql
as $$
  select format('%s, %s', (select is_called from evil.as_owner), (select is_called from evil.as_somebody));
$$;

-- Functions, operators and types of his own, for each that Soniq names.
do $$
declare
  wanted record;
  types constant oid[] := array[
    'boolean', 'smallint', 'integer', 'bigint', 'text', 'name', 'oid', 'jsonb', 'timestamptz', 'interval', 'date', 'tid',
    'double precision', 'numeric', 'anyarray', 'anyelement', 'anycompatible', 'anycompatiblearray', 'record', 'unknown'
  ]::regtype[]::oid[];
begin
  for wanted in
    select format(
      'create function evil.%I(%s) returns %s language plpgsql as ''begin perform evil.trap(); return %s; end''',
      function.proname, pg_get_function_identity_arguments(function.oid), pg_get_function_result(function.oid),
      case when function.proretset or function.prorettype = 'void'::regtype then '' else 'null' end
    ) as definition
    from pg_catalog.pg_proc as function
    where function.pronamespace = 'pg_catalog'::regnamespace
      and function.prokind = 'f'
      and function.proname in (
        select distinct called.name[1]
        from routines
        cross join lateral regexp_matches(code, '(\w+)\(', 'g') as called (name)
      )
    union all
    select format(
      'create function evil.operator_%s(%s) returns %s language plpgsql as ''begin perform evil.trap(); return null; end'';
       create operator evil.%s (function = evil.operator_%s, %s rightarg = %s)',
      operator.oid, concat_ws(', ', nullif(operator.oprleft, 0)::regtype, operator.oprright::regtype), operator.oprresult::regtype,
      operator.oprname, operator.oid, 'leftarg = ' || nullif(operator.oprleft, 0)::regtype || ',', operator.oprright::regtype
    )
    from pg_catalog.pg_operator as operator
    where operator.oprnamespace = 'pg_catalog'::regnamespace
      and operator.oprright = any (types)
      and operator.oprleft = any (types || 0::oid)
    union all
    select format('create domain evil.%I as pg_catalog.%I check (evil.trap())', type.typname, type.typname)
    from pg_catalog.pg_type as type
    where type.oid = any (types || array['regclass', 'regprocedure', 'regrole', 'regnamespace']::regtype[]::oid[])
      and type.typtype = 'b'
  loop
    begin
      execute wanted.definition;
    exception
      -- Pseudo-types that PL/pgSQL does not take, and functions that are made by the grammar.
      when others then
        null;
    end;
  end loop;
end;
$$;
select cmp_ok((select count(*) from pg_catalog.pg_operator where oprnamespace = 'evil'::regnamespace), '>', 150::bigint, 'operators');
select cmp_ok((select count(*) from pg_catalog.pg_proc where pronamespace = 'evil'::regnamespace), '>', 300::bigint, 'functions');
select cmp_ok((select count(*) from pg_catalog.pg_type where typnamespace = 'evil'::regnamespace and typtype = 'd'), '>', 10::bigint, 'types');

-- What is passed is cast on the way, by a function of his own.
create type evil.thing as (inside pg_catalog.text);
create function evil.to_text(evil.thing)
returns pg_catalog.text
language plpgsql
as $$
begin
  perform evil.trap();
  return 'hostile';
end;
$$;
create cast (evil.thing as pg_catalog.text) with function evil.to_text(evil.thing) as implicit;
create domain evil.checked as pg_catalog.text check (evil.trap());

-- Each attacker has one role.
create temporary view attackers as
select 'soniq_test_evil_' || role.name as name, 'soniq_' || role.name as role
from unnest(array['producer', 'runner', 'observer', 'admin']) as role (name);
select format('create role %I; grant %I to %I', name, role, name) from attackers \gexec

create function pg_temp.attack(role text, statement text, search_path text default 'pg_temp, evil, pg_catalog')
returns text
language plpgsql
set search_path = pg_catalog
as $$
declare
  answer pg_catalog.text;
begin
  perform pg_catalog.set_config('role', role, true);
  perform pg_catalog.set_config('search_path', search_path, true);
  begin
    execute statement into answer;
  exception
    when others then
      answer := pg_catalog.concat(sqlstate, ' ', sqlerrm);
  end;
  perform pg_catalog.set_config('search_path', 'pg_catalog', true);
  perform pg_catalog.set_config('role', 'none', true);
  return answer;
end;
$$;

-- What there is to attack.
select soniq.register_runner(host => 'hostile', pid => 1, queues => '{hostile}', heartbeat_timeout => '5 minutes') as runner \gset
select soniq.enqueue('hostile job', queue => 'hostile', priority => 0, dedup_key => 'hostile victim', headers => '{"x": "y"}') as victim \gset
select soniq.schedule('hostile schedule', 'hostile job', every => '1 day') is not null as scheduled \gset
select job_id as claimed, attempt from pg_temp.claim('{hostile}', runner_id => :runner) \gset
select soniq.enqueue('hostile job', queue => 'hostile letters') as letter \gset

create temporary table statements (name text, statement text);
insert into statements
values
  ('_bound_tenant', 'select soniq._bound_tenant()'),
  ('_concerns', 'select count(*) from soniq.concerns'),
  ('_dead_letter_groups', 'select count(*) from soniq.dead_letter_groups'),
  ('_job_stats', 'select count(*) from soniq.job_stats'),
  ('_shown_args', 'select count(job.args) from soniq.all_jobs as job'),
  ('_queue_counts', 'select count(*) from soniq.queue_counts'),
  ('_queue_stats', 'select count(*) from soniq.queue_stats'),
  ('_runner_stats', 'select count(*) from soniq.runner_stats'),
  ('_schedule_stats', 'select count(*) from soniq.schedule_stats'),
  ('cancel', format('select soniq.cancel(%s)', :letter)),
  ('claim', format($$select soniq.claim(%s, '{hostile,"a; drop table soniq.jobs"}', 10, '{x}')$$, :runner)),
  ('claim', format('select soniq.claim(%s)', :runner)),
  ('complete', format($$select soniq.complete(%s, %s, '{"a": "''); drop table soniq.jobs"}')$$, :claimed, 99)),
  ('complete', format($$select soniq.complete(job_ids => '{%s}', attempts => '{%s}', results => null)$$, :claimed, 99)),
  ('configure_queue', $$select soniq.configure_queue('hostile "; drop table soniq.jobs; --', priority => 5, retention => '3 days')$$),
  ('cron_next', $$select soniq.cron_next('*/5 1-3 * 1,2 MON', timezone => 'Europe/Vienna')$$),
  ('cron_next', $$select soniq.cron_next('1''; drop table soniq.jobs --', timezone => '''; drop table soniq.jobs --')$$),
  ('cron_preview', $$select soniq.cron_preview('5 4 29 2 *', runs => 2)$$),
  ('delete_dead_letters', $$select soniq.delete_dead_letters(job_name => '%s %I '' or true --')$$),
  ('deregister_runner', 'select soniq.deregister_runner(-1)'),
  ('enqueue', $$
    select soniq.enqueue(
      'a''; drop table soniq.jobs; --', '{"a": "$a$; select pg_sleep(1)", "b": "evil.trap()"}', queue => 'hostile %s %I %L "',
      priority => 3, delay => '1 minute', max_attempts => 3, timeout => '1 minute', dedup_key => ''' || evil.trap() || ''',
      headers => '{"x": "''; drop table soniq.jobs"}'
    )
  $$),
  ('enqueue', $$select soniq.enqueue('hostile job', dedup_key => 'hostile victim')$$),
  ('enqueue_many', $$select soniq.enqueue_many('hostile job', '{"{}","{\"a\": \"evil.trap()\"}"}', queue => 'hostile many')$$),
  ('fail', format($$select soniq.fail(%s, 99, '{"message": "''; drop table soniq.jobs"}', 'evil.trap()')$$, :claimed)),
  ('fail', format($$select soniq.fail(job_ids => '{%s}', attempts => '{99}', errors => '{"{}"}', reasons => '{permanent_failure}')$$, :claimed)),
  ('get_job', format('select soniq.get_job(%s)', :victim)),
  ('heartbeat', format($$select soniq.heartbeat(%s, '{%s}', '{%s}')$$, :runner, :claimed, :attempt)),
  ('history', $$select count(*) from soniq.history('1 hour', '''; drop table soniq.jobs; --')$$),
  ('history', $$select soniq.history('1 day', '%s %I')$$),
  ('metrics', 'select count(*) from soniq.metrics()'),
  ('pause_queue', $$select soniq.pause_queue('hostile paused')$$),
  ('pause_schedule', $$select soniq.pause_schedule('hostile schedule')$$),
  ('preview_schedule', $$select soniq.preview_schedule('hostile schedule')$$),
  ('prune_dead_letters', $$select soniq.prune_dead_letters('100 years')$$),
  ('prune_schedules', $$select soniq.prune_schedules(''' or true --', '{"'' or true"}')$$),
  ('register_job_type', $$select soniq.register_job_type('hostile '' type', retry_delays => '{1 s}', retention => '2 days')$$),
  ('register_runner', $$select soniq.register_runner('''; drop table soniq.jobs', 1, queues => '{hostile}')$$),
  ('release', format('select soniq.release(%s, 99)', :claimed)),
  ('replay_dead_letters', $$select soniq.replay_dead_letters(queue => ''' or true --')$$),
  ('resume_queue', $$select soniq.resume_queue('hostile paused')$$),
  ('resume_runner', format($$select soniq.resume_runner(%s, '{%s}', '{%s}')$$, :runner, :claimed, :attempt)),
  ('resume_schedule', $$select soniq.resume_schedule('hostile schedule')$$),
  ('retry', format('select soniq.retry(%s)', :claimed)),
  ('run_now', format('select soniq.run_now(%s)', :claimed)),
  ('run_schedule_now', $$select soniq.run_schedule_now('hostile schedule')$$),
  ('schedule', $$
    select soniq.schedule(
      'hostile ''; drop table soniq.jobs', 'hostile job', cron => '0 3 * * *', timezone => 'Asia/Tokyo',
      args => '{"a": "evil.trap()"}', source => '%s'' or true'
    )
  $$),
  ('snooze', format($$select soniq.snooze(%s, 99, '1 minute')$$, :claimed)),
  ('stop_waiting', 'select soniq.stop_waiting()'),
  ('take_bell', 'select soniq.take_bell()'),
  ('tick', 'select soniq.tick()'),
  ('unschedule', $$select soniq.unschedule('hostile ''; drop table soniq.jobs')$$),
  ('wait_for_jobs', $$select soniq.wait_for_jobs('{hostile}')$$),
  ('wait_for_jobs', 'select soniq.wait_for_jobs()'),
  ('wake_others', $$select soniq.wake_others('{"hostile '' %s"}')$$);
select set_eq(
  $$select name from statements$$,
  $$
    select name
    from routines
    where runs_as_owner
      and name not in ('_make_partition', '_retention_changed', 'bind_tenant', 'unbind_tenant')
  $$,
  'every function that runs with its owner''s rights is attacked, but for four that nobody but the owner may call'
);

-- So that each tick does all that it can.
update soniq.chores set due_at = '-infinity';
create temporary table before as
select md5(string_agg(concat(oid, prosrc, proacl, proowner), '' order by oid)) as functions
from pg_catalog.pg_proc
where pronamespace = 'soniq'::regnamespace;

-- In the place of Soniq's tables and the catalog's, views that spring the trap. From here on a table of either has its
-- schema said.
create temporary table shadowed as
select relation.relname::text as name, relation.oid::regclass::text as original
from pg_catalog.pg_class as relation
where relation.relnamespace = 'soniq'::regnamespace and relation.relkind in ('r', 'p', 'v')
  or relation.oid = any ('{
    pg_class,pg_proc,pg_locks,pg_database,pg_roles,pg_namespace,pg_type,pg_stat_activity,pg_inherits,
    pg_prepared_xacts,pg_replication_slots,pg_timezone_names,pg_stat_all_tables,pg_settings
  }'::regclass[]);
create temporary table answers (role text, name text, statement text, answer text);
do $$
declare
  view record;
begin
  for view in select shadowed.name, shadowed.original from pg_temp.shadowed loop
    execute pg_catalog.format(
      'create temporary view %I as select * from %s where evil.trap(); grant all on %I to public',
      view.name, case when view.original like '%.%' then view.original else 'pg_catalog.' || view.original end, view.name
    );
  end loop;
end;
$$;
create domain pg_temp.text as pg_catalog.text check (evil.trap());
create domain pg_temp.jsonb as pg_catalog.jsonb check (evil.trap());
create domain pg_temp.timestamptz as pg_catalog.timestamptz check (evil.trap());
insert into answers
select attacker.role, attacked.name, attacked.statement, pg_temp.attack(attacker.name, attacked.statement)
from pg_temp.attackers as attacker
cross join pg_temp.statements as attacked;
do $$
declare
  view record;
begin
  for view in select shadowed.name from pg_temp.shadowed loop
    execute pg_catalog.format('drop view pg_temp.%I', view.name);
  end loop;
end;
$$;
drop domain pg_temp.text, pg_temp.jsonb, pg_temp.timestamptz;

select is(pg_temp.trapped(), 'f, f', 'nothing of what lies in wait is run, by anyone');
select is_empty(
  $$
    select answer.role, answer.name, answer.answer
    from answers as answer
    where answer.answer !~ '^(SQ|42501)'
      and answer.name <> '_bound_tenant'
      and not exists (
        select
        from soniq._rights() as own
        where own.name = answer.name
          and replace(answer.role, 'soniq_', '') = any (own.roles)
      )
  $$,
  'who may not call a function is refused'
);
select is_empty(
  $$
    select answer.role, answer.statement, answer.answer
    from answers as answer
    where answer.answer ~ '^[0-9A-Z]{5} '
      and answer.answer !~ '^(SQ\d{3}|42501) '
  $$,
  'every call either succeeds or is refused with an error of Soniq''s own'
);
select is_empty(
  $$select name from statements except select name from answers where answer is null or answer !~ '^[0-9A-Z]{5} '$$,
  'and each function has done what it is for'
);
select is(
  (
    select md5(string_agg(concat(oid, prosrc, proacl, proowner), '' order by oid))
    from pg_catalog.pg_proc
    where pronamespace = 'soniq'::regnamespace
  ),
  functions, 'no function is another than it was'
)
from before;
select is(
  (select job_name from soniq.jobs where dedup_key = ''' || evil.trap() || '''), 'a''; drop table soniq.jobs; --',
  'what looks like SQL is a text like any other'
);

-- The traps do spring, where the attacker calls himself.
select is(pg_temp.attack(name, $$select 1 = 2$$), null, 'an operator of his own') from attackers where role = 'soniq_producer';
select is(pg_temp.trapped(), 'f, t', 'is run by himself');
select isnt(pg_temp.attack(name, statement, search_path => 'pg_catalog'), null, 'he passes what is cast by him: ' || statement)
from attackers
cross join (
  values
    ($$select soniq.enqueue(row('x')::evil.thing, dedup_key => row('x')::evil.thing)$$),
    ($$select soniq.enqueue('x'::evil.checked, queue => 'hostile'::evil.checked)$$)
) as passed (statement)
where role = 'soniq_producer';
select is(pg_temp.trapped(), 'f, t', 'the cast and the check are run by himself as well, never by the owner');

-- Settings, which anybody may set for himself.

select soniq.register_runner(host => 'hostile', pid => 2) as runner \gset
select soniq.enqueue('hostile setting', queue => 'hostile settings') from generate_series(1, 300) \g /dev/null
create temporary table names as
select distinct read.name[1] as name
from routines
cross join lateral regexp_matches(code, 'current_setting\(''(soniq\.\w+)''', 'g') as read (name);
select set_eq(
  'select name from names',
  array[
    'soniq.bell', 'soniq.lane_', 'soniq.overdue_until', 'soniq.priorities_rest_until', 'soniq.sign_taken', 'soniq.tenant', 'soniq.vain_look',
    'soniq.waits_for'
  ],
  'these settings are read, and no others'
);
create temporary table false_settings as
select setting.name || case when setting.name = 'soniq.lane_' then lane.lane_id::text else '' end as name, wrong.value
from names as setting
join soniq.lanes as lane
  on lane.queue = 'hostile settings'
cross join (
  values
    ('garbage'), ('''; drop table soniq.jobs; --'), ('{}'), ('{null}'), ('{{1,2},{3,4}}'), ('-1'), ('32767'), ('99999999999'),
    ('{1,2}'), ('{9223372036854775807,9223372036854775807,9223372036854775807,9223372036854775807,1,1,1,1,1,1}'),
    ('{0,0,0,9223372036854775807,0,0,0,0,0,0}'), ('{9223372036854775807,1,0,60000000,9223372036854775807,1,1,1,1,1}'),
    (format('{99999999999999,1,%s,60000000,99999999999999,1,1,1,1,1}', soniq._microseconds(clock_timestamp())))
) as wrong (value);

create function pg_temp.with_setting(name text, value text, statement text)
returns text
language plpgsql
as $$
declare
  answer text;
begin
  perform set_config(name, value, true);
  answer := pg_temp.attack('soniq_test_evil_runner', statement);
  perform set_config(name, '', true);
  return answer;
end;
$$;
-- To take down what is not up is a warning.
set local client_min_messages = error;
create temporary table outcomes as
select setting.name, setting.value, tried.statement, pg_temp.with_setting(setting.name, setting.value, tried.statement) as answer
from false_settings as setting
cross join (
  values
    (format($$select job_id from soniq.claim(%s, '{hostile settings}')$$, :runner)), ('select soniq.tick()'), ('select soniq.take_bell()'),
    ($$select soniq.wait_for_jobs('{hostile settings}')$$), ('select soniq.stop_waiting()'),
    ($$select soniq.wake_others('{hostile settings}')$$)
) as tried (statement);
select is_empty(
  $$select name, value, statement, answer from outcomes where answer ~ '^[0-9A-Z]{5} ' and answer !~ '^22'$$,
  'a false setting makes a call of the session''s own fail for what is no number, and does nothing worse'
);
select pg_advisory_unlock_all() \g /dev/null
select set_config('soniq.bell', '', true), set_config('soniq.waits_for', '', true), pg_temp.forget_hints() \g /dev/null
select is(
  (select count(*) from pg_temp.claim('{hostile settings}', max_jobs => 1000))
    + (select count(*) from outcomes where statement like '%soniq.claim%' and answer ~ '^\d+$'),
  300::bigint,
  'and hides no job from others'
);
select is(
  pg_temp.attack(
    'soniq_test_evil_producer', $$select set_config('soniq.bell', 'garbage', true), soniq.enqueue('x', queue => 'hostile')$$,
    search_path => 'pg_catalog'
  ),
  'garbage', 'an enqueue reads none of them'
);
select is(pg_temp.trapped(), 'f, t', 'nothing was run for all that');

select * from finish();
rollback;
