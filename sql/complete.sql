-- Jobs that are done: reported one by one, or many in one call.

create or replace function soniq.complete(job_ids bigint[], attempts integer[], results jsonb[] default null)
returns boolean[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    soniq._check_leases(job_ids => complete.job_ids, attempts => complete.attempts),
    soniq._check_beside_leases(
      job_ids => complete.job_ids,
      attempts => complete.attempts,
      what => 'results',
      entries => pg_catalog.cardinality(complete.results)
    );

  return soniq._finish(
    job_ids => complete.job_ids, attempts => complete.attempts, results => complete.results, status => 'done'
  );
end;
$$;

comment on function soniq.complete(bigint[], integer[], jsonb[]) is
'Marks many jobs done, in one statement, and answers in the same order: false where the lease is no longer the caller''s.

job_ids, attempts: the leases, as claim() answered them.
results: what each handler answered, kept with the finished job; NULL for none.

Errors: SQ012 arrays of different length, SQ016 a NULL among the leases.';

create or replace function soniq.complete(job_id bigint, attempt integer, result jsonb default null)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._check_lease(job_id => complete.job_id, attempt => complete.attempt);

  return (soniq.complete(
    job_ids => array[complete.job_id], attempts => array[complete.attempt], results => array[complete.result]
  ))[1];
end;
$$;

comment on function soniq.complete(bigint, integer, jsonb) is
'Marks a job done and keeps its result. False where the lease is no longer the caller''s: the job was taken back, and may be another runner''s by now; nothing is changed.

Errors: SQ016 a NULL job_id or attempt.';
