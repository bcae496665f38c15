-- The same with Soniq's functions.

select array_agg(claimed.job_id) as job_ids, array_agg(claimed.attempt) as attempts
from set_config('synchronous_commit', 'off', true)
cross join soniq.claim(runner_id => 1, max_jobs => :batch) as claimed
\gset

select soniq.complete(job_ids => cast(:job_ids as bigint[]), attempts => cast(:attempts as integer[]));
