-- What plpgsql_check finds in Soniq's PL/pgSQL functions, with all its warnings on, and what PostgreSQL finds in the
-- SQL functions once everything that they name is there: signature and finding, or nothing for a function without any.

set client_min_messages = error;

create function pg_temp.findings(function regprocedure)
returns setof text
language plpgsql
as $$
declare
  language constant name := language.lanname
    from pg_catalog.pg_proc as proc
    join pg_catalog.pg_language as language
      on language.oid = proc.prolang
    where proc.oid = findings.function;
begin
  if language = 'sql' then
    perform fmgr_sql_validator(findings.function);
  else
    return query
    select concat_ws(': ', 'line ' || found.lineno, found.level, concat_ws('; ', found.message, found.detail, found.hint))
    from (
      -- A trigger function is checked for a table that it serves.
      select coalesce(max(trigger.tgrelid), 0) as served
      from pg_catalog.pg_trigger as trigger
      where trigger.tgfoid = findings.function
    ) as relation
    cross join lateral public.plpgsql_check_function_tb(
      funcoid => findings.function,
      relid => relation.served,
      fatal_errors => false,
      other_warnings => true,
      performance_warnings => true,
      extra_warnings => true,
      security_warnings => true,
      compatibility_warnings => true
    ) as found;
  end if;
exception
  when others then
    return next sqlerrm;
end;
$$;

select function.oid::regprocedure, found.finding
from pg_catalog.pg_proc as function
left join lateral pg_temp.findings(function.oid) as found (finding)
  -- It only raises, but as an immutable function it would raise while a statement with constants is planned.
  on not (function.proname = '_refuse' and found.finding like '%marked as VOLATILE, should be IMMUTABLE%')
  -- It locks rows, which plpgsql_check does not see.
  and not (function.proname = '_lock_letters' and found.finding like '%marked as VOLATILE, should be STABLE%')
where function.pronamespace = 'soniq'::regnamespace
order by function.oid::regprocedure::text collate "C", found.finding;
