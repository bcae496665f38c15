-- As soniq_fill.sql, in 200 queues and 10 priorities, by turns.

select count(*)
from generate_series(0, 199) as queue
cross join generate_series(0, 9) as priority
cross join lateral soniq.enqueue_many(
  job_name => 'noop',
  args => array(
    select jsonb_build_object('number', number)
    from generate_series(1 + queue * 10 + priority, :jobs, 2000) as number
  ),
  queue => 'queue ' || queue,
  priority => 100 * priority
);
