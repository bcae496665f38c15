-- Prints docs/sql-api.md from the COMMENTs of a deployed database; script/generate sql-api runs it with psql -XqAt.
--
-- What the page says of a function, a table or a type is written where that is defined. Written here are only the
-- introduction and the order. A comment is paragraphs; in one of them each line may be "parameter: meaning" or
-- "soniq_metric: meaning", and the last may be "Errors: SQ001 what is refused, SQ002 ...".

\set ON_ERROR_STOP on
set client_encoding = 'UTF8';
set search_path = pg_catalog; -- so that the schema's own types are shown with its name
set intervalstyle = postgres;
set client_min_messages = warning;

create temporary table sections (
  position integer generated always as identity,
  title text,
  about text,
  functions text[]
);

insert into sections (title, about, functions)
values
  ('Producing', 'What an application calls, inside its own transactions.', '{enqueue, enqueue_many}'),
  (
    'Running',
    'What a runner calls. `soniq-runner` is one; these functions are all that another one would need.',
    '{
      register_job_type, register_runner, claim, complete, fail, snooze, release, heartbeat, resume_runner,
      deregister_runner, take_bell, wait_for_jobs, stop_waiting, wake_others
    }'
  ),
  (
    'Operating',
    'What a person at psql, or a tool, calls.',
    '{get_job, cancel, retry, run_now, pause_queue, resume_queue, configure_queue}'
  ),
  (
    'Dead letters',
    'Jobs given up; `soniq.dead_letter_jobs` holds them, with the error of every attempt.',
    '{replay_dead_letters, delete_dead_letters, prune_dead_letters}'
  ),
  (
    'Schedules',
    'Periodic jobs; `soniq.schedules` holds them. More in [schedules.md](schedules.md).',
    '{
      schedule, unschedule, pause_schedule, resume_schedule, run_schedule_now, preview_schedule, prune_schedules,
      cron_next, cron_preview
    }'
  ),
  (
    'Watching',
    'What a scraper calls. For people there are the views `soniq.concerns`, `soniq.queue_stats`, `soniq.job_stats`, `soniq.runner_stats`, `soniq.schedule_stats` and `soniq.dead_letter_groups`.',
    '{metrics, history}'
  ),
  (
    'Tenants',
    'Logins that meet one tenant''s jobs alone ([security.md](security.md#tenants)); for members of `soniq_owner`.',
    '{bind_tenant, unbind_tenant}'
  ),
  ('Time', 'What time makes due, and what time it is.', '{tick, clock}'),
  ('Reference', 'What is deployed here, and who may use it ([security.md](security.md#roles)).', '{version, grant_roles}');

-- Names are told from words by their underscores, parentheses and schema.
create function pg_temp.code_in(prose text)
returns text
language sql
as $$
  select regexp_replace(
    prose,
    '\(job_id, attempt\)|\m(soniq\.[a-z_.]*[a-z]|[a-z]+(_[a-z]+)+)\M(\(\))?|\m[a-z]+\(\)|\mSQ\d{3}\M',
    '`\&`',
    'g'
  );
$$;

create function pg_temp.wrapped(prose text, indent text default '')
returns text
language sql
as $$
  select rtrim(regexp_replace(prose, '(.{1,108})( +|$)', E'\\1\n' || indent, 'g'), E'\n ');
$$;

create function pg_temp.type_name(type oid)
returns text
language sql
as $$
  select replace(format_type(type, null), 'timestamp with time zone', 'timestamptz');
$$;

-- 'x'::text is 'x', NULL::text is null.
create function pg_temp.default_of(expression text)
returns text
language sql
as $$
  select ' default ' || replace(regexp_replace(expression, '::[^'']+$', ''), 'NULL', 'null');
$$;

create function pg_temp.as_markdown(comment text, parameters text[])
returns text
language sql
as $$
  select string_agg(paragraph.markdown, E'\n\n' order by paragraph.position)
  from (
    select
      given.position,
      string_agg(
        case
          when regexp_split_to_array(line.parts[1], ', ') <@ parameters or line.parts[1] like 'soniq\_%'
            then pg_temp.wrapped(
              format('- `%s`: %s', replace(line.parts[1], ', ', '`, `'), pg_temp.code_in(line.parts[2])), '  '
            )
          else pg_temp.wrapped(pg_temp.code_in(line.whole))
        end,
        E'\n' order by line.position
      ) as markdown
    from regexp_split_to_table(comment, '\n\n') with ordinality as given (paragraph, position)
    cross join lateral (
      select each.whole, each.position, regexp_match(each.whole, '^([a-z_]+(?:, [a-z_]+)*): (.*)$') as parts
      from regexp_split_to_table(given.paragraph, '\n') with ordinality as each (whole, position)
    ) as line
    group by given.position
  ) as paragraph;
$$;

create temporary view functions as
select
  function.oid,
  function.proname as name,
  obj_description(function.oid, 'pg_proc') as comment,
  coalesce(function.proargnames, '{}') as parameters,
  format('soniq.%s(%s)', function.proname, argument.inputs) as call,
  case when function.proretset then 'setof ' else '' end
    || coalesce('(' || argument.outputs || ')', pg_temp.type_name(function.prorettype)) as result
from pg_proc as function
cross join lateral (
  select
    E'\n' || string_agg('  ' || each.declaration || each.presetting, E',\n' order by each.position)
      filter (where each.mode = 'i') || E'\n' as inputs,
    string_agg(each.declaration, ', ' order by each.position) filter (where each.mode in ('o', 't')) as outputs
  from (
    select
      part.position,
      coalesce(part.mode, 'i') as mode,
      concat_ws(' ', part.name, pg_temp.type_name(part.type)) as declaration,
      coalesce(
        pg_temp.default_of(pg_get_function_arg_default(function.oid, part.position::integer)), ''
      ) as presetting
    from rows from (
      unnest(coalesce(function.proallargtypes, function.proargtypes::oid[])),
      unnest(function.proargnames),
      unnest(function.proargmodes)
    ) with ordinality as part (type, name, mode, position)
  ) as each
) as argument
where function.pronamespace = 'soniq'::regnamespace
  and function.proname not like '\_%';

create temporary view errors as
select function.name as function, entry.parts[1] as code, entry.parts[2] as refused
from functions as function
cross join lateral (
  select regexp_match(each.text, '^(SQ\d{3}) (.+)$') as parts
  from regexp_split_to_table(
    substring(function.comment from '(?n)^Errors: (.*?)\.?$'), ', (?=SQ\d{3})'
  ) as each (text)
) as entry;

-- A page that leaves something out is worse than none.
do $$
declare
  faults text;
begin
  select string_agg(fault.text, E'\n' order by fault.text collate "C")
  into faults
  from (
    select format('%s is in no section of script/sql-api.sql', function.name)
    from functions as function
    where not exists (select from sections where function.name = any (sections.functions))
    union
    select format('%s is in a section of script/sql-api.sql and not in the database', listed.name)
    from sections
    cross join unnest(sections.functions) as listed (name)
    where not exists (select from functions where functions.name = listed.name)
    union
    select format('%s has no comment', function.oid::regprocedure)
    from functions as function
    where function.comment is null
    union
    select format('the Errors line of %s is not "SQ001 what is refused, SQ002 ..."', error.function)
    from errors as error
    where error.code is null
    union
    select format('%s is raised and in no Errors line', raised.code[1])
    from pg_proc as function
    cross join regexp_matches(function.prosrc, '''(SQ\d{3})''', 'g') as raised (code)
    where function.pronamespace = 'soniq'::regnamespace
      and not exists (select from errors where errors.code = raised.code[1])
    union
    select format('%s is in an Errors line and never raised', error.code)
    from errors as error
    where error.code is not null
      and not exists (
        select
        from pg_proc as function
        where function.pronamespace = 'soniq'::regnamespace
          and function.prosrc like '%''' || error.code || '''%'
      )
  ) as fault (text);

  if faults is not null then
    raise exception '%', faults;
  end if;
end;
$$;

\echo '<!-- Generated from the COMMENTs in sql/ and migrations/ by script/generate sql-api. Do not edit. -->'
\echo
\echo '# The SQL interface'
\echo
\echo 'Everything that Soniq does is a call of one of these functions. All of them have names for their parameters and'
\echo 'are best called by name: `soniq.enqueue(''send_welcome'', ''{"to": "ada@example.org"}'', queue => ''mail'')`.'
\echo 'In psql, `\\df+ soniq.*` shows the same text.'
\echo
\echo 'They run with the rights of their owner, and nobody else may call them until that is granted'
\echo '([roles](security.md#roles)). Functions whose names begin with an underscore are internal. The tables are for'
\echo 'reading, and `soniq.settings` also for writing; all else is written by the functions.'
\echo

select pg_temp.wrapped(
  format(
    '- [%s](#%s): %s',
    section.title,
    lower(replace(section.title, ' ', '-')),
    (
      select string_agg(format('[`%s`](#%1$s)', listed.name), ', ' order by listed.position)
      from unnest(section.functions) with ordinality as listed (name, position)
    )
  ),
  '  '
)
from sections as section
order by section.position;

\echo '- [Tables and views](#tables-and-views), [types](#types), [errors](#errors)'

select
  case when listed.position = 1 then format(E'\n## %s\n\n%s\n', section.title, section.about) else '' end
  || format(E'\n### %s\n\n', listed.name)
  || string_agg(
    format(
      E'```sql\n%s returns %s\n```\n\n%s',
      function.call,
      function.result,
      pg_temp.as_markdown(function.comment, function.parameters)
    ),
    E'\n\n' order by function.call collate "C"
  )
from sections as section
cross join lateral unnest(section.functions) with ordinality as listed (name, position)
join functions as function
  on function.name = listed.name
group by section.position, section.title, section.about, listed.position, listed.name
order by section.position, listed.position;

\echo
\echo '## Tables and views'

create temporary view relations as
select
  relation.oid,
  relation.relname as name,
  relation.relkind as kind,
  coalesce(
    obj_description(relation.oid, 'pg_class'),
    obj_description(relation.reltype, 'pg_type')
  ) as comment
from pg_class as relation
where relation.relnamespace = 'soniq'::regnamespace
  and relation.relkind in ('r', 'p', 'v', 'c')
  and not relation.relispartition;

create temporary view columns as
select
  relation.oid as relation,
  attribute.attnum as position,
  attribute.attname as name,
  pg_temp.type_name(attribute.atttypid)
    || case
      when attribute.attgenerated <> '' then ', generated'
      else coalesce(',' || pg_temp.default_of(pg_get_expr(preset.adbin, preset.adrelid)), '')
    end as type,
  col_description(relation.oid, attribute.attnum) as comment
from relations as relation
join pg_attribute as attribute
  on attribute.attrelid = relation.oid
  and attribute.attnum > 0
  and not attribute.attisdropped
left join pg_attrdef as preset
  on preset.adrelid = relation.oid
  and preset.adnum = attribute.attnum;

-- What the columns of a view mean, its tables say.
create function pg_temp.described(relation relations)
returns text
language sql
as $$
  select format(
    E'\n### %s%s\n\n%s\n\n%s',
    relation.name,
    case relation.kind when 'v' then ' (view)' else '' end,
    pg_temp.as_markdown(relation.comment, '{}'),
    case
      when count(columns.comment) > 0
        then E'| column | type | meaning |\n|---|---|---|\n' || string_agg(
          format(
            '| `%s` | %s | %s |', columns.name, columns.type, replace(pg_temp.code_in(columns.comment), '|', '\|')
          ),
          E'\n' order by columns.position
        )
      else pg_temp.wrapped(
        'Columns: ' || string_agg(format('`%s` %s', columns.name, columns.type), ', ' order by columns.position) || '.'
      )
    end
  )
  from columns
  where columns.relation = relation.oid;
$$;

select pg_temp.described(relation)
from relations as relation
where relation.kind <> 'c'
order by relation.name collate "C";

\echo
\echo '## Types'

select format(
  E'\n### %s\n\n%s\n\nOne of %s.',
  type.typname,
  pg_temp.as_markdown(obj_description(type.oid, 'pg_type'), '{}'),
  string_agg(format('`%s`', value.enumlabel), ', ' order by value.enumsortorder)
)
from pg_type as type
join pg_enum as value
  on value.enumtypid = type.oid
where type.typnamespace = 'soniq'::regnamespace
group by type.oid, type.typname
order by type.typname collate "C";

select pg_temp.described(relation)
from relations as relation
where relation.kind = 'c'
order by relation.name collate "C";

\echo
\echo '## Errors'
\echo
\echo 'What a caller does wrong is refused with one of these SQLSTATEs, a message that names the value, and a hint that'
\echo 'tells the remedy. Nothing half-done stays behind.'
\echo
\echo '| SQLSTATE | what is refused | by |'
\echo '|---|---|---|'

select format(
  '| `%s` | %s | %s |',
  error.code,
  string_agg(distinct pg_temp.code_in(error.refused) collate "C", '; '),
  string_agg(distinct format('[`%s`](#%1$s)', error.function) collate "C", ', ')
)
from errors as error
group by error.code
order by error.code collate "C";
