insert into plain.enqueued (id)
select soniq.enqueue('soak', '{"does": "end"}', delay => '2 seconds')
returning id as job_id
\gset
select soniq.cancel(:job_id);
