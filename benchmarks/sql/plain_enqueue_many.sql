with added as (
  insert into plain.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
  select 'noop', 'default', 100, each.args, now(), now(), 10, '5 minutes'
  from plain.batch
  cross join lateral unnest(batch.args) with ordinality as each (args, position)
  order by each.position
  returning id
)
select count(*)
from added;
