-- The orders' dead letters that nobody has replayed yet, by cause, with one of the errors of each.

select
  letter.job_name,
  letter.reason,
  letter.errors -> -1 ->> 'type' as error,
  pg_catalog.count(*) as jobs,
  pg_catalog.min(letter.errors -> -1 ->> 'message') as example
from soniq.dead_letter_jobs as letter
where letter.queue = 'orders_demo'
  and letter.replay_count = 0
group by letter.job_name, letter.reason, error
order by jobs desc, letter.job_name;
