insert into plain.enqueued (id)
select soniq.enqueue_many('soak', array_fill(jsonb '{"does": "end"}', array[20]), queue => 'soak many');
