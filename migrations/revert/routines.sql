-- Generated from sql/ by script/generate. Do not edit: change sql/ and run script/generate routines.
-- Revert soniq:routines from pg

begin;

drop trigger retention_changed on soniq.settings;
drop trigger retention_changed on soniq.queues;
drop trigger retention_changed on soniq.job_types;

do $$
declare
  routine pg_catalog.regprocedure;
begin
  for routine in
    select function.oid
    from pg_catalog.pg_proc as function
    where function.pronamespace = 'soniq'::pg_catalog.regnamespace
  loop
    execute pg_catalog.format('drop function %s', routine);
  end loop;
end;
$$;

drop view soniq.all_jobs;
drop view soniq.claimed_job;

commit;
