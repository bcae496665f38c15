insert into plain.enqueued (id)
select soniq.enqueue('soak', '{"does": "fail"}', max_attempts => 2);
