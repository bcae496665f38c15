insert into plain.enqueued (id)
select soniq.enqueue('soak_thread', '{"does": "end"}');
