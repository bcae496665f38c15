-- Ready jobs in one lane, added directly: through the functions millions would take minutes.

select soniq.enqueue('noop', '{"number": 0}');

insert into soniq.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
select 'noop', 'default', 100, jsonb_build_object('number', n), now(), now(), 10, '5 minutes'
from generate_series(2, :ready) as n;

select soniq.register_runner(host => 'cost');
