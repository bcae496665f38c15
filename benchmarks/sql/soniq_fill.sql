select count(*)
from soniq.enqueue_many(
  job_name => 'noop',
  args => array(
    select jsonb_build_object('number', number)
    from generate_series(1, :jobs) as number
  )
);

select soniq.register_runner(host => 'pgbench');
