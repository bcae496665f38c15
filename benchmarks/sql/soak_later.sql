\set later random(1, 5000)
insert into plain.enqueued (id)
select soniq.enqueue('soak', '{"does": "end"}', delay => :later * interval '1 millisecond');
