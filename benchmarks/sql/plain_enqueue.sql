insert into plain.jobs (job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout)
values ('noop', 'default', 100, '{"number": 1}', now(), now(), 10, '5 minutes')
returning id;
