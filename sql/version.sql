-- Which Soniq this schema is. A runner compares it with its own before it claims anything.

create or replace function soniq.version()
returns text
language sql
immutable
parallel safe
as $$
  select '0.1.0';
$$;

comment on function soniq.version() is
'The version of this schema, as major.minor.patch. A runner of the same major.minor works with it.';
