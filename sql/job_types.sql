-- What handlers declare. A runner registers its handlers' policies at its start, so that an enqueue from psql
-- gets the same queue, priority, retries and timeout as one from the handler's own language.

create or replace function soniq.register_job_type(
  job_name text,
  queue text default null,
  priority integer default null,
  max_attempts integer default null,
  timeout interval default null,
  retry_delays interval[] default null,
  backoff text default null,
  max_retry_delay interval default null,
  retention interval default null,
  secret_args text[] default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform soniq._check_unbound(what => 'register_job_type()');
  perform
    soniq._check_given(code => 'SQ001', what => 'job_name', value => register_job_type.job_name),
    soniq._check_job_name(job_name => register_job_type.job_name),
    soniq._check_queue(queue => register_job_type.queue),
    soniq._check_priority(priority => register_job_type.priority),
    soniq._check_max_attempts(max_attempts => register_job_type.max_attempts),
    soniq._check_timeout(timeout => register_job_type.timeout),
    soniq._check_retry_policy(
      retry_delays => register_job_type.retry_delays,
      backoff => register_job_type.backoff,
      max_retry_delay => register_job_type.max_retry_delay
    ),
    soniq._check_retention(retention => register_job_type.retention),
    soniq._check_secret_args(secret_args => register_job_type.secret_args);

  -- A hundred runners that start with the same code write nothing but the first.
  insert into soniq.job_types as known (
    job_name, queue, priority, max_attempts, timeout, retry_delays, backoff, max_retry_delay, retention, secret_args,
    registered_at
  )
  values (
    register_job_type.job_name,
    register_job_type.queue,
    register_job_type.priority,
    register_job_type.max_attempts,
    register_job_type.timeout,
    register_job_type.retry_delays,
    register_job_type.backoff,
    register_job_type.max_retry_delay,
    register_job_type.retention,
    register_job_type.secret_args,
    soniq.clock()
  )
  on conflict (job_name) do update
  set queue = excluded.queue,
    priority = excluded.priority,
    max_attempts = excluded.max_attempts,
    timeout = excluded.timeout,
    retry_delays = excluded.retry_delays,
    backoff = excluded.backoff,
    max_retry_delay = excluded.max_retry_delay,
    retention = excluded.retention,
    secret_args = excluded.secret_args,
    registered_at = excluded.registered_at
  where (
      known.queue, known.priority, known.max_attempts, known.timeout, known.retry_delays, known.backoff,
      known.max_retry_delay, known.retention, known.secret_args
    ) is distinct from (
      excluded.queue, excluded.priority, excluded.max_attempts, excluded.timeout, excluded.retry_delays, excluded.backoff,
      excluded.max_retry_delay, excluded.retention, excluded.secret_args
    );
end;
$$;

comment on function soniq.register_job_type(text, text, integer, integer, interval, interval[], text, interval, interval, text[]) is
'Declares the policy of a job name; a later call replaces the whole of it. Jobs take queue, priority, max_attempts and timeout when they are enqueued, and the retry policy when they fail.

job_name: 1 to 200 characters.
queue, priority, max_attempts, timeout: defaults for enqueue(); NULL leaves it to the queue, then to soniq.settings.
retry_delays: the wait before the first, second, ... retry; the last one repeats.
backoff: fixed takes the delays as they are; exponential takes one delay and doubles it at each failure, then waits between half and all of that.
max_retry_delay: no exponential wait is longer.
retention: how long its jobs are kept that finish from now on; 0 is not at all.
secret_args: names of arguments that only the handler is to see; wherever jobs are looked at, *** stands in their place, at once also for jobs that there are already. They are kept as they are.

Errors: SQ001 job_name, SQ002 queue, SQ005 priority, SQ007 max_attempts, SQ008 timeout, SQ010 retry policy, SQ021 retention, SQ025 secret_args, SQ027 the login is bound to a tenant.';

-- The views call it with their reader's rights and settings.
create or replace function soniq._shown_args(job_name text, args jsonb)
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    (
      select _shown_args.args || pg_catalog.jsonb_object_agg(secret.name, '***')
      from soniq.job_types as type
      cross join lateral pg_catalog.unnest(type.secret_args) as secret (name)
      where type.job_name = _shown_args.job_name
        and _shown_args.args ? secret.name
    ),
    _shown_args.args
  );
$$;

comment on function soniq._shown_args(text, jsonb) is
'A job''s args as anybody but its handler sees them: *** in the place of those that its type declares as secret.';

create or replace function soniq._retry_delay(job_name text, failures integer)
returns interval
language sql
volatile
parallel safe
as $$
  select
    case coalesce(type.backoff, case when pg_catalog.cardinality(type.retry_delays) > 0 then 'fixed' end, settings.default_backoff)
      when 'fixed' then policy.delays[least(_retry_delay.failures, pg_catalog.cardinality(policy.delays))]
      -- In seconds, as an interval that doubles 999 times would overflow. The jitter keeps jobs that failed
      -- together from coming back together.
      else interval '1 second' * (0.5 + pg_catalog.random() / 2) * least(
          extract(epoch from policy.delays[1])::double precision * pg_catalog.power(2, _retry_delay.failures - 1),
          extract(epoch from coalesce(type.max_retry_delay, settings.default_max_retry_delay))::double precision
        )
    end
  from soniq.settings as settings
  left join soniq.job_types as type
    on type.job_name = _retry_delay.job_name
  cross join lateral (
    select coalesce(type.retry_delays, settings.default_retry_delays) as delays
  ) as policy;
$$;

comment on function soniq._retry_delay(text, integer) is
'How long a job of this name waits after its nth failure.';
