\set key random(1, 20)
insert into plain.enqueued (id)
select soniq.enqueue('soak', '{"does": "end"}', delay => '500 milliseconds', dedup_key => 'soak ' || :key)
on conflict do nothing;
