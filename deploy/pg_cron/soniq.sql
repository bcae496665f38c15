-- Ticking from within the database, for schedules and dead runners where no runner is up all the time. Any number of
-- sessions may tick at once, so runners need not be told. Run it as a login with soniq_runner, in the database
-- that has Soniq and pg_cron (1.5 or newer, for seconds); run again, it changes the job of the same name.

select cron.schedule('soniq tick', '10 seconds', 'select soniq.tick()');

-- pg_cron keeps a row for each run and never removes one.
select cron.schedule(
  'soniq tick, old runs',
  '17 3 * * *',
  $$delete from cron.job_run_details where end_time < now() - interval '1 day'$$
);
