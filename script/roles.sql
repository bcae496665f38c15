-- Prints the tables of docs/security.md, from soniq._rights() in a deployed database; script/generate roles runs it with
-- psql -XqAt. That a database grants just this, tests/sql/roles.sql shows.

\set ON_ERROR_STOP on
set client_encoding = 'UTF8';
set search_path = pg_catalog;

\echo '| function | producer | runner | observer | admin |'
\echo '|---|---|---|---|---|'

select format(
  '| `%s` | %s | %s | %s | %s |',
  own.name,
  case when 'producer' = any (own.roles) then 'yes' else '' end,
  case when 'runner' = any (own.roles) then 'yes' else '' end,
  case when 'observer' = any (own.roles) then 'yes' else '' end,
  case when 'admin' = any (own.roles) then 'yes' else '' end
)
from soniq._rights() as own
where own.kind = 'function'
order by own.name collate "C";

\echo
\echo '| table or view, to read | observer | admin |'
\echo '|---|---|---|'

select format(
  '| `%s` | %s | %s |',
  own.name,
  coalesce(
    string_agg(coalesce('`' || array_to_string(own.columns, '`, `') || '`', 'all'), '')
      filter (where 'observer' = any (own.roles)),
    ''
  ),
  coalesce(
    string_agg(coalesce('`' || array_to_string(own.columns, '`, `') || '`', 'all'), '')
      filter (where 'admin' = any (own.roles)),
    ''
  )
)
from soniq._rights() as own
where own.kind = 'relation'
group by own.name
order by own.name collate "C";
