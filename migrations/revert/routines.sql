-- Generated from sql/ by script/generate. Do not edit: change sql/ and run script/generate routines.
-- Revert soniq:routines from pg

begin;

do $$
begin
  perform soniq._stop_keeping_tenants_apart();
  perform soniq._revoke_roles();
  perform soniq._own(owner => pg_catalog.quote_ident(current_user)::regrole);
end;
$$;

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
    -- It may have gone with another one's view.
    if exists (select from pg_catalog.pg_proc as function where function.oid = routine) then
      execute pg_catalog.format('drop function %s cascade', routine);
    end if;
  end loop;
end;
$$;

drop view if exists soniq.concerns;
drop view if exists soniq.runner_stats;
drop view if exists soniq.job_stats;
drop view if exists soniq.queue_counts;
drop view if exists soniq.queue_stats;
drop view if exists soniq.schedule_stats;
drop view if exists soniq.dead_letter_groups;
drop view if exists soniq.dead_letters;
drop view if exists soniq.all_jobs;
drop view if exists soniq.claimed_job;

commit;
