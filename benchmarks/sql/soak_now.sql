\set queue random(1, 5)
\set level random(0, 3)
insert into plain.enqueued (id)
select soniq.enqueue('soak', '{"does": "end"}', queue => 'soak ' || :queue, priority => 100 * :level);
