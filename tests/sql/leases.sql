-- Every status of a job against every call: what the call answers and what the job is afterwards, for the
-- transitions that are allowed and for all that are not. A lease is (job_id, attempt): with an attempt that is
-- over, or has not been, no call does anything.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock();

-- A job in a given state, and the attempt it is at.
create function pg_temp.job_that_is(state text)
returns pg_temp.lease
language plpgsql
as $$
declare
  job_id bigint;
  attempt integer := 0;
begin
  case state
    when 'queued' then
      job_id := pg_temp.new_job();
    when 'queued for later' then
      job_id := pg_temp.new_job(delay => '1 hour');
    when 'cancelled' then
      job_id := pg_temp.new_job();
      perform soniq.cancel(job_id => job_id);
    when 'unknown' then
      job_id := -1;
    else
      select lease.job_id, lease.attempt
      into job_id, attempt
      from pg_temp.new_lease(max_attempts => case state when 'processing for the last time' then 1 else 3 end) as lease;
  end case;

  case state
    when 'waiting for a retry' then
      perform soniq.fail(job_id => job_id, attempt => attempt, error => '{}');
    when 'snoozed' then
      perform soniq.snooze(job_id => job_id, attempt => attempt, delay => '1 hour');
    when 'released' then
      perform soniq.release(job_id => job_id, attempt => attempt);
    when 'cancelled before a retry' then
      perform soniq.fail(job_id => job_id, attempt => attempt, error => '{}');
      perform soniq.cancel(job_id => job_id);
    when 'done' then
      perform soniq.complete(job_id => job_id, attempt => attempt);
    when 'dead_letter' then
      perform soniq.fail(job_id => job_id, attempt => attempt, error => '{}', reason => 'permanent_failure');
    when 'processing again' then
      perform soniq.release(job_id => job_id, attempt => attempt);
      attempt := pg_temp.take(job_id => job_id);
    else
      null;
  end case;
  return (job_id, attempt);
end;
$$;

-- The answer of a call and the job's status after it, as 'answer -> status'.
create function pg_temp.outcome(call text, job_id bigint, attempt integer)
returns text
language plpgsql
as $$
declare
  answer text;
begin
  answer := case outcome.call
    when 'complete' then soniq.complete(job_id => outcome.job_id, attempt => outcome.attempt)::text
    when 'fail' then soniq.fail(job_id => outcome.job_id, attempt => outcome.attempt, error => '{}')
    when 'fail for good' then soniq.fail(
      job_id => outcome.job_id, attempt => outcome.attempt, error => '{}', reason => 'permanent_failure'
    )
    when 'snooze' then soniq.snooze(job_id => outcome.job_id, attempt => outcome.attempt, delay => '1 minute')::text
    when 'release' then soniq.release(job_id => outcome.job_id, attempt => outcome.attempt)::text
    when 'cancel' then soniq.cancel(job_id => outcome.job_id)
    when 'retry' then soniq.retry(job_id => outcome.job_id)
    when 'claim' then case when pg_temp.take(job_id => outcome.job_id) is null then 'not claimed' else 'claimed' end
  end;
  return format('%s -> %s', coalesce(answer, 'NULL'), coalesce(pg_temp.status(outcome.job_id), 'unknown'));
end;
$$;

create temporary table transitions as
select
  rule.state,
  cell.call,
  cell.outcome
from (values
  (
    'queued', 'queued',
    'false', 'NULL', 'NULL', 'false', 'false', 'cancelled -> cancelled', 'queued', 'claimed -> processing'
  ),
  (
    'queued for later', 'queued',
    'false', 'NULL', 'NULL', 'false', 'false', 'cancelled -> cancelled', 'queued', 'not claimed'
  ),
  (
    'waiting for a retry', 'queued',
    'false', 'NULL', 'NULL', 'false', 'false', 'cancelled -> cancelled', 'queued', 'not claimed'
  ),
  (
    'snoozed', 'queued',
    'false', 'NULL', 'NULL', 'false', 'false', 'cancelled -> cancelled', 'queued', 'not claimed'
  ),
  (
    'released', 'queued',
    'false', 'NULL', 'NULL', 'false', 'false', 'cancelled -> cancelled', 'queued', 'claimed -> processing'
  ),
  (
    'processing', 'processing',
    'true -> done', 'queued -> queued', 'dead_letter -> dead_letter', 'true -> queued', 'true -> queued', 'processing',
    'processing', 'not claimed'
  ),
  (
    'processing again', 'processing',
    'true -> done', 'queued -> queued', 'dead_letter -> dead_letter', 'true -> queued', 'true -> queued', 'processing',
    'processing', 'not claimed'
  ),
  (
    'processing for the last time', 'processing',
    'true -> done', 'dead_letter -> dead_letter', 'dead_letter -> dead_letter', 'true -> queued', 'true -> queued',
    'processing', 'processing', 'not claimed'
  ),
  (
    'done', 'done',
    'false', 'NULL', 'NULL', 'false', 'false', 'done', 'done', 'not claimed'
  ),
  (
    'cancelled', 'cancelled',
    'false', 'NULL', 'NULL', 'false', 'false', 'cancelled', 'cancelled', 'not claimed'
  ),
  (
    'cancelled before a retry', 'cancelled',
    'false', 'NULL', 'NULL', 'false', 'false', 'cancelled', 'cancelled', 'not claimed'
  ),
  (
    'dead_letter', 'dead_letter',
    'false', 'NULL', 'NULL', 'false', 'false', 'dead_letter', 'dead_letter', 'not claimed'
  ),
  (
    'unknown', 'unknown',
    'false', 'NULL', 'NULL', 'false', 'false', 'NULL', 'NULL', 'not claimed'
  )
) as rule (state, status, complete, fail, fail_for_good, snooze, release, cancel, retry, claim)
cross join lateral (
  select
    answer.call,
    -- An answer without an arrow leaves the job as it was.
    case
      when answer.outcome like '%->%' then answer.outcome
      else format('%s -> %s', answer.outcome, rule.status)
    end as outcome
  from (values
    ('complete', rule.complete), ('fail', rule.fail), ('fail for good', rule.fail_for_good), ('snooze', rule.snooze),
    ('release', rule.release), ('cancel', rule.cancel), ('retry', rule.retry),
    ('claim', rule.claim)
  ) as answer (call, outcome)
) as cell;

select is(
  pg_temp.outcome(call, (job).job_id, (job).attempt),
  outcome,
  format('%s, then %s', state, call)
)
from (
  select *, pg_temp.job_that_is(state => state) as job
  from transitions
) as transition;

-- The fence: the same calls with an attempt other than the job's.

select is(
  pg_temp.outcome(call, (job).job_id, (job).attempt + off_by),
  format('%s -> %s', answer, status),
  format('%s, then %s with attempt %s', state, call, to_char(off_by, 'SG9'))
)
from (
  select *, pg_temp.job_that_is(state => state) as job
  from (values
    ('complete', 'false'), ('fail', 'NULL'), ('fail for good', 'NULL'), ('snooze', 'false'), ('release', 'false')
  ) as fenced (call, answer)
  cross join (values (-1), (1)) as other (off_by)
  cross join (values
    ('processing', 'processing'), ('processing again', 'processing'), ('processing for the last time', 'processing'),
    ('waiting for a retry', 'queued'), ('done', 'done'), ('dead_letter', 'dead_letter')
  ) as job (state, status)
) as fenced;

-- A runner whose lease went to another runner, which works on.

select soniq.register_runner('slow') as slow, soniq.register_runner('quick') as quick \gset
select job_id, attempt from pg_temp.new_lease(timeout => '1 minute', runner_id => :slow) \gset
select pg_temp.wait('2 minutes') \g /dev/null
select soniq.tick() \g /dev/null
select pg_temp.wait('1 minute') \g /dev/null
select pg_temp.take(:job_id, runner_id => :quick) as quick_attempt \gset

select is(
  pg_temp.outcome(late.call, :job_id, :attempt),
  late.answer || ' -> processing',
  format('the job is another runner''s by now: the first one cannot %s it', late.call)
)
from (values
  ('complete', 'false'), ('fail', 'NULL'), ('fail for good', 'NULL'), ('snooze', 'false'), ('release', 'false')
) as late (call, answer);
select is(
  (select format('%s %s', job.runner_id, job.attempt) from soniq.get_job(:job_id) as job),
  format('%s %s', :quick, :quick_attempt),
  'whose lease is untouched'
);
select is(
  pg_temp.outcome('complete', :job_id, :quick_attempt),
  'true -> done',
  'and who completes it'
);

-- After all this:

select is_empty(
  $$select id from soniq.all_jobs group by id having count(*) > 1$$,
  'a job is in one table'
);
select is_empty(
  $$select id from soniq.all_jobs where attempt > max_attempts$$,
  'no job has had more attempts than it may have'
);

select * from finish();
rollback;
