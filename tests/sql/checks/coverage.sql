-- Statements of Soniq's PL/pgSQL functions that were never executed, as plpgsql_check's profiler has counted since the
-- server started: signature, then line and text of the statement, or nothing for a function without such.

select
  function.oid::regprocedure,
  'line ' || missed.lineno || ': ' || trim(split_part(function.prosrc, E'\n', missed.lineno))
from pg_catalog.pg_proc as function
join pg_catalog.pg_language as language
  on language.oid = function.prolang
  and language.lanname = 'plpgsql'
left join lateral (
  select statement.lineno
  from public.plpgsql_profiler_function_statements_tb(funcoid => function.oid::regprocedure) as statement
  where coalesce(statement.exec_stmts, 0) = 0
) as missed
  on true
where function.pronamespace = 'soniq'::regnamespace
order by function.oid::regprocedure::text collate "C", missed.lineno;
