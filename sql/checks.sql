-- Bad input. Each check passes what is right, and NULL, which means "the default"; what is wrong raises an error that
-- names the value, with a hint that says the remedy. Callers put their checks into one PERFORM: each would cost
-- an enqueue a query of its own otherwise. The SQLSTATEs are Soniq's own class:
--
--   SQ001 job name          SQ007 max_attempts       SQ013 error report
--   SQ002 queue             SQ008 timeout            SQ014 selection of dead letters
--   SQ003 args              SQ009 dedup_key          SQ015 runner's particulars
--   SQ004 args too large    SQ010 retry policy       SQ016 lease
--   SQ005 priority          SQ011 unknown runner     SQ017 cron expression
--   SQ006 time or delay     SQ012 batch              SQ018 time zone
--
--   SQ019 schedule          SQ020 unknown schedule   SQ021 retention
--   SQ022 headers           SQ023 max_depth          SQ024 queue full
--   SQ025 secret args       SQ026 tenant             SQ027 not for a login bound to a tenant

create or replace function soniq._refuse(code text, problem text, remedy text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  raise exception using errcode = code, message = problem, hint = remedy;
end;
$$;

create or replace function soniq._refuse_runner(runner_id bigint)
returns void
language sql
volatile
parallel safe
as $$
  select soniq._refuse(
    'SQ011',
    pg_catalog.format('runner %s is not registered', coalesce(_refuse_runner.runner_id::text, 'NULL')),
    'Call soniq.register_runner() and claim with the id it answers; a runner declared dead has to do so anew.'
  );
$$;

create or replace function soniq._check_given(code text, what text, value text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if value is null then
    perform soniq._refuse(code, pg_catalog.format('%s is NULL', what), pg_catalog.format('Give the %s.', what));
  end if;
end;
$$;

create or replace function soniq._is_name(name text, longest integer)
returns boolean
language sql
immutable
parallel safe
as $$
  select pg_catalog.length(_is_name.name) between 1 and _is_name.longest
    and _is_name.name !~ '^[[:space:]]|[[:space:]]$|[[:cntrl:]]';
$$;

create or replace function soniq._check_name(code text, what text, name text, longest integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if pg_catalog.length(name) not between 1 and longest then
    perform soniq._refuse(
      code,
      pg_catalog.format('%s has %s characters: %L', what, pg_catalog.length(name), pg_catalog.left(name, 60)),
      pg_catalog.format('Give 1 to %s characters.', longest)
    );
  elsif not soniq._is_name(name => name, longest => longest) then
    perform soniq._refuse(
      code,
      pg_catalog.format('%s has white space at an end or a control character: %L', what, name),
      'Remove it: such names look alike and are not.'
    );
  end if;
end;
$$;

create or replace function soniq._is_job_name(job_name text)
returns boolean
language sql
immutable
parallel safe
as $$
  select soniq._is_name(name => _is_job_name.job_name, longest => 200);
$$;

create or replace function soniq._check_job_name(job_name text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  perform soniq._check_name(code => 'SQ001', what => 'job_name', name => job_name, longest => 200);
end;
$$;

create or replace function soniq._check_queue(queue text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  perform soniq._check_name(code => 'SQ002', what => 'queue', name => queue, longest => 100);
end;
$$;

create or replace function soniq._check_dedup_key(dedup_key text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  perform soniq._check_name(code => 'SQ009', what => 'dedup_key', name => dedup_key, longest => 500);
end;
$$;

create or replace function soniq._refuse_args(args jsonb, max_bytes integer)
returns jsonb
language sql
volatile
parallel safe
as $$
  select soniq._refuse(
    'SQ003',
    pg_catalog.format(
      'args must be a JSON object, not %s', coalesce(pg_catalog.jsonb_typeof(_refuse_args.args), 'NULL')
    ),
    'Name the handler''s arguments, as in {"to": "ada@example.org"}; {} for none.'
  )
  where pg_catalog.jsonb_typeof(_refuse_args.args) is distinct from 'object';

  select soniq._refuse(
    'SQ004',
    pg_catalog.format(
      'args take %s bytes; the limit is %s', pg_catalog.octet_length(_refuse_args.args::text), _refuse_args.max_bytes
    ),
    'Store the data in a table and enqueue its key, or raise soniq.settings.max_args_bytes.'
  );

  select _refuse_args.args;
$$;

-- Answers with the args, so that it can stand where they are used: a check in a statement of its own would cost more.
create or replace function soniq._fitting_args(args jsonb, max_bytes integer)
returns jsonb
language sql
volatile
parallel safe
as $$
  select case
    when pg_catalog.jsonb_typeof(_fitting_args.args) = 'object'
      and pg_catalog.octet_length(_fitting_args.args::text) <= _fitting_args.max_bytes
    then _fitting_args.args
    else soniq._refuse_args(args => _fitting_args.args, max_bytes => _fitting_args.max_bytes)
  end;
$$;

create or replace function soniq._check_headers(headers jsonb)
returns void
language plpgsql
volatile
parallel safe
as $$
declare
  max_bytes constant integer := 8192;
  bytes constant integer := pg_catalog.octet_length(headers::text);
begin
  if pg_catalog.jsonb_typeof(headers) <> 'object' then
    perform soniq._refuse(
      'SQ022',
      pg_catalog.format('headers must be a JSON object, not %s', pg_catalog.jsonb_typeof(headers)),
      'Name each header, as in {"traceparent": "00-..."}; NULL for none.'
    );
  elsif bytes > max_bytes then
    perform soniq._refuse(
      'SQ022',
      pg_catalog.format('headers take %s bytes; the limit is %s', bytes, max_bytes),
      'Headers are context, such as a trace''s; what the handler works on belongs into args.'
    );
  end if;
end;
$$;

create or replace function soniq._check_priority(priority integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if priority not between 0 and 1000 then
    perform soniq._refuse(
      'SQ005',
      pg_catalog.format('priority %s is out of range', priority),
      'Give a whole number from 0 (runs first) to 1000 (runs last).'
    );
  end if;
end;
$$;

-- Beyond a century, adding to a time may leave the calendar.
create or replace function soniq._check_length(code text, what text, duration interval)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if duration > interval '100 years' then
    perform soniq._refuse(code, pg_catalog.format('%s is too long: %s', what, duration), 'Give at most 100 years.');
  end if;
end;
$$;

create or replace function soniq._check_delay(code text, what text, delay interval)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if delay < interval '0' then
    perform soniq._refuse(
      code,
      pg_catalog.format('%s is negative: %s', what, delay),
      'Give an interval of 0 or more, as in ''5 minutes''.'
    );
  end if;

  perform soniq._check_length(code => code, what => what, duration => delay);
end;
$$;

create or replace function soniq._check_schedule(scheduled_at timestamptz, delay interval)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  perform soniq._check_delay(code => 'SQ006', what => 'delay', delay => delay);

  if scheduled_at is not null and delay is not null then
    perform soniq._refuse(
      'SQ006',
      'scheduled_at and delay are both given',
      'Give scheduled_at for a time, or delay for a wait from now.'
    );
  elsif not pg_catalog.isfinite(scheduled_at) then
    perform soniq._refuse(
      'SQ006',
      pg_catalog.format('scheduled_at is %s', scheduled_at),
      'Give a time on the calendar.'
    );
  -- Clients read times into calendars of these years; a runner could not read what it has claimed.
  elsif scheduled_at not between '0001-01-02 00:00+00' and '9999-12-30 00:00+00' then
    perform soniq._refuse(
      'SQ006',
      pg_catalog.format('scheduled_at is %s', scheduled_at),
      'Give a time between the years 1 and 9999.'
    );
  end if;
end;
$$;

create or replace function soniq._check_max_attempts(max_attempts integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if max_attempts not between 1 and 1000 then
    perform soniq._refuse(
      'SQ007',
      pg_catalog.format('max_attempts %s is out of range', max_attempts),
      'Give a whole number from 1 (no retry) to 1000.'
    );
  end if;
end;
$$;

create or replace function soniq._check_max_depth(max_depth integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if max_depth not between 1 and 1000000 then
    perform soniq._refuse(
      'SQ023',
      pg_catalog.format('max_depth %s is out of range', max_depth),
      'Give a whole number from 1 to 1000000, or NULL for no limit.'
    );
  end if;
end;
$$;

create or replace function soniq._check_secret_args(secret_args text[])
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if pg_catalog.array_position(secret_args, null) is not null or pg_catalog.cardinality(secret_args) > 100 then
    perform soniq._refuse(
      'SQ025',
      case
        when pg_catalog.cardinality(secret_args) > 100
          then pg_catalog.format('secret_args are %s names', pg_catalog.cardinality(secret_args))
        else 'secret_args have a NULL among them'
      end,
      'Give the names of arguments, 100 at the most.'
    );
  end if;
end;
$$;

create or replace function soniq._check_timeout(timeout interval)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if timeout < interval '0' then
    perform soniq._refuse(
      'SQ008',
      pg_catalog.format('timeout is negative: %s', timeout),
      'Give an interval such as ''30 seconds''; 0 is no limit.'
    );
  end if;

  perform soniq._check_length(code => 'SQ008', what => 'timeout', duration => timeout);
end;
$$;

create or replace function soniq._check_retention(retention interval)
returns void
language sql
volatile
parallel safe
as $$
  select soniq._check_delay(code => 'SQ021', what => 'retention', delay => _check_retention.retention);
$$;

create or replace function soniq._check_retry_policy(
  retry_delays interval[],
  backoff text,
  max_retry_delay interval
)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if pg_catalog.cardinality(retry_delays) not between 1 and 1000
    or pg_catalog.array_ndims(retry_delays) > 1
    or pg_catalog.array_position(retry_delays, null) is not null
    or interval '0' > any (retry_delays)
  then
    perform soniq._refuse(
      'SQ010',
      pg_catalog.format('retry_delays is %L', retry_delays),
      'Give one interval for every retry, or a list of 1 to 1000 of them, each 0 or more.'
    );
  elsif backoff not in ('fixed', 'exponential') then
    perform soniq._refuse('SQ010', pg_catalog.format('backoff is %L', backoff), 'Give ''fixed'' or ''exponential''.');
  elsif backoff = 'exponential' and pg_catalog.cardinality(retry_delays) > 1 then
    perform soniq._refuse(
      'SQ010',
      pg_catalog.format('backoff is exponential and retry_delays is a list: %L', retry_delays),
      'Give exponential backoff one delay to double, or use backoff ''fixed'' with the list.'
    );
  end if;

  perform
    soniq._check_length(code => 'SQ010', what => 'retry_delays', duration => longest.delay),
    soniq._check_delay(code => 'SQ010', what => 'max_retry_delay', delay => max_retry_delay)
  from (
    select max(each.delay) as delay
    from pg_catalog.unnest(retry_delays) as each (delay)
  ) as longest;
end;
$$;

create or replace function soniq._check_queues(queues text[])
returns void
language plpgsql
volatile
parallel safe
as $$
declare
  queue text;
begin
  if pg_catalog.cardinality(queues) = 0 then
    perform soniq._refuse('SQ002', 'queues is an empty list', 'Name the queues to serve, or give NULL for all.');
  end if;

  foreach queue in array coalesce(queues, '{}') loop
    perform
      soniq._check_given(code => 'SQ002', what => 'queue', value => queue),
      soniq._check_queue(queue => queue);
  end loop;
end;
$$;

create or replace function soniq._check_lease(job_id bigint, attempt integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if job_id is null or attempt is null then
    perform soniq._refuse(
      'SQ016',
      pg_catalog.format('the lease (job_id %s, attempt %s) is not whole', coalesce(job_id::text, 'NULL'), coalesce(attempt::text, 'NULL')),
      'Give job_id and attempt as claim() answered them.'
    );
  end if;
end;
$$;

create or replace function soniq._check_leases(job_ids bigint[], attempts integer[])
returns void
language plpgsql
volatile
parallel safe
as $$
declare
  dimensions constant integer := greatest(pg_catalog.array_ndims(job_ids), pg_catalog.array_ndims(attempts));
begin
  if dimensions > 1 then
    perform soniq._refuse(
      'SQ012', pg_catalog.format('the arrays have %s dimensions', dimensions), 'Give one-dimensional arrays.'
    );
  elsif pg_catalog.array_position(job_ids, null) is not null
    or pg_catalog.array_position(attempts, null) is not null
    or job_ids is null
    or attempts is null
  then
    perform soniq._refuse('SQ016', 'a lease in the batch is NULL', 'Give job_ids and attempts as claim() answered them.');
  elsif pg_catalog.cardinality(job_ids) <> pg_catalog.cardinality(attempts) then
    perform soniq._refuse(
      'SQ012',
      pg_catalog.format(
        'the arrays differ in length: %s job_ids, %s attempts',
        pg_catalog.cardinality(job_ids), pg_catalog.cardinality(attempts)
      ),
      'Give one entry a job in each array.'
    );
  end if;
end;
$$;

create or replace function soniq._check_beside_leases(job_ids bigint[], attempts integer[], what text, entries integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if entries <> pg_catalog.cardinality(job_ids) then
    perform soniq._refuse(
      'SQ012',
      pg_catalog.format(
        'the arrays differ in length: %s job_ids, %s attempts, %s %s',
        pg_catalog.cardinality(job_ids), pg_catalog.cardinality(attempts), entries, what
      ),
      'Give one entry a job in each array.'
    );
  end if;
end;
$$;

create or replace function soniq._check_failure(error jsonb, reason text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if error is null or pg_catalog.jsonb_typeof(error) <> 'object' then
    perform soniq._refuse(
      'SQ013',
      pg_catalog.format('error must be a JSON object, not %s', coalesce(pg_catalog.jsonb_typeof(error), 'NULL')),
      'Give {"type": ..., "message": ..., "traceback": ...}, each a text, none required.'
    );
  elsif reason not in ('timeout', 'permanent_failure', 'unknown_job', 'invalid_arguments') then
    perform soniq._refuse(
      'SQ013',
      pg_catalog.format('reason is %L', reason),
      'Give timeout, permanent_failure, unknown_job or invalid_arguments, or NULL for an ordinary error.'
    );
  end if;
end;
$$;

create or replace function soniq._check_selection(
  ids bigint[],
  job_name text,
  queue text,
  since timestamptz,
  before timestamptz,
  error_type text,
  error_pattern text,
  everything boolean,
  max_letters integer
)
returns void
language plpgsql
volatile
parallel safe
as $$
declare
  filtered constant boolean := pg_catalog.num_nonnulls(
    ids, job_name, queue, since, before, error_type, error_pattern
  ) > 0;
begin
  if everything is not true and not filtered then
    perform soniq._refuse(
      'SQ014',
      'no dead letters are selected',
      'Give ids, job_name, queue, since, before, error_type or error_pattern, or everything => true; dry_run => true shows what would be taken.'
    );
  elsif everything and filtered then
    perform soniq._refuse(
      'SQ014',
      'everything is asked for and a filter is given',
      'Leave out either everything or the filters.'
    );
  elsif since > before then
    perform soniq._refuse(
      'SQ014',
      pg_catalog.format('since is later than before: %s is after %s', since, before),
      'Give as since the beginning of a time and as before its end.'
    );
  elsif max_letters < 1 then
    perform soniq._refuse(
      'SQ012',
      pg_catalog.format('max_letters is %s', max_letters),
      'Give a whole number of 1 or more, or NULL for all.'
    );
  end if;
end;
$$;

create or replace function soniq._check_timing(cron text, every interval)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if (cron is null) = (every is null) then
    perform soniq._refuse(
      'SQ019',
      pg_catalog.format('%s of cron and every is given', case when cron is null then 'neither' else 'both' end),
      'Give either cron, as in ''0 3 * * *'', or every, as in ''10 minutes''.'
    );
  end if;

  perform soniq._check_length(code => 'SQ019', what => 'every', duration => every);
  if extract(year from every) <> 0 or extract(month from every) <> 0 then
    perform soniq._refuse(
      'SQ019',
      pg_catalog.format('every is %s, and months differ in length', every),
      'Give days, hours, minutes or seconds, or use cron: ''0 0 1 * *'' is the first of each month.'
    );
  elsif every < interval '1 second' then
    perform soniq._refuse(
      'SQ019', pg_catalog.format('every is too short: %s', every), 'Give at least one second.'
    );
  end if;
end;
$$;

create or replace function soniq._check_missed_runs(missed_runs text, max_missed_runs integer)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  if missed_runs not in ('skip', 'run_once', 'run_all') then
    perform soniq._refuse(
      'SQ019', pg_catalog.format('missed_runs is %L', missed_runs), 'Give ''skip'', ''run_once'' or ''run_all''.'
    );
  elsif max_missed_runs not between 1 and 1000 then
    perform soniq._refuse(
      'SQ019',
      pg_catalog.format('max_missed_runs %s is out of range', max_missed_runs),
      'Give a whole number from 1 to 1000.'
    );
  end if;
end;
$$;
