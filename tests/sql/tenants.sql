-- Tenants: whose a job is, from enqueue() to its last record; and that a login bound to a tenant meets that tenant's jobs
-- and no others, by whatever way it comes.

begin;
\ir support.sql
select no_plan();

-- To switch row security on takes the tables for this transaction.
truncate soniq.jobs, soniq.finished_jobs, soniq.dead_letter_jobs, soniq.schedules;
set local client_min_messages = error;

create function pg_temp.tenant_of(job_id bigint)
returns text
language sql
as $$
  select (pg_temp.job(job_id => tenant_of.job_id)).tenant;
$$;

-- A job's tenant, where nobody is bound.

select set_eq(
  $$
    select relation.relname::text
    from pg_catalog.pg_class as relation
    where relation.relnamespace = 'soniq'::regnamespace
      and relation.relrowsecurity
  $$,
  array[]::text[], 'row security is off until the first login is bound'
);

select soniq._stop_keeping_tenants_apart() \g /dev/null
select is_empty(
  $$
    select
    from pg_catalog.pg_locks
    where pid = pg_backend_pid()
      and relation = 'soniq.runners'::regclass
      and mode = 'AccessExclusiveLock'
  $$,
  'and to switch off what is off keeps nobody from a table'
);

select is(pg_temp.tenant_of(pg_temp.new_job()), null, 'a job is nobody''s in particular');
select soniq.enqueue('tenants job', queue => 'tenants', tenant => 'acme') as job \gset
select is(pg_temp.tenant_of(:job), 'acme', 'unless its producer says whose it is');
set local soniq.tenant = 'bolt';
select is(pg_temp.tenant_of(soniq.enqueue('tenants job', queue => 'tenants later')), 'bolt', 'or its transaction does');
select is(
  pg_temp.tenant_of(soniq.enqueue('tenants job', queue => 'tenants later', tenant => 'acme')), 'acme',
  'and the argument counts more'
);
select is(
  array(
    select pg_temp.tenant_of(id)
    from soniq.enqueue_many('tenants job', '{"{}","{}"}', queue => 'tenants later') as id
  ),
  '{bolt,bolt}', 'so it is with many'
);
set local soniq.tenant = '';
select is(
  array(
    select pg_temp.tenant_of(id)
    from soniq.enqueue_many('tenants job', '{"{}","{}"}', queue => 'tenants later', tenant => 'acme') as id
  ),
  '{acme,acme}', 'and by argument'
);

select is((select tenant from pg_temp.claim('{tenants}')), 'acme', 'a runner is told whose a job is');
select soniq.fail(:job, 1, '{}') \g /dev/null
select is(pg_temp.tenant_of(:job), 'acme', 'it is still while it waits for a retry');
select soniq.retry(:job) \g /dev/null
select attempt from pg_temp.claim('{tenants}') \gset
select soniq.fail(:job, :attempt, '{}', 'permanent_failure') \g /dev/null
select is(
  (select array[letter.tenant, job.tenant] from soniq.dead_letters as letter join soniq.all_jobs as job using (id) where id = :job),
  '{acme,acme}', 'as a dead letter'
);
select job_id as replayed from soniq.replay_dead_letters(array[:job]) \gset
select is(pg_temp.tenant_of(:replayed), 'acme', 'and in a replay');
select soniq.complete(job_id, attempt) from pg_temp.claim('{tenants}') \g /dev/null
select is(
  (select array[status::text, tenant] from soniq.all_jobs where id = :replayed), '{done,acme}', 'and once it is done'
);
select soniq.schedule('tenants hourly', 'tenants job', every => '1 hour', tenant => 'acme') \g /dev/null
select is(pg_temp.tenant_of(soniq.run_schedule_now('tenants hourly')), 'acme', 'the jobs of a schedule are its tenant''s');
select soniq.schedule('tenants hourly', 'tenants job', every => '1 hour', tenant => 'bolt') \g /dev/null
select is(pg_temp.tenant_of(soniq.run_schedule_now('tenants hourly')), 'bolt', 'which may change');
select soniq.unschedule('tenants hourly') \g /dev/null

-- A key is a tenant's own.

create temporary table keyed as
select tenant, soniq.enqueue('tenants job', queue => 'tenants keyed', dedup_key => 'tenants key', tenant => tenant) as id
from unnest(array['acme', 'bolt', null]) as tenant;
select is((select count(distinct id) from keyed), 3::bigint, 'two tenants, and nobody, may use one key');
select is(
  soniq.enqueue('tenants job', queue => 'tenants keyed', dedup_key => 'tenants key', tenant => tenant), id,
  format('a second job of %s with it is not added', coalesce(tenant, 'nobody'))
)
from keyed;
select count(soniq.release(job_id, attempt)) from pg_temp.claim('{tenants keyed}', 3) \g /dev/null
select is(
  (select count(*) from soniq.jobs where dedup_key = 'tenants key'), 3::bigint, 'each has it again when all are handed back'
);
select soniq.cancel(id) from keyed \g /dev/null

-- Bad input.

select is(
  pg_temp.refusal(call),
  pg_temp.refused_with('SQ026', 'tenant has 0 characters: ''''', 'Give 1 to 200 characters.'), call
)
from unnest(array[
  $$select soniq.enqueue('tenants job', tenant => '')$$,
  $$select soniq.enqueue_many('tenants job', '{"{}"}', tenant => '')$$,
  $$select soniq.schedule('tenants bad', every => '1 hour', tenant => '')$$,
  $$select soniq.bind_tenant('soniq_test_acme', '')$$
]) as call;
set local soniq.tenant = E'a\tb';
select is(
  pg_temp.refusal($$select soniq.enqueue('tenants job')$$),
  pg_temp.refused_with(
    'SQ026', E'tenant has white space at an end or a control character: ''a\tb''',
    'Remove it: such names look alike and are not.'
  ),
  'a tenant of the setting is looked at, too'
);
set local soniq.tenant = '';

create role soniq_test_runner login in role soniq_runner;
create role soniq_test_might login bypassrls;
create role soniq_test_deployer login in role soniq_owner;
create role soniq_test_root login superuser;
create role soniq_test_roots_friend login in role soniq_test_root;
create role soniq_test_group in role soniq_test_might;
create role soniq_test_grouped login noinherit in role soniq_test_group;
create role soniq_test_reader login in role pg_read_all_data;
create role soniq_test_writer login in role pg_write_all_data;
select is(
  pg_temp.refusal(format('select soniq.bind_tenant(%L, %L)', login, 'acme')),
  pg_temp.refused_with('SQ026', problem, remedy), problem
)
from (values
  (null, 'login is NULL', 'Give the login.'),
  ('soniq_test_nobody', 'there is no role soniq_test_nobody', 'Create the login first, then bind it.')
) as bad (login, problem, remedy)
union all
select is(
  pg_temp.refusal(format('select soniq.bind_tenant(%L, %L)', login, 'acme')),
  pg_temp.refused_with(
    'SQ026', format('the login %s %s, and no tenant could hold it', login, why),
    'Bind logins that are members of soniq_producer, soniq_observer or soniq_admin, and are nothing more.'
  ),
  format('a login that %s is not bound', why)
)
from (values
  ('soniq_test_runner', 'is a member of soniq_runner'),
  ('soniq_test_might', 'has BYPASSRLS'),
  ('soniq_test_deployer', 'is a member of Soniq''s owner'),
  ('soniq_test_root', 'is a superuser'),
  ('soniq_test_roots_friend', 'is a member of soniq_test_root, a superuser'),
  ('soniq_test_grouped', 'is a member of soniq_test_might, which has BYPASSRLS'),
  ('soniq_test_reader', 'is a member of pg_read_all_data'),
  ('soniq_test_writer', 'is a member of pg_write_all_data')
) as mighty (login, why);
select is(
  pg_temp.refusal($$select soniq.bind_tenant('soniq_test_runner', null)$$),
  pg_temp.refused_with('SQ026', 'tenant is NULL', 'Give the tenant.'), 'a tenant is given'
);
select is(soniq.unbind_tenant('soniq_test_runner'), false, 'who is not bound cannot be unbound');

-- Two tenants and a login for each; one of everything for both and for nobody.

create role "soniq_test_Acme" login in role soniq_producer, soniq_observer, soniq_admin;
create role soniq_test_bolt login in role soniq_producer, soniq_observer, soniq_admin;
create role soniq_test_free login in role soniq_producer, soniq_observer, soniq_admin;
truncate soniq.jobs, soniq.finished_jobs, soniq.dead_letter_jobs, soniq.schedules;

create temporary table whose (tenant text, queued bigint, done bigint, dead bigint);
grant all on whose to public;
insert into whose
select
  tenant,
  soniq.enqueue('tenants job', queue => 'tenants of ' || coalesce(tenant, 'nobody'), delay => '1 day', tenant => tenant),
  soniq.enqueue('tenants job', queue => 'tenants done', tenant => tenant),
  soniq.enqueue('tenants job', queue => 'tenants dead', tenant => tenant)
from unnest(array['acme', 'bolt', null]) as tenant;
select soniq.complete(job_id, attempt) from pg_temp.claim('{tenants done}', 3) \g /dev/null
select soniq.fail(job_id, attempt, '{}', 'permanent_failure') from pg_temp.claim('{tenants dead}', 3) \g /dev/null
select soniq.schedule('tenants of ' || coalesce(tenant, 'nobody'), 'tenants job', every => '1 day', tenant => tenant, source => 'tenants')
from whose \g /dev/null

-- While another session uses a table.
select exists (select from pg_catalog.pg_available_extensions where name = 'dblink') as has_dblink \gset
\if :has_dblink
create extension if not exists dblink;
select pg_temp.connect('other') \g /dev/null
select dblink_exec('other', 'begin; lock table soniq.runners in access share mode') \g /dev/null
set local lock_timeout = '100 ms';
select is(
  pg_temp.refusal($$select soniq.bind_tenant('soniq_test_Acme', 'acme')$$),
  pg_temp.refused_with(
    '55P03', 'to switch row security on or off takes a moment at which nobody uses soniq.runners, and in 00:00:00.1 there was none',
    'See who does: select * from pg_stat_activity where pid in (select pid from pg_locks where relation = ''soniq.runners''::regclass). Call it again when they are through, or set lock_timeout to how long it may try.'
  ),
  'a binding does not wait for ever'
);
select is(current_setting('lock_timeout'), '100ms', 'and what is set stays as it was');
reset lock_timeout;
select dblink_disconnect('other') \g /dev/null
\else
select skip('this server has no dblink', 2);
\endif

-- Whatever row security there is of somebody else's.
create policy mine on soniq.jobs for delete using (true);
create policy mine on soniq.settings for delete using (true);
alter table soniq.schedules enable row level security;
select soniq.bind_tenant('soniq_test_Acme', 'acme');
select bag_eq(
  'select relation, policy, state from soniq._row_security()',
  $$
    values
      ('soniq.jobs'::regclass, 'own_tenant'::name, 'on'), ('soniq.finished_jobs', 'own_tenant', 'on'),
      ('soniq.finished_jobs_default', 'own_tenant', 'on'), ('soniq.dead_letter_jobs', 'own_tenant', 'on'),
      ('soniq.schedules', 'own_tenant', 'on'), ('soniq.settings', 'no_tenant', 'on'), ('soniq.job_types', 'no_tenant', 'on'),
      ('soniq.queues', 'no_tenant', 'on'), ('soniq.lanes', 'no_tenant', 'on'), ('soniq.runners', 'no_tenant', 'on'),
      ('soniq.chores', 'no_tenant', 'on')
  $$,
  'row security is on, also where another policy was before'
);
-- Taken away by somebody, in part, it is whole with the next binding.
alter table soniq.jobs no force row level security;
alter table soniq.schedules disable row level security;
drop policy own_tenant on soniq.finished_jobs;
select soniq.bind_tenant('soniq_test_bolt', 'somebody');
select is_empty($$select relation, state from soniq._row_security() where state <> 'on'$$, 'each binding sees to that');
select soniq.bind_tenant('soniq_test_bolt', 'bolt');
select bag_eq(
  'select login, tenant from soniq.tenant_logins',
  $$values ('soniq_test_Acme' collate "C", 'acme' collate "C"), ('soniq_test_bolt', 'bolt')$$, 'a login is bound to the tenant named last'
);

-- As somebody who connects: with whatever else it then takes on.
create function pg_temp.as_login(login text, statement text, role text default 'none')
returns text
language plpgsql
as $$
declare
  answer text;
begin
  execute format('set local session authorization %I', as_login.login);
  perform set_config('role', as_login.role, true);
  execute as_login.statement into answer;
  set local session authorization default;
  return answer;
end;
$$;

create function pg_temp.refusal_of(login text, statement text)
returns text
language plpgsql
as $$
declare
  problem text;
  remedy text;
begin
  execute format('set local session authorization %I', refusal_of.login);
  execute refusal_of.statement;
  set local session authorization default;
  return 'nothing was refused';
exception
  when others then
    get stacked diagnostics problem = message_text, remedy = pg_exception_hint;
    return pg_temp.refused_with(code => sqlstate, problem => problem, remedy => remedy);
end;
$$;

create role soniq_test_reads_little login;
select soniq.bind_tenant('soniq_test_reads_little', 'acme') \g /dev/null

-- What it sees.

create temporary table seen (what text, acme text, everybody text);
insert into seen
values
  ('select array_agg(distinct tenant) from soniq.all_jobs', '{acme}', '{acme,bolt,NULL}'),
  ('select count(*) from soniq.all_jobs', '3', '9'),
  ($$select count(*) from soniq.all_jobs where status = 'done'$$, '1', '3'),
  ('select array_agg(tenant order by tenant) from soniq.dead_letters', '{acme}', '{acme,bolt,NULL}'),
  ('select array_agg(tenant order by tenant) from soniq.jobs', '{acme}', '{acme,bolt,NULL}'),
  ('select array_agg(tenant order by tenant) from soniq.finished_jobs', '{acme}', '{acme,bolt,NULL}'),
  ('select count(*) - count(tenant) from soniq.finished_jobs_default', '0', null),
  ('select array_agg(tenant order by tenant) from soniq.dead_letter_jobs', '{acme}', '{acme,bolt,NULL}'),
  ('select array_agg(tenant order by tenant) from soniq.schedules', '{acme}', '{acme,bolt,NULL}'),
  ('select count(*) from soniq.get_job((select queued from whose where tenant = $$acme$$))', '1', '1'),
  ('select count(*) from soniq.get_job((select queued from whose where tenant = $$bolt$$))', '0', '1'),
  ('select count(*) from soniq.get_job((select done from whose where tenant is null))', '0', '1'),
  ('select count(*) from soniq.get_job((select dead from whose where tenant = $$bolt$$))', '0', '1'),
  ('select count(*) > 0 from soniq.settings', 'false', 'true'),
  ('select count(*) > 0 from soniq.lanes', 'false', 'true'),
  ('select count(*) > 0 from soniq.runners', 'false', 'true'),
  ('select count(*) > 0 from soniq.chores', 'false', 'true');
select is(pg_temp.as_login('soniq_test_Acme', what), acme, 'bound to acme: ' || what) from seen;
select is(pg_temp.as_login('soniq_test_free', what), everybody, 'bound to nobody: ' || what) from seen
where everybody is not null;
select is(
  pg_temp.as_login('soniq_test_Acme', 'select array_agg(distinct tenant) from soniq.' || relation, 'soniq_admin'), '{acme}',
  'bound to acme, with another role taken on: ' || relation
)
from unnest(array['jobs', 'all_jobs']) as relation;

-- Who was granted a table or a view alone, and none of Soniq's roles, may read it still, bound or not.
create role soniq_test_granted login;
grant usage on schema soniq to soniq_test_granted, soniq_test_reads_little;
grant select on soniq.job_types, soniq.all_jobs to soniq_test_granted, soniq_test_reads_little;
select is(pg_temp.as_login('soniq_test_granted', what), everybody, 'granted by itself: ' || what)
from seen
where what like '%all_jobs%';
select is(pg_temp.as_login('soniq_test_reads_little', what), acme, 'granted by itself, bound to acme: ' || what)
from seen
where what like '%all_jobs%';
select is(pg_temp.as_login(login, 'select soniq._bound_tenant()'), tenant, 'each is told its own tenant: ' || login)
from (values ('soniq_test_granted', null), ('soniq_test_reads_little', 'acme')) as asked (login, tenant);
select soniq.unbind_tenant('soniq_test_reads_little') \g /dev/null

-- A function in a condition is asked of its own rows alone.
create function pg_temp.tell(tenant text)
returns boolean
language plpgsql
cost 0.0000001
as $$
begin
  if tell.tenant is distinct from 'acme' then
    raise 'seen: %', tell.tenant;
  end if;
  return true;
end;
$$;
select format('grant usage on schema %s to public', pg_my_temp_schema()::regnamespace) \gexec
select is(
  pg_temp.as_login('soniq_test_Acme', format('select count(*) from soniq.%s where pg_temp.tell(tenant)', relation)), jobs,
  'no condition of its own gets to see another''s rows: ' || relation
)
from (values ('jobs', '1'), ('all_jobs', '3'), ('dead_letters', '1'), ('schedules', '1')) as read (relation, jobs);

-- What it may do. Each function that these roles may call is in one of two lists.

create temporary table done (what text, acme text);
insert into done
values
  ('select soniq.cancel((select queued from whose where tenant = $$bolt$$))', null),
  ('select soniq.cancel((select queued from whose where tenant is null))', null),
  ('select soniq.retry((select queued from whose where tenant = $$bolt$$))', null),
  ('select soniq.retry((select queued from whose where tenant = $$acme$$))', 'queued'),
  ('select soniq.run_now((select queued from whose where tenant = $$acme$$)) = row($$queued$$::text, (select queued from whose where tenant = $$acme$$))', 'true'),
  ('select soniq.run_now((select dead from whose where tenant = $$bolt$$))', '(,)'),
  ('select soniq.cancel((select queued from whose where tenant = $$acme$$))', 'cancelled'),
  ('select count(*) from soniq.replay_dead_letters((select array_agg(dead) from whose))', '1'),
  ('select count(*) from soniq.replay_dead_letters(everything => true, dry_run => true)', '0'),
  ('select count(*) from soniq.delete_dead_letters((select array_agg(dead) from whose), dry_run => true)', '1'),
  ('select soniq.prune_dead_letters($$0$$, dry_run => true)', '1'),
  ('select count(*) from soniq.delete_dead_letters(everything => true)', '1'),
  ('select soniq.unschedule($$tenants of bolt$$)', 'false'),
  ('select soniq.unschedule($$tenants of nobody$$)', 'false'),
  ('select soniq.pause_schedule($$tenants of acme$$)', 'true'),
  ('select soniq.resume_schedule($$tenants of acme$$)', 'true'),
  ('select count(*) from soniq.preview_schedule($$tenants of acme$$)', '10'),
  ('select soniq.run_schedule_now($$tenants of acme$$) is not null', 'true'),
  ('select array_agg(name) from soniq.prune_schedules($$tenants$$, $${}$$) as name', '{"tenants of acme"}'),
  ('select soniq.schedule($$tenants of acme$$, every => $$1 day$$) is not null', 'true'),
  ('select tenant from soniq.schedules where name = $$tenants of acme$$', 'acme'),
  ('select string_agg(name || $$ is $$ || state, $$$$) from soniq.schedule_stats', 'tenants of acme is active'),
  ('select soniq.enqueue($$tenants job$$, queue => $$tenants$$) > 0', 'true'),
  ('select soniq.enqueue($$tenants job$$, queue => $$tenants$$, tenant => $$acme$$) > 0', 'true'),
  ('select soniq.enqueue($$tenants job$$, dedup_key => $$tenants$$) = soniq.enqueue($$x$$, dedup_key => $$tenants$$)', 'true'),
  ('select count(*) from soniq.enqueue_many($$tenants job$$, $${"{}"}$$)', '1'),
  ('select count(*) from soniq._schedule_stats()', '1'),
  ('select soniq.clock() is not null', 'true'),
  ('select soniq.cron_next($$* * * * *$$) is not null', 'true'),
  ('select count(*) from soniq.cron_preview($$* * * * *$$)', '10'),
  ('select soniq.version() is not null', 'true'),
  ('select count(*) from soniq._dead_letter_groups()', '0'),
  ('select soniq._shown_args($$tenants job$$, $${}$$)', '{}');
select is(pg_temp.as_login('soniq_test_Acme', what), acme, 'bound to acme: ' || what) from done;
select is(
  (select count(*) from soniq.all_jobs where tenant is distinct from 'acme'), 6::bigint, 'the jobs of others are as they were'
);
select is((select count(*) from soniq.schedules where tenant is distinct from 'acme'), 2::bigint, 'and their schedules');
select is(
  (select array_agg(distinct tenant) from soniq.all_jobs where id > (select max(dead) from whose)), '{acme}',
  'what was added is all acme''s'
);

create temporary table refused (what text, problem text);
insert into refused
values
  ('soniq.tick()', 'tick()'),
  ('soniq.metrics()', 'metrics()'),
  ('soniq._concerns()', 'concerns'),
  ('soniq.concerns', 'concerns'),
  ('soniq.history()', 'history()'),
  ('soniq._queue_counts()', 'queue_counts'),
  ('soniq.queue_counts', 'queue_counts'),
  ('soniq._queue_stats()', 'queue_stats'),
  ('soniq.queue_stats', 'queue_stats'),
  ('soniq._job_stats()', 'job_stats'),
  ('soniq.job_stats', 'job_stats'),
  ('soniq._runner_stats()', 'runner_stats'),
  ('soniq.runner_stats', 'runner_stats'),
  ('soniq.pause_queue($$tenants$$)', 'pause_queue()'),
  ('soniq.resume_queue($$tenants$$)', 'resume_queue()'),
  ('soniq.configure_queue($$tenants$$)', 'configure_queue()');
select is(
  pg_temp.refusal_of('soniq_test_Acme', 'select * from ' || what),
  pg_temp.refused_with(
    'SQ027', problem || ' is for the whole system, and the login "soniq_test_Acme" is bound to the tenant ''acme''',
    'Use a login that is bound to no tenant.'
  ),
  'bound to acme: ' || what
)
from refused;
select set_eq(
  $$
    select own.name
    from soniq._rights() as own
    where own.kind = 'function'
      and own.roles && '{producer,observer,admin}'
  $$,
  $$
    select call.name[1]
    from (
      select what from done
      union all
      select what from seen
      union all
      select what from refused where what like '%(%'
    ) as tried
    cross join lateral regexp_matches(what, 'soniq\.(\w+)\(', 'g') as call (name)
  $$,
  'that is every function there is for producers, observers and admins'
);

select is(pg_temp.refusal_of('soniq_test_Acme', statement), pg_temp.refused_with(code, problem, remedy), statement)
from (values
  (
    $$select soniq.enqueue('tenants job', tenant => 'bolt')$$, 'SQ026',
    'tenant is ''bolt'', and the login "soniq_test_Acme" is bound to another',
    'Leave the tenant out, and the setting soniq.tenant unset: this login''s jobs are its own tenant''s.'
  ),
  (
    $$select soniq.enqueue('tenants job') from set_config('soniq.tenant', 'bolt', true)$$, 'SQ026',
    'tenant is ''bolt'', and the login "soniq_test_Acme" is bound to another',
    'Leave the tenant out, and the setting soniq.tenant unset: this login''s jobs are its own tenant''s.'
  ),
  (
    $$select soniq.schedule('tenants of bolt', every => '1 day')$$, 'SQ019',
    'the schedule ''tenants of bolt'' is another tenant''s',
    'Give it another name, such as one that begins with the tenant''s.'
  ),
  (
    $$select soniq.pause_schedule('tenants of bolt')$$, 'SQ020',
    'there is no schedule ''tenants of bolt''', 'There are: tenants of acme.'
  )
) as attempt (statement, code, problem, remedy);
-- Who grants a bound login more than was there when it was bound.
grant soniq_runner to "soniq_test_Acme";
select matches(
  pg_temp.refusal_of('soniq_test_Acme', statement), 'SQ027: \w+\(\) is for the whole system', 'a bound login may not: ' || statement
)
from unnest(array[$$select soniq.register_runner('host')$$, $$select soniq.register_job_type('tenants job')$$]) as statement;
revoke soniq_runner from "soniq_test_Acme";

-- A queue's limit counts what a tenant has there itself.
select soniq.configure_queue('tenants limited', max_depth => 2) \g /dev/null
select count(soniq.enqueue('tenants job', queue => 'tenants limited', tenant => tenant))
from unnest(array['acme', 'bolt']) as tenant \g /dev/null
select matches(
  pg_temp.refusal($$select soniq.enqueue('tenants job', queue => 'tenants limited')$$), 'SQ024: .* 2 jobs wait in it',
  'who is bound to nobody is counted all'
);
select is(
  pg_temp.as_login('soniq_test_Acme', $$select soniq.enqueue('tenants job', queue => 'tenants limited') > 0$$), 'true',
  'where that is too many, a tenant with less may have more'
);
select matches(
  pg_temp.refusal_of('soniq_test_Acme', $$select soniq.enqueue('tenants job', queue => 'tenants limited')$$),
  'SQ024: queue ''tenants limited'' is full: 2 jobs wait in it, its max_depth is 2,', 'until its own fill it'
);

-- Runners are of the whole system.
select is(
  (select array_agg(distinct tenant) from pg_temp.claim('{tenants,default}', 10)), '{acme}', 'runners claim whosever jobs there are'
);

select is(soniq.unbind_tenant('soniq_test_Acme'), true, 'a binding is taken away');
select is(
  pg_temp.as_login('soniq_test_Acme', 'select array_agg(distinct tenant) from soniq.all_jobs'), '{acme,bolt,NULL}',
  'and the login sees what its roles let it see'
);
select is(pg_temp.as_login('soniq_test_bolt', 'select count(distinct tenant) from soniq.all_jobs'), '1', 'the other stays bound');
drop policy own_tenant on soniq.jobs;
select soniq.unbind_tenant('soniq_test_bolt') \g /dev/null
drop policy mine on soniq.jobs;
drop policy mine on soniq.settings;
select set_eq(
  $$
    select relation.relname::text
    from pg_catalog.pg_class as relation
    where relation.relnamespace = 'soniq'::regnamespace
      and (relation.relrowsecurity or relation.relforcerowsecurity or exists (select from pg_catalog.pg_policy where polrelid = relation.oid))
  $$,
  array[]::text[], 'with the last of them, row security goes'
);

-- A transaction that would not see other bindings.
select lives_ok(
  format('select soniq._check_sees_others(isolation => %L)', isolation), isolation
)
from unnest(array['read committed', 'read uncommitted']) as isolation;
select is(
  pg_temp.refusal(format('select soniq._check_sees_others(isolation => %L)', isolation)),
  pg_temp.refused_with(
    'SQ026', format('the transaction''s isolation level is %s, at which it does not see other bindings made meanwhile', isolation),
    'Bind and unbind in a transaction of its own: begin isolation level read committed.'
  ),
  isolation
)
from unnest(array['repeatable read', 'serializable']) as isolation;

-- Where row security would not hold whose rights the functions run with.
select is(
  pg_temp.refusal(format('select soniq._check_held(owner => %L)', owner)),
  pg_temp.refused_with(
    'SQ026', format('Soniq''s functions run with the rights of %s, %s, whom row security does not hold', owner, what),
    'Have all belong to soniq_owner, and that be neither: select soniq.grant_roles(); alter role soniq_owner nosuperuser nobypassrls.'
  ),
  what || ' would not be held'
)
from (values
  ('soniq_test_root', 'a superuser'),
  ('soniq_test_might', 'a role with BYPASSRLS')
) as unheld (owner, what);
alter role soniq_owner bypassrls;
select matches(
  pg_temp.refusal($$select soniq.bind_tenant('soniq_test_bolt', 'bolt')$$), 'rights of soniq_owner, a role with BYPASSRLS',
  'so nobody is bound'
);
alter role soniq_owner nobypassrls;
alter function soniq.bind_tenant(text, text) owner to soniq_test_root;
select matches(
  pg_temp.refusal($$select soniq.bind_tenant('soniq_test_bolt', 'bolt')$$), 'rights of soniq_test_root, a superuser', 'nor here'
);

select * from finish();
rollback;
