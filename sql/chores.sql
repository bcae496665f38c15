-- What tick() does now and then. The first session to find a chore due puts it off and does it; sessions that look
-- at the same moment pass on.
--
-- They are due at whole minutes and hours, so that they keep their pace whenever ticks come: the history has a row for each
-- minute. A tick that is a little early, as cron's are now and then, counts.

create or replace function soniq._take_chore(chore text, every interval)
returns boolean
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock() + _take_chore.every / 100;
begin
  update soniq.chores as known
  set due_at = pg_catalog.date_bin(_take_chore.every, as_of, timestamptz 'epoch') + _take_chore.every
  where known.chore = (
    select due.chore
    from soniq.chores as due
    where due.chore = _take_chore.chore
      and (
        due.due_at <= as_of
        -- Put off by a clock that has been set back since.
        or (due.due_at > as_of + _take_chore.every and pg_catalog.isfinite(due.due_at))
      )
    for update skip locked
  );
  return found;
end;
$$;

comment on function soniq._take_chore(text, interval) is
'True if the chore is due, and now this caller''s to do; it is due again when the next whole interval begins.';

create or replace function soniq._call_for_chore(chore text)
returns void
language sql
volatile
as $$
  update soniq.chores as known
  set due_at = '-infinity'
  where known.chore = _call_for_chore.chore;
$$;

comment on function soniq._call_for_chore(text) is
'Makes a chore due at the next tick.';
