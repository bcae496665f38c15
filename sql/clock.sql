-- The time. Every time that Soniq stores or compares comes from here, so that a test can replace one
-- function inside its transaction and drive the clock.

create or replace function soniq.clock()
returns timestamptz
language sql
volatile
parallel safe
as $$
  select pg_catalog.clock_timestamp();
$$;

comment on function soniq.clock() is
'The database''s time, now. A runner''s own clock decides nothing.';
