-- Dead letters that nobody has looked at.

insert into soniq.dead_letter_jobs (
  id, job_name, queue, priority, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, runner_id, claimed_at,
  errors, reason, dead_at
)
select
  n - :burden, 'noop', 'default', 100, jsonb_build_object('number', n), now(), now(), 1, 1, '5 minutes', 1, now(),
  jsonb_build_array(jsonb_build_object('type', 'ValueError', 'message', 'no', 'traceback', repeat('no ', 300))),
  'max_attempts_exceeded', now()
from generate_series(1, :burden) as n;
