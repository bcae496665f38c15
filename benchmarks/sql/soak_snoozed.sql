insert into plain.enqueued (id)
select soniq.enqueue('soak', '{"does": "snooze once"}');
