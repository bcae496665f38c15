-- Generated from sql/ by script/generate. Do not edit: change sql/ and run script/generate routines.
-- Deploy soniq:routines to pg

begin;

-- The time. Every time that Soniq stores or compares comes from here, so that a test can replace one
-- function inside its transaction and drive the clock.

create or replace function soniq.clock()
returns timestamptz
language sql
volatile
parallel safe
as $$
  select pg_catalog.clock_timestamp();
$$;

comment on function soniq.clock() is
'The database''s time, now. A runner''s own clock decides nothing.';

-- Which Soniq this schema is. A runner compares it with its own before it claims anything.

create or replace function soniq.version()
returns text
language sql
immutable
parallel safe
as $$
  select '0.1.0';
$$;

comment on function soniq.version() is
'The version of this schema, as major.minor.patch. A runner of the same major.minor works with it.';

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

-- Cron: what an expression means, and when it fires next. An expression is read anew at each call, into one sorted
-- array a field, and the calendar is searched for the next local time that is in all of them. Only then does the time
-- zone come in, as local times may be skipped or come twice.
--
-- The session's time zone has no say in any of it. So nothing but hours is added to a timestamptz: a day would be one of
-- the session's zone, and the difference of two times may be written in days.
--
--   SQ017 cron expression   SQ018 time zone

-- Time zones.

create or replace function soniq._timezone_names()
returns setof text
language sql
stable
as $$
  select known.name
  from pg_catalog.pg_timezone_names as known
  -- What Debian has besides IANA's names. localtime is not even the same zone on the next machine.
  where known.name !~ '^(posix/|posixrules$|localtime$)'
    and (
      known.name in ('UTC', 'GMT')
      or not exists (
        select
        from pg_catalog.pg_timezone_abbrevs as abbreviation
        where abbreviation.abbrev = pg_catalog.upper(known.name)
      )
    );
$$;

comment on function soniq._timezone_names() is
'The names that a time zone may have, which are IANA''s, except those that AT TIME ZONE takes for an abbreviation. Slow (100 ms), as PostgreSQL opens a file for each.';

create or replace function soniq._letter_pairs(word text)
returns text[]
language sql
immutable
parallel safe
as $$
  select pg_catalog.array_agg(
      distinct pg_catalog.substr(lowered.word, place.number, 1) || pg_catalog.substr(lowered.word, place.number + gap.size, 1)
    )
  from (
    select pg_catalog.lower(_letter_pairs.word) as word
  ) as lowered
  -- With the letters that have another between them, two that were swapped hurt little.
  cross join (values (1), (2)) as gap (size)
  cross join lateral pg_catalog.generate_series(1, pg_catalog.length(lowered.word) - gap.size) as place (number);
$$;

create or replace function soniq._similar_timezones(timezone text)
returns text
language sql
stable
as $$
  with wanted as materialized (
    select soniq._letter_pairs(word => _similar_timezones.timezone) as pairs
  )
  select pg_catalog.string_agg(nearest.name, ', ' order by nearest.similarity desc, nearest.name)
  from (
    select known.name, similarity.degree as similarity
    from soniq._timezone_names() as known (name)
    cross join wanted
    cross join lateral (
      select
        2.0 * pg_catalog.count(*) filter (where pair.letters = any (wanted.pairs))
          / (pg_catalog.count(*) + pg_catalog.cardinality(wanted.pairs)) as degree
      from pg_catalog.unnest(soniq._letter_pairs(word => known.name)) as pair (letters)
    ) as similarity
    where similarity.degree >= 0.5
    order by similarity.degree desc, known.name
    limit 3
  ) as nearest;
$$;

comment on function soniq._similar_timezones(text) is
'Up to three names that share half of their pairs of letters with this one, most similar first; NULL if none does.';

-- Not parallel safe, and so neither is what calls it: to catch an error takes a subtransaction.
create or replace function soniq._check_timezone(timezone text)
returns void
language plpgsql
volatile
as $$
declare
  -- Longer than any name: a huge text would be looked at for each of them.
  given constant text := pg_catalog.left(timezone, 60);
  known boolean := true;
  similar_names text;
begin
  -- Most names are told from POSIX rules (Foo5, UTC+3) and from abbreviations by their form, and need no list.
  if timezone ~* '^(?!posix/)[a-z_-]+(/[a-z_-]+)+$' then
    begin
      perform pg_catalog.timezone(timezone, timestamp '2000-01-01');
    exception
      when invalid_parameter_value then
        known := false;
    end;
  elsif timezone !~* '^(utc|gmt|etc/gmt([+-][0-9]|[+]1[0-2]|-1[0-4]))$' then
    -- PostgreSQL takes CET for an hour, all year round, although there is a zone of this name.
    if exists (
      select
      from pg_catalog.pg_timezone_abbrevs as abbreviation
      where abbreviation.abbrev = pg_catalog.upper(given)
    ) then
      perform soniq._refuse(
        'SQ018',
        pg_catalog.format('time zone %L is an abbreviation', given),
        'Name a place, as in Europe/London: an abbreviation knows no daylight saving.'
      );
    end if;

    known := exists (
      select
      from soniq._timezone_names() as listed (name)
      where pg_catalog.lower(listed.name) = pg_catalog.lower(given)
    );
  end if;

  if not known then
    similar_names := soniq._similar_timezones(timezone => given);
    perform soniq._refuse(
      'SQ018',
      pg_catalog.format('time zone %L is not known', given),
      coalesce(
        'Did you mean ' || similar_names || '? Names are those of pg_timezone_names.',
        'Give a name of pg_timezone_names, as in Europe/London.'
      )
    );
  end if;
end;
$$;

comment on function soniq._check_timezone(text) is
'Passes the names of the IANA time zone database, in any case, and UTC. Refuses what else AT TIME ZONE takes: abbreviations, and POSIX rules, among which is every misspelt name with a number at its end.

Errors: SQ018 time zone.';

-- Reading an expression.

create or replace function soniq._cron_number(word text, lowest integer, highest integer, names text[])
returns integer
language sql
immutable
parallel safe
as $$
  select case
      when _cron_number.word !~ '^[0-9]{1,9}$'
        -- In the locale tr_TR, the lower case of FRI is not fri.
        then _cron_number.lowest - 1
          + pg_catalog.array_position(_cron_number.names, pg_catalog.lower(_cron_number.word collate "C"))
      when _cron_number.word::integer between _cron_number.lowest and _cron_number.highest
        then _cron_number.word::integer
    end;
$$;

comment on function soniq._cron_number(text, integer, integer, text[]) is
'What a number or name of a field stands for; NULL if it is neither. names[1] stands for lowest.';

create or replace function soniq._refuse_cron_field(expression text, what text, field text, problem text, remedy text)
returns void
language sql
volatile
parallel safe
as $$
  select soniq._refuse(
    'SQ017',
    pg_catalog.format(
      'cron expression %L: %s is %L, %s',
      _refuse_cron_field.expression, _refuse_cron_field.what, _refuse_cron_field.field, _refuse_cron_field.problem
    ),
    _refuse_cron_field.remedy
  );
$$;

create or replace function soniq._cron_field(
  expression text,
  what text,
  field text,
  lowest integer,
  highest integer,
  names text[] default null
)
returns integer[]
language plpgsql
volatile
parallel safe
as $$
declare
  is_weekday constant boolean := highest = 7;
  longest_step constant integer := case when is_weekday then 7 else highest - lowest + 1 end;
  chosen integer[] := array[]::integer[];
  entry text;
  words text[];
  first integer;
  last integer;
  step integer;
  legal text;
begin
  foreach entry in array pg_catalog.string_to_array(field, ',') loop
    words := pg_catalog.regexp_match(entry, '^(?:([*])|([^*/-]+)(?:-([^*/-]+))?)(?:/([^*/-]+))?$');
    if words is null then
      perform soniq._refuse_cron_field(
        expression => expression,
        what => what,
        field => field,
        problem => 'which is no list of values, ranges and steps',
        remedy => 'Write *, a value, a range as in 1-5, either with a step as in */15 or 1-5/2, or a list of these as in 1,3-5.'
      );
    end if;

    if words[1] = '*' then
      first := lowest;
      last := lowest + longest_step - 1;
    else
      first := soniq._cron_number(word => words[2], lowest => lowest, highest => highest, names => names);
      last := case
        when words[3] is not null
          then soniq._cron_number(word => words[3], lowest => lowest, highest => highest, names => names)
        when words[4] is not null then highest
        else first
      end;
    end if;

    if first is null or last is null then
      legal := pg_catalog.concat_ws(
        ' or ',
        pg_catalog.format('%s to %s', lowest, highest),
        names[1] || ' to ' || names[pg_catalog.cardinality(names)]
      );
      perform soniq._refuse_cron_field(
        expression => expression,
        what => what,
        field => case when first is null then words[2] else words[3] end,
        problem => pg_catalog.format('which is not %s', legal),
        remedy => case
          when entry ~* '^[0-9]*[lw]+$|^l-|[?#]' then 'Do without ?, L, W and #: they are extensions that Soniq does not have.'
          else pg_catalog.format('Give %s, or * for all.', legal)
        end
      );
    end if;

    step := case
      when words[4] is null then 1
      else soniq._cron_number(word => words[4], lowest => 1, highest => longest_step, names => null)
    end;
    if step is null then
      perform soniq._refuse_cron_field(
        expression => expression,
        what => what,
        field => entry,
        problem => pg_catalog.format('whose step is not 1 to %s', longest_step),
        remedy => pg_catalog.format(
          'Give a step of 1 to %s. It counts within the field: no step is longer than that.', longest_step
        )
      );
    end if;

    -- Sunday is either end of a week.
    if is_weekday and last = 0 and first > 0 then
      last := 7;
    elsif is_weekday and first = 7 and last < 7 then
      first := 0;
    end if;

    if first > last then
      perform soniq._refuse_cron_field(
        expression => expression,
        what => what,
        field => entry,
        problem => 'which runs backwards',
        remedy => pg_catalog.format(
          'Write %s.',
          case
            when step > 1 then (
              select pg_catalog.string_agg(
                  ((step_in.place - lowest) % longest_step + lowest)::text, ',' order by step_in.place
                )
              from pg_catalog.generate_series(first, last + longest_step, step) as step_in (place)
            )
            else pg_catalog.format('%s-%s,%s-%s', first, lowest + longest_step - 1, lowest, last)
          end
        )
      );
    end if;

    -- Most fields are one number. A query takes as long as all else here.
    if first = last then
      chosen := chosen || first;
    else
      chosen := chosen || array(select pg_catalog.generate_series(first, last, step));
    end if;
  end loop;

  if pg_catalog.strpos(field, ',') > 0 or (is_weekday and last = 7) then
    chosen := array(
      select distinct case when is_weekday then each.value % 7 else each.value end as value
      from pg_catalog.unnest(chosen) as each (value)
      order by value
    );
  end if;

  return chosen;
end;
$$;

comment on function soniq._cron_field(text, text, text, integer, integer, text[]) is
'The values that a field allows, in order, each once. expression and what are for the error message.

Errors: SQ017 cron expression.';

create or replace function soniq._cron_fields(
  expression text,
  out seconds integer[],
  out minutes integer[],
  out hours integer[],
  out days integer[],
  out months integer[],
  out weekdays integer[],
  out both_days boolean,
  out never boolean
)
language plpgsql
volatile
strict
parallel safe
as $$
declare
  white_space constant text := E' \t\n\x0b\f\r';
  written constant text := pg_catalog.btrim(expression, white_space);
  expanded constant text := case pg_catalog.lower(written collate "C")
    when '@yearly' then '0 0 1 1 *'
    when '@annually' then '0 0 1 1 *'
    when '@monthly' then '0 0 1 * *'
    when '@weekly' then '0 0 * * 0'
    when '@daily' then '0 0 * * *'
    when '@midnight' then '0 0 * * *'
    when '@hourly' then '0 * * * *'
    else written
  end;
  fields text[];
  month_names constant text[] := array['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
  weekday_names constant text[] := array['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
  count_remedy constant text :=
    'Give five fields, which are minute, hour, day of month, month and day of week, or six, with seconds first.';
begin
  if pg_catalog.length(expression) > 1000 then
    perform soniq._refuse(
      'SQ017',
      pg_catalog.format(
        'cron expression has %s characters: %L', pg_catalog.length(expression), pg_catalog.left(expression, 60)
      ),
      'Give at most 1000 characters.'
    );
  elsif pg_catalog.lower(expanded collate "C") = '@reboot' then
    perform soniq._refuse(
      'SQ017',
      pg_catalog.format('cron expression %L: the database does not know of reboots', written),
      'Enqueue the job where the machine or the service is started.'
    );
  elsif pg_catalog.left(expanded, 1) = '@' then
    perform soniq._refuse(
      'SQ017',
      pg_catalog.format('cron expression %L: there is no such name', written),
      'Give five or six fields, or @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually.'
    );
  elsif expanded = '' then
    perform soniq._refuse('SQ017', 'cron expression is empty', count_remedy);
  end if;

  fields := pg_catalog.regexp_split_to_array(expanded, '[' || white_space || ']+');
  if pg_catalog.cardinality(fields) not in (5, 6) then
    perform soniq._refuse(
      'SQ017',
      pg_catalog.format('cron expression %L: it has %s fields', written, pg_catalog.cardinality(fields)),
      count_remedy
    );
  elsif pg_catalog.cardinality(fields) = 5 then
    fields := '0'::text || fields;
  end if;

  seconds := soniq._cron_field(
    expression => written, what => 'second', field => fields[1], lowest => 0, highest => 59
  );
  minutes := soniq._cron_field(
    expression => written, what => 'minute', field => fields[2], lowest => 0, highest => 59
  );
  hours := soniq._cron_field(
    expression => written, what => 'hour', field => fields[3], lowest => 0, highest => 23
  );
  days := soniq._cron_field(
    expression => written, what => 'day of month', field => fields[4], lowest => 1, highest => 31
  );
  months := soniq._cron_field(
    expression => written, what => 'month', field => fields[5], lowest => 1, highest => 12, names => month_names
  );
  weekdays := soniq._cron_field(
    expression => written, what => 'day of week', field => fields[6], lowest => 0, highest => 7, names => weekday_names
  );

  both_days := fields[4] like '*%' or fields[6] like '*%';

  -- Nothing but the lengths of the months keeps a date from coming: each falls on each weekday once in forty years.
  never := both_days and days[1] > case
    when months = '{2}' then 29
    when months && '{1,3,5,7,8,10,12}' then 31
    else 30
  end;
end;
$$;

comment on function soniq._cron_fields(text) is
'The values that each field of an expression allows, in order. Weekdays are 0 (Sunday) to 6. both_days: a day has to match the day of month and the day of week, not just either, which is so when one of them begins with *. never: there is no such day.

Errors: SQ017 cron expression.';

create or replace function soniq._check_cron(expression text)
returns void
language plpgsql
volatile
parallel safe
as $$
begin
  perform soniq._cron_fields(expression => expression);
end;
$$;

-- Searching the calendar.

create or replace function soniq._cron_at_least(chosen integer[], value integer)
returns integer
language sql
immutable
parallel safe
as $$
  select _cron_at_least.chosen[pg_catalog.width_bucket(_cron_at_least.value - 1, _cron_at_least.chosen) + 1];
$$;

comment on function soniq._cron_at_least(integer[], integer) is
'The first of these values, which are in order, that is not less; NULL if all are. A binary search in C.';

create or replace function soniq._cron_date(
  days integer[],
  months integer[],
  weekdays integer[],
  both_days boolean,
  from_date date
)
returns date
language plpgsql
immutable
parallel safe
as $$
declare
  year integer := pg_catalog.date_part('year', from_date)::integer;
  from_month constant integer := pg_catalog.date_part('month', from_date)::integer;
  month integer := soniq._cron_at_least(chosen => months, value => from_month);
  day integer := case when month = from_month then pg_catalog.date_part('day', from_date)::integer else 1 end;
  first_weekday integer;
  length_of_month integer;
begin
  <<search>>
  loop
    if month is null then
      year := year + 1;
      month := months[1];
    end if;
    first_weekday := pg_catalog.date_part('dow', pg_catalog.make_date(year, month, 1))::integer;
    length_of_month := case
      when month in (4, 6, 9, 11) then 30
      when month <> 2 then 31
      when year % 4 = 0 and (year % 100 <> 0 or year % 400 = 0) then 29
      else 28
    end;

    loop
      if both_days then
        day := soniq._cron_at_least(chosen => days, value => day);
        exit when day is null;
      end if;
      exit when day > length_of_month;
      exit search when (first_weekday + day - 1) % 7 = any (weekdays) or (not both_days and day = any (days));
      day := day + 1;
    end loop;

    day := 1;
    month := soniq._cron_at_least(chosen => months, value => month + 1);
  end loop;

  return pg_catalog.make_date(year, month, day);
end;
$$;

comment on function soniq._cron_date(integer[], integer[], integer[], boolean, date) is
'The first day on or after from_date that matches. It searches forever if no day ever does.';

create or replace function soniq._cron_time(
  seconds integer[],
  minutes integer[],
  hours integer[],
  from_time time
)
returns time
language plpgsql
immutable
parallel safe
as $$
declare
  from_hour constant integer := pg_catalog.date_part('hour', from_time)::integer;
  from_minute constant integer := pg_catalog.date_part('minute', from_time)::integer;
  from_second constant integer := pg_catalog.date_part('second', from_time)::integer;
  hour integer := soniq._cron_at_least(chosen => hours, value => from_hour);
  minute integer := minutes[1];
  second integer := seconds[1];
begin
  if hour = from_hour then
    minute := soniq._cron_at_least(chosen => minutes, value => from_minute);
    if minute = from_minute then
      second := soniq._cron_at_least(chosen => seconds, value => from_second);
      if second is null then
        minute := soniq._cron_at_least(chosen => minutes, value => from_minute + 1);
        second := seconds[1];
      end if;
    end if;
    if minute is null then
      hour := soniq._cron_at_least(chosen => hours, value => from_hour + 1);
      minute := minutes[1];
    end if;
  end if;

  return pg_catalog.make_time(hour, minute, second);
end;
$$;

comment on function soniq._cron_time(integer[], integer[], integer[], time) is
'The first time of a day at or after from_time, a whole second, that matches; NULL if there is none that day.';

-- Time zones in their course.

create or replace function soniq._utc_offset(at timestamptz, timezone text)
returns interval
language sql
stable
parallel safe
as $$
  select pg_catalog.timezone(_utc_offset.timezone, _utc_offset.at) - pg_catalog.timezone('UTC', _utc_offset.at);
$$;

comment on function soniq._utc_offset(timestamptz, text) is
'How far local time is ahead of UTC at an instant.';

create or replace function soniq._transition(after timestamptz, until timestamptz, timezone text)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
declare
  old_offset constant interval := soniq._utc_offset(at => after, timezone => timezone);
  -- In UTC. The clocks change after before_it and no later than at_it.
  before_it timestamp := pg_catalog.timezone('UTC', after);
  at_it timestamp := pg_catalog.timezone('UTC', until);
  middle timestamp;
begin
  if soniq._utc_offset(at => until, timezone => timezone) = old_offset then
    return null;
  end if;

  while at_it - before_it > interval '1 second' loop
    middle := pg_catalog.date_trunc('second', before_it + (at_it - before_it) / 2);
    if soniq._utc_offset(at => pg_catalog.timezone('UTC', middle), timezone => timezone) = old_offset then
      before_it := middle;
    else
      at_it := middle;
    end if;
  end loop;

  return pg_catalog.timezone('UTC', at_it);
end;
$$;

comment on function soniq._transition(timestamptz, timestamptz, text) is
'When the clocks change in a time so short (two days) that they do so once at most; NULL if they do not. Both ends are whole seconds; the instant that is returned has the new offset.';

create or replace function soniq._first_instant(local_time timestamp, timezone text)
returns timestamptz
language plpgsql
stable
parallel safe
as $$
declare
  -- Local time is never a day from UTC, so the instant lies between these.
  day_before constant timestamptz := pg_catalog.timezone('UTC', local_time - interval '24 hours');
  day_after constant timestamptz := pg_catalog.timezone('UTC', local_time + interval '24 hours');
  old_offset constant interval := soniq._utc_offset(at => day_before, timezone => timezone);
  new_offset constant interval := soniq._utc_offset(at => day_after, timezone => timezone);
  instant timestamptz := pg_catalog.timezone('UTC', local_time - greatest(old_offset, new_offset));
begin
  if pg_catalog.timezone(timezone, instant) <> local_time then
    instant := pg_catalog.timezone('UTC', local_time - least(old_offset, new_offset));
  end if;
  if pg_catalog.timezone(timezone, instant) <> local_time then
    instant := soniq._transition(after => day_before, until => day_after, timezone => timezone);
  end if;

  return instant;
end;
$$;

comment on function soniq._first_instant(timestamp, text) is
'When a local time comes, in whole seconds: the first time if it comes twice, the end of the gap if it is skipped. AT TIME ZONE would take the second time, and an hour past the gap.';

-- The next fire.

create or replace function soniq._cron_next(expression text, after timestamptz, timezone text)
returns timestamptz
language plpgsql
volatile
parallel safe
as $$
declare
  fields constant record := soniq._cron_fields(expression => expression);
  first_time constant time := pg_catalog.make_time(fields.hours[1], fields.minutes[1], fields.seconds[1]);
  follows_clock constant boolean := pg_catalog.cardinality(fields.hours) = 24;
  from_instant timestamptz := pg_catalog.date_trunc('second', after) + interval '1 second';
  from_local timestamp := pg_catalog.date_trunc('second', pg_catalog.timezone(timezone, after)) + interval '1 second';
  on_date date;
  at_time time;
  instant timestamptz;
  reach timestamptz;
  transition timestamptz;
begin
  if fields.never then
    return null;
  end if;

  loop
    if follows_clock then
      from_local := pg_catalog.timezone(timezone, from_instant);
    end if;

    at_time := soniq._cron_time(
      seconds => fields.seconds,
      minutes => fields.minutes,
      hours => fields.hours,
      from_time => from_local::time
    );
    on_date := soniq._cron_date(
      days => fields.days,
      months => fields.months,
      weekdays => fields.weekdays,
      both_days => fields.both_days,
      from_date => from_local::date + (at_time is null)::integer
    );
    if at_time is null or on_date > from_local::date then
      at_time := first_time;
    end if;

    if follows_clock then
      -- Right if the clocks do not change before. When they do, the search starts again from there; when the time is
      -- far away, from shortly before it.
      instant := pg_catalog.timezone(
        'UTC', on_date + at_time - soniq._utc_offset(at => from_instant, timezone => timezone)
      );
      reach := least(instant, from_instant + interval '48 hours');
      transition := soniq._transition(after => from_instant, until => reach, timezone => timezone);
      exit when transition is null and reach = instant;
      from_instant := coalesce(transition, greatest(reach, instant - interval '48 hours'));
    else
      -- Not later than after when this local time comes the second time, or was skipped and made up for at the end of
      -- the gap.
      instant := soniq._first_instant(local_time => on_date + at_time, timezone => timezone);
      exit when instant > after;
      from_local := on_date + at_time + interval '1 second';
    end if;
  end loop;

  return instant;
end;
$$;

comment on function soniq._cron_next(text, timestamptz, text) is
'cron_next() for an after and a timezone that were checked, and are not NULL.

Errors: SQ017 cron expression.';

create or replace function soniq.cron_next(
  expression text,
  after timestamptz default null,
  timezone text default 'UTC'
)
returns timestamptz
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  since constant timestamptz := coalesce(after, soniq.clock());
begin
  perform
    soniq._check_given(code => 'SQ017', what => 'cron expression', value => expression),
    soniq._check_timezone(timezone => timezone);

  if since not between '1000-01-01 00:00+00' and '9999-12-31 00:00+00' then
    perform soniq._refuse(
      'SQ006',
      pg_catalog.format('after is %s', since),
      'Give a time between the years 1000 and 9999.'
    );
  end if;

  return soniq._cron_next(expression => expression, after => since, timezone => coalesce(timezone, 'UTC'));
end;
$$;

comment on function soniq.cron_next(text, timestamptz, text) is
'When a cron expression fires next, always later than after; NULL if it never does, as on 30 February.

expression: five fields, which are minute, hour, day of month, month and day of week, or six, with seconds first. Each is *, a value, a range 1-5, a step */15, 1-30/5 or 5/15, or a list of these; months and weekdays have names (jan, mon), and Sunday is 0 or 7. @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually stand for the obvious. If both day of month and day of week are restricted, either is enough; a field that begins with * does not restrict in this sense.
after: NULL is now.
timezone: a name of the IANA database such as Europe/London, in which the expression is local time. NULL is UTC.

Where the clocks change: a time that is skipped fires once, when the gap ends; a time that comes twice fires the first time. An expression whose hour field covers all hours follows the clock instead: it fires whenever the clock shows a time that matches.

Errors: SQ006 after, SQ017 cron expression, SQ018 time zone.';

create or replace function soniq.cron_preview(
  expression text,
  timezone text default 'UTC',
  after timestamptz default null,
  runs integer default 10
)
returns table (run_at timestamptz, local_time timestamp, utc_offset interval)
language plpgsql
volatile
rows 10
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  zone constant text := coalesce(cron_preview.timezone, 'UTC');
begin
  if runs not between 1 and 1000 then
    perform soniq._refuse(
      'SQ012', pg_catalog.format('runs %s is out of range', runs), 'Give a whole number from 1 to 1000.'
    );
  end if;

  run_at := soniq.cron_next(expression => expression, after => after, timezone => zone);
  for run in 1 .. coalesce(runs, 10) loop
    exit when run_at is null;
    local_time := pg_catalog.timezone(zone, run_at);
    utc_offset := soniq._utc_offset(at => run_at, timezone => zone);
    return next;
    run_at := soniq._cron_next(expression => expression, after => run_at, timezone => zone);
  end loop;
end;
$$;

comment on function soniq.cron_preview(text, text, timestamptz, integer) is
'The next times at which a cron expression fires, for a person to look at: the instant, the clock on the wall, and how far that is ahead of UTC. Fewer rows, or none, only for an expression that never fires.

expression, timezone, after: as for cron_next().
runs: how many, 1 to 1000.

Errors: SQ006 after, SQ012 runs, SQ017 cron expression, SQ018 time zone.';

-- What tick() does now and then. The first session to find a chore due puts it off and does it; sessions that look
-- at the same moment pass on.
--
-- They are due at whole minutes and hours, so that they keep their pace whenever ticks come: the history has a row for each
-- minute. A tick that is a little early, as cron's are now and then, counts.

create or replace function soniq._take_chore(chore text, every interval)
returns boolean
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock() + _take_chore.every / 100;
begin
  update soniq.chores as known
  set due_at = pg_catalog.date_bin(_take_chore.every, as_of, timestamptz 'epoch') + _take_chore.every
  where known.chore = (
    select due.chore
    from soniq.chores as due
    where due.chore = _take_chore.chore
      and (
        due.due_at <= as_of
        -- Put off by a clock that has been set back since.
        or (due.due_at > as_of + _take_chore.every and pg_catalog.isfinite(due.due_at))
      )
    for update skip locked
  );
  return found;
end;
$$;

comment on function soniq._take_chore(text, interval) is
'True if the chore is due, and now this caller''s to do; it is due again when the next whole interval begins.';

create or replace function soniq._call_for_chore(chore text)
returns void
language sql
volatile
as $$
  update soniq.chores as known
  set due_at = '-infinity'
  where known.chore = _call_for_chore.chore;
$$;

comment on function soniq._call_for_chore(text) is
'Makes a chore due at the next tick.';

-- Tenants: whose a job is, where several share one Soniq. A job's tenant is a text that comes with enqueue(), or with the
-- transaction's setting soniq.tenant; most jobs have none.
--
-- A login may be bound to a tenant. Whatever it then calls or selects, it meets that tenant's jobs and no others, and what it
-- enqueues is that tenant's. This is row security on the tables of jobs, forced upon their owner too, since functions and
-- views run with its rights: so no function has to think of it. Row security is switched on with the first
-- binding and off with the last; who binds nobody pays nothing.
--
-- A login is who connected: SET ROLE does not change it, and inside a function nothing else is known of the caller.

-- What the policies ask, also for those who select from a table with rights of their own. Parallel workers have their
-- leader's session_user.
create or replace function soniq._bound_tenant()
returns text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select binding.tenant
  from soniq.tenant_logins as binding
  where binding.login = session_user;
$$;

comment on function soniq._bound_tenant() is
'The tenant that this session''s login is bound to; NULL if it is not.';

create or replace function soniq._checked_tenant(given text)
returns text
language plpgsql
volatile
as $$
declare
  bound constant text := soniq._bound_tenant();
  wanted constant text := coalesce(given, nullif(pg_catalog.current_setting('soniq.tenant', true), ''));
begin
  perform soniq._check_name(code => 'SQ026', what => 'tenant', name => wanted, longest => 200);
  if wanted <> bound then
    perform soniq._refuse(
      'SQ026',
      pg_catalog.format('tenant is %L, and the login %I is bound to another', wanted, session_user),
      'Leave the tenant out, and the setting soniq.tenant unset: this login''s jobs are its own tenant''s.'
    );
  end if;
  return coalesce(bound, wanted);
end;
$$;

-- Most jobs have no tenant, and where nobody is bound, row security is off: to find that out costs an enqueue no call.
create or replace function soniq._tenant_for(given text)
returns text
language sql
volatile
as $$
  select case
    when _tenant_for.given is not null
      or pg_catalog.current_setting('soniq.tenant', true) <> ''
      or pg_catalog.row_security_active('soniq.jobs'::regclass)
    then soniq._checked_tenant(given => _tenant_for.given)
  end;
$$;

comment on function soniq._tenant_for(text) is
'Whose the caller''s job is to be: the tenant its login is bound to, else that given, else that of the setting soniq.tenant. Raises SQ026 where what is given is not the one bound to.';

create or replace function soniq._check_unbound(what text)
returns void
language plpgsql
stable
as $$
declare
  tenant constant text := soniq._bound_tenant();
begin
  if tenant is not null then
    perform soniq._refuse(
      'SQ027',
      pg_catalog.format(
        '%s is for the whole system, and the login %I is bound to the tenant %L', what, session_user, tenant
      ),
      'Use a login that is bound to no tenant.'
    );
  end if;
end;
$$;

comment on function soniq._check_unbound(text) is
'Raises SQ027 where this session''s login is bound to a tenant: what tells of all tenants, or acts on all, is not for it.';

-- On the tables of jobs, it binds their owner too, with whose rights functions and views run. Of the others, which say
-- nothing of a single job, functions need all rows, and a tenant is to see none.
create or replace function soniq._row_security()
returns table (relation regclass, policy name, forced boolean, has_policy boolean, state text)
language sql
stable
as $$
  select
    wanted.relation,
    wanted.policy,
    wanted.forced,
    own.has_policy,
    case
      when own.has_policy and part.relrowsecurity and part.relforcerowsecurity = wanted.forced then 'on'
      when own.has_policy or part.relrowsecurity or part.relforcerowsecurity then 'in part'
      else 'off'
    end
  from (
    values
      (1, 'soniq.runners'::regclass, 'no_tenant'::name, false),
      (2, 'soniq.jobs', 'own_tenant', true),
      (3, 'soniq.lanes', 'no_tenant', false),
      (4, 'soniq.queues', 'no_tenant', false),
      (5, 'soniq.settings', 'no_tenant', false),
      (6, 'soniq.job_types', 'no_tenant', false),
      (7, 'soniq.chores', 'no_tenant', false),
      (8, 'soniq.finished_jobs', 'own_tenant', true),
      (9, 'soniq.finished_jobs_default', 'own_tenant', true),
      (10, 'soniq.dead_letter_jobs', 'own_tenant', true),
      (11, 'soniq.schedules', 'own_tenant', true)
  ) as wanted (place, relation, policy, forced)
  join pg_catalog.pg_class as part
    on part.oid = wanted.relation
  cross join lateral (
    select exists (
      select
      from pg_catalog.pg_policy as known
      where known.polrelid = wanted.relation
        and known.polname = wanted.policy
    ) as has_policy
  ) as own
  order by wanted.place;
$$;

comment on function soniq._row_security() is
'On which tables row security is to be while a login is bound, by which policy, and whether it is: on, off, or in part; in the order in which _lock_tables() locks them.';

-- Claims, enqueues and reports lock these tables each in an order of its own, so to wait for one while holding another ends in
-- deadlocks, for which PostgreSQL looks after a second (deadlock_timeout) and makes somebody's claim fail. Not to wait (nowait)
-- would find all of them free at once only where little goes on. So each is waited for so briefly that all eleven
-- take less than that second, and if one is not free in time, all are let go, whoever waited goes on, and it begins again. Runners
-- come first, as in a claim: no claim is on its way to its other tables once they are locked; then jobs, as in an enqueue.
--
-- The default is that of the caller's lock_timeout, before the function has its own.
create or replace function soniq._lock_tables(
  patience interval default coalesce(nullif(pg_catalog.current_setting('lock_timeout')::interval, interval '0'), interval '1 minute')
)
returns void
language plpgsql
volatile
set lock_timeout = '50 ms'
as $$
declare
  give_up_at constant timestamptz := pg_catalog.clock_timestamp() + patience;
  pause interval := interval '20 ms';
  own record;
begin
  loop
    begin
      for own in
        select known.relation
        from soniq._row_security() as known
      loop
        execute pg_catalog.format('lock table only %s in access exclusive mode', own.relation);
      end loop;
      return;
    exception
      when lock_not_available then
        if pg_catalog.clock_timestamp() > give_up_at then
          perform soniq._refuse(
            '55P03',
            pg_catalog.format(
              'to switch row security on or off takes a moment at which nobody uses %s, and in %s there was none',
              own.relation, patience
            ),
            pg_catalog.format(
              'See who does: select * from pg_stat_activity where pid in (select pid from pg_locks where relation = %L::regclass). Call it again when they are through, or set lock_timeout to how long it may try.',
              own.relation
            )
          );
        end if;
    end;
    -- Meanwhile nobody waits for this; so where a table is held for long, calls are slowed down less and less.
    perform pg_catalog.pg_sleep_for(pause);
    pause := least(1.5 * pause, interval '1 second');
  end loop;
end;
$$;

comment on function soniq._lock_tables(interval) is
'Locks the tables of _row_security() for what is left of the transaction, without anybody''s running into a deadlock.';

create or replace function soniq._keep_tenants_apart()
returns void
language plpgsql
volatile
as $$
declare
  own record;
begin
  if not exists (select from soniq._row_security() as known where known.state <> 'on') then
    return;
  end if;

  perform soniq._lock_tables();
  for own in
    select known.relation, known.policy, known.forced, known.has_policy
    from soniq._row_security() as known
    where known.state <> 'on'
  loop
    if not own.has_policy and own.forced then
      execute pg_catalog.format(
        'create policy own_tenant on %s using ((select soniq._bound_tenant()) is null or tenant = (select soniq._bound_tenant()))',
        own.relation
      );
    elsif not own.has_policy then
      execute pg_catalog.format(
        'create policy no_tenant on %s using ((select soniq._bound_tenant()) is null)', own.relation
      );
    end if;
    execute pg_catalog.format(
      'alter table %s enable row level security, %s row level security',
      own.relation,
      case when own.forced then 'force' else 'no force' end
    );
  end loop;
end;
$$;

comment on function soniq._keep_tenants_apart() is
'Switches row security on where it is not.';

create or replace function soniq._stop_keeping_tenants_apart()
returns void
language plpgsql
volatile
as $$
declare
  own record;
begin
  if not exists (select from soniq._row_security() as known where known.state <> 'off') then
    return;
  end if;

  perform soniq._lock_tables();
  for own in
    select known.relation, known.policy
    from soniq._row_security() as known
    where known.state <> 'off'
  loop
    execute pg_catalog.format('drop policy if exists %I on %s', own.policy, own.relation);
    execute pg_catalog.format('alter table %s no force row level security, disable row level security', own.relation);
  end loop;
end;
$$;

comment on function soniq._stop_keeping_tenants_apart() is
'Switches row security off again, also where it is on without a policy, or the other way round.';

-- With SET ROLE, a member becomes what row security does not hold, or may read and write what has none: the partitions of
-- finished jobs, the bindings, files. What is granted to a login later, nobody watches.
create or replace function soniq._check_bindable(login text)
returns void
language plpgsql
stable
as $$
declare
  role constant regrole := pg_catalog.to_regrole(pg_catalog.quote_ident(login));
  mighty text;
begin
  if role is null then
    perform soniq._refuse(
      'SQ026', pg_catalog.format('there is no role %I', login), 'Create the login first, then bind it.'
    );
  end if;

  select
    case
      when other.oid = role and other.rolsuper then 'is a superuser'
      when other.oid = role and other.rolbypassrls then 'has BYPASSRLS'
      when other.oid = jobs.relowner then 'is a member of Soniq''s owner'
      when other.rolsuper then pg_catalog.format('is a member of %I, a superuser', other.rolname)
      when other.rolbypassrls then pg_catalog.format('is a member of %I, which has BYPASSRLS', other.rolname)
      else pg_catalog.format('is a member of %I', other.rolname)
    end
  into mighty
  from pg_catalog.pg_roles as other
  join pg_catalog.pg_class as jobs
    on jobs.oid = 'soniq.jobs'::regclass
  where pg_catalog.pg_has_role(role, other.oid, 'member')
    and (
      other.rolsuper
      or other.rolbypassrls
      or other.oid = jobs.relowner
      or other.rolname in (
        'soniq_runner', 'pg_read_all_data', 'pg_write_all_data',
        'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'
      )
    )
  order by other.oid <> role, other.rolname
  limit 1;
  if mighty is not null then
    perform soniq._refuse(
      'SQ026',
      pg_catalog.format('the login %I %s, and no tenant could hold it', login, mighty),
      'Bind logins that are members of soniq_producer, soniq_observer or soniq_admin, and are nothing more.'
    );
  end if;
end;
$$;

-- Functions run with the rights of their owner, and even forced row security does not hold these two kinds.
create or replace function soniq._check_held(owner name)
returns void
language plpgsql
stable
as $$
declare
  unheld text;
begin
  select
    case
      when role.rolsuper then 'a superuser'
      when role.rolbypassrls then 'a role with BYPASSRLS'
    end
  into unheld
  from pg_catalog.pg_roles as role
  where role.rolname = _check_held.owner;
  if unheld is not null then
    perform soniq._refuse(
      'SQ026',
      pg_catalog.format('Soniq''s functions run with the rights of %I, %s, whom row security does not hold', owner, unheld),
      'Have all belong to soniq_owner, and that be neither: select soniq.grant_roles(); alter role soniq_owner nosuperuser nobypassrls.'
    );
  end if;
end;
$$;

-- Bindings are made and taken away one after the other, for which both functions lock their table before they look at it.
-- If who takes the last one away did not see who makes the next, it would leave a bound login without row security.
create or replace function soniq._check_sees_others(isolation text)
returns void
language plpgsql
stable
as $$
begin
  if isolation not in ('read committed', 'read uncommitted') then
    perform soniq._refuse(
      'SQ026',
      pg_catalog.format('the transaction''s isolation level is %s, at which it does not see other bindings made meanwhile', isolation),
      'Bind and unbind in a transaction of its own: begin isolation level read committed.'
    );
  end if;
end;
$$;

create or replace function soniq.bind_tenant(login text, tenant text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform
    soniq._check_given(code => 'SQ026', what => 'login', value => bind_tenant.login),
    soniq._check_given(code => 'SQ026', what => 'tenant', value => bind_tenant.tenant),
    soniq._check_name(code => 'SQ026', what => 'tenant', name => bind_tenant.tenant, longest => 200),
    soniq._check_bindable(login => bind_tenant.login),
    soniq._check_held(owner => current_user),
    soniq._check_sees_others(isolation => pg_catalog.current_setting('transaction_isolation'));
  lock table soniq.tenant_logins in share row exclusive mode;
  insert into soniq.tenant_logins (login, tenant)
  values (bind_tenant.login, bind_tenant.tenant)
  on conflict (login) do update
  set tenant = excluded.tenant;
  perform soniq._keep_tenants_apart();
end;
$$;

comment on function soniq.bind_tenant(text, text) is
'Binds a login to a tenant: from its next statement on, in sessions that are open too, it sees and acts on that tenant''s jobs, dead letters and schedules alone, what it enqueues is that tenant''s, and what is about the whole system it is refused. It still needs one of Soniq''s roles. A login has one tenant, the one bound last; a tenant has any number of logins.

login: the role that connects, by its name; not a superuser, nor with BYPASSRLS, nor a member, be it through another role, of one that is, of soniq_owner, of soniq_runner, or of a role of PostgreSQL''s that reads or writes all data. Other roles that it takes on with SET ROLE make no difference. What is granted to it later is not watched: to have it looked at, bind it again. Under another name it is another login: bind that before you rename it.
tenant: 1 to 200 characters.

The first binding switches row security on, for which it needs a moment at which nobody uses the tables. It tries for a minute, or for as long as lock_timeout says, while calls of others go on; then it gives up with lock_not_available (55P03). From then on, who dumps the database has to be a superuser or have BYPASSRLS.

Errors: SQ026 login, tenant, or isolation level.';

create or replace function soniq.unbind_tenant(login text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform soniq._check_sees_others(isolation => pg_catalog.current_setting('transaction_isolation'));
  lock table soniq.tenant_logins in share row exclusive mode;
  delete from soniq.tenant_logins as binding
  where binding.login = unbind_tenant.login;
  if not found then
    return false;
  end if;

  if not exists (select from soniq.tenant_logins) then
    perform soniq._stop_keeping_tenants_apart();
  end if;
  return true;
end;
$$;

comment on function soniq.unbind_tenant(text) is
'Takes a binding away: the login then may do to the jobs of all tenants what its roles allow, so take those away first. False if it was not bound. With the last binding, row security is switched off, for which it waits as bind_tenant() does.

Errors: SQ026 isolation level.';

-- How a runner with nothing to do learns of a job. NOTIFY serialises commits and signals every session that listens, so
-- an enqueue notifies only where a runner waits, and then one runner for each job, on a channel of its own: its bell.
-- Who gets as many jobs as it asked for wakes others, as many as it got jobs, unless each job was announced to
-- somebody. So there are at most two claims for each job, however many runners wait, and a burst reaches all of
-- them in a few steps.
--
-- The sign for waiting is three advisory locks on the runner's LISTEN connection: no row is written, so a pinned
-- xmin cannot slow it down, and it vanishes with the runner. An enqueue tries to take such a lock for an
-- instant; it fails where a runner waits. It asks first whether anyone waits for the queue at all, and mostly no more.
-- If so, it finds out who by trying, since bells are numbered from 0: which of 32 blocks of 32 bells, then
-- which bell. That takes some 20 microseconds, whatever else goes on. pg_locks would tell as much; it took 460
-- microseconds with 200 locks held on the server, and 14 milliseconds with 10,000.
--
-- A wake-up can be lost: a transaction that looked before the sign went up may commit after the runner's last claim, and
-- a runner may die between its notification and its claim. Runners therefore look again untold; a lost wake-up
-- costs time, never a job.

create or replace function soniq._sign(part integer)
returns integer
language sql
immutable
parallel safe
as $$
  -- 'SO' in ASCII and two bytes for the part, so that pg_locks tells whose lock it is.
  select 1397686272 + _sign.part;
$$;

comment on function soniq._sign(integer) is
'The class of an advisory lock. Parts 0 to 1023 are the bells, each held by one session while it waits; 1024 to 1055 the blocks that have one, and 2048 says that there is any: these are shared. The object is the queue''s hash; no queue is named '''', which stands for all. The objects of part 4096 are the bells that a session has, waiting or not.';

create or replace function soniq._is_shared(part integer, key integer)
returns boolean
language sql
volatile
as $$
  -- The lock is released in the same expression: it must not outlive the question.
  select not (
    pg_catalog.pg_try_advisory_lock(soniq._sign(part => _is_shared.part), _is_shared.key)
    and pg_catalog.pg_advisory_unlock(soniq._sign(part => _is_shared.part), _is_shared.key)
  );
$$;

comment on function soniq._is_shared(integer, integer) is
'Whether another session shares this part of the sign, or asks the same in this instant.';

create or replace function soniq._someone_waits(queue text)
returns boolean
language sql
volatile
as $$
  select soniq._is_shared(part => 2048, key => pg_catalog.hashtext(_someone_waits.queue))
    or soniq._is_shared(part => 2048, key => pg_catalog.hashtext(''));
$$;

comment on function soniq._someone_waits(text) is
'Whether a runner waits for this queue; what an enqueue asks, so it is an expression that the caller''s takes in.';

create or replace function soniq._is_waiting(bell integer, key integer)
returns boolean
language sql
volatile
as $$
  -- Shared, so that two who ask in the same instant do not take each other for a runner.
  select not (
    pg_catalog.pg_try_advisory_lock_shared(soniq._sign(part => _is_waiting.bell), _is_waiting.key)
    and pg_catalog.pg_advisory_unlock_shared(soniq._sign(part => _is_waiting.bell), _is_waiting.key)
  );
$$;

comment on function soniq._is_waiting(integer, integer) is
'Whether another session waits with this bell.';

create or replace function soniq._ring(message text, key integer, most integer)
returns integer
language plpgsql
volatile
as $$
declare
  -- The order is a random one, so that the work is spread, and enqueues at the same time wake different runners.
  first_block constant integer := pg_catalog.floor(pg_catalog.random() * 32)::integer;
  first_slot constant integer := pg_catalog.floor(pg_catalog.random() * 32)::integer;
  bell integer;
  rung integer := 0;
begin
  for block in 0..31 loop
    continue when not soniq._is_shared(part => 1024 + (block # first_block), key => key);
    for slot in 0..31 loop
      bell := (block # first_block) * 32 + (slot # first_slot);
      continue when not soniq._is_waiting(bell => bell, key => key);
      perform pg_catalog.pg_notify('soniq_bell_' || bell, message);
      rung := rung + 1;
      if rung = most then
        return rung;
      end if;
    end loop;
  end loop;
  return rung;
end;
$$;

comment on function soniq._ring(text, integer, integer) is
'Notifies up to so many runners that wait with this key, when the transaction commits, and answers how many.';

create or replace function soniq._wake(queue text, jobs integer default 1, may_be_more boolean default false)
returns void
language plpgsql
volatile
as $$
declare
  key constant integer := pg_catalog.hashtext(queue);
  all_queues constant integer := pg_catalog.hashtext('');
  -- One that is announced alone may meet others on its way to the same runner. In a burst this would be told anew with
  -- each claim, and every NOTIFY costs all who listen.
  message constant text := case when jobs > 1 and not may_be_more then 'each ' else 'more ' end || queue;
  rung integer := 0;
begin
  -- Those first that do not wait for all: they have less to choose from.
  if soniq._is_shared(part => 2048, key => key) then
    rung := soniq._ring(message => message, key => key, most => jobs);
  end if;
  if rung < jobs and soniq._is_shared(part => 2048, key => all_queues) then
    perform soniq._ring(message => message, key => all_queues, most => jobs - rung);
  end if;
end;
$$;

comment on function soniq._wake(text, integer, boolean) is
'Notifies one runner that waits for the queue for each job, as far as there are such runners, when the transaction commits.

may_be_more: there may be more jobs than these.';

create or replace function soniq.take_bell()
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  bell integer := nullif(pg_catalog.current_setting('soniq.bell', true), '')::integer;
begin
  if bell is null then
    select free.number
    into bell
    from pg_catalog.generate_series(0, 1023) as free (number)
    where pg_catalog.pg_try_advisory_lock(soniq._sign(part => 4096), free.number)
    limit 1;
    perform pg_catalog.set_config('soniq.bell', bell::text, false);
  end if;
  return bell;
end;
$$;

comment on function soniq.take_bell() is
'Gives the session a bell, by which it can be woken, and answers with its number: LISTEN to the channel soniq_bell_<number>. It stays the session''s until it ends. NULL if all 1024 are taken; such a session is not woken.';

create or replace function soniq._try_sign(bell integer, key integer)
returns boolean
language sql
volatile
as $$
  -- What was taken before the one that somebody else has is given back.
  select case
    when not pg_catalog.pg_try_advisory_lock(soniq._sign(part => _try_sign.bell), _try_sign.key)
      then false
    when not pg_catalog.pg_try_advisory_lock_shared(soniq._sign(part => 1024 + _try_sign.bell / 32), _try_sign.key)
      then not pg_catalog.pg_advisory_unlock(soniq._sign(part => _try_sign.bell), _try_sign.key)
    when not pg_catalog.pg_try_advisory_lock_shared(soniq._sign(part => 2048), _try_sign.key)
      then not (
        pg_catalog.pg_advisory_unlock_shared(soniq._sign(part => 1024 + _try_sign.bell / 32), _try_sign.key)
        and pg_catalog.pg_advisory_unlock(soniq._sign(part => _try_sign.bell), _try_sign.key)
      )
    else true
  end;
$$;

comment on function soniq._try_sign(integer, integer) is
'Puts up the sign for one queue, unless another session has one of its locks; answers whether it is up.';

create or replace function soniq._in_the_way(bell integer, keys integer[])
returns text
language sql
volatile
as $$
  -- Who waits for a lock is in the way of who tries for it.
  select pg_catalog.string_agg(distinct lock.pid::text, ', ')
  from pg_catalog.pg_locks as lock
  where lock.locktype = 'advisory'
    and lock.database = (select own.oid from pg_catalog.pg_database as own where own.datname = pg_catalog.current_database())
    and lock.objid = any (_in_the_way.keys::oid[])
    and lock.pid <> pg_catalog.pg_backend_pid()
    and (
      lock.classid = soniq._sign(part => _in_the_way.bell)::oid
      or lock.mode = 'ExclusiveLock'
      and lock.classid in (soniq._sign(part => 1024 + _in_the_way.bell / 32)::oid, soniq._sign(part => 2048)::oid)
    );
$$;

comment on function soniq._in_the_way(integer, integer[]) is
'The processes that keep this session from putting up a sign with this bell; NULL if there are none.';

create or replace function soniq._put_up(bell integer, keys integer[], up integer[])
returns integer[]
language plpgsql
volatile
as $$
declare
  -- Not a second time for one that was there already: claiming waits for this.
  is_known constant boolean := coalesce(pg_catalog.current_setting('soniq.sign_taken', true), '') = 'yes';
  tries integer := case when is_known then 1 else 25 end;
  missing integer[] := array(
    select wanted.key
    from pg_catalog.unnest(_put_up.keys) as wanted (key)
    where wanted.key <> all (_put_up.up)
  );
  processes text;
begin
  loop
    missing := array(
      select wanted.key
      from pg_catalog.unnest(missing) as wanted (key)
      where not soniq._try_sign(bell => _put_up.bell, key => wanted.key)
    );
    tries := tries - 1;
    exit when missing = '{}' or tries = 0;
    perform pg_catalog.pg_sleep(0.002);
  end loop;

  if missing <> '{}' and not is_known then
    processes := soniq._in_the_way(bell => _put_up.bell, keys => missing);
    if processes is not null then
      raise warning 'process % has the lock that is the sign that this session waits for jobs', processes
        using hint = pg_catalog.format(
          'Until it lets go, this runner is not woken, and finds jobs when it looks for them. See what it is: select * from pg_stat_activity where pid in (%s); select pg_terminate_backend(pid) ends it.',
          processes
        );
      perform pg_catalog.set_config('soniq.sign_taken', 'yes', false);
    end if;
  elsif missing = '{}' and is_known then
    perform pg_catalog.set_config('soniq.sign_taken', '', false);
  end if;

  return array(
    select wanted.key
    from pg_catalog.unnest(_put_up.keys) as wanted (key)
    where wanted.key <> all (missing)
  );
end;
$$;

comment on function soniq._put_up(integer, integer[], integer[]) is
'Puts up the sign for these queues, where it is not up, and answers for which it is then. An enqueue that asks has a lock of it for an instant, which is waited for; but anybody may take one and keep it, so not for long. A warning tells whose it is, once.';

create or replace function soniq.wait_for_jobs(queues text[] default null)
returns interval
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  as_of constant timestamptz := soniq.clock();
  bell constant integer := nullif(pg_catalog.current_setting('soniq.bell', true), '')::integer;
  up integer[] := coalesce(nullif(pg_catalog.current_setting('soniq.waits_for', true), ''), '{}')::integer[];
  keys integer[];
begin
  perform soniq._check_queues(queues => wait_for_jobs.queues);

  keys := array(
    select distinct pg_catalog.hashtext(wanted.queue) as key
    from pg_catalog.unnest(coalesce(wait_for_jobs.queues, '{""}')) as wanted (queue)
    order by key
  );
  -- A sign that is up stays up: down for an instant it would miss who asks then.
  if bell is not null and keys <> up then
    if not up <@ keys then
      perform soniq.stop_waiting();
      up := '{}';
    end if;
    up := soniq._put_up(bell => bell, keys => keys, up => up);
    perform pg_catalog.set_config('soniq.waits_for', up::text, false);
  end if;

  return (
    select min(next.scheduled_at) - as_of
    from soniq.lanes as lane
    cross join lateral (
      select job.scheduled_at
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = lane.queue
        and job.priority = lane.priority
        and job.scheduled_at > as_of
      order by job.scheduled_at
      limit 1
    ) as next
    where wait_for_jobs.queues is null
      or lane.queue = any (wait_for_jobs.queues)
  );
end;
$$;

comment on function soniq.wait_for_jobs(text[]) is
'Puts up the sign that a runner waits for these queues (NULL: all), on the connection that listens to its bell (take_bell(), without which there is no sign). While it is up, whoever makes a job ready may notify this runner, and perhaps no other. The payload is a word and the queue: "each default" if each job was announced to a runner of its own, "more default" if there may be others. After putting it up, claim once more. The sign may stay up while the runner has jobs, as long as it looks for more when notified; if it does not, or if a claim may have left jobs that were announced to nobody, it calls wake_others(). Not through PgBouncer in transaction mode: the sign belongs to the session.

It never waits for who has taken the locks that are the sign, which anybody in the database can: a warning names the process, once, and each call tries again.

Answers how long until the next job that is scheduled for later is due; NULL if there is none. It may be called again while the sign is up, to hear this.

Errors: SQ002 queue.';

create or replace function soniq.stop_waiting()
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  bell constant integer := nullif(pg_catalog.current_setting('soniq.bell', true), '')::integer;
  keys constant integer[] := nullif(pg_catalog.current_setting('soniq.waits_for', true), '')::integer[];
begin
  perform
    pg_catalog.pg_advisory_unlock_shared(soniq._sign(part => 2048), wanted.key),
    pg_catalog.pg_advisory_unlock_shared(soniq._sign(part => 1024 + bell / 32), wanted.key),
    pg_catalog.pg_advisory_unlock(soniq._sign(part => bell), wanted.key)
  from pg_catalog.unnest(keys) as wanted (key);
  perform pg_catalog.set_config('soniq.waits_for', '', false);
end;
$$;

comment on function soniq.stop_waiting() is
'Takes down the session''s waiting sign. A notification may still come, of a transaction that saw the sign: whoever does not claim then calls wake_others().';

create or replace function soniq.wake_others(queues text[])
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._check_queues(queues => nullif(wake_others.queues, '{}'));
  perform soniq.stop_waiting();
  perform soniq._wake(queue => ready.queue, jobs => ready.jobs::integer, may_be_more => true)
  from (
    select named.queue, pg_catalog.count(*) as jobs
    from pg_catalog.unnest(wake_others.queues) as named (queue)
    group by named.queue
  ) as ready;
end;
$$;

comment on function soniq.wake_others(text[]) is
'Takes down the session''s waiting sign and passes a wake-up on. Call it when a claim has brought as many jobs as it asked for, so that there may be more, and no notification said "each": with their queues, each as often as it brought jobs; as many others that wait are notified. And for a notification that is not followed by a claim, or by one that brought fewer jobs than were announced and may have left some: with its queue.

Errors: SQ002 queue.';

-- Where a claim starts to read its lane. With an open transaction somewhere, vacuum cannot remove the entries of jobs
-- long gone from the head of the index, and each claim would walk over all of them. So a session remembers
-- the key it claimed last and starts above it.
--
-- Transactions commit in another order than they took their keys, so a job may turn up a little below that key. While the
-- runner keeps up with the jobs, it therefore starts above a key that was the last a tenth of a second ago or before; as
-- long as there is none, it reads from the beginning. Where it got as many as it asked for, there are more above, and it
-- starts at the last.
--
-- It is a hint and no more: a slow transaction may commit a job further below. So the whole lane is read again as soon
-- as twenty times what the last whole reading took has passed, which leaves at most a twentieth of the time
-- to it; and where a whole reading is cheap, as on any healthy database, the hint is not used at all.
--
-- The hint lives in a setting of the session, soniq.lane_<lane_id>, as an array of whole numbers; times are in microseconds:
--
--   1, 2      the key claimed last: its scheduled_at and its id
--   3, 4      when the lane was last read whole, and how long that took
--   5, 6      a key that was the last a tenth of a second ago or before; 0, 0 if there is none
--   7, 8, 9   the key that will be next in that place, and when it was the last
--   10        1 if the last reading got as much as it wanted, else 0
--
-- The server's clock may be set back, so what it says to be in the future is over.
--
-- Whole priorities are passed over likewise: the index tells which is the next that has queued jobs. To ask it may walk
-- over the same entries, so it rests for twenty times as long (soniq.priorities_rest_until), and the first priority, from
-- which most jobs are taken, is only asked about where the last look into its lanes was in vain (soniq.vain_look).
--
-- A pooler that hands the session to another client passes on a hint that is just as good there.

create or replace function soniq._microseconds(moment timestamptz)
returns bigint
language sql
immutable
parallel safe
as $$
  select (extract(epoch from moment) * 1000000)::bigint;
$$;

create or replace function soniq._scan_hint(lane_id integer)
returns bigint[]
language sql
stable
as $$
  select nullif(pg_catalog.current_setting('soniq.lane_' || lane_id, true), '')::bigint[];
$$;

create or replace function soniq._is_in_force(hint bigint[])
returns boolean
language sql
volatile
as $$
  select soniq._microseconds(pg_catalog.clock_timestamp()) - _is_in_force.hint[3]
    between 0 and 20 * _is_in_force.hint[4] - 1;
$$;

create or replace function soniq._scan_start(lane_id integer)
returns table (scheduled_at timestamptz, job_id bigint)
language plpgsql
volatile
as $$
declare
  hint constant bigint[] := soniq._scan_hint(lane_id => _scan_start.lane_id);
  start bigint[];
begin
  if soniq._is_in_force(hint => hint) then
    start := case when hint[10] = 1 then hint[1:2] else hint[5:6] end;
  end if;
  if start[2] > 0 then
    return query select timestamptz 'epoch' + start[1] * interval '1 microsecond', start[2];
  else
    return query select timestamptz '-infinity', bigint '0';
  end if;
end;
$$;

comment on function soniq._scan_start(integer) is
'The key above which a claim reads this lane: the session''s hint, or the very beginning.';

create or replace function soniq._entries_read()
returns bigint
language sql
volatile
as $$
  select pg_catalog.pg_stat_get_xact_tuples_returned('soniq.jobs_ready'::regclass);
$$;

comment on function soniq._entries_read() is
'How many entries of the index that claims read this transaction has come across, live or not; 0 where track_counts is off.';

create or replace function soniq._walked(started_at timestamptz, read_before bigint, jobs integer)
returns bigint
language sql
volatile
as $$
  -- A fast machine hides a long walk from the clock, and entries that are known to be dead are not counted.
  select greatest(
    reading.took - case
      when soniq._entries_read() - read_before > 1000 + 20 * jobs then 0
      -- Locking what it picks is work that any reading does; only the rest counts as walking.
      else 5000 + 50 * jobs
    end,
    0
  )
  from (
    select soniq._microseconds(pg_catalog.clock_timestamp()) - soniq._microseconds(started_at) as took
  ) as reading;
$$;

comment on function soniq._walked(timestamptz, bigint, integer) is
'How many microseconds a reading that picked so many jobs has spent on what it did not pick; 0 where it was quick and came across few entries. read_before: _entries_read() when it started.';

create or replace function soniq._remember_scan(
  lane_id integer,
  walked bigint,
  whole boolean,
  full_share boolean,
  picked tid[]
)
returns void
language plpgsql
volatile
as $$
declare
  before constant bigint[] := soniq._scan_hint(lane_id => _remember_scan.lane_id);
  now constant bigint := soniq._microseconds(pg_catalog.clock_timestamp());
  jobs constant integer := pg_catalog.cardinality(picked);
  last_key bigint[];
  older bigint[] := before[5:6];
  newer bigint[] := before[7:9];
  hint bigint[];
begin
  if _remember_scan.walked > 0 or not whole then
    select array[soniq._microseconds(job.scheduled_at), job.id]
    into last_key
    from soniq.jobs as job
    where job.ctid = picked[jobs];

    -- A reading that found fewer jobs than it wanted has left nothing behind, however low its last one lies.
    if not full_share then
      last_key := coalesce(greatest(before[1:2], last_key), '{0,0}');
    end if;

    if before is null or newer[1:2] > last_key then
      -- A whole reading has begun anew, and what is a little late may lie below anything that it has found.
      older := '{0,0}';
      newer := last_key || now;
    elsif now - newer[3] not between 0 and 99999 then
      older := newer[1:2];
      newer := last_key || now;
    end if;

    hint := last_key
      || case when whole then array[now, _remember_scan.walked] else before[3:4] end
      || older
      || newer
      || full_share::integer::bigint;
  end if;

  perform pg_catalog.set_config('soniq.lane_' || lane_id, coalesce(hint::text, ''), false);
end;
$$;

comment on function soniq._remember_scan(integer, bigint, boolean, boolean, tid[]) is
'Keeps, for this session, where its next claim may start to read the lane; forgets it where a whole reading was quick.

walked: the time that a whole reading took, from _walked(). picked: in the order of their keys.';

create or replace function soniq._last_empty_priority(from_priority smallint)
returns smallint
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
  started_at constant timestamptz := pg_catalog.clock_timestamp();
  read_before constant bigint := soniq._entries_read();
  -- Until then it is not asked, which is at most a minute.
  rests_until constant bigint := nullif(pg_catalog.current_setting('soniq.priorities_rest_until', true), '')::bigint;
  next_priority smallint;
  walked bigint;
begin
  if rests_until - soniq._microseconds(started_at) between 0 and 60000000 then
    return from_priority;
  end if;
  select job.priority
  into next_priority
  from soniq.jobs as job
  where job.status = 'queued'
    and job.priority > from_priority
  order by job.priority
  limit 1;

  walked := soniq._walked(started_at => started_at, read_before => read_before, jobs => 0);
  if walked > 0 then
    perform pg_catalog.set_config(
      'soniq.priorities_rest_until',
      (soniq._microseconds(pg_catalog.clock_timestamp()) + least(20 * walked, 60000000))::text,
      false
    );
  end if;
  return (next_priority - 1)::smallint;
end;
$$;

comment on function soniq._last_empty_priority(smallint) is
'The priority before the next that has queued jobs, so that a claim need not read the lanes in between; NULL where none is queued behind. While that would walk over what vacuum cannot remove, it is from_priority itself.';

create or replace function soniq._note_vain_look(priority smallint)
returns void
language sql
volatile
as $$
  select pg_catalog.set_config('soniq.vain_look', coalesce(_note_vain_look.priority::text, ''), false);
$$;

comment on function soniq._note_vain_look(smallint) is
'Keeps, for this session, the first priority if none of its lanes had a job; NULL forgets it.';

create or replace function soniq._first_passed()
returns smallint
language plpgsql
volatile
as $$
declare
  vain constant smallint := nullif(pg_catalog.current_setting('soniq.vain_look', true), '')::smallint;
  passed smallint := smallint '-1';
begin
  if vain is not null then
    passed := soniq._last_empty_priority(from_priority => passed);
    if passed < vain then
      perform soniq._note_vain_look(priority => null);
    end if;
  end if;
  return passed;
end;
$$;

comment on function soniq._first_passed() is
'The priority after which a claim begins: -1, but where the last look into the lanes of the first was in vain, the one before the next that has queued jobs; NULL if none has. To look into many lanes takes longer than to ask, and to ask takes longer where jobs are being taken from them.';

-- Lanes: a lane is a queue and a priority, and its ready jobs are one contiguous range of the index that claims
-- read. This file opens lanes and decides how much a claim takes from each.
--
-- Queues of one priority take turns. Were the oldest job of all the next, whoever floods a queue with a million jobs would
-- have everybody else wait for them.

create or replace function soniq._open_lane(queue text, priority smallint)
returns void
language plpgsql
volatile
as $$
#variable_conflict use_column
begin
  if not exists (
    select
    from soniq.lanes as lane
    where lane.queue = _open_lane.queue
      and lane.priority = _open_lane.priority
  ) then
    insert into soniq.lanes (queue, priority)
    values (_open_lane.queue, _open_lane.priority);
  end if;
end;
$$;

comment on function soniq._open_lane(text, smallint) is
'Makes a lane known to claims. Never waits for another transaction, at the price of a second row now and then.';

create or replace function soniq._next_priority(queues text[], after smallint)
returns table (priority smallint, lane_ids integer[], lane_queues text[])
language sql
stable
as $$
  select
    lane.priority,
    pg_catalog.array_agg(lane.lane_id) filter (where not lane.is_paused),
    pg_catalog.array_agg(lane.queue) filter (where not lane.is_paused)
  from (
    select
      known.queue,
      known.priority,
      min(known.lane_id) as lane_id,
      exists (
        select
        from soniq.queues as setting
        where setting.queue = known.queue
          and setting.paused
      ) as is_paused
    from soniq.lanes as known
    where known.priority = (
        select min(first.priority)
        from soniq.lanes as first
        where first.priority > _next_priority.after
          and (_next_priority.queues is null or first.queue = any (_next_priority.queues))
      )
      and (_next_priority.queues is null or known.queue = any (_next_priority.queues))
    group by known.queue, known.priority
  ) as lane
  group by lane.priority;
$$;

comment on function soniq._next_priority(text[], smallint) is
'The next priority after this one that has lanes of these queues, and its lanes; NULL where the queues of all are paused. A claim asks for one after the other, since mostly the first has jobs.';

create or replace function soniq._fair_share(
  lane_queues text[],
  priority smallint,
  starts_at timestamptz[],
  start_ids bigint[],
  max_jobs integer,
  skip_jobs text[],
  as_of timestamptz
)
returns table (place tid, lane integer)
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  lanes constant integer := pg_catalog.cardinality(lane_queues);
  turn constant text := 'soniq.turn_' || priority;
  last_queue constant text := pg_catalog.current_setting(turn, true);
  -- How far to read into each lane: an equal share, and where some have less, the others further.
  depths integer[] := pg_catalog.array_fill((max_jobs + lanes - 1) / lanes, array[lanes]);
  found integer[];
  places tid[];
  found_in integer[];
  missing integer;
  deep_lanes integer;
begin
  loop
    -- One of each lane, then the second of each, and so on; whose turn it is goes on where it was.
    select
      pg_catalog.array_agg(head.place order by head.rank, given.queue <= last_queue, given.queue),
      pg_catalog.array_agg(given.lane::integer order by head.rank, given.queue <= last_queue, given.queue)
    into places, found_in
    from rows from (
      pg_catalog.unnest(_fair_share.lane_queues),
      pg_catalog.unnest(_fair_share.starts_at),
      pg_catalog.unnest(_fair_share.start_ids),
      pg_catalog.unnest(depths)
    ) with ordinality as given (queue, start_at, start_id, depth, lane)
    cross join lateral (
      select job.ctid as place, pg_catalog.row_number() over (order by job.scheduled_at, job.id) as rank
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = given.queue
        and job.priority = _fair_share.priority
        and job.scheduled_at <= _fair_share.as_of
        and (job.scheduled_at, job.id) > (given.start_at, given.start_id)
        and (_fair_share.skip_jobs is null or job.job_name <> all (_fair_share.skip_jobs))
      order by job.scheduled_at, job.id
      limit given.depth
    ) as head;
    missing := max_jobs - coalesce(pg_catalog.cardinality(places), 0);
    exit when missing <= 0;

    found := array(
      select pg_catalog.count(each.lane)::integer
      from pg_catalog.generate_series(1, lanes) as known (lane)
      left join pg_catalog.unnest(found_in) as each (lane)
        on each.lane = known.lane
      group by known.lane
      order by known.lane
    );
    deep_lanes := (
      select pg_catalog.count(*)::integer
      from rows from (pg_catalog.unnest(found), pg_catalog.unnest(depths)) as read (found, depth)
      where read.found = read.depth
        and read.depth > 0
    );
    exit when deep_lanes = 0;
    depths := array(
      select case read.found
        when 0 then 0
        when read.depth then read.depth + (missing + deep_lanes - 1) / deep_lanes
        else read.depth
      end
      from rows from (
        pg_catalog.unnest(found), pg_catalog.unnest(depths)
      ) with ordinality as read (found, depth, lane)
      order by read.lane
    );
  end loop;

  places := places[1:max_jobs];
  if places is not null then
    perform pg_catalog.set_config(turn, lane_queues[found_in[pg_catalog.cardinality(places)]], false);
  end if;
  return query
  select each.place, each.lane
  from rows from (
    pg_catalog.unnest(places), pg_catalog.unnest(found_in[1:max_jobs])
  ) as each (place, lane);
end;
$$;

comment on function soniq._fair_share(text[], smallint, timestamptz[], bigint[], integer, text[], timestamptz) is
'Where the ready jobs of several lanes of one priority are that are next, and the number of each one''s lane among those given: the oldest of each lane, and as many of one as of another while they have any, so that no queue has to wait until another is empty. Which lane is next, the session keeps in soniq.turn_<priority>. It locks nothing: to lock as many in every lane as one of them may yield would keep them from other runners.

starts_at, start_ids: the key above which to read each lane.';

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

-- Per-queue settings. A queue exists as soon as a job names it; a row is needed only to pause it or to give it
-- defaults of its own.

create or replace function soniq.configure_queue(
  queue text,
  priority integer default null,
  max_attempts integer default null,
  timeout interval default null,
  retention interval default null,
  max_depth integer default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform soniq._check_unbound(what => 'configure_queue()');
  perform
    soniq._check_given(code => 'SQ002', what => 'queue', value => configure_queue.queue),
    soniq._check_queue(queue => configure_queue.queue),
    soniq._check_priority(priority => configure_queue.priority),
    soniq._check_max_attempts(max_attempts => configure_queue.max_attempts),
    soniq._check_timeout(timeout => configure_queue.timeout),
    soniq._check_retention(retention => configure_queue.retention),
    soniq._check_max_depth(max_depth => configure_queue.max_depth);

  insert into soniq.queues (queue, priority, max_attempts, timeout, retention, max_depth)
  values (
    configure_queue.queue, configure_queue.priority, configure_queue.max_attempts, configure_queue.timeout,
    configure_queue.retention, configure_queue.max_depth
  )
  on conflict (queue) do update
  set priority = excluded.priority,
    max_attempts = excluded.max_attempts,
    timeout = excluded.timeout,
    retention = excluded.retention,
    max_depth = excluded.max_depth;
end;
$$;

comment on function soniq.configure_queue(text, integer, integer, interval, interval, integer) is
'Sets a queue''s defaults for jobs whose type has none; NULL leaves a matter to soniq.settings. Jobs already enqueued keep their priority, max_attempts and timeout, and the queue stays paused if it was.

retention: how long its jobs are kept that finish from now on; 0 is not at all.
max_depth: how many jobs may wait in it, 1 to 1000000; enqueue() and enqueue_many() refuse more. NULL is no limit. For a login that is bound to a tenant, its own tenant''s jobs alone are counted, so that each tenant may have as many. Each enqueue into such a queue counts what waits there, some ten thousand in a millisecond.

Errors: SQ002 queue, SQ005 priority, SQ007 max_attempts, SQ008 timeout, SQ021 retention, SQ023 max_depth, SQ027 the login is bound to a tenant.';

-- A counter would have every producer and runner of the queue wait for one row. So what waits is counted, and only in
-- queues that have a limit; what others are about to commit is not seen, and may come on top.
create or replace function soniq._depth(queue text, up_to integer)
returns bigint
language sql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
as $$
  select coalesce(sum(counted.jobs), 0)::bigint
  from (
    select distinct lane.priority
    from soniq.lanes as lane
    where lane.queue = _depth.queue
  ) as level
  cross join lateral (
    select pg_catalog.count(*) as jobs
    from (
      select
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = _depth.queue
        and job.priority = level.priority
      limit _depth.up_to
    ) as waiting
  ) as counted;
$$;

comment on function soniq._depth(text, integer) is
'How many queued jobs a queue has, ready or for later; of each priority no more than up_to are counted.';

create or replace function soniq._with_room(queue text, max_depth integer, jobs integer)
returns text
language plpgsql
volatile
as $$
declare
  depth constant bigint := soniq._depth(queue => _with_room.queue, up_to => _with_room.max_depth);
begin
  if depth + jobs > max_depth then
    perform soniq._refuse(
      'SQ024',
      pg_catalog.format(
        'queue %L is full: %s jobs wait in it, its max_depth is %s, and %s more were to be enqueued',
        _with_room.queue, depth, max_depth, jobs
      ),
      'Enqueue again later, let more runners work it off, or have an admin raise max_depth by soniq.configure_queue().'
    );
  end if;
  return _with_room.queue;
end;
$$;

comment on function soniq._with_room(text, integer, integer) is
'The queue, if so many more jobs may wait in it; else an error.';

create or replace function soniq.pause_queue(queue text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform soniq._check_unbound(what => 'pause_queue()');
  perform
    soniq._check_given(code => 'SQ002', what => 'queue', value => pause_queue.queue),
    soniq._check_queue(queue => pause_queue.queue);

  insert into soniq.queues as known (queue, paused)
  values (pause_queue.queue, true)
  on conflict (queue) do update
  set paused = true
  where not known.paused;

  return found;
end;
$$;

comment on function soniq.pause_queue(text) is
'Stops handing out a queue''s jobs, from the next claim on. Jobs are still taken in, and those being processed go on. True if this paused it, false if it was paused already.

Errors: SQ002 queue, SQ027 the login is bound to a tenant.';

create or replace function soniq.resume_queue(queue text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform soniq._check_unbound(what => 'resume_queue()');
  perform
    soniq._check_given(code => 'SQ002', what => 'queue', value => resume_queue.queue),
    soniq._check_queue(queue => resume_queue.queue);

  update soniq.queues as known
  set paused = false
  where known.queue = resume_queue.queue
    and known.paused;

  if not found then
    return false;
  end if;

  perform soniq._wake(queue => resume_queue.queue);
  return true;
end;
$$;

comment on function soniq.resume_queue(text) is
'Hands a paused queue''s jobs out again. True if this resumed it, false if it was not paused.

Errors: SQ002 queue, SQ027 the login is bound to a tenant.';

-- Adding jobs. Everything here happens in the caller's transaction: a job exists when, and only when, the data
-- it is about does.

-- The one answer to what an enqueue's caller left out. Each enqueue asks, so it is a query that the caller's plan takes in;
-- the limits keep the planner to one look-up in each table.
create or replace function soniq._job_options(
  job_name text,
  queue text,
  priority integer,
  max_attempts integer,
  timeout interval
)
returns table (
  own_queue text,
  own_priority smallint,
  tries integer,
  time_limit interval,
  max_args_bytes integer,
  max_depth integer
)
language sql
stable
as $$
  select
    coalesce(_job_options.queue, type.queue, settings.default_queue),
    coalesce(_job_options.priority::smallint, type.priority, waiting.priority, settings.default_priority),
    coalesce(_job_options.max_attempts, type.max_attempts, waiting.max_attempts, settings.default_max_attempts),
    coalesce(_job_options.timeout, type.timeout, waiting.timeout, settings.default_timeout),
    settings.max_args_bytes,
    waiting.max_depth
  from soniq.settings as settings
  left join lateral (
    select known.queue, known.priority, known.max_attempts, known.timeout
    from soniq.job_types as known
    where known.job_name = _job_options.job_name
    limit 1
  ) as type
    on true
  left join lateral (
    select known.priority, known.max_attempts, known.timeout, known.max_depth
    from soniq.queues as known
    where known.queue = coalesce(_job_options.queue, type.queue, settings.default_queue)
    limit 1
  ) as waiting
    on true;
$$;

comment on function soniq._job_options(text, text, integer, integer, interval) is
'An enqueue''s options, with what is NULL filled in: from the job type, then the queue, then soniq.settings.';

create or replace function soniq._check_options(
  job_name text,
  queue text,
  priority integer,
  scheduled_at timestamptz,
  delay interval,
  max_attempts integer,
  timeout interval,
  dedup_key text,
  headers jsonb
)
returns void
language plpgsql
volatile
as $$
begin
  perform
    soniq._check_given(code => 'SQ001', what => 'job_name', value => _check_options.job_name),
    soniq._check_job_name(job_name => _check_options.job_name),
    soniq._check_queue(queue => _check_options.queue),
    soniq._check_priority(priority => _check_options.priority),
    soniq._check_schedule(scheduled_at => _check_options.scheduled_at, delay => _check_options.delay),
    soniq._check_max_attempts(max_attempts => _check_options.max_attempts),
    soniq._check_timeout(timeout => _check_options.timeout),
    soniq._check_dedup_key(dedup_key => _check_options.dedup_key),
    soniq._check_headers(headers => _check_options.headers);
end;
$$;

create or replace function soniq.enqueue(
  job_name text,
  args jsonb default '{}',
  queue text default null,
  priority integer default null,
  scheduled_at timestamptz default null,
  delay interval default null,
  max_attempts integer default null,
  timeout interval default null,
  dedup_key text default null,
  headers jsonb default null,
  tenant text default null
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  run_at timestamptz;
  job_id bigint;
  own_queue text;
  own_priority smallint;
  lane_is_open boolean;
begin
  -- Most callers give a name and args and nothing else. Each check costs more than these two conditions.
  if soniq._is_job_name(job_name => enqueue.job_name) is not true
    or pg_catalog.num_nonnulls(
      enqueue.queue, enqueue.priority, enqueue.scheduled_at, enqueue.delay, enqueue.max_attempts, enqueue.timeout,
      enqueue.dedup_key, enqueue.headers
    ) > 0
  then
    perform soniq._check_options(
      job_name => enqueue.job_name,
      queue => enqueue.queue,
      priority => enqueue.priority,
      scheduled_at => enqueue.scheduled_at,
      delay => enqueue.delay,
      max_attempts => enqueue.max_attempts,
      timeout => enqueue.timeout,
      dedup_key => enqueue.dedup_key,
      headers => enqueue.headers
    );
  end if;
  run_at := coalesce(enqueue.scheduled_at, as_of + enqueue.delay, as_of);

  loop
    insert into soniq.jobs (
      job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, dedup_key,
      headers, tenant
    )
    select
      enqueue.job_name,
      case
        when job.max_depth is null then job.own_queue
        else soniq._with_room(queue => job.own_queue, max_depth => job.max_depth, jobs => 1)
      end,
      job.own_priority,
      soniq._fitting_args(args => enqueue.args, max_bytes => job.max_args_bytes),
      run_at,
      as_of,
      job.tries,
      job.time_limit,
      enqueue.dedup_key,
      enqueue.headers,
      soniq._tenant_for(given => enqueue.tenant)
    from soniq._job_options(
      job_name => enqueue.job_name,
      queue => enqueue.queue,
      priority => enqueue.priority,
      max_attempts => enqueue.max_attempts,
      timeout => enqueue.timeout
    ) as job
    on conflict (dedup_key, coalesce(tenant, '')) where status = 'queued' and dedup_key is not null do nothing
    returning
      jobs.id,
      jobs.queue,
      jobs.priority,
      exists (
        select
        from soniq.lanes as lane
        where lane.queue = jobs.queue
          and lane.priority = jobs.priority
      )
    into job_id, own_queue, own_priority, lane_is_open;
    exit when found;

    select holder.id
    into job_id
    from soniq.jobs as holder
    where holder.dedup_key = enqueue.dedup_key
      and coalesce(holder.tenant, '') = coalesce(soniq._tenant_for(given => enqueue.tenant), '')
      and holder.status = 'queued';
    if found then
      return job_id;
    end if;
    -- Not found: the holder was claimed in between, so the key is free again.
  end loop;

  if not lane_is_open then
    perform soniq._open_lane(queue => own_queue, priority => own_priority);
  end if;
  if run_at <= as_of and soniq._someone_waits(queue => own_queue) then
    perform soniq._wake(queue => own_queue);
  end if;
  return job_id;
end;
$$;

comment on function soniq.enqueue(text, jsonb, text, integer, timestamptz, interval, integer, interval, text, jsonb, text) is
'Adds a job, in the caller''s transaction, and answers with its id. An option left NULL takes the job type''s default, then the queue''s, then that of soniq.settings.

job_name: the handler''s name, 1 to 200 characters; it need not be registered yet.
args: a JSON object, the handler''s arguments by name, of at most soniq.settings.max_args_bytes (1 MiB).
queue: 1 to 100 characters.
priority: 0 (first) to 1000 (last).
scheduled_at: not before this time; or delay: not before this long from now.
max_attempts: 1 (no retry) to 1000.
timeout: how long one attempt may take; 0 is no limit.
dedup_key: while a queued job of the same tenant holds this key, no other is added: the answer is the id of the one there is. 1 to 500 characters.
headers: a JSON object of at most 8 KiB that travels with the job beside its arguments, through retries and replays, such as a trace''s context: {"traceparent": "00-..."}.
tenant: whose job it is, 1 to 200 characters; by default that of the setting soniq.tenant, if there is one. A login bound to a tenant (bind_tenant()) need not give it, and may not give another.

Errors: SQ001 job_name, SQ002 queue, SQ003 args, SQ004 args too large, SQ005 priority, SQ006 scheduled_at or delay, SQ007 max_attempts, SQ008 timeout, SQ009 dedup_key, SQ022 headers, SQ024 the queue has as many jobs as its max_depth allows, SQ026 tenant.';

create or replace function soniq.enqueue_many(
  job_name text,
  args jsonb[],
  queue text default null,
  priority integer default null,
  scheduled_at timestamptz default null,
  delay interval default null,
  max_attempts integer default null,
  timeout interval default null,
  headers jsonb default null,
  tenant text default null
)
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  run_at timestamptz;
  own_tenant text;
  job record;
begin
  perform soniq._check_options(
    job_name => enqueue_many.job_name,
    queue => enqueue_many.queue,
    priority => enqueue_many.priority,
    scheduled_at => enqueue_many.scheduled_at,
    delay => enqueue_many.delay,
    max_attempts => enqueue_many.max_attempts,
    timeout => enqueue_many.timeout,
    dedup_key => null,
    headers => enqueue_many.headers
  );
  run_at := coalesce(enqueue_many.scheduled_at, as_of + enqueue_many.delay, as_of);
  if enqueue_many.args is null then
    perform soniq._refuse('SQ003', 'args is NULL', 'Give an array of JSON objects, one for each job.');
  elsif pg_catalog.cardinality(enqueue_many.args) = 0 then
    return;
  end if;

  select *
  into job
  from soniq._job_options(
    job_name => enqueue_many.job_name,
    queue => enqueue_many.queue,
    priority => enqueue_many.priority,
    max_attempts => enqueue_many.max_attempts,
    timeout => enqueue_many.timeout
  );
  own_tenant := soniq._tenant_for(given => enqueue_many.tenant);
  if job.max_depth is not null then
    perform soniq._with_room(
      queue => job.own_queue,
      max_depth => job.max_depth,
      jobs => pg_catalog.cardinality(enqueue_many.args)
    );
  end if;
  perform soniq._open_lane(queue => job.own_queue, priority => job.own_priority);

  return query
  insert into soniq.jobs (
    job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, headers, tenant
  )
  select
    enqueue_many.job_name,
    job.own_queue,
    job.own_priority,
    soniq._fitting_args(args => each.args, max_bytes => job.max_args_bytes),
    run_at,
    as_of,
    job.tries,
    job.time_limit,
    enqueue_many.headers,
    own_tenant
  from pg_catalog.unnest(enqueue_many.args) with ordinality as each (args, position)
  order by each.position
  returning id;

  if run_at <= as_of then
    perform soniq._wake(queue => job.own_queue, jobs => pg_catalog.cardinality(enqueue_many.args));
  end if;
end;
$$;

comment on function soniq.enqueue_many(text, jsonb[], text, integer, timestamptz, interval, integer, interval, jsonb, text) is
'Adds one job for each entry of args, all with the same options, in one statement, and answers with their ids in the order of args. One bad entry refuses them all. For jobs with keys or options of their own, call enqueue() over a set: select soniq.enqueue(...) from ....

Parameters and errors as in enqueue().';

-- Handing out jobs. A claim leases ready jobs to a runner, lowest priority number first, then of each queue
-- the oldest, and never waits for another claim: rows that others have locked are skipped.
--
-- The planner may not choose here. A plan made while the table was small, or for a batch of unknown size, would read or
-- sort the whole backlog for each batch; so the jobs come from a subquery with a limit, in index order, and what would
-- leave the index is switched off, by _pick() for all that it calls: each function that sets something costs a claim more.

create or replace function soniq._pick_from_lane(
  lane_id integer,
  queue text,
  priority smallint,
  max_jobs integer,
  skip_jobs text[],
  as_of timestamptz
)
returns tid[]
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  started_at constant timestamptz := pg_catalog.clock_timestamp();
  read_before constant bigint := soniq._entries_read();
  hint constant bigint[] := soniq._scan_hint(lane_id => _pick_from_lane.lane_id);
  start_at timestamptz := timestamptz '-infinity';
  start_id bigint := bigint '0';
  picked tid[];
  walked bigint;
begin
  if hint is not null then
    select start.scheduled_at, start.job_id
    into start_at, start_id
    from soniq._scan_start(lane_id => _pick_from_lane.lane_id) as start;
  end if;

  picked := array(
    select job.ctid
    from soniq.jobs as job
    where job.status = 'queued'
      and job.queue = _pick_from_lane.queue
      and job.priority = _pick_from_lane.priority
      and job.scheduled_at <= _pick_from_lane.as_of
      and (job.scheduled_at, job.id) > (start_at, start_id)
      and (_pick_from_lane.skip_jobs is null or job.job_name <> all (_pick_from_lane.skip_jobs))
    order by job.scheduled_at, job.id
    limit _pick_from_lane.max_jobs
    for update skip locked
  );

  walked := soniq._walked(
    started_at => started_at,
    read_before => read_before,
    jobs => pg_catalog.cardinality(picked)
  );
  -- What was skipped on purpose lies below the last key and must be found again.
  if _pick_from_lane.skip_jobs is null and (hint is not null or walked > 0) then
    perform soniq._remember_scan(
      lane_id => _pick_from_lane.lane_id,
      walked => walked,
      whole => start_id = 0,
      full_share => pg_catalog.cardinality(picked) = _pick_from_lane.max_jobs,
      picked => picked
    );
  end if;
  return picked;
end;
$$;

comment on function soniq._pick_from_lane(integer, text, smallint, integer, text[], timestamptz) is
'Locks up to max_jobs ready jobs of one lane, the oldest that nobody else has locked, and answers with where they are.';

create or replace function soniq._pick_from_lanes(
  lane_ids integer[],
  lane_queues text[],
  priority smallint,
  max_jobs integer,
  skip_jobs text[],
  as_of timestamptz
)
returns tid[]
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  started_at constant timestamptz := pg_catalog.clock_timestamp();
  read_before constant bigint := soniq._entries_read();
  lanes constant integer := pg_catalog.cardinality(lane_ids);
  has_hints constant boolean := exists (
    select
    from pg_catalog.unnest(_pick_from_lanes.lane_ids) as each (lane_id)
    where soniq._scan_hint(lane_id => each.lane_id) is not null
  );
  starts_at timestamptz[] := pg_catalog.array_fill(timestamptz '-infinity', array[lanes]);
  start_ids bigint[] := pg_catalog.array_fill(bigint '0', array[lanes]);
  places tid[];
  found_in integer[];
  picked tid[];
  walked bigint;
begin
  if has_hints then
    select
      pg_catalog.array_agg(start.scheduled_at order by each.lane),
      pg_catalog.array_agg(start.job_id order by each.lane)
    into starts_at, start_ids
    from pg_catalog.unnest(_pick_from_lanes.lane_ids) with ordinality as each (lane_id, lane)
    cross join lateral soniq._scan_start(lane_id => each.lane_id) as start;
  end if;

  select pg_catalog.array_agg(job.place), pg_catalog.array_agg(job.lane)
  into places, found_in
  from soniq._fair_share(
    lane_queues => _pick_from_lanes.lane_queues,
    priority => _pick_from_lanes.priority,
    starts_at => starts_at,
    start_ids => start_ids,
    max_jobs => _pick_from_lanes.max_jobs,
    skip_jobs => _pick_from_lanes.skip_jobs,
    as_of => _pick_from_lanes.as_of
  ) as job;
  -- Asked for the status, the planner might read all that is queued; only what is being processed has a claimed_at.
  picked := array(
    select job.ctid
    from soniq.jobs as job
    where job.ctid = any (places)
      and job.claimed_at is null
    for update skip locked
  );

  -- What took so long is not known for each lane, so it counts for all of them.
  walked := soniq._walked(
    started_at => started_at,
    read_before => read_before,
    jobs => lanes + coalesce(pg_catalog.cardinality(places), 0)
  );
  if _pick_from_lanes.skip_jobs is null and (has_hints or walked > 0) then
    perform soniq._remember_scan(
      lane_id => each.lane_id,
      walked => walked,
      whole => start_ids[each.lane] = 0,
      full_share => pg_catalog.cardinality(mine.picked) > 0
        and pg_catalog.cardinality(places) = _pick_from_lanes.max_jobs,
      picked => mine.picked
    )
    from pg_catalog.unnest(_pick_from_lanes.lane_ids) with ordinality as each (lane_id, lane)
    cross join lateral (
      select array(
        select job.place
        from rows from (pg_catalog.unnest(places), pg_catalog.unnest(found_in)) as job (place, lane)
        where job.lane = each.lane
          and job.place = any (picked)
      ) as picked
    ) as mine;
  end if;

  if picked = '{}' and places is not null then
    -- Another claim is taking the very same jobs; each lane has others behind them.
    select coalesce(pg_catalog.array_agg(job.place), '{}')
    into picked
    from (
      select found.lane, pg_catalog.count(*)::integer as share
      from pg_catalog.unnest(found_in) as found (lane)
      group by found.lane
    ) as part
    cross join lateral pg_catalog.unnest(
      soniq._pick_from_lane(
        lane_id => lane_ids[part.lane],
        queue => lane_queues[part.lane],
        priority => _pick_from_lanes.priority,
        max_jobs => part.share,
        skip_jobs => _pick_from_lanes.skip_jobs,
        as_of => _pick_from_lanes.as_of
      )
    ) as job (place);
  end if;
  return picked;
end;
$$;

comment on function soniq._pick_from_lanes(integer[], text[], smallint, integer, text[], timestamptz) is
'_pick_from_lane() for several lanes, which take turns. Fewer than there are where another claim takes some of them in the same moment.';

create or replace function soniq._pick(
  lane_ids integer[],
  lane_queues text[],
  priority smallint,
  max_jobs integer,
  skip_jobs text[],
  as_of timestamptz
)
returns tid[]
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
begin
  if pg_catalog.cardinality(lane_ids) = 1 then
    return soniq._pick_from_lane(
      lane_id => lane_ids[1],
      queue => lane_queues[1],
      priority => _pick.priority,
      max_jobs => _pick.max_jobs,
      skip_jobs => _pick.skip_jobs,
      as_of => _pick.as_of
    );
  end if;
  return soniq._pick_from_lanes(
    lane_ids => _pick.lane_ids,
    lane_queues => _pick.lane_queues,
    priority => _pick.priority,
    max_jobs => _pick.max_jobs,
    skip_jobs => _pick.skip_jobs,
    as_of => _pick.as_of
  );
end;
$$;

comment on function soniq._pick(integer[], text[], smallint, integer, text[], timestamptz) is
'Locks up to max_jobs ready jobs of lanes of one priority and answers with where they are.';

create or replace view soniq.claimed_job as
select
  job.id as job_id,
  job.job_name,
  job.args,
  job.headers,
  job.queue,
  job.priority,
  job.attempt,
  job.max_attempts,
  job.scheduled_at,
  job.claimed_at,
  job.timeout,
  job.deadline,
  job.schedule,
  job.due_at,
  job.tenant
from soniq.jobs as job
where job.status = 'processing';

comment on view soniq.claimed_job is
'The jobs being processed, as claim() answers them. (job_id, attempt) is the lease: complete(), fail(), snooze() and release() take it.';

create or replace function soniq.claim(
  runner_id bigint,
  queues text[] default null,
  max_jobs integer default 1,
  skip_jobs text[] default null
)
returns setof soniq.claimed_job
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  wanted integer := max_jobs;
  picked tid[];
  passed smallint := soniq._first_passed();
  level smallint;
  lane_ids integer[];
  lane_queues text[];
begin
  if claim.queues is not null then
    perform soniq._check_queues(queues => claim.queues);
  end if;
  if max_jobs is null or max_jobs not between 1 and 10000 then
    perform soniq._refuse(
      'SQ012',
      pg_catalog.format('max_jobs is %s', coalesce(max_jobs::text, 'NULL')),
      'Give a whole number from 1 to 10000.'
    );
  end if;

  -- The lock keeps tick() from declaring the runner dead, and looking for its jobs, before these are its.
  perform
  from soniq.runners as runner
  where runner.runner_id = claim.runner_id
    and runner.lost_at is null
  for key share;
  if not found then
    perform soniq._refuse_runner(runner_id => claim.runner_id);
  end if;

  while passed is not null loop
    select next.priority, next.lane_ids, next.lane_queues
    into level, lane_ids, lane_queues
    from soniq._next_priority(queues => claim.queues, after => passed) as next;
    exit when not found;
    while lane_ids is not null loop
      picked := soniq._pick(
        lane_ids => lane_ids,
        lane_queues => lane_queues,
        priority => level,
        max_jobs => wanted,
        skip_jobs => claim.skip_jobs,
        as_of => as_of
      );
      -- A locked row stays where it is; to look it up by its id would cost more the larger the table is.
      return query
      with leased as (
        update soniq.jobs as job
        set status = 'processing',
          attempt = job.attempt + 1,
          runner_id = claim.runner_id,
          claimed_at = as_of,
          deadline = case when job.timeout > interval '0' then as_of + job.timeout end
        where job.ctid = any (picked)
        returning
          job.id, job.job_name, job.args, job.headers, job.queue, job.priority, job.attempt, job.max_attempts,
          job.scheduled_at, job.claimed_at, job.timeout, job.deadline, job.schedule, job.due_at, job.tenant
      )
      select *
      from leased
      order by leased.scheduled_at, leased.id;
      wanted := wanted - pg_catalog.cardinality(picked);
      exit when wanted = 0 or pg_catalog.cardinality(picked) = 0 or pg_catalog.cardinality(lane_ids) = 1;
      -- What another claim was about to take from several lanes is not all that they have.
      exit when soniq._last_empty_priority(from_priority => level - smallint '1') is distinct from level - 1;
    end loop;
    exit when wanted = 0;
    if wanted = max_jobs and passed = -1 and pg_catalog.cardinality(lane_ids) > 1 then
      perform soniq._note_vain_look(priority => level);
    end if;
    passed := soniq._last_empty_priority(from_priority => level);
  end loop;
end;
$$;

comment on function soniq.claim(bigint, text[], integer, text[]) is
'Leases up to max_jobs ready jobs to a runner and answers with them: the lowest priority number first, then of each queue in turn the oldest. Never blocks; skips paused queues and what is scheduled for later. Each claim of a job raises its attempt, and the pair (job_id, attempt) is the lease that complete(), fail(), snooze() and release() take.

runner_id: from register_runner().
queues: those to claim from; NULL is all.
max_jobs: 1 to 10000; ask for as many as there are free slots.
skip_jobs: job names not to hand out now, for a runner that has no room for these; they are read over, so keep them in a queue of their own where they are many.

A claim may be committed asynchronously (set local synchronous_commit = off): lost in a crash, it is only made again.

Errors: SQ002 queues, SQ011 runner not registered or declared dead, SQ012 max_jobs.';

-- How long finished jobs are kept. Each carries the time until which it is kept (finish.sql) and lies in the partition of
-- that day (UTC). tick() makes the days that completions will need ahead of them and drops those that are over, so nothing
-- is deleted row by row, whichever queue or job type keeps its jobs for how long.
--
-- No completion may wait for this. Locks are taken only where they are free at once; what cannot be done now is
-- done by a later tick. Until a day is made, its rows go to the default partition.

create or replace function soniq._first_moment_of(day date)
returns timestamptz
language sql
immutable
parallel safe
as $$
  select day::timestamp at time zone 'UTC';
$$;

create or replace function soniq._partition_name(day date)
returns text
language sql
immutable
parallel safe
as $$
  select 'finished_jobs_' || pg_catalog.to_char(day, 'YYYYMMDD');
$$;

create or replace function soniq._missing_days()
returns setof date
language sql
volatile
as $$
  -- Three days ahead: while pg_dump reads all tables, which may take hours, none can be added.
  select needed.day
  from (
    select distinct ((soniq.clock() + policy.retention) at time zone 'UTC')::date + ahead.days as day
    from (
      select settings.retention
      from soniq.settings as settings
      union
      select type.retention
      from soniq.job_types as type
      where type.retention is not null
      union
      select waiting.retention
      from soniq.queues as waiting
      where waiting.retention is not null
    ) as policy
    cross join pg_catalog.generate_series(0, 2) as ahead (days)
    where policy.retention > interval '0'
  ) as needed
  where pg_catalog.to_regclass('soniq.' || soniq._partition_name(day => needed.day)) is null
  order by needed.day;
$$;

comment on function soniq._missing_days() is
'The days until which jobs will be kept that finish soon, as far as they have no partition yet.';

-- As the owner, so that a partition is the owner's also where a superuser calls this by hand: tick() could not drop it otherwise.
create or replace function soniq._make_partition(day date)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  name constant text := soniq._partition_name(day => _make_partition.day);
  first_moment constant timestamptz := soniq._first_moment_of(day => _make_partition.day);
  next_day constant timestamptz := soniq._first_moment_of(day => _make_partition.day + 1);
begin
  execute pg_catalog.format('create table soniq.%I (like soniq.finished_jobs including all)', name);
  execute pg_catalog.format('comment on table soniq.%I is %L', name, 'Finished jobs kept until ' || day || '.');

  -- A partition cannot be added while the default one holds rows of its day.
  execute pg_catalog.format(
    'with moved as (
      delete from soniq.finished_jobs_default as job
      where job.keep_until >= $1
        and job.keep_until < $2
      returning job.*
    )
    insert into soniq.%I
    select * from moved',
    name
  )
  using first_moment, next_day;

  execute pg_catalog.format(
    'alter table soniq.finished_jobs attach partition soniq.%I for values from (%L) to (%L)', name, first_moment, next_day
  );
end;
$$;

comment on function soniq._make_partition(date) is
'Adds the partition of a day to soniq.finished_jobs, with what waited for it in the default partition.';

create or replace function soniq._make_partitions()
returns integer
language plpgsql
volatile
as $$
declare
  days constant date[] := array(select soniq._missing_days());
  waiting constant bigint := pg_catalog.count(*) from (
    select
    from soniq.finished_jobs_default
    limit 10001
  ) as row;
begin
  -- Moving more would hold up the completions that still go there; those rows end in _clear_default_partition().
  if pg_catalog.cardinality(days) = 0 or waiting > 10000 then
    return 0;
  end if;

  -- A completion takes neither lock, unless its day has no partition: then it waits for this one, in the default one.
  lock table only soniq.finished_jobs in share update exclusive mode nowait;
  lock table soniq.finished_jobs_default in access exclusive mode nowait;
  perform soniq._make_partition(day => missing.day)
  from pg_catalog.unnest(days) as missing (day);
  return pg_catalog.cardinality(days);
exception
  when lock_not_available then
    perform soniq._call_for_chore(chore => 'partitions');
    return 0;
end;
$$;

comment on function soniq._make_partitions() is
'Makes the partitions that are needed soon, and answers how many. If a lock is not free at once, it makes none, and the next tick tries again.';

create or replace function soniq._drop_partition(name text)
returns boolean
language plpgsql
volatile
as $$
begin
  lock table only soniq.finished_jobs in access exclusive mode nowait;
  execute pg_catalog.format('lock table soniq.%I in access exclusive mode nowait', name);
  execute pg_catalog.format('drop table soniq.%I', name);
  return true;
exception
  when lock_not_available then
    return false;
end;
$$;

comment on function soniq._drop_partition(text) is
'Drops a partition; false if a completion, or a reader, is at work just now.';

create or replace function soniq._empty_partition(name text)
returns void
language plpgsql
volatile
as $$
begin
  execute pg_catalog.format('lock table soniq.%I in access exclusive mode nowait', name);
  execute pg_catalog.format('truncate table soniq.%I', name);
exception
  when lock_not_available then
    null;
end;
$$;

comment on function soniq._empty_partition(text) is
'Empties a partition, for which no completion need be kept away, unless somebody reads it just now.';

create or replace function soniq._drop_partitions()
returns integer
language plpgsql
volatile
as $$
declare
  today constant date := (soniq.clock() at time zone 'UTC')::date;
  dropped integer := 0;
  past record;
begin
  for past in
    select partition.relname::text as name
    from pg_catalog.pg_inherits as inheritance
    join pg_catalog.pg_class as partition
      on partition.oid = inheritance.inhrelid
    where inheritance.inhparent = 'soniq.finished_jobs'::pg_catalog.regclass
      and partition.relname ~ '^finished_jobs_[0-9]{8}$'
      and partition.relname < soniq._partition_name(day => today)
    order by partition.relname
  loop
    if soniq._drop_partition(name => past.name) then
      dropped := dropped + 1;
    else
      perform soniq._empty_partition(name => past.name);
    end if;
  end loop;
  return dropped;
end;
$$;

comment on function soniq._drop_partitions() is
'Drops the partitions whose day is over, and answers how many. One that cannot be dropped now is emptied, if that can be done.';

create or replace function soniq._clear_default_partition()
returns void
language sql
volatile
as $$
  delete from soniq.finished_jobs_default as job
  where job.ctid = any (array(
    select expired.ctid
    from soniq.finished_jobs_default as expired
    where expired.keep_until < soniq.clock()
    limit 10000
    for update skip locked
  ));
$$;

comment on function soniq._clear_default_partition() is
'Deletes, at most 10,000 at a time, jobs that are past their time in the default partition.';

create or replace function soniq._look_after_partitions(out made integer, out dropped integer)
returns record
language plpgsql
volatile
as $$
begin
  made := 0;
  dropped := 0;
  if soniq._take_chore(chore => 'partitions', every => '1 minute') then
    made := soniq._make_partitions();
    dropped := soniq._drop_partitions();
    perform soniq._clear_default_partition();
  end if;
end;
$$;

comment on function soniq._look_after_partitions() is
'Makes, drops and clears partitions if that is due, and answers how many were made and dropped.';

create or replace function soniq._retention_changed()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._make_partitions();
  return null;
end;
$$;

comment on function soniq._retention_changed() is
'Makes the partitions that another retention needs, before the first completion looks for them.';

create or replace trigger retention_changed
after update of retention on soniq.settings
for each row
when (new.retention is distinct from old.retention)
execute function soniq._retention_changed();

create or replace trigger retention_changed
after insert or update of retention on soniq.queues
for each row
when (new.retention is not null)
execute function soniq._retention_changed();

create or replace trigger retention_changed
after insert or update of retention on soniq.job_types
for each row
when (new.retention is not null)
execute function soniq._retention_changed();

-- Jobs that end well, or are cancelled: they move to finished_jobs in one statement, and are kept there for the retention
-- of their type, else of their queue, else of soniq.settings.
--
-- Here as wherever leases come in arrays (fail.sql, hand_back.sql), the planner must look the jobs up by their keys, also
-- where its statistics are from when the table was empty: so the keys are given as an array besides the join, which
-- has to be a hash join, and the lease's status is told by runner_id, since a condition on the status would offer
-- the index of all leases.

create or replace function soniq._move_to_finished(
  job_ids bigint[],
  attempts integer[],
  results jsonb[],
  status soniq.job_status
)
returns boolean[]
language plpgsql
volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  common_retention interval;
  types_have_own boolean;
  queues_have_own boolean;
  finished bigint[];
begin
  -- Where nobody has a retention of its own, two looks into empty indexes tell so.
  select
    settings.retention,
    exists (select from soniq.job_types as type where type.retention is not null),
    exists (select from soniq.queues as waiting where waiting.retention is not null)
  into common_retention, types_have_own, queues_have_own
  from soniq.settings as settings;

  with lease as (
    select *
    from rows from (
      pg_catalog.unnest(_move_to_finished.job_ids),
      pg_catalog.unnest(_move_to_finished.attempts),
      pg_catalog.unnest(_move_to_finished.results)
    ) with ordinality as given (job_id, attempt, result, position)
  ),
  ended as (
    delete from soniq.jobs as job
    using lease
    where job.id = any (_move_to_finished.job_ids)
      and job.id = lease.job_id
      and job.attempt = lease.attempt
      and (job.runner_id is null) = (_move_to_finished.status = 'cancelled')
    returning job.*, lease.result, lease.position
  ),
  dated as (
    select
      ended.*,
      coalesce(
        case when types_have_own then (
          select type.retention
          from soniq.job_types as type
          where type.job_name = ended.job_name
        ) end,
        case when queues_have_own then (
          select waiting.retention
          from soniq.queues as waiting
          where waiting.queue = ended.queue
        ) end,
        common_retention
      ) as retention
    from ended
  ),
  kept as (
    insert into soniq.finished_jobs (
      id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key,
      headers, tenant, runner_id, claimed_at, failed_at, errors, replay_of, schedule, due_at, result, finished_at,
      keep_until
    )
    select
      dated.id, dated.job_name, dated.queue, dated.priority, _move_to_finished.status, dated.args, dated.scheduled_at,
      dated.enqueued_at, dated.attempt, dated.max_attempts, dated.timeout, dated.dedup_key, dated.headers,
      dated.tenant, dated.runner_id, dated.claimed_at, dated.failed_at, dated.errors, dated.replay_of, dated.schedule, dated.due_at,
      dated.result, as_of, as_of + dated.retention
    from dated
    where dated.retention > interval '0'
  )
  select pg_catalog.array_agg(ended.position)
  into finished
  from ended;

  -- Mostly all are, and to find out which costs as much as to delete them.
  if pg_catalog.cardinality(finished) = pg_catalog.cardinality(job_ids) then
    return pg_catalog.array_fill(true, array[pg_catalog.cardinality(finished)]);
  end if;
  return array(
    select coalesce(given.position = any (finished), false)
    from pg_catalog.generate_series(1, pg_catalog.cardinality(job_ids)) as given (position)
    order by given.position
  );
end;
$$;

create or replace function soniq._finish(
  job_ids bigint[],
  attempts integer[],
  results jsonb[],
  status soniq.job_status
)
returns boolean[]
language plpgsql
volatile
as $$
begin
  return soniq._move_to_finished(
    job_ids => _finish.job_ids, attempts => _finish.attempts, results => _finish.results, status => _finish.status
  );
exception
  -- The default partition was chosen, and the partition of the day was added before it could be written to.
  when check_violation then
    return soniq._move_to_finished(
      job_ids => _finish.job_ids, attempts => _finish.attempts, results => _finish.results, status => _finish.status
    );
end;
$$;

comment on function soniq._finish(bigint[], integer[], jsonb[], soniq.job_status) is
'Ends jobs as done, if the caller still holds their leases, or as cancelled, if they are queued; answers in the same order which.';

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

-- Jobs that go back to the queue, whatever the reason: to be retried, snoozed by their handler, or released by a runner that
-- stops. The callers hold the rows' locks and have checked the leases.

create or replace function soniq._jobs_that_get_their_keys(job_ids bigint[])
returns setof bigint
language sql
volatile
as $$
  -- While a job was processed, another may have been enqueued with its key. Both are kept, and the one that comes back
  -- waits without the key; of several that come back with one key, the oldest gets it. The holder is looked
  -- up for each job: an anti-join would read all keys.
  select min(job.id)
  from soniq.jobs as job
  where job.id = any (_jobs_that_get_their_keys.job_ids)
    and job.dedup_key is not null
    and (
      select holder.id
      from soniq.jobs as holder
      where holder.dedup_key = job.dedup_key
        and coalesce(holder.tenant, '') = coalesce(job.tenant, '')
        and holder.status = 'queued'
    ) is null
  group by job.dedup_key, job.tenant;
$$;

create or replace function soniq._put_back(
  job_ids bigint[],
  run_ats timestamptz[],
  failures jsonb[]
)
returns void
language sql
volatile
as $$
  update soniq.jobs as job
  set status = 'queued',
    scheduled_at = coalesce(back.run_at, job.scheduled_at),
    max_attempts = job.max_attempts + case when back.failure is null then 1 else 0 end,
    failed_at = coalesce((back.failure ->> 'failed_at')::timestamptz, job.failed_at),
    errors = case when back.failure is null then job.errors else job.errors || back.failure end,
    dedup_key = case when keyed.job_id is not null then job.dedup_key end,
    runner_id = null,
    claimed_at = null,
    deadline = null
  from rows from (
    pg_catalog.unnest(_put_back.job_ids),
    pg_catalog.unnest(_put_back.run_ats),
    pg_catalog.unnest(_put_back.failures)
  ) as back (job_id, run_at, failure)
  left join soniq._jobs_that_get_their_keys(job_ids => _put_back.job_ids) as keyed (job_id)
    on keyed.job_id = back.job_id
  where job.id = any (_put_back.job_ids)
    and job.id = back.job_id;
$$;

create or replace function soniq._requeue(job_ids bigint[], run_ats timestamptz[], failures jsonb[])
returns void
language plpgsql
volatile
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
  as_of constant timestamptz := soniq.clock();
begin
  -- The violation arises where another transaction gives a key away meanwhile. The next try sees that.
  loop
    begin
      perform soniq._put_back(
        job_ids => _requeue.job_ids, run_ats => _requeue.run_ats, failures => _requeue.failures
      );
      exit;
    exception
      when unique_violation then
        null;
    end;
  end loop;

  perform soniq._wake(queue => ready.queue, jobs => ready.jobs::integer)
  from (
    select job.queue, pg_catalog.count(*) as jobs
    from soniq.jobs as job
    where job.id = any (_requeue.job_ids)
      and job.scheduled_at <= as_of
    group by job.queue
  ) as ready;
end;
$$;

comment on function soniq._requeue(bigint[], timestamptz[], jsonb[]) is
'Puts leased jobs back into the queue.

run_ats: when each may run again; NULL leaves its time, and so its place, as it was.
failures: the entry for its errors; NULL where the attempt is not spent, which raises max_attempts by one, since attempt is a fence and cannot go back.';

create or replace function soniq._hand_back(job_ids bigint[], run_at timestamptz)
returns void
language plpgsql
volatile
as $$
declare
  jobs constant integer := pg_catalog.cardinality(job_ids);
begin
  if jobs > 0 then
    perform soniq._requeue(
      job_ids => _hand_back.job_ids,
      run_ats => pg_catalog.array_fill(_hand_back.run_at, array[jobs]),
      failures => pg_catalog.array_fill(null::jsonb, array[jobs])
    );
  end if;
end;
$$;

comment on function soniq._hand_back(bigint[], timestamptz) is
'Puts leased jobs back without spending an attempt.';

create or replace function soniq._lock_lease(job_id bigint, attempt integer)
returns boolean
language plpgsql
volatile
as $$
#variable_conflict use_column
begin
  perform soniq._check_lease(job_id => _lock_lease.job_id, attempt => _lock_lease.attempt);

  perform
  from soniq.jobs as job
  where job.id = _lock_lease.job_id
    and job.attempt = _lock_lease.attempt
    and job.runner_id is not null
  for update;
  return found;
end;
$$;

comment on function soniq._lock_lease(bigint, integer) is
'Locks the job if the lease is still good; false if it is not.';

create or replace function soniq.snooze(job_id bigint, attempt integer, delay interval)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    soniq._check_given(code => 'SQ006', what => 'delay', value => snooze.delay::text),
    soniq._check_delay(code => 'SQ006', what => 'delay', delay => snooze.delay);
  if not soniq._lock_lease(job_id => snooze.job_id, attempt => snooze.attempt) then
    return false;
  end if;

  perform soniq._hand_back(job_ids => array[snooze.job_id], run_at => soniq.clock() + snooze.delay);
  return true;
end;
$$;

comment on function soniq.snooze(bigint, integer, interval) is
'Puts a job back into the queue, to run again after the delay, at the handler''s wish. It spends no attempt: max_attempts grows by one. False where the lease is no longer the caller''s.

Errors: SQ006 delay, SQ016 a NULL job_id or attempt.';

create or replace function soniq.release(job_id bigint, attempt integer)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not soniq._lock_lease(job_id => release.job_id, attempt => release.attempt) then
    return false;
  end if;

  perform soniq._hand_back(job_ids => array[release.job_id], run_at => null);
  return true;
end;
$$;

comment on function soniq.release(bigint, integer) is
'Hands back a job that a stopping runner could not finish; it keeps its place and can be claimed at once. It spends no attempt: max_attempts grows by one. False where the lease is no longer the caller''s.

Errors: SQ016 a NULL job_id or attempt.';

-- Failed attempts: whether a job is tried again, and when, or given up, and why, is decided here and nowhere else.

create or replace function soniq._attempt_record(job soniq.jobs, error jsonb, reason text, as_of timestamptz)
returns jsonb
language sql
stable
as $$
  select pg_catalog.jsonb_build_object(
    'attempt', (_attempt_record.job).attempt,
    'type', pg_catalog.left(_attempt_record.error ->> 'type', 200),
    'message', pg_catalog.left(_attempt_record.error ->> 'message', settings.max_error_message_chars),
    'traceback', pg_catalog.right(_attempt_record.error ->> 'traceback', settings.max_traceback_chars),
    'reason', _attempt_record.reason,
    'runner', runner.host || ':' || runner.pid,
    'started_at', (_attempt_record.job).claimed_at,
    'failed_at', _attempt_record.as_of
  )
  from soniq.settings as settings
  left join soniq.runners as runner
    on runner.runner_id = (_attempt_record.job).runner_id;
$$;

comment on function soniq._attempt_record(soniq.jobs, jsonb, text, timestamptz) is
'What is kept of a failed attempt, cut to the bounds in soniq.settings.';

create or replace function soniq._cause_of_death(job soniq.jobs, reason text)
returns text
language sql
immutable
parallel safe
as $$
  select case
    when _cause_of_death.reason in ('permanent_failure', 'unknown_job', 'invalid_arguments') then _cause_of_death.reason
    when (_cause_of_death.job).attempt >= (_cause_of_death.job).max_attempts
      then coalesce(_cause_of_death.reason, 'max_attempts_exceeded')
  end;
$$;

comment on function soniq._cause_of_death(soniq.jobs, text) is
'Why a job that failed for this reason is given up; NULL if it is to be tried again.';

create or replace function soniq._next_run_at(job soniq.jobs, reason text, as_of timestamptz)
returns timestamptz
language sql
volatile
as $$
  -- A job whose runner died did nothing wrong and is not made to wait.
  select case
    when _next_run_at.reason = 'runner_lost' then _next_run_at.as_of
    else _next_run_at.as_of + soniq._retry_delay(
        job_name => (_next_run_at.job).job_name,
        failures => pg_catalog.jsonb_array_length((_next_run_at.job).errors) + 1
      )
  end;
$$;

create or replace function soniq._bury(job_ids bigint[], reasons text[], failures jsonb[], as_of timestamptz)
returns void
language sql
volatile
as $$
  with dead as (
    delete from soniq.jobs as job
    using rows from (
      pg_catalog.unnest(_bury.job_ids),
      pg_catalog.unnest(_bury.reasons),
      pg_catalog.unnest(_bury.failures)
    ) as given (job_id, reason, failure)
    where job.id = any (_bury.job_ids)
      and job.id = given.job_id
    returning job.*, given.reason, given.failure
  )
  insert into soniq.dead_letter_jobs (
    id, job_name, queue, priority, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key, headers,
    tenant, runner_id, claimed_at, errors, replay_of, schedule, due_at, reason, dead_at
  )
  select
    dead.id, dead.job_name, dead.queue, dead.priority, dead.args, dead.scheduled_at, dead.enqueued_at, dead.attempt,
    dead.max_attempts, dead.timeout, dead.dedup_key, dead.headers, dead.tenant, dead.runner_id, dead.claimed_at,
    dead.errors || dead.failure, dead.replay_of, dead.schedule, dead.due_at, dead.reason, _bury.as_of
  from dead;
$$;

comment on function soniq._bury(bigint[], text[], jsonb[], timestamptz) is
'Moves jobs to the dead letters, with the record of the attempt that ended them.';

create or replace function soniq._fail_leases(
  job_ids bigint[],
  attempts integer[],
  errors jsonb[],
  reasons text[]
)
returns table (job_id bigint, attempt integer, status text)
language plpgsql
volatile
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  verdicts record;
begin
  with given as (
    select distinct on (report.job_id, report.attempt) *
    from rows from (
      pg_catalog.unnest(_fail_leases.job_ids),
      pg_catalog.unnest(_fail_leases.attempts),
      pg_catalog.unnest(_fail_leases.errors),
      pg_catalog.unnest(_fail_leases.reasons)
    ) as report (job_id, attempt, error, reason)
  ),
  lease as (
    select job, given.error, given.reason
    from given
    join soniq.jobs as job
      on job.id = given.job_id
      and job.attempt = given.attempt
    where job.id = any (_fail_leases.job_ids)
      and job.runner_id is not null
    order by job.id
    for update of job
  ),
  verdict as (
    select
      (lease.job).id as job_id,
      (lease.job).attempt,
      soniq._cause_of_death(job => lease.job, reason => lease.reason) as cause,
      soniq._next_run_at(job => lease.job, reason => lease.reason, as_of => as_of) as run_at,
      soniq._attempt_record(job => lease.job, error => lease.error, reason => lease.reason, as_of => as_of) as failure
    from lease
  )
  select
    pg_catalog.array_agg(verdict.job_id) filter (where verdict.cause is null) as retried,
    pg_catalog.array_agg(verdict.attempt) filter (where verdict.cause is null) as retried_attempts,
    pg_catalog.array_agg(verdict.run_at) filter (where verdict.cause is null) as run_ats,
    pg_catalog.array_agg(verdict.failure) filter (where verdict.cause is null) as retried_failures,
    pg_catalog.array_agg(verdict.job_id) filter (where verdict.cause is not null) as dead,
    pg_catalog.array_agg(verdict.attempt) filter (where verdict.cause is not null) as dead_attempts,
    pg_catalog.array_agg(verdict.cause) filter (where verdict.cause is not null) as causes,
    pg_catalog.array_agg(verdict.failure) filter (where verdict.cause is not null) as dead_failures
  into verdicts
  from verdict;

  if verdicts.retried is not null then
    perform soniq._requeue(
      job_ids => verdicts.retried, run_ats => verdicts.run_ats, failures => verdicts.retried_failures
    );
  end if;
  if verdicts.dead is not null then
    perform soniq._bury(
      job_ids => verdicts.dead, reasons => verdicts.causes, failures => verdicts.dead_failures, as_of => as_of
    );
  end if;

  return query
  select pg_catalog.unnest(verdicts.retried), pg_catalog.unnest(verdicts.retried_attempts), 'queued'
  union all
  select pg_catalog.unnest(verdicts.dead), pg_catalog.unnest(verdicts.dead_attempts), 'dead_letter';
end;
$$;

comment on function soniq._fail_leases(bigint[], integer[], jsonb[], text[]) is
'Ends the attempts whose leases still hold and answers with what became of each job.';

create or replace function soniq.fail(job_ids bigint[], attempts integer[], errors jsonb[], reasons text[] default null)
returns text[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    soniq._check_leases(job_ids => fail.job_ids, attempts => fail.attempts),
    soniq._check_beside_leases(
      job_ids => fail.job_ids,
      attempts => fail.attempts,
      what => 'errors',
      entries => coalesce(pg_catalog.cardinality(fail.errors), 0)
    ),
    soniq._check_beside_leases(
      job_ids => fail.job_ids,
      attempts => fail.attempts,
      what => 'reasons',
      entries => pg_catalog.cardinality(fail.reasons)
    );
  perform soniq._check_failure(error => given.error, reason => given.reason)
  from rows from (
    pg_catalog.unnest(fail.errors),
    pg_catalog.unnest(fail.reasons)
  ) as given (error, reason);

  return (
    select coalesce(pg_catalog.array_agg(ended.status order by given.position), '{}')
    from rows from (
      pg_catalog.unnest(fail.job_ids),
      pg_catalog.unnest(fail.attempts)
    ) with ordinality as given (job_id, attempt, position)
    left join soniq._fail_leases(
      job_ids => fail.job_ids, attempts => fail.attempts, errors => fail.errors, reasons => fail.reasons
    ) as ended
      on ended.job_id = given.job_id
      and ended.attempt = given.attempt
  );
end;
$$;

comment on function soniq.fail(bigint[], integer[], jsonb[], text[]) is
'Ends many failed attempts and answers in the same order with what became of each job, as the call for one job does.

job_ids, attempts: the leases, as claim() answered them.
errors, reasons: one for each, as in the call for one job.

Errors: SQ012 arrays of different length, SQ013 error or reason, SQ016 a NULL among the leases.';

create or replace function soniq.fail(job_id bigint, attempt integer, error jsonb, reason text default null)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._check_lease(job_id => fail.job_id, attempt => fail.attempt);

  return (soniq.fail(
    job_ids => array[fail.job_id], attempts => array[fail.attempt], errors => array[fail.error], reasons => array[fail.reason]
  ))[1];
end;
$$;

comment on function soniq.fail(bigint, integer, jsonb, text) is
'Ends a failed attempt. The job is queued again after the delay of its type''s retry policy, or moves to the dead letters when its attempts are spent or trying again is pointless. Answers queued or dead_letter, or NULL where the lease is no longer the caller''s.

error: a JSON object with type, message and traceback, kept with the job; long ones are cut (soniq.settings).
reason: NULL for an ordinary error; timeout, which is retried like one; permanent_failure, unknown_job or invalid_arguments, which end the job at once.

Errors: SQ013 error or reason, SQ016 a NULL job_id or attempt.';

-- Any job ever known, wherever it is now.

create or replace view soniq.all_jobs as
select
  job.id,
  job.status,
  job.job_name,
  job.queue,
  job.priority,
  soniq._shown_args(job_name => job.job_name, args => job.args) as args,
  job.scheduled_at,
  job.enqueued_at,
  job.attempt,
  job.max_attempts,
  job.timeout,
  job.dedup_key,
  job.headers,
  job.runner_id,
  job.claimed_at,
  job.deadline,
  job.errors,
  job.replay_of,
  job.schedule,
  job.due_at,
  null::jsonb as result,
  null::timestamptz as ended_at,
  null::text as reason,
  null::integer as replay_count,
  job.tenant
from soniq.jobs as job
union all
select
  job.id,
  job.status,
  job.job_name,
  job.queue,
  job.priority,
  soniq._shown_args(job_name => job.job_name, args => job.args) as args,
  job.scheduled_at,
  job.enqueued_at,
  job.attempt,
  job.max_attempts,
  job.timeout,
  job.dedup_key,
  job.headers,
  job.runner_id,
  job.claimed_at,
  null,
  job.errors,
  job.replay_of,
  job.schedule,
  job.due_at,
  job.result,
  job.finished_at,
  null,
  null,
  job.tenant
from soniq.finished_jobs as job
union all
select
  job.id,
  'dead_letter',
  job.job_name,
  job.queue,
  job.priority,
  soniq._shown_args(job_name => job.job_name, args => job.args) as args,
  job.scheduled_at,
  job.enqueued_at,
  job.attempt,
  job.max_attempts,
  job.timeout,
  job.dedup_key,
  job.headers,
  job.runner_id,
  job.claimed_at,
  null,
  job.errors,
  job.replay_of,
  job.schedule,
  job.due_at,
  null,
  job.dead_at,
  job.reason,
  job.replay_count,
  job.tenant
from soniq.dead_letter_jobs as job;

comment on view soniq.all_jobs is
'Live, finished and dead jobs together, for looking. ended_at is when a job was done, cancelled or given up; reason and replay_count are those of dead letters, result that of finished jobs.';

create or replace function soniq.get_job(job_id bigint)
returns setof soniq.all_jobs
language sql
stable
rows 1
security definer
set search_path = pg_catalog, pg_temp
as $$
  select *
  from soniq.all_jobs as job
  where job.id = get_job.job_id;
$$;

comment on function soniq.get_job(bigint) is
'One job, whatever became of it; no row if there is none of this id, or its record was dropped by retention.';

-- Cancelling: a job that has not started can be taken out of its queue.

create or replace function soniq.cancel(job_id bigint)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  current text;
begin
  -- Once more where the job came back to the queue between the look for it there and the other look: else the answer
  -- would be queued, though nothing was cancelled.
  loop
    perform soniq._finish(
      job_ids => array[job.id], attempts => array[job.attempt], results => null, status => 'cancelled'
    )
    from (
      select queued.id, queued.attempt
      from soniq.jobs as queued
      where queued.id = cancel.job_id
        and queued.runner_id is null -- for why it is told by runner_id, see finish.sql
      for update
    ) as job;
    if found then
      return 'cancelled';
    end if;

    select job.status::text
    into current
    from soniq.get_job(job_id => cancel.job_id) as job;
    exit when current is distinct from 'queued';
  end loop;
  return current;
end;
$$;

comment on function soniq.cancel(bigint) is
'Cancels a job that is queued, also one that waits for a retry, and answers with the status the job has then: cancelled; or processing, done or dead_letter, which are left alone; or NULL if there is no such job.';

-- Retrying now: a job that waits for its time, for a retry or at its handler's wish need not wait any longer.

create or replace function soniq.retry(job_id bigint)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  queue text;
  current record;
begin
  -- Once more where the job came back to the queue, to wait, between the update and the look: else the answer would say
  -- that it is ready.
  loop
    update soniq.jobs as job
    set scheduled_at = as_of
    where job.id = retry.job_id
      and job.runner_id is null -- for why it is told by runner_id, see finish.sql
      and job.scheduled_at > as_of
    returning job.queue
    into queue;
    if found then
      perform soniq._wake(queue => queue);
      return 'queued';
    end if;

    select job.status::text as status, job.scheduled_at
    into current
    from soniq.get_job(job_id => retry.job_id) as job;
    exit when current.status is distinct from 'queued' or current.scheduled_at <= as_of;
  end loop;
  return current.status;
end;
$$;

comment on function soniq.retry(bigint) is
'Makes a job ready now that waits for a retry, a snooze or its scheduled_at, and wakes a runner for it. It keeps its attempt, errors, priority and dedup_key; one that is ready already keeps its place; in a paused queue it waits for resume_queue(). Answers with the status the job has then: queued, and ready; or processing, done, cancelled or dead_letter, which are left alone (replay_dead_letters() makes a new job of a dead letter, enqueue() of the others); or NULL if there is no such job.';

create or replace function soniq.run_now(job_id bigint, out status text, out runs_as bigint)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  status := soniq.retry(job_id => run_now.job_id);
  if status = 'queued' then
    runs_as := run_now.job_id;
  elsif status = 'dead_letter' then
    runs_as := replay.job_id
      from soniq.replay_dead_letters(ids => array[run_now.job_id]) as replay;
    status := case when runs_as is not null then status end; -- deleted meanwhile
  end if;
end;
$$;

comment on function soniq.run_now(bigint) is
'Runs a job now, as far as that can be: one that waits as retry() does, a dead letter as a new job, as replay_dead_letters() does.

status: what the job was found to be: queued, processing, done, cancelled or dead_letter; NULL if there is no such job.
runs_as: the id that runs: its own, or that of the new job; NULL where it does not run anew: it is processing already, it was done or cancelled, or there is none.';

-- Runners: processes that may hold jobs. A runner is registered when it starts, shows by heartbeats that it lives,
-- and gets a new id each time, so a restarted one is never taken for its former self.

create or replace function soniq.register_runner(
  host text,
  pid integer default 0,
  queues text[] default null,
  concurrency integer default 1,
  heartbeat_timeout interval default '5 minutes',
  runner_version text default ''
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  runner_id bigint;
begin
  perform soniq._check_unbound(what => 'register_runner()');
  perform
    soniq._check_given(code => 'SQ015', what => 'host', value => register_runner.host),
    soniq._check_name(code => 'SQ015', what => 'host', name => register_runner.host, longest => 255),
    soniq._check_queues(queues => register_runner.queues);
  if register_runner.concurrency is null or register_runner.concurrency < 1 then
    perform soniq._refuse(
      'SQ015',
      pg_catalog.format('concurrency is %s', coalesce(register_runner.concurrency::text, 'NULL')),
      'Give how many jobs the runner runs at once, 1 or more.'
    );
  elsif register_runner.heartbeat_timeout is null or register_runner.heartbeat_timeout <= interval '0' then
    perform soniq._refuse(
      'SQ015',
      pg_catalog.format('heartbeat_timeout is %s', coalesce(register_runner.heartbeat_timeout::text, 'NULL')),
      'Give how long the runner may be silent before its jobs are taken back, as in ''5 minutes''.'
    );
  end if;
  perform soniq._check_length(
    code => 'SQ015', what => 'heartbeat_timeout', duration => register_runner.heartbeat_timeout
  );

  -- Before its first completion, which would otherwise find no partition after a week in which nothing ticked.
  perform soniq._look_after_partitions();

  insert into soniq.runners (
    host, pid, queues, concurrency, runner_version, heartbeat_timeout, registered_at, last_heartbeat_at
  )
  select
    register_runner.host,
    coalesce(register_runner.pid, 0),
    register_runner.queues,
    register_runner.concurrency,
    coalesce(register_runner.runner_version, ''),
    register_runner.heartbeat_timeout,
    started.at,
    started.at
  from (select soniq.clock() as at) as started
  returning soniq.runners.runner_id into runner_id;

  return runner_id;
end;
$$;

comment on function soniq.register_runner(text, integer, text[], integer, interval, text) is
'Makes a runner process known and answers with its runner_id, which claim() and heartbeat() take.

host, pid, runner_version: for people who look.
queues: those it will claim from; NULL is all.
concurrency: how many jobs it runs at once.
heartbeat_timeout: silent for longer than this, it is dead and its jobs are taken back.

Errors: SQ002 queues, SQ015 host, concurrency or heartbeat_timeout, SQ027 the login is bound to a tenant.';

create or replace function soniq.heartbeat(
  runner_id bigint,
  job_ids bigint[] default '{}',
  attempts integer[] default '{}',
  out registered boolean,
  out lost_jobs bigint[],
  out lost_attempts integer[]
)
returns record
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
begin
  perform soniq._check_leases(job_ids => heartbeat.job_ids, attempts => heartbeat.attempts);

  update soniq.runners as runner
  set last_heartbeat_at = soniq.clock()
  where runner.runner_id = heartbeat.runner_id
    and runner.lost_at is null;
  registered := found;

  select
    coalesce(pg_catalog.array_agg(held.job_id order by held.job_id, held.attempt), '{}'),
    coalesce(pg_catalog.array_agg(held.attempt order by held.job_id, held.attempt), '{}')
  into lost_jobs, lost_attempts
  from rows from (
    pg_catalog.unnest(heartbeat.job_ids),
    pg_catalog.unnest(heartbeat.attempts)
  ) as held (job_id, attempt)
  where not exists (
    select
    from soniq.jobs as job
    where job.id = held.job_id
      and job.attempt = held.attempt
      and job.status = 'processing'
      and job.runner_id = heartbeat.runner_id
  );
end;
$$;

comment on function soniq.heartbeat(bigint, bigint[], integer[]) is
'Says that a runner lives, and asks about the leases it believes it holds, as pairs from job_ids and attempts.

registered: false if the runner was declared dead meanwhile, or never was; it has to register anew and gets no jobs until then.
lost_jobs, lost_attempts: those of its leases that are no longer its own, as pairs; what it still does for them will be refused. It may have lost a lease of a job and hold another, if the job was taken back and it has claimed it again.

Errors: SQ012 arrays of different length, SQ016 a NULL among the leases.';

create or replace function soniq._hand_back_all(runner_id bigint)
returns void
language sql
volatile
set enable_seqscan = off
as $$
  select soniq._hand_back(
    job_ids => array(
      select job.id
      from soniq.jobs as job
      where job.status = 'processing'
        and job.runner_id = _hand_back_all.runner_id
      for update
    ),
    run_at => null
  );
$$;

comment on function soniq._hand_back_all(bigint) is
'Puts back whatever a runner holds, without spending an attempt.';

create or replace function soniq.resume_runner(
  runner_id bigint,
  job_ids bigint[] default '{}',
  attempts integer[] default '{}'
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
  former_id bigint;
  new_id bigint;
begin
  perform soniq._check_leases(job_ids => resume_runner.job_ids, attempts => resume_runner.attempts);

  -- Where the answer to an earlier call was lost, the runner goes by an id of which it does not know.
  former_id := (
    select runner.runner_id
    from soniq.runners as runner
    where resume_runner.runner_id in (runner.runner_id, runner.resumes)
  );
  -- Deleting waits for a claim that the broken connection had under way. One that comes later finds no such runner.
  with former as (
    delete from soniq.runners as runner
    where runner.runner_id = former_id
      and runner.lost_at is null
    returning runner.*
  )
  insert into soniq.runners (
    host, pid, queues, concurrency, runner_version, heartbeat_timeout, registered_at, last_heartbeat_at, resumes
  )
  select
    former.host, former.pid, former.queues, former.concurrency, former.runner_version, former.heartbeat_timeout,
    former.registered_at, soniq.clock(), resume_runner.runner_id
  from former
  returning soniq.runners.runner_id into new_id;
  if not found then
    perform soniq._refuse_runner(runner_id => resume_runner.runner_id);
  end if;

  update soniq.jobs as job
  set runner_id = new_id
  from rows from (
    pg_catalog.unnest(resume_runner.job_ids),
    pg_catalog.unnest(resume_runner.attempts)
  ) as lease (job_id, attempt)
  where job.id = any (resume_runner.job_ids)
    and job.id = lease.job_id
    and job.attempt = lease.attempt
    and job.runner_id = former_id;

  perform soniq._hand_back_all(runner_id => former_id);
  perform soniq._look_after_partitions();
  return new_id;
end;
$$;

comment on function soniq.resume_runner(bigint, bigint[], integer[]) is
'For a runner whose connection broke: it cannot know whether its last claim was granted. Answers with a new runner_id, to which the leases that it names move; any other job it holds goes back to the queue, without spending an attempt, and nothing can be claimed under the former id any more. Where this answer is lost, too, it may be called once more with the same id.

job_ids, attempts: the leases that the runner knows of, also those it has still to report.

Errors: SQ011 the runner was declared dead meanwhile, SQ012 arrays of different length, SQ016 a NULL among the leases.';

create or replace function soniq.deregister_runner(runner_id bigint)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  delete from soniq.runners as runner
  where runner.runner_id = deregister_runner.runner_id;
  if not found then
    return false;
  end if;

  perform soniq._hand_back_all(runner_id => deregister_runner.runner_id);
  return true;
end;
$$;

comment on function soniq.deregister_runner(bigint) is
'Takes a runner off the list and hands back, without spending an attempt, whatever jobs it still holds. False if there is no such runner.';

-- Dead letters: jobs given up. They are replayed once their cause is mended, deleted, or pruned by age.

create or replace view soniq.dead_letters as
select
  letter.id,
  letter.job_name,
  letter.queue,
  letter.priority,
  soniq._shown_args(job_name => letter.job_name, args => letter.args) as args,
  letter.scheduled_at,
  letter.enqueued_at,
  letter.attempt,
  letter.max_attempts,
  letter.timeout,
  letter.dedup_key,
  letter.headers,
  letter.runner_id,
  letter.claimed_at,
  letter.errors,
  letter.replay_of,
  letter.schedule,
  letter.due_at,
  letter.reason,
  letter.dead_at,
  letter.replay_count,
  letter.last_replayed_at,
  letter.tenant,
  letter.error_type,
  letter.error_pattern
from soniq.dead_letter_jobs as letter;

comment on view soniq.dead_letters is
'Dead letters, for looking: soniq.dead_letter_jobs, with *** in the place of args that their job type declares as secret.';

-- What they died of. Each is one look away from its page; what all died of takes reading them, so of many the latest tell.
create or replace function soniq._group_letters(most integer)
returns table (
  job_name text,
  error_type text,
  error_pattern text,
  letters bigint,
  first_at timestamptz,
  last_at timestamptz,
  latest_id bigint,
  is_partial boolean
)
language sql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
  select
    letter.job_name,
    letter.error_type,
    letter.error_pattern,
    pg_catalog.count(*),
    min(letter.dead_at),
    max(letter.dead_at),
    max(letter.id),
    pg_catalog.bool_or(letter.read = _group_letters.most) or pg_catalog.count(*) over () > 100
  from (
    select latest.*, pg_catalog.count(*) over () as read
    from (
      select waiting.job_name, waiting.error_type, waiting.error_pattern, waiting.dead_at, waiting.id
      from soniq.dead_letter_jobs as waiting
      where waiting.replay_count = 0
      order by waiting.dead_at desc
      limit _group_letters.most
    ) as latest
  ) as letter
  group by letter.job_name, letter.error_type, letter.error_pattern
  order by pg_catalog.count(*) desc, max(letter.dead_at) desc
  limit 100;
$$;

comment on function soniq._group_letters(integer) is
'The dead letters not replayed, by what they died of: the hundred largest groups of the latest so many.';

create or replace function soniq._dead_letter_groups()
returns table (
  job_name text,
  error_type text,
  error_pattern text,
  letters bigint,
  first_at timestamptz,
  last_at timestamptz,
  latest_id bigint,
  is_partial boolean,
  count_age interval
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  tally soniq.tallies;
begin
  -- A tenant's own were not counted apart.
  if soniq._bound_tenant() is not null or soniq._pages(relation => 'soniq.dead_letter_jobs') <= 100 then
    return query
    select own.*, interval '0'
    from soniq._group_letters(most => 1000) as own;
    return;
  end if;

  tally := soniq._latest_tally();
  return query
  select each.*, greatest(soniq.clock() - tally.taken_at, interval '0')
  from pg_catalog.jsonb_to_recordset(tally.letters) as each (
    job_name text,
    error_type text,
    error_pattern text,
    letters bigint,
    first_at timestamptz,
    last_at timestamptz,
    latest_id bigint,
    is_partial boolean
  );
end;
$$;

comment on function soniq._dead_letter_groups() is
'What the view dead_letter_groups shows.';

create or replace view soniq.dead_letter_groups as
select *
from soniq._dead_letter_groups();

comment on view soniq.dead_letter_groups is
'What the dead letters died of that were not replayed, the most frequent first: by job name, and by type and pattern of the last error. As of now while the table has at most 100 pages, of the latest 1,000; beyond, as tick() counted the latest 20,000.';
comment on column soniq.dead_letter_groups.job_name is 'Which job.';
comment on column soniq.dead_letter_groups.error_type is 'The type of the last error; empty if it told none.';
comment on column soniq.dead_letter_groups.error_pattern is
  'The beginning of its message, in one line, with # for UUIDs, hexadecimal addresses and what has four digits in a row, so that messages that differ in an id are one; empty if it told none.';
comment on column soniq.dead_letter_groups.letters is 'How many.';
comment on column soniq.dead_letter_groups.first_at is 'When the first of them was given up.';
comment on column soniq.dead_letter_groups.last_at is 'When the last of them was.';
comment on column soniq.dead_letter_groups.latest_id is 'The highest id among them.';
comment on column soniq.dead_letter_groups.is_partial is 'True where there are more dead letters than were looked at, or more groups than the hundred largest.';
comment on column soniq.dead_letter_groups.count_age is 'How long ago they were counted; 0 if just now.';

-- Declared immutable and of one expression, so that the planner puts it in place of the call, and finds the indexes.
create or replace function soniq._is_selected(
  letter soniq.dead_letter_jobs,
  ids bigint[],
  job_name text,
  queue text,
  since timestamptz,
  before timestamptz,
  error_type text,
  error_pattern text,
  after_id bigint,
  only_waiting boolean
)
returns boolean
language sql
immutable
parallel safe
as $$
  select (_is_selected.ids is null or (_is_selected.letter).id = any (_is_selected.ids))
    and (_is_selected.job_name is null or (_is_selected.letter).job_name = _is_selected.job_name)
    and (_is_selected.queue is null or (_is_selected.letter).queue = _is_selected.queue)
    and (_is_selected.since is null or (_is_selected.letter).dead_at >= _is_selected.since)
    and (_is_selected.before is null or (_is_selected.letter).dead_at < _is_selected.before)
    and (_is_selected.error_type is null or (_is_selected.letter).error_type = _is_selected.error_type)
    and (_is_selected.error_pattern is null or (_is_selected.letter).error_pattern = _is_selected.error_pattern)
    and (_is_selected.after_id is null or (_is_selected.letter).id > _is_selected.after_id)
    and (not _is_selected.only_waiting or (_is_selected.letter).replay_count = 0);
$$;

comment on function soniq._is_selected(
  soniq.dead_letter_jobs, bigint[], text, text, timestamptz, timestamptz, text, text, bigint, boolean
) is
'Whether a dead letter matches all that is given, and, where only_waiting, was never replayed.';

create or replace function soniq._selected_letters(
  ids bigint[],
  job_name text,
  queue text,
  since timestamptz,
  before timestamptz,
  error_type text,
  error_pattern text,
  max_letters integer,
  after_id bigint,
  only_waiting boolean
)
returns setof soniq.dead_letter_jobs
language sql
stable
as $$
  select letter.*
  from soniq.dead_letter_jobs as letter
  where soniq._is_selected(
      letter => letter,
      ids => _selected_letters.ids,
      job_name => _selected_letters.job_name,
      queue => _selected_letters.queue,
      since => _selected_letters.since,
      before => _selected_letters.before,
      error_type => _selected_letters.error_type,
      error_pattern => _selected_letters.error_pattern,
      after_id => _selected_letters.after_id,
      only_waiting => _selected_letters.only_waiting
    )
  order by letter.id
  limit _selected_letters.max_letters;
$$;

comment on function soniq._selected_letters(
  bigint[], text, text, timestamptz, timestamptz, text, text, integer, bigint, boolean
) is
'The dead letters that are selected, the lowest ids first.';

-- Under the lock a letter is looked at again: what another session has just replayed is passed over for the next.
create or replace function soniq._lock_letters(
  ids bigint[],
  job_name text,
  queue text,
  since timestamptz,
  before timestamptz,
  error_type text,
  error_pattern text,
  max_letters integer,
  after_id bigint,
  only_waiting boolean
)
returns bigint[]
language plpgsql
volatile
as $$
#variable_conflict use_column
begin
  return array(
    select letter.id
    from soniq.dead_letter_jobs as letter
    where soniq._is_selected(
        letter => letter,
        ids => _lock_letters.ids,
        job_name => _lock_letters.job_name,
        queue => _lock_letters.queue,
        since => _lock_letters.since,
        before => _lock_letters.before,
        error_type => _lock_letters.error_type,
        error_pattern => _lock_letters.error_pattern,
        after_id => _lock_letters.after_id,
        only_waiting => _lock_letters.only_waiting
      )
    order by letter.id
    limit _lock_letters.max_letters
    for update
  );
end;
$$;

comment on function soniq._lock_letters(
  bigint[], text, text, timestamptz, timestamptz, text, text, integer, bigint, boolean
) is
'Locks the dead letters that are selected, and answers with their ids, the lowest first.';

-- Each call is planned for what it is given: a plan for any selection would read all letters for each batch.
create or replace function soniq.replay_dead_letters(
  ids bigint[] default null,
  job_name text default null,
  queue text default null,
  since timestamptz default null,
  before timestamptz default null,
  error_type text default null,
  error_pattern text default null,
  everything boolean default false,
  max_letters integer default null,
  after_id bigint default null,
  dry_run boolean default false
)
returns setof soniq.replayed_job
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  -- Who names a letter means it, also a second time; who names a crowd means those that wait.
  only_waiting constant boolean := replay_dead_letters.ids is null;
  chosen bigint[];
begin
  perform soniq._check_selection(
    ids => replay_dead_letters.ids,
    job_name => replay_dead_letters.job_name,
    queue => replay_dead_letters.queue,
    since => replay_dead_letters.since,
    before => replay_dead_letters.before,
    error_type => replay_dead_letters.error_type,
    error_pattern => replay_dead_letters.error_pattern,
    everything => replay_dead_letters.everything,
    max_letters => replay_dead_letters.max_letters
  );

  if replay_dead_letters.dry_run then
    return query
    select letter.id, letter.job_name, letter.queue, null::bigint
    from soniq._selected_letters(
      ids => replay_dead_letters.ids,
      job_name => replay_dead_letters.job_name,
      queue => replay_dead_letters.queue,
      since => replay_dead_letters.since,
      before => replay_dead_letters.before,
      error_type => replay_dead_letters.error_type,
      error_pattern => replay_dead_letters.error_pattern,
      max_letters => replay_dead_letters.max_letters,
      after_id => replay_dead_letters.after_id,
      only_waiting => only_waiting
    ) as letter;
    return;
  end if;

  chosen := soniq._lock_letters(
    ids => replay_dead_letters.ids,
    job_name => replay_dead_letters.job_name,
    queue => replay_dead_letters.queue,
    since => replay_dead_letters.since,
    before => replay_dead_letters.before,
    error_type => replay_dead_letters.error_type,
    error_pattern => replay_dead_letters.error_pattern,
    max_letters => replay_dead_letters.max_letters,
    after_id => replay_dead_letters.after_id,
    only_waiting => only_waiting
  );

  update soniq.dead_letter_jobs as letter
  set replay_count = letter.replay_count + 1,
    last_replayed_at = as_of
  where letter.id = any (chosen);

  perform soniq._open_lane(queue => lane.queue, priority => lane.priority)
  from (
    select distinct letter.queue, letter.priority
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
  ) as lane;

  -- An attempt that was not spent (snoozed or released) left no error and had raised max_attempts by one.
  return query
  with minted as (
    insert into soniq.jobs (
      job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, headers, tenant, replay_of,
      schedule, due_at
    )
    select
      letter.job_name,
      letter.queue,
      letter.priority,
      letter.args,
      as_of,
      as_of,
      letter.max_attempts - (letter.attempt - pg_catalog.jsonb_array_length(letter.errors)),
      letter.timeout,
      letter.headers,
      letter.tenant,
      letter.id,
      letter.schedule,
      letter.due_at
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
    order by letter.id
    returning soniq.jobs.replay_of, soniq.jobs.job_name, soniq.jobs.queue, soniq.jobs.id
  )
  select minted.replay_of, minted.job_name, minted.queue, minted.id
  from minted
  order by minted.replay_of;

  perform soniq._wake(queue => minted.queue, jobs => minted.jobs::integer)
  from (
    select letter.queue, pg_catalog.count(*) as jobs
    from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
    group by letter.queue
  ) as minted;
end;
$$;

comment on function soniq.replay_dead_letters(
  bigint[], text, text, timestamptz, timestamptz, text, text, boolean, integer, bigint, boolean
) is
'Gives dead letters another life: each becomes a new job, ready at once, with fresh attempts, whose replay_of is the dead letter. The dead letter stays and counts its replays. Answers with each dead letter and the id of its new job, in the order of the letters'' ids.

ids: these, also if they were replayed before. Without ids, only letters not replayed yet, so that a second call does not run jobs twice.
job_name, queue: those of this name or queue.
since, before: those that died at this time or later, and before that one.
error_type, error_pattern: those whose last error was of this type, and of this pattern, as dead_letter_groups tells them. What is given of all these must match together.
everything: every letter not replayed yet.
max_letters: at most so many, those with the lowest ids.
after_id: only those with a higher id; for working in batches, the last that the call before answered with.
dry_run: changes nothing, locks nothing and answers what would be replayed, with a NULL job_id.

Errors: SQ012 max_letters, SQ014 no selection, everything with a filter, or since later than before.';

create or replace function soniq.delete_dead_letters(
  ids bigint[] default null,
  job_name text default null,
  queue text default null,
  since timestamptz default null,
  before timestamptz default null,
  error_type text default null,
  error_pattern text default null,
  everything boolean default false,
  max_letters integer default null,
  after_id bigint default null,
  dry_run boolean default false,
  only_waiting boolean default false
)
returns setof soniq.deleted_letter
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  chosen bigint[];
begin
  perform soniq._check_selection(
    ids => delete_dead_letters.ids,
    job_name => delete_dead_letters.job_name,
    queue => delete_dead_letters.queue,
    since => delete_dead_letters.since,
    before => delete_dead_letters.before,
    error_type => delete_dead_letters.error_type,
    error_pattern => delete_dead_letters.error_pattern,
    everything => delete_dead_letters.everything,
    max_letters => delete_dead_letters.max_letters
  );

  if delete_dead_letters.dry_run then
    return query
    select letter.id, letter.job_name, letter.queue
    from soniq._selected_letters(
      ids => delete_dead_letters.ids,
      job_name => delete_dead_letters.job_name,
      queue => delete_dead_letters.queue,
      since => delete_dead_letters.since,
      before => delete_dead_letters.before,
      error_type => delete_dead_letters.error_type,
      error_pattern => delete_dead_letters.error_pattern,
      max_letters => delete_dead_letters.max_letters,
      after_id => delete_dead_letters.after_id,
      only_waiting => delete_dead_letters.only_waiting is true
    ) as letter;
    return;
  end if;

  chosen := soniq._lock_letters(
    ids => delete_dead_letters.ids,
    job_name => delete_dead_letters.job_name,
    queue => delete_dead_letters.queue,
    since => delete_dead_letters.since,
    before => delete_dead_letters.before,
    error_type => delete_dead_letters.error_type,
    error_pattern => delete_dead_letters.error_pattern,
    max_letters => delete_dead_letters.max_letters,
    after_id => delete_dead_letters.after_id,
    only_waiting => delete_dead_letters.only_waiting is true
  );

  return query
  with gone as (
    delete from soniq.dead_letter_jobs as letter
    where letter.id = any (chosen)
    returning letter.id, letter.job_name, letter.queue
  )
  select gone.id, gone.job_name, gone.queue
  from gone
  order by gone.id;
end;
$$;

comment on function soniq.delete_dead_letters(
  bigint[], text, text, timestamptz, timestamptz, text, text, boolean, integer, bigint, boolean, boolean
) is
'Deletes dead letters for good, and answers with each, its job name and its queue, in the order of their ids.

ids, job_name, queue: those that match all that is given.
since, before: of these those that died at this time or later, and before that one.
error_type, error_pattern: of these those whose last error was of this type, and of this pattern, as dead_letter_groups tells them.
everything: all of them.
max_letters: at most so many, those with the lowest ids.
after_id: only those with a higher id; for working in batches, the last that the call before answered with.
dry_run: deletes nothing and answers with what would be deleted.
only_waiting: of these those that were not replayed; otherwise those that were, too.

Errors: SQ012 max_letters, SQ014 no selection, everything with a filter, or since later than before.';

create or replace function soniq.prune_dead_letters(
  older_than interval,
  max_letters integer default null,
  dry_run boolean default false
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    soniq._check_given(code => 'SQ006', what => 'older_than', value => prune_dead_letters.older_than::text),
    soniq._check_delay(code => 'SQ006', what => 'older_than', delay => prune_dead_letters.older_than);

  return (
    select pg_catalog.count(*)
    from soniq.delete_dead_letters(
      before => soniq.clock() - prune_dead_letters.older_than,
      max_letters => prune_dead_letters.max_letters,
      dry_run => prune_dead_letters.dry_run
    )
  );
end;
$$;

comment on function soniq.prune_dead_letters(interval, integer, boolean) is
'Deletes the dead letters that died longer ago than this and answers how many.

max_letters: at most so many, those with the lowest ids, so that a first pruning need not be one long transaction.
dry_run: only counts.

Errors: SQ006 older_than, SQ012 max_letters.';

-- Periodic jobs. A schedule is a row with the time at which it is due next; tick() enqueues what is due and moves that
-- time in one transaction, with the row locked, so each run becomes exactly one job however many sessions tick.
--
-- A run that is behind its time by no more than soniq.settings.schedule_tolerance is late and takes place; what is
-- older was missed, while nothing ticked, and the schedule's missed_runs says what becomes of it.
--
-- Code that registers schedules at its start must not disturb them: the same definition again changes nothing, another one
-- first enqueues what was due under the former, and no run is computed before one that has been. So replicas of two
-- releases may register against each other without a run being lost or doubled, and so may a server whose
-- clock was set back.

create or replace function soniq._run_after(schedule soniq.schedules, after timestamptz)
returns timestamptz
language sql
volatile
as $$
  -- Intervals are counted in seconds from the first registration: a day is 24 hours, and lateness does not add up.
  select case
    when (_run_after.schedule).cron is not null
      then soniq._cron_next(
          expression => (_run_after.schedule).cron,
          after => _run_after.after,
          timezone => (_run_after.schedule).timezone
        )
    else (_run_after.schedule).created_at + period.length * (
        1 + pg_catalog.floor(
          extract(epoch from _run_after.after - (_run_after.schedule).created_at) / extract(epoch from period.length)
        )::double precision
      )
  end
  from (
    select interval '1 second' * extract(epoch from (_run_after.schedule).every)::double precision as length
  ) as period;
$$;

comment on function soniq._run_after(soniq.schedules, timestamptz) is
'The first run of a schedule after a time; NULL if there is none.';

create or replace function soniq._runs_due(schedule soniq.schedules, as_of timestamptz)
returns setof timestamptz
language plpgsql
volatile
as $$
declare
  late_from constant timestamptz := as_of - settings.schedule_tolerance from soniq.settings as settings;
  run_at timestamptz := schedule.next_run_at;
  made_up_for integer := 0;
  on_time boolean := false;
begin
  while run_at < late_from and schedule.missed_runs = 'run_all' and made_up_for < schedule.max_missed_runs loop
    return next run_at;
    made_up_for := made_up_for + 1;
    run_at := soniq._run_after(schedule => schedule, after => run_at);
  end loop;

  if run_at < late_from then
    run_at := soniq._run_after(schedule => schedule, after => late_from - interval '1 microsecond');
  end if;
  while run_at <= as_of loop
    return next run_at;
    on_time := true;
    run_at := soniq._run_after(schedule => schedule, after => run_at);
  end loop;

  if schedule.missed_runs = 'run_once' and not on_time then
    return next schedule.next_run_at;
  end if;
end;
$$;

comment on function soniq._runs_due(soniq.schedules, timestamptz) is
'The runs of a schedule that is due for which there is to be a job: those that are late, and of those missed none (skip), the first if no late one stands in for it (run_once), or the oldest up to max_missed_runs (run_all).';

create or replace function soniq._enqueue_runs(schedule soniq.schedules, runs timestamptz[])
returns bigint
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  job record;
  last_job_id bigint;
begin
  select *
  into job
  from soniq._job_options(
    job_name => schedule.job_name,
    queue => schedule.queue,
    priority => schedule.priority,
    max_attempts => schedule.max_attempts,
    timeout => schedule.timeout
  );
  perform soniq._open_lane(queue => job.own_queue, priority => job.own_priority);

  with added as (
    insert into soniq.jobs (
      job_name, queue, priority, args, scheduled_at, enqueued_at, max_attempts, timeout, tenant, schedule,
      due_at
    )
    select
      schedule.job_name, job.own_queue, job.own_priority, schedule.args, as_of, as_of, job.tries, job.time_limit,
      schedule.tenant, schedule.name, run.due_at
    from pg_catalog.unnest(_enqueue_runs.runs) as run (due_at)
    order by run.due_at
    returning id
  )
  select max(added.id)
  into last_job_id
  from added;

  perform soniq._wake(queue => job.own_queue, jobs => pg_catalog.cardinality(_enqueue_runs.runs));
  return last_job_id;
end;
$$;

comment on function soniq._enqueue_runs(soniq.schedules, timestamptz[]) is
'Adds a job for each run, and answers with the id of the last.';

create or replace function soniq._may_start(schedule soniq.schedules)
returns boolean
language sql
stable
as $$
  select (_may_start.schedule).allow_overlap
    or not exists (
      select
      from soniq.jobs as job
      where job.id = (_may_start.schedule).last_job_id
    );
$$;

comment on function soniq._may_start(soniq.schedules) is
'False where the schedule forbids overlap and its last job is still queued or processing.';

create or replace function soniq._run_due_schedule(schedule soniq.schedules, as_of timestamptz)
returns integer
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  runs timestamptz[] := array(
    select soniq._runs_due(schedule => _run_due_schedule.schedule, as_of => _run_due_schedule.as_of)
  );
  job_id bigint;
begin
  if not soniq._may_start(schedule => schedule) then
    runs := '{}';
  elsif not schedule.allow_overlap then
    runs := runs[pg_catalog.cardinality(runs):];
  end if;

  if pg_catalog.cardinality(runs) > 0 then
    job_id := soniq._enqueue_runs(schedule => schedule, runs => runs);
  end if;

  update soniq.schedules as known
  set next_run_at = soniq._run_after(schedule => known, after => _run_due_schedule.as_of),
    last_due_at = coalesce(runs[pg_catalog.cardinality(runs)], known.last_due_at),
    last_job_id = coalesce(job_id, known.last_job_id)
  where known.name = schedule.name;
  return pg_catalog.cardinality(runs);
end;
$$;

comment on function soniq._run_due_schedule(soniq.schedules, timestamptz) is
'Enqueues what is due of a schedule that the caller has locked, moves its next_run_at, and answers how many jobs that were.';

create or replace function soniq._run_due_schedules(max_schedules integer)
returns integer
language plpgsql
volatile
as $$
declare
  as_of constant timestamptz := soniq.clock();
  jobs integer := 0;
  due soniq.schedules;
begin
  for due in
    select *
    from soniq.schedules as known
    where not known.paused
      and known.next_run_at <= as_of
    order by known.next_run_at
    limit _run_due_schedules.max_schedules
    for update skip locked
  loop
    -- One that cannot be run, because its time zone is no longer known, say, must not keep the others from it.
    begin
      jobs := jobs + soniq._run_due_schedule(schedule => due, as_of => as_of);
    exception
      when others then
        raise warning 'schedule % is due and cannot be run: %', due.name, sqlerrm;
    end;
  end loop;
  return jobs;
end;
$$;

comment on function soniq._run_due_schedules(integer) is
'Enqueues what is due of all schedules that nobody else is at, and answers how many jobs that were.';

create or replace function soniq._refuse_schedule(name text)
returns void
language sql
volatile
as $$
  select soniq._refuse(
    'SQ020',
    pg_catalog.format('there is no schedule %L', _refuse_schedule.name),
    coalesce(
      'There are: ' || pg_catalog.string_agg(known.name, ', ') || '.',
      'There are none; call soniq.schedule() first.'
    )
  )
  from (
    select first.name
    from soniq.schedules as first
    order by first.name
    limit 20
  ) as known;
$$;

create or replace function soniq._lock_schedule(name text)
returns soniq.schedules
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  schedule soniq.schedules;
begin
  select *
  into schedule
  from soniq.schedules as known
  where known.name = _lock_schedule.name
  for update;
  if not found then
    perform soniq._refuse_schedule(name => _lock_schedule.name);
  end if;
  return schedule;
end;
$$;

comment on function soniq._lock_schedule(text) is
'The schedule of this name, locked; raises SQ020 if there is none.';

create or replace function soniq._difference(former soniq.schedules, latter soniq.schedules)
returns text
language sql
stable
as $$
  select pg_catalog.string_agg(
    pg_catalog.format('%s from %s to %s', key, coalesce(was.value, 'none'), coalesce(is_now.value, 'none')),
    ', ' order by key
  )
  from pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(_difference.former)) as was (key, value)
  join pg_catalog.jsonb_each_text(pg_catalog.to_jsonb(_difference.latter)) as is_now (key, value) using (key)
  where was.value is distinct from is_now.value;
$$;

create or replace function soniq._put_schedule(given soniq.schedules)
returns timestamptz
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := given.registered_at;
  former soniq.schedules;
begin
  insert into soniq.schedules
  select given.*
  on conflict (name) do nothing;
  if found then
    return given.next_run_at;
  end if;

  begin
    former := soniq._lock_schedule(name => given.name);
  exception
    when sqlstate 'SQ020' then
      perform soniq._refuse(
        'SQ019',
        pg_catalog.format('the schedule %L is another tenant''s', given.name),
        'Give it another name, such as one that begins with the tenant''s.'
      );
  end;
  given.paused := former.paused;
  given.created_at := former.created_at;
  given.registered_at := former.registered_at;
  given.next_run_at := former.next_run_at;
  given.last_due_at := former.last_due_at;
  given.last_job_id := former.last_job_id;
  if given is not distinct from former then
    return former.next_run_at;
  end if;

  raise notice 'schedule % is changed: %', given.name, soniq._difference(former => former, latter => given);
  perform soniq._run_due_schedule(schedule => former, as_of => as_of)
  where not former.paused
    and former.next_run_at <= as_of;

  update soniq.schedules as known
  set job_name = given.job_name,
    cron = given.cron,
    every = given.every,
    timezone = given.timezone,
    args = given.args,
    queue = given.queue,
    priority = given.priority,
    max_attempts = given.max_attempts,
    timeout = given.timeout,
    missed_runs = given.missed_runs,
    max_missed_runs = given.max_missed_runs,
    allow_overlap = given.allow_overlap,
    source = given.source,
    tenant = given.tenant,
    registered_at = as_of,
    next_run_at = case
      when (given.cron, given.every, given.timezone) is not distinct from (known.cron, known.every, known.timezone)
        then known.next_run_at
      else soniq._run_after(schedule => given, after => greatest(as_of, known.last_due_at))
    end
  where known.name = given.name
  returning next_run_at
  into given.next_run_at;
  return given.next_run_at;
end;
$$;

comment on function soniq._put_schedule(soniq.schedules) is
'Adds a schedule, or replaces the one of its name, and answers when it is due next. The newest registration wins, and says so in a notice.';

create or replace function soniq.schedule(
  name text,
  job_name text default null,
  cron text default null,
  every interval default null,
  timezone text default null,
  args jsonb default null,
  missed_runs text default null,
  max_missed_runs integer default null,
  allow_overlap boolean default null,
  queue text default null,
  priority integer default null,
  max_attempts integer default null,
  timeout interval default null,
  source text default null,
  tenant text default null
)
returns timestamptz
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  given soniq.schedules;
begin
  perform
    soniq._check_given(code => 'SQ019', what => 'schedule''s name', value => schedule.name),
    soniq._check_name(code => 'SQ019', what => 'schedule''s name', name => schedule.name, longest => 200),
    soniq._check_name(code => 'SQ019', what => 'schedule''s source', name => schedule.source, longest => 1000),
    soniq._check_job_name(job_name => schedule.job_name),
    soniq._check_timing(cron => schedule.cron, every => schedule.every),
    soniq._check_cron(expression => schedule.cron),
    soniq._check_timezone(timezone => schedule.timezone),
    soniq._check_missed_runs(missed_runs => schedule.missed_runs, max_missed_runs => schedule.max_missed_runs),
    soniq._check_queue(queue => schedule.queue),
    soniq._check_priority(priority => schedule.priority),
    soniq._check_max_attempts(max_attempts => schedule.max_attempts),
    soniq._check_timeout(timeout => schedule.timeout),
    soniq._fitting_args(args => coalesce(schedule.args, '{}'), max_bytes => settings.max_args_bytes)
  from soniq.settings as settings;

  given.name := schedule.name;
  given.job_name := coalesce(schedule.job_name, schedule.name);
  given.cron := schedule.cron;
  given.every := schedule.every;
  given.timezone := coalesce(schedule.timezone, 'UTC');
  given.args := coalesce(schedule.args, '{}');
  given.queue := schedule.queue;
  given.priority := schedule.priority::smallint;
  given.max_attempts := schedule.max_attempts;
  given.timeout := schedule.timeout;
  given.missed_runs := coalesce(schedule.missed_runs, 'skip');
  given.max_missed_runs := coalesce(schedule.max_missed_runs, 100);
  given.allow_overlap := coalesce(schedule.allow_overlap, true);
  given.paused := false;
  given.source := schedule.source;
  given.tenant := soniq._tenant_for(given => schedule.tenant);
  given.created_at := as_of;
  given.registered_at := as_of;
  given.next_run_at := soniq._run_after(schedule => given, after => as_of);
  return soniq._put_schedule(given => given);
end;
$$;

comment on function soniq.schedule(text, text, text, interval, text, jsonb, text, integer, boolean, text, integer, integer, interval, text, text) is
'Registers a periodic job, or replaces the schedule of this name, and answers when it is due next; NULL if that is never. The same definition again changes nothing; another one wins over the former, which a notice tells, after what was due under the former is enqueued. A paused schedule stays paused.

name: 1 to 200 characters.
job_name: what to enqueue; the schedule''s name by default.
cron: five fields (minute, hour, day of month, month, day of week) or six with seconds first, or @daily and the like; as for cron_next().
every: instead of cron, the time between runs, a second or more, counted from the first registration; a day is 24 hours.
timezone: an IANA name, in whose local time cron is read; UTC by default.
args, queue, priority, max_attempts, timeout: as for enqueue().
missed_runs: what becomes of runs missed while nothing ticked. skip (the default) forgets them; run_once makes up for them with one job; run_all makes up for each, the oldest max_missed_runs of them (100 by default). A run behind its time by no more than soniq.settings.schedule_tolerance is late, not missed, and always takes place.
allow_overlap: false to enqueue nothing while the schedule''s last job is still queued or processing; that run is skipped. True by default.
source: whose code registers it, for prune_schedules().
tenant: whose its jobs are, as for enqueue().

Each job carries the time for which it was enqueued as due_at, and the schedule''s name as schedule.

Errors: SQ001 job_name, SQ002 queue, SQ003 args, SQ004 args too large, SQ005 priority, SQ007 max_attempts, SQ008 timeout, SQ017 cron, SQ018 timezone, SQ019 name, source, every, missed_runs or max_missed_runs, or the name is that of another tenant''s schedule, SQ026 tenant.';

create or replace function soniq.unschedule(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  delete from soniq.schedules as known
  where known.name = unschedule.name;
  return found;
end;
$$;

comment on function soniq.unschedule(text) is
'Removes a schedule; jobs that it has enqueued stay. False if there is no such schedule.';

create or replace function soniq.prune_schedules(source text, keep text[], dry_run boolean default false)
returns setof text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  chosen text[];
begin
  perform
    soniq._check_given(code => 'SQ019', what => 'schedule''s source', value => prune_schedules.source),
    soniq._check_given(code => 'SQ019', what => 'list of schedules to keep', value => prune_schedules.keep::text);

  chosen := array(
    select known.name
    from soniq.schedules as known
    where known.source = prune_schedules.source
      and known.name <> all (prune_schedules.keep)
    order by known.name
    for update
  );
  delete from soniq.schedules as known
  where known.name = any (chosen)
    and prune_schedules.dry_run is not true;
  return query
  select pg_catalog.unnest(chosen);
end;
$$;

comment on function soniq.prune_schedules(text, text[], boolean) is
'Removes the schedules that a source registered once and has no longer, and answers with their names.

source: as given to schedule(); those of other sources, and those made by hand, are left alone.
keep: the names that the source still has.
dry_run: changes nothing and answers what would be removed.

Errors: SQ019 source or keep is NULL.';

create or replace function soniq.pause_schedule(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  schedule constant soniq.schedules := soniq._lock_schedule(name => name);
begin
  update soniq.schedules as known
  set paused = true
  where known.name = schedule.name
    and not known.paused;
  return found;
end;
$$;

comment on function soniq.pause_schedule(text) is
'Stops a schedule from enqueueing, until resume_schedule(). True if this paused it, false if it was paused already.

Errors: SQ020 no such schedule.';

create or replace function soniq.resume_schedule(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  schedule constant soniq.schedules := soniq._lock_schedule(name => name);
begin
  update soniq.schedules as known
  set paused = false,
    next_run_at = soniq._run_after(schedule => known, after => greatest(as_of, known.last_due_at))
  where known.name = schedule.name
    and known.paused;
  return found;
end;
$$;

comment on function soniq.resume_schedule(text) is
'Lets a paused schedule enqueue again, from its next run on; what fell into the pause does not count as missed. True if this resumed it, false if it was not paused.

Errors: SQ020 no such schedule.';

create or replace function soniq.run_schedule_now(name text)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  schedule constant soniq.schedules := soniq._lock_schedule(name => name);
  job_id bigint;
begin
  if not soniq._may_start(schedule => schedule) then
    return null;
  end if;

  job_id := soniq._enqueue_runs(schedule => schedule, runs => array[soniq.clock()]);
  update soniq.schedules as known
  set last_job_id = job_id
  where known.name = schedule.name;
  return job_id;
end;
$$;

comment on function soniq.run_schedule_now(text) is
'Enqueues a job of a schedule at once, also of a paused one, due now; its next run stays when it is. Answers with the job''s id, or NULL where the schedule forbids overlap and its last job is still queued or processing.

Errors: SQ020 no such schedule.';

create or replace function soniq.preview_schedule(name text, runs integer default 10)
returns table (run_at timestamptz, local_time timestamp)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  schedule soniq.schedules;
begin
  if preview_schedule.runs is null or preview_schedule.runs not between 1 and 1000 then
    perform soniq._refuse(
      'SQ012',
      pg_catalog.format('runs is %s', coalesce(preview_schedule.runs::text, 'NULL')),
      'Give a whole number from 1 to 1000.'
    );
  end if;

  select *
  into schedule
  from soniq.schedules as known
  where known.name = preview_schedule.name;
  if not found then
    perform soniq._refuse_schedule(name => preview_schedule.name);
  end if;

  return query
  with recursive coming as (
    select 1 as number, schedule.next_run_at
    union all
    select coming.number + 1, soniq._run_after(schedule => schedule, after => coming.next_run_at)
    from coming
    where coming.number < preview_schedule.runs
      and coming.next_run_at is not null
  )
  select coming.next_run_at, coming.next_run_at at time zone schedule.timezone
  from coming
  where coming.next_run_at is not null
  order by coming.number;
end;
$$;

comment on function soniq.preview_schedule(text, integer) is
'The next runs of a schedule, and the local time of each; of a paused one, those it would have.

runs: how many, 1 to 1000.

Errors: SQ012 runs, SQ020 no such schedule.';

-- How they stand.

create or replace function soniq._schedule_state(schedule soniq.schedules, late_before timestamptz)
returns text
language sql
immutable
parallel safe
as $$
  select case
    when (_schedule_state.schedule).paused then 'paused'
    when (_schedule_state.schedule).next_run_at is null then 'ended'
    when (_schedule_state.schedule).next_run_at < _schedule_state.late_before then 'late'
    else 'active'
  end;
$$;

comment on function soniq._schedule_state(soniq.schedules, timestamptz) is
'paused; ended, if it is never due again; late, if it was due before a time; or active.';

create or replace function soniq._late_before()
returns timestamptz
language sql
volatile
as $$
  select soniq.clock() - settings.schedule_tolerance
  from soniq.settings as settings;
$$;

comment on function soniq._late_before() is
'A schedule that was due before then is late.';

create or replace function soniq._schedule_stats()
returns table (
  name text,
  job_name text,
  state text,
  next_run_at timestamptz,
  last_due_at timestamptz,
  last_job_id bigint
)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    schedule.name,
    schedule.job_name,
    soniq._schedule_state(schedule => schedule, late_before => late.before),
    schedule.next_run_at,
    schedule.last_due_at,
    schedule.last_job_id
  from soniq._late_before() as late (before)
  cross join soniq.schedules as schedule;
$$;

comment on function soniq._schedule_stats() is
'What the view schedule_stats shows.';

create or replace view soniq.schedule_stats as
select *
from soniq._schedule_stats();

comment on view soniq.schedule_stats is
'Each schedule and how it stands.';
comment on column soniq.schedule_stats.name is 'Its name.';
comment on column soniq.schedule_stats.job_name is 'The job that it enqueues.';
comment on column soniq.schedule_stats.state is
  'active; late, if it has been due for longer than soniq.settings.schedule_tolerance: does anything tick?; paused; or ended, if it is never due again.';
comment on column soniq.schedule_stats.next_run_at is 'When it is due next; NULL if never again.';
comment on column soniq.schedule_stats.last_due_at is 'The time of its last run; NULL if it had none.';
comment on column soniq.schedule_stats.last_job_id is 'The job that it enqueued last.';

-- The tally: what tick() counts once a minute, so that metrics() and the views need not count it each time they are asked.
--
-- A count of ten million jobs reads 60,000 pages of the index, and as many of the table where vacuum has not been for a
-- while. A counter would cost nothing to read, but a row that every job updates makes them wait for each other and
-- leaves dead rows behind. So numbers are found in three ways, each of which costs a bounded number of pages.
--
--   Read whole: a table of at most 1,000 pages, which hold some 50,000 jobs. The numbers are exact.
--
--   Counted: in a larger table, the ready and the scheduled jobs of a lane are two ranges of the index jobs_ready. These are read up
--   to as many entries as 500 pages give, shared by all lanes: eight hundred for each of thirty lanes where vacuum has marked
--   the table's pages as visible to all, since then the index alone is read; ten where it has marked none, since then an
--   entry may cost a page. Numbers below are exact. So are the leases, which are as many as runners have slots.
--
--   Estimated: where a range goes on, its length comes from a sample of 1,000 pages of the table, and is_estimate says so.
--   Jobs of one queue lie together if they were enqueued together, so a queue that has a hundredth of a large table may be
--   told a third too high or too low; one that has a tenth of it, by a tenth, and one that has most of it, by a few
--   percent. The same pages are read each time, so that numbers do not jump from tally to tally, and are likely in memory.
--
-- While some transaction keeps vacuum from its work, entries of jobs long gone pile up where ranges begin, and a range
-- that holds ten jobs may take as long to read as one that holds millions. So when that has gone on for a minute, and more
-- than half a million dead rows have come together, as PostgreSQL counts them, no range is read and the sample has to do
-- for everything: a small backlog may then be told as none, and the oldest ready job as younger than it is.
-- soniq_oldest_transaction_seconds tells of that well before. Without such a transaction, readers mark the entries as
-- dead and pass over them, so it does not matter how many rows vacuum has still to remove.

-- What can be read, and at what cost.

create or replace function soniq._pages(relation regclass)
returns bigint
language sql
volatile
as $$
  select pg_catalog.pg_relation_size(_pages.relation) / pg_catalog.current_setting('block_size')::bigint;
$$;

comment on function soniq._pages(regclass) is
'The pages of a table, without its indexes.';

-- A hundred and more entries lie on a page of the index; each may lead to a page of the table that is not visible to all.
create or replace function soniq._affordable_entries(relation regclass, pages integer)
returns bigint
language sql
volatile
as $$
  select (
    _affordable_entries.pages
    / (1.01 - least(known.relallvisible::double precision / greatest(soniq._pages(relation => relation), 1), 1))
  )::bigint
  from pg_catalog.pg_class as known
  where known.oid = _affordable_entries.relation;
$$;

comment on function soniq._affordable_entries(regclass, integer) is
'How many entries of a table''s index may be counted for so many pages, by what vacuum has left visible to all.';

create or replace function soniq._dead_rows()
returns bigint
language sql
stable
as $$
  select pg_catalog.pg_stat_get_dead_tuples('soniq.jobs'::pg_catalog.regclass);
$$;

comment on function soniq._dead_rows() is
'Rows of soniq.jobs that vacuum has still to remove, as far as PostgreSQL knows.';

-- Transactions, of which only those that have an xid or a snapshot count, prepared ones, and what a standby or a slot asks
-- for. A vacuum does not hinder another. age() counts back from one xid all through a transaction, so whoever has begun since is
-- younger than nothing.
create or replace function soniq._vacuum_obstacles()
returns table (since timestamptz, transactions integer)
language sql
stable
as $$
  select session.xact_start, greatest(pg_catalog.age(session.backend_xmin), pg_catalog.age(session.backend_xid), 0)
  from pg_catalog.pg_stat_activity as session
  where (session.backend_xmin is not null or session.backend_xid is not null)
    and (session.datname = pg_catalog.current_database() or session.datid is null)
    and session.pid <> pg_catalog.pg_backend_pid()
    and not exists (
      select
      from pg_catalog.pg_stat_progress_vacuum as vacuum
      where vacuum.pid = session.pid
    )
  union all
  select prepared.prepared, greatest(pg_catalog.age(prepared.transaction), 0)
  from pg_catalog.pg_prepared_xacts as prepared
  where prepared.database = pg_catalog.current_database()
  union all
  select null, greatest(pg_catalog.age(slot.xmin), 0)
  from pg_catalog.pg_replication_slots as slot
  where slot.xmin is not null;
$$;

comment on function soniq._vacuum_obstacles() is
'What keeps vacuum from removing rows in this database: since when, and how many transactions it reaches back. Who may not see other users'' sessions (pg_read_all_stats) does not see since when.';

-- PostgreSQL's own times, hence its own clock.
create or replace function soniq._ranges_are_readable()
returns boolean
language sql
volatile
as $$
  select soniq._dead_rows() <= 500000
    or not exists (
      select
      from soniq._vacuum_obstacles() as obstacle
      where obstacle.since < pg_catalog.clock_timestamp() - interval '1 minute'
        or (obstacle.since is null and obstacle.transactions > 1000)
    );
$$;

comment on function soniq._ranges_are_readable() is
'False where so many entries that vacuum cannot remove lie in the indexes of soniq.jobs that the sample has to do.';

create or replace function soniq._leases()
returns table (queue text, job_name text, runner_id bigint, claimed_at timestamptz, deadline timestamptz)
language sql
stable
set enable_seqscan = off
set jit = off
as $$
  select job.queue, job.job_name, job.runner_id, job.claimed_at, job.deadline
  from soniq.jobs as job
  where job.status = 'processing';
$$;

comment on function soniq._leases() is
'The jobs being processed: as many as runners have slots.';

create or replace function soniq._sample_percent(relation regclass, pages integer)
returns real
language sql
volatile
as $$
  select least(100, 100.0 * _sample_percent.pages / greatest(soniq._pages(relation => relation), 1))::real;
$$;

comment on function soniq._sample_percent(regclass, integer) is
'The share of a table''s pages that makes about so many: all of them, if there are no more, or NULL is given.';

create or replace function soniq._sampled_jobs(pages integer default null, since timestamptz default 'infinity')
returns table (
  queue text,
  job_name text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
  failed bigint,
  oldest_ready_at timestamptz
)
language plpgsql
volatile
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  grace constant interval := settings.lease_grace from soniq.settings as settings;
  percent constant real := soniq._sample_percent(relation => 'soniq.jobs', pages => _sampled_jobs.pages);
  weight constant double precision := 100 / percent;
begin
  return query
  select
    job.queue,
    job.job_name,
    (weight * pg_catalog.count(*) filter (where job.status = 'queued' and job.scheduled_at <= as_of))::bigint,
    (weight * pg_catalog.count(*) filter (where job.status = 'queued' and job.scheduled_at > as_of))::bigint,
    (weight * pg_catalog.count(*) filter (where job.status = 'processing'))::bigint,
    (weight * pg_catalog.count(*) filter (where job.deadline < as_of - grace))::bigint,
    (weight * pg_catalog.count(*) filter (where job.failed_at > _sampled_jobs.since and job.failed_at <= as_of))::bigint,
    min(job.scheduled_at) filter (where job.status = 'queued' and job.scheduled_at <= as_of)
  from soniq.jobs as job tablesample system (percent) repeatable (0)
  group by job.queue, job.job_name;
end;
$$;

comment on function soniq._sampled_jobs(integer, timestamptz) is
'The live jobs by queue and name, told from about so many pages of their table; all of them unless told, and then exact. failed are those of which an attempt has failed since then.';

create or replace function soniq._sampled_dead_letters(pages integer)
returns table (queue text, job_name text, waiting bigint)
language plpgsql
volatile
set jit = off
as $$
#variable_conflict use_column
declare
  percent constant real := soniq._sample_percent(
    relation => 'soniq.dead_letter_jobs', pages => _sampled_dead_letters.pages
  );
  weight constant double precision := 100 / percent;
begin
  return query
  select letter.queue, letter.job_name, (weight * pg_catalog.count(*))::bigint
  from soniq.dead_letter_jobs as letter tablesample system (percent) repeatable (0)
  where letter.replay_count = 0
  group by letter.queue, letter.job_name;
end;
$$;

comment on function soniq._sampled_dead_letters(integer) is
'The dead letters not yet replayed by queue and name, told as in _sampled_jobs().';

-- Rows are added and seldom removed, so they lie in the order in which jobs finished, or nearly. A page may have no row to be
-- seen, where completions were rolled back; then the next one that is there tells.
create or replace function soniq._pages_since(partition name, pages bigint, since timestamptz)
returns bigint
language plpgsql
stable
as $$
declare
  from_page bigint := 0::bigint;
  to_page bigint := pages;
  middle bigint;
  is_before boolean;
begin
  while from_page < to_page loop
    middle := (from_page + to_page) / 2;
    execute pg_catalog.format(
      'select job.finished_at < $2
      from soniq.%I as job
      where job.ctid >= $1
      limit 1',
      partition
    )
    into is_before
    using pg_catalog.format('(%s,0)', middle)::tid, since;
    if is_before then
      from_page := middle + 1;
    else
      to_page := middle;
    end if;
  end loop;
  return pages - from_page;
end;
$$;

comment on function soniq._pages_since(name, bigint, timestamptz) is
'How many pages of a partition of finished_jobs begin with a job that finished since then, found by halving.';

create or replace function soniq._recently_finished(since timestamptz)
returns table (
  queue text,
  job_name text,
  status soniq.job_status,
  failed_attempts integer,
  failed_at timestamptz,
  wait_time interval,
  run_time interval,
  finished_at timestamptz,
  weight double precision
)
language plpgsql
volatile
set jit = off
as $$
#variable_conflict use_column
declare
  partition record;
  is_in_use boolean;
begin
  -- Rows are added and seldom removed, so the latest lie at the end, and no index on finished_at is needed, which each completion
  -- would have to write. The last few pages tell whether a partition is in use at all.
  for partition in
    select
      part.relname,
      pg_catalog.pg_relation_size(part.oid) / pg_catalog.current_setting('block_size')::integer as pages
    from pg_catalog.pg_inherits as inheritance
    join pg_catalog.pg_class as part
      on part.oid = inheritance.inhrelid
    where inheritance.inhparent = 'soniq.finished_jobs'::pg_catalog.regclass
      and pg_catalog.pg_relation_size(part.oid) > 0
  loop
    execute pg_catalog.format(
      'select exists (
        select
        from soniq.%I as job
        where job.ctid >= $1
          and job.finished_at >= $2
      )',
      partition.relname
    )
    into is_in_use
    using pg_catalog.format('(%s,0)', greatest(partition.pages - 10, 0))::tid, since;
    continue when not is_in_use;

    weight := null;
    for queue, job_name, status, failed_attempts, failed_at, wait_time, run_time, finished_at in
      execute pg_catalog.format(
        'select
          job.queue, job.job_name, job.status, pg_catalog.jsonb_array_length(job.errors), job.failed_at,
          job.claimed_at - job.scheduled_at, job.finished_at - job.claimed_at, job.finished_at
        from soniq.%I as job
        where job.ctid >= $1',
        partition.relname
      )
      using pg_catalog.format('(%s,0)', greatest(partition.pages - 100, 0))::tid
    loop
      -- The first is the oldest, or nearly: where it is recent, so are some on the pages before.
      if weight is null then
        weight := case
          when partition.pages <= 100 or finished_at < since then 1::double precision
          else greatest(
              soniq._pages_since(partition => partition.relname, pages => partition.pages, since => _recently_finished.since)
                / 100::double precision,
              1::double precision
            )
        end;
      end if;
      continue when finished_at < since;
      return next;
    end loop;
  end loop;
end;
$$;

comment on function soniq._recently_finished(timestamptz) is
'The jobs that finished since then, as far as they are in the last 100 pages of their partition; weight is for how many each of these stands.';

-- Counting.

create or replace function soniq._counted_jobs()
returns table (queue text, ready bigint, scheduled bigint, more_ready boolean, more_scheduled boolean)
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  ranges constant bigint := 2 * pg_catalog.count(*) from soniq.lanes as known;
  fair_share constant bigint := soniq._affordable_entries(relation => 'soniq.jobs', pages => 500) / greatest(ranges, 1);
  most constant bigint := least(greatest(fair_share, 10), 10000);
begin
  return query
  select
    lane.queue,
    sum(ready.jobs)::bigint,
    sum(later.jobs)::bigint,
    pg_catalog.bool_or(ready.jobs > most),
    pg_catalog.bool_or(later.jobs > most)
  from (
    select distinct known.queue, known.priority
    from soniq.lanes as known
  ) as lane
  cross join lateral (
    select pg_catalog.count(*) as jobs
    from (
      select
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = lane.queue
        and job.priority = lane.priority
        and job.scheduled_at <= as_of
      order by job.scheduled_at, job.id
      limit most + 1
    ) as entry
  ) as ready
  cross join lateral (
    select pg_catalog.count(*) as jobs
    from (
      select
      from soniq.jobs as job
      where job.status = 'queued'
        and job.queue = lane.queue
        and job.priority = lane.priority
        and job.scheduled_at > as_of
      order by job.scheduled_at, job.id
      limit most + 1
    ) as entry
  ) as later
  group by lane.queue;
end;
$$;

comment on function soniq._counted_jobs() is
'The queued jobs of each queue, and whether there are more than were counted.';

create or replace function soniq._count_queues(sampled_jobs jsonb, sampled_letters jsonb)
returns table (
  queue text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
  dead_letters bigint,
  is_estimate boolean,
  failed bigint,
  oldest_ready_at timestamptz
)
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  grace constant interval := settings.lease_grace from soniq.settings as settings;
  is_whole constant boolean := soniq._pages(relation => 'soniq.jobs') <= 1000;
  uses_index constant boolean := not is_whole and soniq._ranges_are_readable();
  has_all_letters constant boolean := soniq._pages(relation => 'soniq.dead_letter_jobs') <= 500;
  most_letters constant bigint := soniq._affordable_entries(relation => 'soniq.dead_letter_jobs', pages => 1000);
begin
  return query
  with sampled as (
    select
      job.queue,
      sum(job.ready) as ready,
      sum(job.scheduled) as scheduled,
      sum(job.processing) as processing,
      sum(job.overdue) as overdue,
      sum(job.failed) as failed,
      min(job.oldest_ready_at) as oldest_ready_at
    from pg_catalog.jsonb_to_recordset(_count_queues.sampled_jobs) as job (
      queue text,
      job_name text,
      ready bigint,
      scheduled bigint,
      processing bigint,
      overdue bigint,
      failed bigint,
      oldest_ready_at timestamptz
    )
    group by job.queue
  ),
  counted as (
    select job.*
    from soniq._counted_jobs() as job
    where uses_index
  ),
  leased as (
    select
      lease.queue,
      pg_catalog.count(*) as jobs,
      pg_catalog.count(*) filter (where lease.deadline < as_of - grace) as overdue
    from soniq._leases() as lease
    where uses_index
    group by lease.queue
  ),
  dead as materialized (
    select letter.queue, pg_catalog.count(*) as jobs
    from (
      select one.queue
      from soniq.dead_letter_jobs as one
      where not has_all_letters
        and one.replay_count = 0
      limit most_letters + 1
    ) as letter
    group by letter.queue
  ),
  sampled_dead as (
    select letter.queue, sum(letter.waiting) as jobs
    from pg_catalog.jsonb_to_recordset(_count_queues.sampled_letters) as letter (queue text, waiting bigint)
    where has_all_letters
      or (select sum(dead.jobs) > most_letters from dead)
    group by letter.queue
  )
  select
    known.queue,
    coalesce(case when counted.more_ready is false then counted.ready else greatest(counted.ready, sampled.ready) end, 0)::bigint,
    coalesce(
      case when counted.more_scheduled is false then counted.scheduled else greatest(counted.scheduled, sampled.scheduled) end,
      0
    )::bigint,
    coalesce(case when uses_index then leased.jobs else sampled.processing end, 0)::bigint,
    coalesce(case when uses_index then leased.overdue else sampled.overdue end, 0)::bigint,
    coalesce(greatest(dead.jobs, sampled_dead.jobs), 0)::bigint,
    not is_whole and coalesce(counted.more_ready or counted.more_scheduled, true)
      or (select sum(all_dead.jobs) > most_letters from dead as all_dead) is true,
    coalesce(sampled.failed, 0)::bigint,
    sampled.oldest_ready_at
  from (
    -- Whatever is live or dead once came through a lane.
    select distinct lane.queue
    from soniq.lanes as lane
  ) as known
  left join counted on counted.queue = known.queue
  left join leased on leased.queue = known.queue
  left join sampled on sampled.queue = known.queue
  left join dead on dead.queue = known.queue
  left join sampled_dead on sampled_dead.queue = known.queue
  order by known.queue;
end;
$$;

comment on function soniq._count_queues(jsonb, jsonb) is
'The jobs of each queue by state, those of which an attempt has failed lately, and its dead letters that were not replayed.';

create or replace function soniq._count_job_names(sampled_jobs jsonb, sampled_letters jsonb)
returns table (
  job_name text,
  queued bigint,
  processing bigint,
  dead_letters bigint,
  is_estimate boolean,
  done bigint,
  cancelled bigint,
  failed_attempts bigint,
  average_run_time interval,
  p95_run_time interval,
  finished_since timestamptz
)
language sql
volatile
set jit = off
as $$
  with live as (
    select
      job.job_name,
      sum(job.ready + job.scheduled) as queued,
      sum(job.processing) as processing
    from pg_catalog.jsonb_to_recordset(_count_job_names.sampled_jobs) as job (
      job_name text,
      ready bigint,
      scheduled bigint,
      processing bigint
    )
    group by job.job_name
  ),
  leased as (
    select lease.job_name, pg_catalog.count(*) as jobs
    from soniq._leases() as lease
    where (select soniq._ranges_are_readable())
    group by lease.job_name
  ),
  dead as (
    select letter.job_name, sum(letter.waiting) as jobs
    from pg_catalog.jsonb_to_recordset(_count_job_names.sampled_letters) as letter (job_name text, waiting bigint)
    group by letter.job_name
  ),
  recent as materialized (
    select *
    from soniq._recently_finished(since => soniq.clock() - interval '1 hour')
  ),
  finished as (
    select
      job.job_name,
      pg_catalog.count(*) filter (where job.status = 'done') as done,
      pg_catalog.count(*) filter (where job.status = 'cancelled') as cancelled,
      sum(job.failed_attempts) as failed_attempts,
      pg_catalog.avg(job.run_time) filter (where job.status = 'done') as average_run_time,
      pg_catalog.percentile_disc(0.95) within group (order by job.run_time) filter (where job.status = 'done')
        as p95_run_time
    from recent as job
    group by job.job_name
  )
  select
    known.job_name,
    coalesce(live.queued, 0)::bigint,
    coalesce(case when soniq._ranges_are_readable() then leased.jobs else live.processing end, 0)::bigint,
    coalesce(dead.jobs, 0)::bigint,
    greatest(soniq._pages(relation => 'soniq.jobs'), soniq._pages(relation => 'soniq.dead_letter_jobs')) > 1000,
    coalesce(finished.done, 0),
    coalesce(finished.cancelled, 0),
    coalesce(finished.failed_attempts, 0)::bigint,
    finished.average_run_time,
    finished.p95_run_time,
    first.finished_at
  from (
    select type.job_name from soniq.job_types as type
    union
    select live.job_name from live
    union
    select leased.job_name from leased
    union
    select dead.job_name from dead
    union
    select finished.job_name from finished
  ) as known
  left join live on live.job_name = known.job_name
  left join leased on leased.job_name = known.job_name
  left join dead on dead.job_name = known.job_name
  left join finished on finished.job_name = known.job_name
  cross join (
    select min(recent.finished_at) as finished_at
    from recent
  ) as first
  order by known.job_name;
$$;

comment on function soniq._count_job_names(jsonb, jsonb) is
'The jobs of each name, live, dead and finished lately. Names are in no index, so beyond 1,000 pages those of queued jobs are told from a sample.';

create or replace function soniq._count_leases()
returns table (runner_id bigint, running bigint, oldest_claimed_at timestamptz)
language sql
volatile
as $$
  select lease.runner_id, pg_catalog.count(*), min(lease.claimed_at)
  from soniq._leases() as lease
  group by lease.runner_id;
$$;

comment on function soniq._count_leases() is
'How many jobs each runner holds, and since when the oldest of them.';

-- From lane to lane through the index itself, since of 2,000 lanes few have jobs. The heads lie on pages that are written
-- all the time, so to look up whether each is visible to all would only be one page more.
create or replace function soniq._lane_heads()
returns table (queue text, priority smallint, scheduled_at timestamptz, id bigint)
language sql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set enable_indexonlyscan = off
set jit = off
as $$
  with recursive head as (
    (
      select job.queue, job.priority, job.scheduled_at, job.id
      from soniq.jobs as job
      where job.status = 'queued'
      order by job.priority, job.queue, job.scheduled_at, job.id
      limit 1
    )
    union all
    select following.*
    from head
    cross join lateral (
      select job.queue, job.priority, job.scheduled_at, job.id
      from soniq.jobs as job
      where job.status = 'queued'
        and (job.priority, job.queue) > (head.priority, head.queue)
      order by job.priority, job.queue, job.scheduled_at, job.id
      limit 1
    ) as following
  )
  select head.queue, head.priority, head.scheduled_at, head.id
  from head;
$$;

comment on function soniq._lane_heads() is
'The first queued job of each lane that has any.';

create or replace function soniq._count_schedules()
returns jsonb
language sql
volatile
as $$
  select pg_catalog.jsonb_build_object(
    'paused', pg_catalog.count(*) filter (where known.state = 'paused'),
    'ended', pg_catalog.count(*) filter (where known.state = 'ended'),
    'active', pg_catalog.count(*) filter (where known.state = 'active')
  )
  from (
    select soniq._schedule_state(schedule => schedule, late_before => '-infinity') as state
    from soniq.schedules as schedule
  ) as known;
$$;

comment on function soniq._count_schedules() is
'How many schedules there are by state.';

create or replace function soniq._count(since timestamptz default 'infinity')
returns soniq.tallies
language plpgsql
volatile
as $$
declare
  as_of constant timestamptz := soniq.clock();
  sampled_jobs constant jsonb := pg_catalog.jsonb_agg(each)
    from soniq._sampled_jobs(pages => 1000, since => _count.since) as each;
  sampled_letters constant jsonb := pg_catalog.jsonb_agg(each) from soniq._sampled_dead_letters(pages => 500) as each;
  counted soniq.tallies;
begin
  select
    as_of,
    (
      select pg_catalog.jsonb_agg(each)
      from soniq._count_queues(sampled_jobs => sampled_jobs, sampled_letters => sampled_letters) as each
    ),
    (
      select pg_catalog.jsonb_agg(each)
      from soniq._lane_heads() as each
      where (select soniq._ranges_are_readable())
    ),
    (
      select pg_catalog.jsonb_agg(each)
      from soniq._count_job_names(sampled_jobs => sampled_jobs, sampled_letters => sampled_letters) as each
    ),
    (
      select pg_catalog.jsonb_agg(each)
      from soniq._count_leases() as each
    ),
    (
      select pg_catalog.jsonb_agg(each)
      from soniq._group_letters(most => 20000) as each
    ),
    soniq._count_schedules()
  into
    counted.taken_at, counted.queues, counted.heads, counted.job_names, counted.runners, counted.letters, counted.schedules;
  return counted;
end;
$$;

comment on function soniq._count(timestamptz) is
'Counts everything that a tally holds; what has failed, since then.';

create or replace function soniq._take_tally()
returns void
language plpgsql
volatile
as $$
declare
  -- Where nothing ticked for long, what is older is left out.
  since constant timestamptz := greatest(
    coalesce((select max(former.taken_at) from soniq.tallies as former), soniq.clock() - interval '1 minute'),
    soniq.clock() - interval '1 hour'
  );
  counted constant soniq.tallies := soniq._count(since => since);
begin
  delete from soniq.tallies;
  insert into soniq.tallies
  select counted.*;
  perform soniq._note_history(since => since, counted => counted)
  where since < counted.taken_at;
end;
$$;

comment on function soniq._take_tally() is
'Counts, keeps what was counted in place of what was before, and adds it to the history.';

create or replace function soniq._tallied_queues(tally soniq.tallies)
returns table (
  queue text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
  dead_letters bigint,
  is_estimate boolean,
  failed bigint,
  oldest_ready_at timestamptz
)
language sql
stable
as $$
  select each.*
  from pg_catalog.jsonb_to_recordset((_tallied_queues.tally).queues) as each (
    queue text,
    ready bigint,
    scheduled bigint,
    processing bigint,
    overdue bigint,
    dead_letters bigint,
    is_estimate boolean,
    failed bigint,
    oldest_ready_at timestamptz
  );
$$;

comment on function soniq._tallied_queues(soniq.tallies) is
'What a tally tells of each queue.';

create or replace function soniq._tallied_heads(tally soniq.tallies)
returns table (queue text, scheduled_at timestamptz)
language sql
stable
as $$
  select head.queue, min(head.scheduled_at)
  from pg_catalog.jsonb_to_recordset((_tallied_heads.tally).heads) as head (queue text, scheduled_at timestamptz)
  where head.scheduled_at <= (_tallied_heads.tally).taken_at
  group by head.queue;
$$;

comment on function soniq._tallied_heads(soniq.tallies) is
'When the first job was due that was ready in each queue when a tally was taken.';

create or replace function soniq._latest_tally()
returns soniq.tallies
language plpgsql
volatile
as $$
declare
  latest soniq.tallies;
begin
  select tally.*
  into latest
  from soniq.tallies as tally
  order by tally.taken_at desc
  limit 1;

  -- Where nothing ticks, whoever asks has to count.
  if latest.taken_at is null or latest.taken_at < soniq.clock() - interval '5 minutes' then
    return soniq._count();
  end if;
  return latest;
end;
$$;

comment on function soniq._latest_tally() is
'What was counted last, which is at most a minute ago where something ticks, and at most five minutes anyway.';

-- History: what became of jobs over time, for charts. tick() notes it once a minute, from what the tally has counted and
-- from the jobs that finished since: so a chart of a week reads 168 rows, whatever the number of jobs.
--
-- Each number is added to three rows, of the minute, of ten minutes and of the hour. Minutes are kept for two hours, tens for
-- two days, and hours for soniq.settings.history_retention.
--
-- Where more jobs finish in a minute than lie on the last 100 pages of their table, some five thousand, the minute is told from
-- these and from how many pages it has filled.

-- Durations are counted by size, 1-2-5 to the decade: such counts can be added up over queues and time, and any percentile be
-- told from the sum, at most half of a step off.
create or replace function soniq._duration_bounds()
returns double precision[]
language sql
immutable
parallel safe
as $$
  select '{
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000
  }'::double precision[];
$$;

comment on function soniq._duration_bounds() is
'In seconds, where one size of durations ends and the next begins.';

create or replace function soniq._by_size(durations interval[], weight double precision)
returns bigint[]
language sql
immutable
parallel safe
as $$
  select array(
    select (_by_size.weight * pg_catalog.count(each.size))::bigint
    from pg_catalog.generate_series(0, pg_catalog.cardinality(soniq._duration_bounds())) as known (size)
    left join (
      select pg_catalog.width_bucket(extract(epoch from given.duration)::double precision, soniq._duration_bounds())
      from pg_catalog.unnest(_by_size.durations) as given (duration)
      where given.duration is not null
    ) as each (size)
      on each.size = known.size
    group by known.size
    order by known.size
  );
$$;

comment on function soniq._by_size(interval[], double precision) is
'How many of the durations are of each size, each counting for so many.';

create or replace function soniq._sum_of(one bigint[], other bigint[])
returns bigint[]
language sql
immutable
parallel safe
as $$
  select array(
    select coalesce(pair.a, 0) + coalesce(pair.b, 0)
    from rows from (
      pg_catalog.unnest(_sum_of.one),
      pg_catalog.unnest(_sum_of.other)
    ) with ordinality as pair (a, b, size)
    order by pair.size
  );
$$;

comment on function soniq._sum_of(bigint[], bigint[]) is
'Two counts by size added up.';

create or replace function soniq._percentile(by_size bigint[], share double precision)
returns interval
language sql
immutable
strict
parallel safe
as $$
  select interval '1 second' * (
    reached.from_bound + (reached.to_bound - reached.from_bound) * (reached.wanted - reached.before) / reached.jobs
  )
  from (
    select
      each.jobs,
      _percentile.share * sum(each.jobs) over () as wanted,
      sum(each.jobs) over (order by each.size) as up_to,
      sum(each.jobs) over (order by each.size) - each.jobs as before,
      case when each.size = 1 then 0 else bounds.seconds[each.size - 1] end as from_bound,
      coalesce(bounds.seconds[each.size], bounds.seconds[each.size - 1]) as to_bound
    from pg_catalog.unnest(_percentile.by_size) with ordinality as each (jobs, size)
    cross join soniq._duration_bounds() as bounds (seconds)
  ) as reached
  where reached.jobs > 0
    and reached.up_to >= reached.wanted
  order by reached.up_to
  limit 1;
$$;

comment on function soniq._percentile(bigint[], double precision) is
'The duration that this share of them did not exceed, as if those of one size lay evenly within it; NULL for no durations.';

create or replace function soniq._finished_by_queue(since timestamptz, until timestamptz)
returns table (queue text, done bigint, cancelled bigint, failed bigint, wait_times bigint[], run_times bigint[])
language sql
volatile
set jit = off
as $$
  select
    finished.queue,
    coalesce(sum(finished.weight) filter (where finished.status = 'done'), 0)::bigint,
    coalesce(sum(finished.weight) filter (where finished.status = 'cancelled'), 0)::bigint,
    coalesce(sum(finished.weight) filter (where finished.failed_at > _finished_by_queue.since), 0)::bigint,
    soniq._by_size(
      durations => pg_catalog.array_agg(finished.wait_time) filter (where finished.status = 'done'),
      weight => pg_catalog.avg(finished.weight)
    ),
    soniq._by_size(
      durations => pg_catalog.array_agg(finished.run_time) filter (where finished.status = 'done'),
      weight => pg_catalog.avg(finished.weight)
    )
  from soniq._recently_finished(since => _finished_by_queue.since) as finished
  where finished.finished_at > _finished_by_queue.since
    and finished.finished_at <= _finished_by_queue.until
  group by finished.queue;
$$;

comment on function soniq._finished_by_queue(timestamptz, timestamptz) is
'What finished between the two times, by queue.';

create or replace function soniq._note_history(since timestamptz, counted soniq.tallies)
returns void
language plpgsql
volatile
set jit = off
as $$
#variable_conflict use_column
declare
  -- What was counted belongs to the span that most of the time between was in.
  middle constant timestamptz := since + (counted.taken_at - since) / 2;
begin
  insert into soniq.history as known (
    queue, span, began_at, done, cancelled, failed, dead, most_ready, longest_wait, wait_times, run_times
  )
  with live as (
    select *
    from soniq._tallied_queues(tally => counted)
  ),
  buried as (
    select letter.queue, pg_catalog.count(*) as jobs
    from (
      select latest.queue
      from soniq.dead_letter_jobs as latest
      where latest.dead_at > since
        and latest.dead_at <= counted.taken_at
      limit 10000
    ) as letter
    group by letter.queue
  ),
  by_queue as (
    select
      coalesce(live.queue, finished.queue, buried.queue) as queue,
      coalesce(finished.done, 0) as done,
      coalesce(finished.cancelled, 0) as cancelled,
      coalesce(live.failed, 0) + coalesce(finished.failed, 0) + coalesce(buried.jobs, 0) as failed,
      coalesce(buried.jobs, 0) as dead,
      coalesce(live.ready, 0) as ready,
      coalesce(counted.taken_at - least(head.scheduled_at, live.oldest_ready_at), interval '0') as longest_wait,
      coalesce(finished.wait_times, soniq._by_size(durations => null, weight => 1)) as wait_times,
      coalesce(finished.run_times, soniq._by_size(durations => null, weight => 1)) as run_times
    from live
    full join soniq._finished_by_queue(since => since, until => counted.taken_at) as finished
      on finished.queue = live.queue
    full join buried
      on buried.queue = coalesce(live.queue, finished.queue)
    left join soniq._tallied_heads(tally => counted) as head
      on head.queue = live.queue
  ),
  noted as (
    select *
    from by_queue
    where by_queue.done + by_queue.cancelled + by_queue.failed + by_queue.ready > 0
    union all
    select
      '',
      coalesce(sum(by_queue.done), 0),
      coalesce(sum(by_queue.cancelled), 0),
      coalesce(sum(by_queue.failed), 0),
      coalesce(sum(by_queue.dead), 0),
      coalesce(sum(by_queue.ready), 0),
      coalesce(max(by_queue.longest_wait), interval '0'),
      array(
        select coalesce(sum(each.jobs), 0)::bigint
        from by_queue as one
        cross join lateral pg_catalog.unnest(one.wait_times) with ordinality as each (jobs, size)
        group by each.size
        order by each.size
      ),
      array(
        select coalesce(sum(each.jobs), 0)::bigint
        from by_queue as one
        cross join lateral pg_catalog.unnest(one.run_times) with ordinality as each (jobs, size)
        group by each.size
        order by each.size
      )
    from by_queue
  )
  select
    noted.queue, spans.span, pg_catalog.date_bin(spans.span, middle, timestamptz 'epoch'), noted.done, noted.cancelled,
    noted.failed, noted.dead, noted.ready, noted.longest_wait, noted.wait_times, noted.run_times
  from noted
  cross join (values (interval '1 minute'), (interval '10 minutes'), (interval '1 hour')) as spans (span)
  order by noted.queue, spans.span
  on conflict (queue, span, began_at) do update
  set done = known.done + excluded.done,
    cancelled = known.cancelled + excluded.cancelled,
    failed = known.failed + excluded.failed,
    dead = known.dead + excluded.dead,
    most_ready = greatest(known.most_ready, excluded.most_ready),
    longest_wait = greatest(known.longest_wait, excluded.longest_wait),
    wait_times = soniq._sum_of(one => known.wait_times, other => excluded.wait_times),
    run_times = soniq._sum_of(one => known.run_times, other => excluded.run_times);
end;
$$;

comment on function soniq._note_history(timestamptz, soniq.tallies) is
'Adds to the history what happened between then and a tally.';

create or replace function soniq._prune_history()
returns void
language sql
volatile
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
  delete from soniq.history as old
  using (
    select ''
    union
    select lane.queue
    from soniq.lanes as lane
  ) as known (queue),
  (
    select kept.span, soniq.clock() - kept.keep
    from soniq.settings as settings
    cross join lateral (
      values
        (interval '1 minute', interval '2 hours'),
        (interval '10 minutes', interval '2 days'),
        (interval '1 hour', settings.history_retention)
    ) as kept (span, keep)
  ) as span (length, from_time)
  where old.queue = known.queue
    and old.span = span.length
    and old.began_at < span.from_time;
$$;

comment on function soniq._prune_history() is
'Forgets what is older than its span is kept.';

create or replace function soniq._history_span(length interval)
returns interval
language sql
immutable
parallel safe
as $$
  select case
    when _history_span.length <= interval '2 hours' then interval '1 minute'
    when _history_span.length <= interval '2 days' then interval '10 minutes'
    else interval '1 hour'
  end;
$$;

create or replace function soniq._check_history_length(length interval)
returns void
language plpgsql
volatile
as $$
begin
  -- As intervals compare, a year has 360 days.
  if length is null or length not between interval '1 minute' and interval '366 days' then
    perform soniq._refuse(
      'SQ006',
      pg_catalog.format('length is %s', coalesce(length::text, 'NULL')),
      'Give how far to look back, from ''1 minute'' to ''1 year''.'
    );
  end if;
end;
$$;

create or replace function soniq.history(length interval default '1 hour', queue text default null)
returns table (
  began_at timestamptz,
  span interval,
  is_whole boolean,
  done bigint,
  cancelled bigint,
  failed bigint,
  dead bigint,
  most_ready bigint,
  longest_wait interval,
  wait_p50 interval,
  wait_p95 interval,
  wait_p99 interval,
  run_p50 interval,
  run_p95 interval,
  run_p99 interval
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  step interval;
  from_time timestamptz;
begin
  perform
    soniq._check_unbound(what => 'history()'),
    soniq._check_history_length(length => history.length);
  step := soniq._history_span(length => length);
  from_time := pg_catalog.date_bin(step, as_of - length, timestamptz 'epoch') + step;

  -- All together have a row whenever something ticked, a queue only where something happened.
  return query
  with own as materialized (
    select noted.*
    from soniq.history as noted
    where noted.queue = coalesce(history.queue, '')
      and noted.span = step
      and noted.began_at >= from_time
  ),
  told as (
    select
      slot.began_at, step as span, false as is_whole, own.done, own.cancelled, own.failed, own.dead, own.most_ready,
      own.longest_wait, own.wait_times, own.run_times
    from pg_catalog.generate_series(from_time, pg_catalog.date_bin(step, as_of, timestamptz 'epoch'), step) as slot (began_at)
    left join own
      on own.began_at = slot.began_at
    union all
    select
      from_time,
      history.length,
      true,
      sum(own.done)::bigint,
      sum(own.cancelled)::bigint,
      sum(own.failed)::bigint,
      sum(own.dead)::bigint,
      max(own.most_ready),
      max(own.longest_wait),
      array(
        select sum(each.jobs)::bigint
        from own as one
        cross join lateral pg_catalog.unnest(one.wait_times) with ordinality as each (jobs, size)
        group by each.size
        order by each.size
      ),
      array(
        select sum(each.jobs)::bigint
        from own as one
        cross join lateral pg_catalog.unnest(one.run_times) with ordinality as each (jobs, size)
        group by each.size
        order by each.size
      )
    from own
  )
  select
    told.began_at,
    told.span,
    told.is_whole,
    coalesce(told.done, quiet.jobs),
    coalesce(told.cancelled, quiet.jobs),
    coalesce(told.failed, quiet.jobs),
    coalesce(told.dead, quiet.jobs),
    coalesce(told.most_ready, quiet.jobs),
    coalesce(told.longest_wait, quiet.jobs * interval '1 s'),
    soniq._percentile(by_size => told.wait_times, share => 0.5),
    soniq._percentile(by_size => told.wait_times, share => 0.95),
    soniq._percentile(by_size => told.wait_times, share => 0.99),
    soniq._percentile(by_size => told.run_times, share => 0.5),
    soniq._percentile(by_size => told.run_times, share => 0.95),
    soniq._percentile(by_size => told.run_times, share => 0.99)
  from told
  cross join lateral (
    select case when told.is_whole or history.queue is not null then 0::bigint end
  ) as quiet (jobs)
  order by told.is_whole, told.began_at;
end;
$$;

comment on function soniq.history(interval, text) is
'What became of jobs over time, a row for each span, oldest first: by the minute up to two hours back, by ten minutes up to two days, by the hour beyond. The last span is not over yet. After these comes a row of the whole time, of which is_whole is true. Of all queues together, what is counted is NULL where nothing ticked; percentiles are NULL where no job was done. Jobs that are kept for no time (retention 0) are not seen when they are done.

length: how far back, 1 minute to 1 year; hours are kept for soniq.settings.history_retention.
queue: of this queue; NULL is all together.

done, cancelled, dead: jobs that were done, cancelled, given up. failed: jobs of which an attempt failed.
most_ready, longest_wait: the most ready jobs and the longest that the oldest of them had been due, of what was looked at once a minute. Of jobs given up, at most 10,000 a minute are counted.
wait_p50, wait_p95, wait_p99: of the jobs done, what half of them, 95 and 99 percent did not exceed from being due to their last attempt; run_p50, run_p95, run_p99: and from there to their end.

Errors: SQ006 length, SQ027 the login is bound to a tenant.';

-- What time does. Any number of sessions may call tick() at once, from anywhere: rows that another tick works on are
-- skipped, so each piece of work happens once, without a leader.

create or replace function soniq._declare_lost_runners()
returns integer
language plpgsql
volatile
as $$
declare
  as_of constant timestamptz := soniq.clock();
  lost integer;
begin
  with noted as (
    update soniq.runners as runner
    -- A sign of life from ahead is from before the clock was set back. Who lives gives another at once; the silence of
    -- who has died begins now.
    set lost_at = case when runner.last_heartbeat_at < as_of then as_of end,
      last_heartbeat_at = least(runner.last_heartbeat_at, as_of)
    where runner.runner_id = any (array(
      select suspect.runner_id
      from soniq.runners as suspect
      where suspect.lost_at is null
        and (
          suspect.last_heartbeat_at + suspect.heartbeat_timeout < as_of
          or suspect.last_heartbeat_at - suspect.heartbeat_timeout > as_of
        )
      for update skip locked
    ))
    returning runner.lost_at
  )
  select pg_catalog.count(noted.lost_at)::integer
  into lost
  from noted;
  return lost;
end;
$$;

comment on function soniq._declare_lost_runners() is
'Marks the runners that were silent for too long. From then on they can neither claim nor show life.';

create or replace function soniq._absent_runners()
returns setof bigint
language sql
volatile
set enable_seqscan = off
as $$
  select distinct job.runner_id
  from soniq.jobs as job
  where job.status = 'processing'
    and not exists (
      select
      from soniq.runners as runner
      where runner.runner_id = job.runner_id
    );
$$;

comment on function soniq._absent_runners() is
'Runners that hold jobs and are not on the list: somebody deleted their rows. It reads every lease.';

create or replace function soniq._take_back_jobs_of(lost_runners bigint[], max_jobs integer)
returns integer
language plpgsql
volatile
set enable_seqscan = off
set jit = off
as $$
declare
  taken integer;
begin
  with stranded as (
    select
      job.id,
      job.attempt,
      case
        when runner.runner_id is null then pg_catalog.format('runner %s is not on the list', job.runner_id)
        else pg_catalog.format(
          'runner %s:%s sent no heartbeat for %s', runner.host, runner.pid, runner.heartbeat_timeout
        )
      end as message
    from soniq.jobs as job
    left join soniq.runners as runner
      on runner.runner_id = job.runner_id
    where job.status = 'processing'
      and job.runner_id = any (lost_runners)
    order by job.id
    limit _take_back_jobs_of.max_jobs
    for update of job skip locked
  ),
  batch as (
    select
      pg_catalog.array_agg(stranded.id) as job_ids,
      pg_catalog.array_agg(stranded.attempt) as attempts,
      pg_catalog.array_agg(
        pg_catalog.jsonb_build_object('type', 'RunnerLost', 'message', stranded.message)
      ) as errors,
      pg_catalog.array_agg('runner_lost'::text) as reasons
    from stranded
    having pg_catalog.count(*) > 0
  )
  select pg_catalog.count(*)::integer
  into taken
  from batch
  cross join lateral soniq._fail_leases(
    job_ids => batch.job_ids, attempts => batch.attempts, errors => batch.errors, reasons => batch.reasons
  ) as ended;
  return taken;
end;
$$;

comment on function soniq._take_back_jobs_of(bigint[], integer) is
'Takes back the jobs of these runners. What has meanwhile been reported, or passed to another runner, is left alone: the lock reads the lease again.';

create or replace function soniq._forget_runners(lost_runners bigint[])
returns void
language sql
volatile
set enable_seqscan = off
as $$
  -- Never before its last job is taken back: nobody would look for that one.
  delete from soniq.runners as runner
  where runner.runner_id = any (_forget_runners.lost_runners)
    and not exists (
      select
      from soniq.jobs as job
      where job.status = 'processing'
        and job.runner_id = runner.runner_id
    );
$$;

create or replace function soniq._take_back_lost_jobs(max_jobs integer)
returns integer
language plpgsql
volatile
as $$
declare
  lost_runners bigint[];
  taken integer;
begin
  lost_runners := array(
    select runner.runner_id
    from soniq.runners as runner
    where runner.lost_at is not null
    for update skip locked
  );
  if soniq._take_chore(chore => 'absent_runners', every => '1 minute') then
    lost_runners := lost_runners || array(select soniq._absent_runners());
  end if;
  if pg_catalog.cardinality(lost_runners) = 0 then
    return 0;
  end if;

  taken := soniq._take_back_jobs_of(lost_runners => lost_runners, max_jobs => _take_back_lost_jobs.max_jobs);
  perform soniq._forget_runners(lost_runners => lost_runners);
  return taken;
end;
$$;

comment on function soniq._take_back_lost_jobs(integer) is
'Takes back the jobs of lost runners, and forgets the runners that have none left.';

-- With an open transaction somewhere, the entries of jobs long gone stay in the index of leases, all of them past their
-- deadline, and each tick would walk over them. So a session remembers up to which deadline it has looked. A lease
-- cannot come up below that, unless a claim took longer than the grace, or the job was locked by a
-- transaction that then failed; for these, one session a minute looks through all leases.

create or replace function soniq._overdue_from()
returns timestamptz
language plpgsql
volatile
as $$
begin
  if soniq._take_chore(chore => 'overdue_jobs', every => '1 minute') then
    return timestamptz '-infinity';
  end if;
  return coalesce(
    timestamptz 'epoch'
      + interval '1 microsecond' * nullif(pg_catalog.current_setting('soniq.overdue_until', true), '')::bigint,
    '-infinity'
  );
end;
$$;

comment on function soniq._overdue_from() is
'The deadline from which this session has to look for overdue jobs.';

create or replace function soniq._take_back_overdue_jobs(max_jobs integer)
returns integer
language plpgsql
volatile
set enable_seqscan = off
set jit = off
as $$
declare
  grace constant interval := settings.lease_grace from soniq.settings as settings;
  due_before constant timestamptz := soniq.clock() - grace;
  overdue_from constant timestamptz := soniq._overdue_from();
  taken integer;
begin
  with overdue as (
    select job.id, job.attempt, job.deadline
    from soniq.jobs as job
    where job.status = 'processing'
      and job.deadline >= overdue_from
      and job.deadline < due_before
    order by job.deadline
    limit _take_back_overdue_jobs.max_jobs
    for update of job skip locked
  ),
  batch as (
    select
      pg_catalog.array_agg(overdue.id) as job_ids,
      pg_catalog.array_agg(overdue.attempt) as attempts,
      pg_catalog.array_agg(pg_catalog.jsonb_build_object(
        'type', 'LeaseExpired',
        'message', pg_catalog.format(
          'its runner did not report it by its deadline %s, nor within %s after', overdue.deadline, grace
        )
      )) as errors,
      pg_catalog.array_agg('timeout'::text) as reasons
    from overdue
    having pg_catalog.count(*) > 0
  )
  select pg_catalog.count(*)::integer
  into taken
  from batch
  cross join lateral soniq._fail_leases(
    job_ids => batch.job_ids, attempts => batch.attempts, errors => batch.errors, reasons => batch.reasons
  ) as ended;
  if taken < _take_back_overdue_jobs.max_jobs then
    perform pg_catalog.set_config('soniq.overdue_until', soniq._microseconds(due_before)::text, false);
  end if;
  return taken;
end;
$$;

comment on function soniq._take_back_overdue_jobs(integer) is
'Takes back the jobs whose runner lives but has not reported them by their deadline and a grace.';

create or replace function soniq.tick(
  out lost_runners integer,
  out jobs_of_lost_runners integer,
  out overdue_jobs integer,
  out scheduled_jobs integer,
  out partitions_made integer,
  out partitions_dropped integer
)
returns record
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform soniq._check_unbound(what => 'tick()');
  lost_runners := soniq._declare_lost_runners();
  jobs_of_lost_runners := soniq._take_back_lost_jobs(max_jobs => 10000);
  overdue_jobs := soniq._take_back_overdue_jobs(max_jobs => 10000);
  scheduled_jobs := soniq._run_due_schedules(max_schedules => 1000);

  if soniq._take_chore(chore => 'tally', every => '1 minute') then
    perform soniq._take_tally();
  end if;
  if soniq._take_chore(chore => 'history', every => '1 hour') then
    perform soniq._prune_history();
  end if;

  -- Last, since it locks partitions until the transaction ends.
  select done.made, done.dropped
  into partitions_made, partitions_dropped
  from soniq._look_after_partitions() as done;
end;
$$;

comment on function soniq.tick() is
'Does what time has made due, and answers how much that was.

lost_runners: runners declared dead, being silent for longer than their heartbeat_timeout.
jobs_of_lost_runners, overdue_jobs: jobs taken back from dead runners, and from live ones that did not report them by their deadline and a grace. They are queued again, or become dead letters (runner_lost, timeout) when their attempts are spent; each kind 10,000 at a time.
scheduled_jobs: jobs enqueued for schedules that were due.
partitions_made, partitions_dropped: days of finished_jobs; looked after once a minute.

Once a minute it also counts what metrics() and the views tell where counting takes too long for them, and what history() tells.

Runners call it all the time. Any number of sessions may, at once and from anywhere (psql, pg_cron): each piece of work happens once. Call it in a transaction of its own, since it locks what it works on.

Errors: SQ027 the login is bound to a tenant.';

-- What an operator watches: metrics() for a scraper, and four views for people and dashboards.
--
-- A scrape comes every few seconds whatever the backlog, so each of these reads less than 200 pages with ten million
-- jobs, ten queues and three priorities.
--
--   A table of jobs of at most 100 pages, some thousands of jobs, is read whole: everything is exact, and as of now.
--
--   Of a larger one, how many jobs there are is told by the latest tally (tally.sql), a minute old at most where something
--   ticks; count_age says so. Whether anything is ready in a queue, and how old the oldest is, is looked up in the index
--   jobs_ready, for five pages a lane that has to be asked.
--
--   Up to ten dead letters are counted; more of them are told by the tally.
--
--   Left to PostgreSQL: how many jobs were added and ended, and how many dead letters added, is in the statistics that it
--   keeps for every table.
--
-- Nothing here shows arguments, results or error messages.

create or replace function soniq._is_small()
returns boolean
language sql
volatile
as $$
  select soniq._pages(relation => 'soniq.jobs') <= 100;
$$;

comment on function soniq._is_small() is
'Whether soniq.jobs is read whole for each answer.';

create or replace function soniq._first_ready_at(
  queue text,
  priority smallint,
  from_time timestamptz,
  from_id bigint,
  as_of timestamptz
)
returns timestamptz
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_indexonlyscan = off
set jit = off
as $$
begin
  return (
    select job.scheduled_at
    from soniq.jobs as job
    where job.status = 'queued'
      and job.queue = _first_ready_at.queue
      and job.priority = _first_ready_at.priority
      and (job.scheduled_at, job.id) >= (from_time, from_id)
      and job.scheduled_at <= as_of
    order by job.scheduled_at, job.id
    limit 1
  );
end;
$$;

comment on function soniq._first_ready_at(text, smallint, timestamptz, bigint, timestamptz) is
'When the first ready job of a lane was due, from a key on; NULL if there is none. Such a page of the table is written all the time, so to look up whether it is visible to all would be one page more.';

-- What was claimed since vacuum last came lies where a lane begins. So it is read from where it began when the tally was
-- taken; a job that was committed late or handed back since, and is older, shows in the next tally. A lane that began
-- later than the oldest job found so far need not be asked, nor one that had no ready job, if that is older than the tally.
-- So one or two lanes of a queue are asked where jobs wait, and all of them where none do.
create or replace function soniq._oldest_ready_jobs(heads jsonb, taken_at timestamptz)
returns table (queue text, scheduled_at timestamptz)
language plpgsql
volatile
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  lane record;
  current_queue text;
  oldest_at timestamptz;
begin
  for lane in
    select
      known.queue,
      known.priority,
      head.scheduled_at as head_at,
      head.id as head_id,
      coalesce(head.scheduled_at, _oldest_ready_jobs.taken_at) as not_before
    from (
      select distinct each.queue, each.priority
      from soniq.lanes as each
    ) as known
    left join pg_catalog.jsonb_to_recordset(_oldest_ready_jobs.heads) as head (
      queue text,
      priority smallint,
      scheduled_at timestamptz,
      id bigint
    )
      on head.queue = known.queue
      and head.priority = known.priority
      and head.scheduled_at <= _oldest_ready_jobs.taken_at
    order by known.queue, not_before
  loop
    if lane.queue is distinct from current_queue then
      current_queue := lane.queue;
      oldest_at := null;
    end if;
    continue when lane.not_before >= oldest_at;

    scheduled_at := coalesce(
      case
        when lane.head_id is not null then
          soniq._first_ready_at(
            queue => lane.queue,
            priority => lane.priority,
            from_time => lane.head_at,
            from_id => lane.head_id,
            as_of => as_of
          )
      end,
      -- Perhaps it has been emptied, and perhaps something was handed back to it.
      soniq._first_ready_at(
        queue => lane.queue, priority => lane.priority, from_time => '-infinity', from_id => 0, as_of => as_of
      )
    );
    continue when scheduled_at is null;

    queue := lane.queue;
    oldest_at := least(oldest_at, scheduled_at);
    return next;
  end loop;
end;
$$;

comment on function soniq._oldest_ready_jobs(jsonb, timestamptz) is
'When the ready jobs were due that lead the lanes of each queue, as far as one of them may be its oldest; by the heads of a tally and when that was taken.';

create or replace function soniq._overdue_jobs()
returns table (queue text, jobs bigint)
language plpgsql
volatile
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  due_before constant timestamptz := soniq.clock() - settings.lease_grace from soniq.settings as settings;
begin
  return query
  select job.queue, pg_catalog.count(*)
  from (
    select lease.queue
    from soniq.jobs as lease
    where lease.status = 'processing'
      and lease.deadline < due_before
    order by lease.deadline
    limit 10
  ) as job
  group by job.queue;
end;
$$;

comment on function soniq._overdue_jobs() is
'The ten jobs that have been overdue for longest, by queue.';

-- The views.

create or replace function soniq._queue_stats()
returns table (
  queue text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
  dead_letters bigint,
  is_estimate boolean,
  count_age interval,
  oldest_ready_age interval,
  paused boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  is_small constant boolean := soniq._is_small();
  uses_index constant boolean := not is_small and soniq._ranges_are_readable();
  has_few_letters constant boolean := pg_catalog.count(*) <= 10
    from (select from soniq.dead_letter_jobs as letter where letter.replay_count = 0 limit 11) as few;
  tally soniq.tallies;
begin
  perform soniq._check_unbound(what => 'queue_stats');
  if not is_small or not has_few_letters then
    tally := soniq._latest_tally();
  end if;

  return query
  with now as (
    select
      job.queue,
      sum(job.ready) as ready,
      sum(job.scheduled) as scheduled,
      sum(job.processing) as processing,
      sum(job.overdue) as overdue,
      min(job.oldest_ready_at) as oldest_ready_at
    from soniq._sampled_jobs() as job
    where is_small
    group by job.queue
  ),
  oldest as (
    select job.queue, min(job.scheduled_at) as scheduled_at
    from soniq._oldest_ready_jobs(heads => tally.heads, taken_at => tally.taken_at) as job
    where uses_index
    group by job.queue
  ),
  late as (
    select job.queue, job.jobs
    from soniq._overdue_jobs() as job
    where uses_index
  ),
  dead as (
    select letter.queue, pg_catalog.count(*) as jobs
    from soniq.dead_letter_jobs as letter
    where has_few_letters
      and letter.replay_count = 0
    group by letter.queue
  ),
  tallied as (
    select *
    from soniq._tallied_queues(tally => tally)
  )
  select
    known.queue,
    coalesce(
      case
        when is_small then now.ready
        when not uses_index then tallied.ready
        when oldest.queue is not null then greatest(tallied.ready, 1)
      end,
      0
    )::bigint,
    coalesce(case when is_small then now.scheduled else tallied.scheduled end, 0)::bigint,
    coalesce(case when is_small then now.processing else tallied.processing end, 0)::bigint,
    coalesce(
      case
        when is_small then now.overdue
        when uses_index then late.jobs
        else tallied.overdue
      end,
      0
    )::bigint,
    coalesce(case when has_few_letters then dead.jobs else tallied.dead_letters end, 0)::bigint,
    coalesce(tallied.is_estimate, false),
    greatest(as_of - coalesce(tally.taken_at, as_of), interval '0'),
    as_of - case
      when is_small then now.oldest_ready_at
      when uses_index then oldest.scheduled_at
      else tallied.oldest_ready_at
    end,
    coalesce(setting.paused, false)
  from (
    select lane.queue
    from soniq.lanes as lane
    union
    select own.queue
    from soniq.queues as own
  ) as known
  left join now on now.queue = known.queue
  left join oldest on oldest.queue = known.queue
  left join late on late.queue = known.queue
  left join dead on dead.queue = known.queue
  left join tallied on tallied.queue = known.queue
  left join soniq.queues as setting on setting.queue = known.queue
  order by known.queue;
end;
$$;

comment on function soniq._queue_stats() is
'What the view queue_stats shows. A function, since the planner must not choose how to read the backlog.';

create or replace view soniq.queue_stats as
select *
from soniq._queue_stats();

comment on view soniq.queue_stats is
'Each queue now. ready jobs may be claimed, scheduled ones are for later, processing ones are held by a runner, and overdue are those of them that are past their deadline and the grace. dead_letters are those not yet replayed. A paused queue''s jobs are ready, and not handed out.

Whether anything is ready, and oldest_ready_age, are as of now, except that a job committed late or handed back may be missing from the latter for a minute. So is everything while soniq.jobs has at most 100 pages, which hold some thousands of jobs, and up to ten dead letters. Beyond, the other numbers are those that tick() counted count_age ago, which is a minute at most where something ticks. These are exact up to 1,000 pages of jobs; beyond, exact for queues with few jobs and told from a sample for those with many, and is_estimate says which.';
comment on column soniq.queue_stats.queue is 'Any queue that was ever enqueued into, or has settings.';
comment on column soniq.queue_stats.ready is 'Queued and due.';
comment on column soniq.queue_stats.scheduled is 'Queued for later: delayed, or to be retried.';
comment on column soniq.queue_stats.processing is 'Held by a runner.';
comment on column soniq.queue_stats.overdue is
  'Past their deadline and the grace: the next tick() takes them back. Of a large table, the ten that have been so for longest.';
comment on column soniq.queue_stats.dead_letters is 'Given up, and not replayed.';
comment on column soniq.queue_stats.is_estimate is 'True where one of these numbers was told from a sample.';
comment on column soniq.queue_stats.count_age is 'How long ago they were counted; 0 if just now.';
comment on column soniq.queue_stats.oldest_ready_age is 'How long the oldest ready job has been due; NULL if none is.';
comment on column soniq.queue_stats.paused is 'Paused: jobs are taken in but not handed out.';

create or replace function soniq._queue_counts()
returns table (
  queue text,
  ready bigint,
  scheduled bigint,
  processing bigint,
  overdue bigint,
  dead_letters bigint,
  is_estimate boolean,
  count_age interval,
  oldest_ready_age interval,
  paused boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  tally soniq.tallies;
begin
  perform soniq._check_unbound(what => 'queue_counts');
  if (select pg_catalog.count(*) <= 30 from (select from soniq.lanes limit 31) as few) then
    return query
    select *
    from soniq._queue_stats();
    return;
  end if;

  tally := soniq._latest_tally();
  return query
  select
    coalesce(counted.queue, setting.queue),
    coalesce(counted.ready, 0),
    coalesce(counted.scheduled, 0),
    coalesce(counted.processing, 0),
    coalesce(counted.overdue, 0),
    coalesce(counted.dead_letters, 0),
    coalesce(counted.is_estimate, false),
    greatest(as_of - tally.taken_at, interval '0'),
    -- As of then: since then it may have been taken, and the queue be quick.
    case when counted.ready > 0 then tally.taken_at - least(head.scheduled_at, counted.oldest_ready_at) end,
    coalesce(setting.paused, false)
  from soniq._tallied_queues(tally => tally) as counted
  full join soniq.queues as setting
    on setting.queue = counted.queue
  left join soniq._tallied_heads(tally => tally) as head
    on head.queue = counted.queue
  order by 1;
end;
$$;

comment on function soniq._queue_counts() is
'What the view queue_counts shows.';

create or replace view soniq.queue_counts as
select *
from soniq._queue_counts();

comment on view soniq.queue_counts is
'Each queue, at a cost that does not grow with their number: as queue_stats has it while there are at most thirty lanes, which are pairs of queue and priority, and beyond wholly as tick() counted it count_age ago. The columns are those of queue_stats.';

create or replace function soniq._job_stats()
returns table (
  job_name text,
  queued bigint,
  processing bigint,
  dead_letters bigint,
  is_estimate boolean,
  count_age interval,
  done bigint,
  cancelled bigint,
  failed_attempts bigint,
  average_run_time interval,
  p95_run_time interval,
  finished_since timestamptz
)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select soniq._check_unbound(what => 'job_stats');

  select
    each.job_name,
    each.queued,
    each.processing,
    each.dead_letters,
    each.is_estimate,
    greatest(soniq.clock() - tally.taken_at, interval '0'),
    each.done,
    each.cancelled,
    each.failed_attempts,
    each.average_run_time,
    each.p95_run_time,
    each.finished_since
  from soniq._latest_tally() as tally
  cross join pg_catalog.jsonb_to_recordset(tally.job_names) as each (
    job_name text,
    queued bigint,
    processing bigint,
    dead_letters bigint,
    is_estimate boolean,
    done bigint,
    cancelled bigint,
    failed_attempts bigint,
    average_run_time interval,
    p95_run_time interval,
    finished_since timestamptz
  )
  order by each.job_name;
$$;

comment on function soniq._job_stats() is
'What the view job_stats shows.';

create or replace view soniq.job_stats as
select *
from soniq._job_stats();

comment on view soniq.job_stats is
'Each job name, as tick() counted it count_age ago, which is a minute at most where something ticks: what was live, what was given up, and how those went that had finished lately, which are the jobs of the hour before and of these some five thousand at most, the latest. Exact up to 1,000 pages of live jobs, some 50,000, and as many of dead letters; beyond, told from a sample, and is_estimate says so: a name with few jobs may then be missing.';
comment on column soniq.job_stats.job_name is 'Any name that a runner has declared, or a job has.';
comment on column soniq.job_stats.queued is 'Queued, now or for later.';
comment on column soniq.job_stats.processing is 'Held by a runner.';
comment on column soniq.job_stats.dead_letters is 'Given up, and not replayed.';
comment on column soniq.job_stats.is_estimate is 'True where queued and dead_letters were told from a sample.';
comment on column soniq.job_stats.count_age is 'How long ago all this was counted.';
comment on column soniq.job_stats.done is 'Done lately.';
comment on column soniq.job_stats.cancelled is 'Cancelled lately.';
comment on column soniq.job_stats.failed_attempts is 'Attempts that had failed before these ended.';
comment on column soniq.job_stats.average_run_time is 'Of those done lately: the average time from claim to completion.';
comment on column soniq.job_stats.p95_run_time is 'Of those done lately: what 95 percent of them did not exceed.';
comment on column soniq.job_stats.finished_since is
  'When the earliest of the jobs that were looked at, of whatever name, finished: what is done lately is done since then.';

create or replace function soniq._runner_state(runner soniq.runners, as_of timestamptz)
returns text
language sql
immutable
as $$
  select case
    when (_runner_state.runner).lost_at is not null then 'lost'
    when (_runner_state.runner).last_heartbeat_at + (_runner_state.runner).heartbeat_timeout / 2 < _runner_state.as_of
      then 'silent'
    else 'alive'
  end;
$$;

comment on function soniq._runner_state(soniq.runners, timestamptz) is
'alive; silent, if not heard of for more than half of its heartbeat_timeout; or lost, once tick() has declared it dead.';

create or replace function soniq._runner_stats()
returns table (
  runner_id bigint,
  host text,
  pid integer,
  runner_version text,
  queues text[],
  concurrency integer,
  running bigint,
  oldest_running_age interval,
  count_age interval,
  silent_for interval,
  state text,
  registered_at timestamptz
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
declare
  as_of constant timestamptz := soniq.clock();
  is_small constant boolean := soniq._is_small();
  tally soniq.tallies;
begin
  perform soniq._check_unbound(what => 'runner_stats');
  if not is_small then
    tally := soniq._latest_tally();
  end if;

  return query
  with held as (
    select job.runner_id, pg_catalog.count(*) as running, min(job.claimed_at) as oldest_claimed_at
    from soniq.jobs as job tablesample system (100)
    where is_small
      and job.status = 'processing'
    group by job.runner_id
    union all
    select each.runner_id, each.running, each.oldest_claimed_at
    from pg_catalog.jsonb_to_recordset(tally.runners) as each (
      runner_id bigint,
      running bigint,
      oldest_claimed_at timestamptz
    )
  )
  select
    runner.runner_id,
    runner.host,
    runner.pid,
    runner.runner_version,
    runner.queues,
    runner.concurrency,
    coalesce(held.running, 0),
    as_of - held.oldest_claimed_at,
    greatest(as_of - coalesce(tally.taken_at, as_of), interval '0'),
    as_of - runner.last_heartbeat_at,
    soniq._runner_state(runner => runner, as_of => as_of),
    runner.registered_at
  from soniq.runners as runner
  left join held
    on held.runner_id = runner.runner_id
  order by runner.runner_id;
end;
$$;

comment on function soniq._runner_stats() is
'What the view runner_stats shows.';

create or replace view soniq.runner_stats as
select *
from soniq._runner_stats();

comment on view soniq.runner_stats is
'Each runner on the list, with the jobs it holds. It is silent if it was not heard of for more than half of its heartbeat_timeout, and lost once it is declared dead, until its jobs are taken back. running and oldest_running_age are as of now while soniq.jobs has at most 100 pages, and beyond as tick() counted them count_age ago.';
comment on column soniq.runner_stats.runner_id is 'Its number.';
comment on column soniq.runner_stats.host is 'Its machine.';
comment on column soniq.runner_stats.pid is 'Its process on that machine.';
comment on column soniq.runner_stats.runner_version is 'The version of its soniq package.';
comment on column soniq.runner_stats.queues is 'The queues it serves; NULL is all.';
comment on column soniq.runner_stats.concurrency is 'How many jobs it runs at once.';
comment on column soniq.runner_stats.running is 'How many it holds.';
comment on column soniq.runner_stats.oldest_running_age is
  'How long it has held the oldest of these; NULL if it holds none.';
comment on column soniq.runner_stats.count_age is 'How long ago these jobs were counted; 0 if just now.';
comment on column soniq.runner_stats.silent_for is 'How long ago its last heartbeat was.';
comment on column soniq.runner_stats.state is 'alive, silent or lost.';
comment on column soniq.runner_stats.registered_at is 'When it started.';

-- The metrics, by what they are about.

create or replace function soniq._queue_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  select
    metric.name,
    pg_catalog.jsonb_build_object('queue', stats.queue) || metric.labels,
    metric.value
  from soniq._queue_stats() as stats
  cross join lateral (
    values
      ('soniq_queue_jobs', jsonb '{"state": "ready"}', stats.ready::double precision),
      ('soniq_queue_jobs', '{"state": "scheduled"}', stats.scheduled),
      ('soniq_queue_jobs', '{"state": "processing"}', stats.processing),
      ('soniq_queue_jobs_is_estimate', '{}', stats.is_estimate::integer),
      ('soniq_queue_jobs_age_seconds', '{}', extract(epoch from stats.count_age)),
      ('soniq_queue_oldest_ready_seconds', '{}', coalesce(extract(epoch from stats.oldest_ready_age), 0)),
      ('soniq_queue_paused', '{}', stats.paused::integer),
      ('soniq_overdue_jobs', '{}', stats.overdue),
      ('soniq_dead_letters', '{}', stats.dead_letters)
  ) as metric (name, labels, value);
$$;

create or replace function soniq._runner_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  with runner as (
    select known.concurrency, soniq._runner_state(runner => known, as_of => now.moment) as state
    from (select soniq.clock() as moment) as now
    cross join soniq.runners as known
  )
  select 'soniq_runners', pg_catalog.jsonb_build_object('state', possible.state), pg_catalog.count(runner.state)
  from (values ('alive'), ('silent'), ('lost')) as possible (state)
  left join runner
    on runner.state = possible.state
  group by possible.state
  union all
  select 'soniq_runner_concurrency', '{}', coalesce(sum(runner.concurrency), 0)
  from runner
  where runner.state <> 'lost';
$$;

create or replace function soniq._schedule_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  select 'soniq_schedules', pg_catalog.jsonb_build_object('state', possible.state), possible.schedules::double precision
  from soniq._latest_tally() as tally
  cross join pg_catalog.jsonb_each_text(tally.schedules) as possible (state, schedules)
  union all
  select
    'soniq_schedule_lag_seconds',
    '{}',
    coalesce(greatest(extract(epoch from soniq.clock() - min(schedule.next_run_at)), 0), 0)
  from soniq.schedules as schedule
  where not schedule.paused;
$$;

-- How late chores are done tells when a tick was last made, without a row that each tick would have to write.
create or replace function soniq._tick_lag()
returns double precision
language sql
volatile
as $$
  select case chore.due_at
    when '-infinity' then 'infinity'
    when 'infinity' then 0
    else greatest(extract(epoch from soniq.clock() - chore.due_at), 0)::double precision
  end
  from soniq.chores as chore
  where chore.chore = 'absent_runners';
$$;

comment on function soniq._tick_lag() is
'How late tick() is with what it does once a minute, in seconds; Infinity if it was never called.';

create or replace function soniq._upkeep_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  select 'soniq_tick_lag_seconds', jsonb '{}', soniq._tick_lag()
  union all
  select 'soniq_default_partition_rows', '{}', pg_catalog.count(*)
  from (
    select
    from soniq.finished_jobs_default
    limit 101
  ) as job
  union all
  select 'soniq_jobs_added_total', '{}', pg_catalog.pg_stat_get_tuples_inserted('soniq.jobs'::pg_catalog.regclass)
  union all
  select 'soniq_jobs_ended_total', '{}', pg_catalog.pg_stat_get_tuples_deleted('soniq.jobs'::pg_catalog.regclass)
  union all
  select
    'soniq_dead_letters_added_total',
    '{}',
    pg_catalog.pg_stat_get_tuples_inserted('soniq.dead_letter_jobs'::pg_catalog.regclass)
  union all
  select 'soniq_dead_rows', '{}', soniq._dead_rows()
  union all
  select
    'soniq_table_bytes',
    pg_catalog.jsonb_build_object('table', parent.name),
    sum(pg_catalog.pg_total_relation_size(part.id))
  from (values ('jobs'), ('finished_jobs'), ('dead_letter_jobs')) as parent (name)
  cross join lateral (
    select ('soniq.' || parent.name)::pg_catalog.regclass as id
    union all
    select inheritance.inhrelid
    from pg_catalog.pg_inherits as inheritance
    where inheritance.inhparent = ('soniq.' || parent.name)::pg_catalog.regclass
  ) as part
  group by parent.name
  union all
  select 'soniq_info', pg_catalog.jsonb_build_object('version', soniq.version()), 1;
$$;

create or replace function soniq._vacuum_metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
as $$
  select
    'soniq_oldest_transaction_seconds',
    jsonb '{}',
    coalesce(extract(epoch from pg_catalog.clock_timestamp() - min(obstacle.since)), 0)::double precision
  from soniq._vacuum_obstacles() as obstacle
  union all
  select 'soniq_vacuum_horizon_transactions', '{}', coalesce(max(obstacle.transactions), 0)
  from soniq._vacuum_obstacles() as obstacle;
$$;

create or replace function soniq.metrics()
returns table (name text, labels jsonb, value double precision)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select soniq._check_unbound(what => 'metrics()');

  select *
  from (
    select * from soniq._queue_metrics()
    union all
    select * from soniq._runner_metrics()
    union all
    select * from soniq._schedule_metrics()
    union all
    select * from soniq._upkeep_metrics()
    union all
    select * from soniq._vacuum_metrics()
  ) as metric
  order by metric.name, metric.labels::text;
$$;

comment on function soniq.metrics() is
'What an operator watches, one row a metric and set of labels, in the order in which Prometheus wants them. Those whose names end in _total only grow, until PostgreSQL''s statistics are reset; the others are gauges. It reads less than 200 pages whatever the backlog and the history, and with many queues and priorities five for each at most: what is too much to count is told by what tick() counted last, a minute ago at most.

soniq_queue_jobs: jobs of a queue by state: ready, scheduled (for later) and processing. Exact for small numbers; the view queue_stats tells which those are. Whether any are ready is told as of now.
soniq_queue_jobs_is_estimate: 1 if one of these numbers, or soniq_dead_letters, was told from a sample.
soniq_queue_jobs_age_seconds: how long ago these numbers, or soniq_dead_letters, were counted; 0 if just now.
soniq_queue_oldest_ready_seconds: how long the oldest ready job of a queue has been due; 0 if none is.
soniq_queue_paused: 1 if the queue is paused; its jobs are ready, and not handed out.
soniq_overdue_jobs: jobs of a queue that are past their deadline and the grace and are not yet taken back: does anything tick? Beyond some thousands of live jobs, the ten of all queues that have been so for longest.
soniq_dead_letters: jobs of a queue that were given up and not replayed. Up to ten of all queues are counted; of more it is told when they were.
soniq_runners: runners by state: alive, silent (not heard of for more than half of the heartbeat_timeout) and lost (declared dead, and its jobs still to be taken back).
soniq_runner_concurrency: how many jobs the runners that are not lost can run at once.
soniq_schedules: schedules by state: active, paused and ended (never due again), as tick() counted them last.
soniq_schedule_lag_seconds: how late the schedule is that has been due for longest, of those not paused; 0 if none is due.
soniq_tick_lag_seconds: how late tick() is with what it does once a minute; Infinity if it was never called.
soniq_default_partition_rows: finished jobs for which no partition was made, counted up to 101.
soniq_jobs_added_total: rows added to soniq.jobs, as PostgreSQL counts them: also those rolled back.
soniq_jobs_ended_total: rows removed from soniq.jobs: jobs done, cancelled or given up.
soniq_dead_letters_added_total: rows added to soniq.dead_letter_jobs, as PostgreSQL counts them.
soniq_dead_rows: rows of soniq.jobs that vacuum has still to remove; beyond half a million, and with a transaction that has kept it from that for a minute, all numbers of jobs are told from a sample.
soniq_table_bytes: what a table takes on disk, with its indexes, partitions and all.
soniq_oldest_transaction_seconds: the age of the oldest transaction that keeps vacuum from removing rows; 0 if there is none. Those of other users count if the functions'' owner is a member of pg_read_all_stats.
soniq_vacuum_horizon_transactions: how many transactions ago vacuum has to stop, on account of sessions, standbys, slots and prepared transactions.
soniq_info: always 1; the label version tells that of the schema.

Errors: SQ027 the login is bound to a tenant.';

-- Concerns: what is wrong right now, in words, the worst first. What counts as wrong is decided here, for the dashboard,
-- `soniq top` and whoever asks.

create or replace function soniq._in_words(length interval)
returns text
language sql
stable
parallel safe
as $$
  select case
    when seconds < 120 then pg_catalog.format('%s s', pg_catalog.round(seconds))
    when seconds < 7200 then pg_catalog.format('%s min', pg_catalog.round(seconds / 60))
    when seconds < 172800 then pg_catalog.format('%s h', pg_catalog.round(seconds / 3600))
    else pg_catalog.format('%s days', pg_catalog.round(seconds / 86400))
  end
  from (select extract(epoch from _in_words.length)::numeric as seconds) as told;
$$;

create or replace function soniq._jobs_in_words(jobs bigint)
returns text
language sql
stable
parallel safe
as $$
  select pg_catalog.ltrim(pg_catalog.to_char(_jobs_in_words.jobs, '999,999,999,999')) || case _jobs_in_words.jobs when 1 then ' job' else ' jobs' end;
$$;

create or replace function soniq._concerns_of_queues()
returns table (severity integer, kind text, subject text, message text, weight double precision)
language sql
volatile
as $$
  with alive as materialized (
    select runner.queues
    from soniq.runners as runner
    where soniq._runner_state(runner => runner, as_of => soniq.clock()) = 'alive'
  )
  select concern.*
  from soniq._queue_counts() as stats
  cross join lateral (
    select exists (
      select
      from alive
      where alive.queues is null
        or stats.queue = any (alive.queues)
    )
  ) as served (by_anyone)
  cross join lateral (
    select
      1,
      'queue_unserved',
      stats.queue,
      pg_catalog.format('No runner that is alive serves the queue %s: %s waiting', stats.queue, soniq._jobs_in_words(jobs => stats.ready)),
      stats.ready::double precision
    where stats.ready > 0
      and not stats.paused
      and stats.oldest_ready_age > interval '10 seconds'
      and not served.by_anyone
    union all
    select
      case when stats.oldest_ready_age > interval '5 minutes' then 2 else 3 end,
      'queue_behind',
      stats.queue,
      pg_catalog.format(
        'The queue %s is behind: its oldest job has been due for %s, with %s waiting',
        stats.queue, soniq._in_words(length => stats.oldest_ready_age), soniq._jobs_in_words(jobs => stats.ready)
      ),
      extract(epoch from stats.oldest_ready_age)::double precision
    where not stats.paused
      and stats.oldest_ready_age > interval '1 minute'
      and served.by_anyone
    union all
    select
      3,
      'queue_paused',
      stats.queue,
      pg_catalog.format(
        'The queue %s is paused, with %s waiting, the oldest for %s',
        stats.queue, soniq._jobs_in_words(jobs => stats.ready), soniq._in_words(length => stats.oldest_ready_age)
      ),
      stats.ready
    where stats.paused
      and stats.ready > 0
    union all
    select
      2,
      'jobs_overdue',
      stats.queue,
      pg_catalog.format('In the queue %s, %s past the deadline, not taken back', stats.queue, soniq._jobs_in_words(jobs => stats.overdue)),
      stats.overdue
    where stats.overdue > 0
  ) as concern (severity, kind, subject, message, weight);
$$;

create or replace function soniq._concerns_of_jobs()
returns table (severity integer, kind text, subject text, message text, weight double precision)
language sql
volatile
as $$
  with minute as materialized (
    select noted.began_at, noted.done, noted.failed, noted.dead
    from soniq.history as noted
    where noted.queue = ''
      and noted.span = interval '1 minute'
      and noted.began_at > soniq.clock() - interval '1 hour'
  )
  select
    2,
    'jobs_given_up',
    null,
    pg_catalog.format('%s given up in the last hour', soniq._jobs_in_words(jobs => lately.dead)),
    lately.dead::double precision
  from (
    select sum(minute.dead)::bigint as dead
    from minute
  ) as lately
  where lately.dead > 0
  union all
  select
    case when lately.failed > lately.done then 2 else 3 end,
    'attempts_fail',
    null,
    pg_catalog.format(
      '%s failed in the last ten minutes, and %s done',
      soniq._jobs_in_words(jobs => lately.failed), soniq._jobs_in_words(jobs => lately.done)
    ),
    lately.failed
  from (
    select sum(minute.failed)::bigint as failed, sum(minute.done)::bigint as done
    from minute
    where minute.began_at > soniq.clock() - interval '10 minutes'
  ) as lately
  where lately.failed >= 10
    and lately.failed * 10 > lately.done;
$$;

create or replace function soniq._concerns_of_upkeep()
returns table (severity integer, kind text, subject text, message text, weight double precision)
language sql
volatile
as $$
  select
    1,
    'nothing_ticks',
    null,
    case
      when lag.seconds = 'infinity' then 'Nothing has ever ticked: no schedule fires, and no lost runner is noticed'
      else pg_catalog.format(
          'Nothing has ticked for %s: no schedule fires, and no lost runner is noticed',
          soniq._in_words(length => interval '1 second' * lag.seconds)
        )
    end,
    lag.seconds
  from soniq._tick_lag() as lag (seconds)
  where lag.seconds > 120
  union all
  select
    2,
    'runner_silent',
    runner.runner_id::text,
    pg_catalog.format(
      'The runner %s:%s has been silent for %s',
      runner.host, runner.pid, soniq._in_words(length => soniq.clock() - runner.last_heartbeat_at)
    ),
    extract(epoch from soniq.clock() - runner.last_heartbeat_at)::double precision
  from soniq.runners as runner
  where soniq._runner_state(runner => runner, as_of => soniq.clock()) <> 'alive'
  union all
  select
    2,
    'schedule_late',
    schedule.name,
    pg_catalog.format(
      'The schedule %s has been due for %s', schedule.name, soniq._in_words(length => soniq.clock() - schedule.next_run_at)
    ),
    extract(epoch from soniq.clock() - schedule.next_run_at)::double precision
  from (
    select due.name, due.next_run_at
    from soniq._late_before() as late (before)
    join soniq.schedules as due
      on due.next_run_at < late.before -- which has an index
    where soniq._schedule_state(schedule => due, late_before => late.before) = 'late'
    order by due.next_run_at
    limit 10
  ) as schedule
  union all
  select
    3,
    'vacuum_held_up',
    null,
    pg_catalog.format(
      'A transaction has kept vacuum from its work for %s', soniq._in_words(length => pg_catalog.clock_timestamp() - obstacle.since)
    ),
    extract(epoch from pg_catalog.clock_timestamp() - obstacle.since)::double precision
  from (
    select min(each.since) as since
    from soniq._vacuum_obstacles() as each
  ) as obstacle
  where obstacle.since < pg_catalog.clock_timestamp() - interval '10 minutes';
$$;

create or replace function soniq._concerns()
returns table (severity integer, kind text, subject text, message text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
begin
  perform soniq._check_unbound(what => 'concerns');
  return query
  select concern.severity, concern.kind, concern.subject, concern.message
  from (
    select * from soniq._concerns_of_upkeep()
    union all
    select * from soniq._concerns_of_queues()
    union all
    select * from soniq._concerns_of_jobs()
  ) as concern
  order by concern.severity, concern.weight desc, concern.message
  limit 20;
end;
$$;

comment on function soniq._concerns() is
'What the view concerns shows.';

create or replace view soniq.concerns as
select *
from soniq._concerns();

comment on view soniq.concerns is
'What is wrong right now, in words, the worst first, twenty at the most; no row where all is well.';
comment on column soniq.concerns.severity is '1 work stands still; 2 work is late or lost; 3 worth a look.';
comment on column soniq.concerns.kind is
  'queue_unserved, queue_behind, queue_paused, jobs_overdue, jobs_given_up, attempts_fail, nothing_ticks, runner_silent, schedule_late or vacuum_held_up.';
comment on column soniq.concerns.subject is 'The queue, the runner''s id or the schedule that it is about; NULL for none.';
comment on column soniq.concerns.message is 'What is wrong.';

-- Who owns Soniq, and who may call and read what. PostgreSQL lets everyone execute a new function; Soniq lets nobody but its
-- owner, until a grant says otherwise. The public functions run with their owner's rights, so whoever calls one needs no
-- rights on tables.
--
-- The migration `roles` makes five roles without login, and soniq._rights() says what is granted to four of them; the
-- fifth, soniq_owner, owns all there is. Programs and people have logins of their own:
--
--   grant soniq_producer to shop;
--
-- Where nobody may make roles, or somebody needs less, functions are granted one by one:
--
--   grant usage on schema soniq to shop;
--   grant execute on function soniq.enqueue to shop;

-- Each public function is named here, so that none is without a decision. Underscore functions are the owner's alone, but for
-- those behind the views: a view reads tables with its owner's rights, and calls functions with its reader's.
create or replace function soniq._rights()
returns table (kind text, name text, columns text[], roles text[])
language sql
immutable
as $$
  values
    -- Producing.
    ('function', 'enqueue', null::text[], '{producer}'::text[]),
    ('function', 'enqueue_many', null, '{producer}'),

    -- Running.
    ('function', 'claim', null, '{runner}'),
    ('function', 'complete', null, '{runner}'),
    ('function', 'deregister_runner', null, '{runner}'),
    ('function', 'fail', null, '{runner}'),
    ('function', 'heartbeat', null, '{runner}'),
    ('function', 'register_job_type', null, '{runner}'),
    ('function', 'register_runner', null, '{runner}'),
    ('function', 'release', null, '{runner}'),
    ('function', 'resume_runner', null, '{runner}'),
    ('function', 'snooze', null, '{runner}'),
    ('function', 'stop_waiting', null, '{runner}'),
    ('function', 'take_bell', null, '{runner}'),
    ('function', 'wait_for_jobs', null, '{runner}'),
    ('function', 'wake_others', null, '{runner}'),
    -- A runner registers the schedules that its code declares.
    ('function', 'prune_schedules', null, '{runner,admin}'),
    ('function', 'schedule', null, '{runner,admin}'),
    ('function', 'tick', null, '{runner,admin}'),

    -- Watching.
    ('function', 'clock', null, '{runner,observer,admin}'),
    ('function', 'cron_next', null, '{observer,admin}'),
    ('function', 'cron_preview', null, '{observer,admin}'),
    ('function', 'history', null, '{observer,admin}'),
    ('function', 'metrics', null, '{runner,observer,admin}'),
    ('function', 'preview_schedule', null, '{observer,admin}'),
    ('function', 'version', null, '{runner,observer,admin}'),
    ('function', '_concerns', null, '{observer,admin}'),
    ('function', '_dead_letter_groups', null, '{admin}'),
    ('function', '_job_stats', null, '{observer,admin}'),
    ('function', '_queue_counts', null, '{observer,admin}'),
    ('function', '_queue_stats', null, '{observer,admin}'),
    ('function', '_runner_stats', null, '{observer,admin}'),
    ('function', '_schedule_stats', null, '{observer,admin}'),
    ('relation', 'concerns', null, '{observer,admin}'),
    ('relation', 'job_stats', null, '{observer,admin}'),
    ('relation', 'queue_counts', null, '{observer,admin}'),
    ('relation', 'queue_stats', null, '{observer,admin}'),
    ('relation', 'runner_stats', null, '{observer,admin}'),
    ('relation', 'schedule_stats', null, '{observer,admin}'),
    ('relation', 'chores', null, '{observer,admin}'),
    ('relation', 'job_types', null, '{observer,admin}'),
    ('relation', 'lanes', null, '{observer,admin}'),
    ('relation', 'queues', null, '{observer,admin}'),
    ('relation', 'runners', null, '{observer,admin}'),
    ('relation', 'settings', null, '{observer,admin}'),
    -- How many lie there is for `soniq doctor`.
    ('relation', 'finished_jobs_default', '{keep_until}', '{observer}'),
    -- Not what a job carries or brings about: args, headers, dedup_key, result, errors.
    (
      'relation',
      'all_jobs',
      '{
        id,status,job_name,queue,priority,scheduled_at,enqueued_at,attempt,max_attempts,timeout,runner_id,claimed_at,
        deadline,replay_of,schedule,due_at,ended_at,reason,replay_count,tenant
      }',
      '{observer}'
    ),
    (
      'relation',
      'schedules',
      '{
        name,job_name,cron,every,timezone,queue,priority,max_attempts,timeout,missed_runs,max_missed_runs,allow_overlap,paused,
        next_run_at,last_due_at,last_job_id,source,tenant,created_at,registered_at
      }',
      '{observer}'
    ),

    -- Acting. Whoever decides what becomes of a job has to see what it is about and why it failed.
    ('function', 'cancel', null, '{admin}'),
    ('function', 'configure_queue', null, '{admin}'),
    ('function', 'delete_dead_letters', null, '{admin}'),
    ('function', 'get_job', null, '{admin}'),
    ('function', 'pause_queue', null, '{admin}'),
    ('function', 'pause_schedule', null, '{admin}'),
    ('function', 'prune_dead_letters', null, '{admin}'),
    ('function', 'replay_dead_letters', null, '{admin}'),
    ('function', 'resume_queue', null, '{admin}'),
    ('function', 'resume_schedule', null, '{admin}'),
    ('function', 'retry', null, '{admin}'),
    ('function', 'run_now', null, '{admin}'),
    ('function', 'run_schedule_now', null, '{admin}'),
    ('function', 'unschedule', null, '{admin}'),
    ('function', '_shown_args', null, '{admin}'),
    ('relation', 'all_jobs', null, '{admin}'),
    ('relation', 'dead_letter_groups', null, '{admin}'),
    ('relation', 'dead_letters', null, '{admin}'),
    -- Some args are secret, and the views show those as ***.
    (
      'relation',
      'dead_letter_jobs',
      '{
        id,job_name,queue,priority,scheduled_at,enqueued_at,attempt,max_attempts,timeout,dedup_key,headers,tenant,runner_id,
        claimed_at,errors,replay_of,schedule,due_at,reason,dead_at,replay_count,last_replayed_at,error_type,error_pattern
      }',
      '{admin}'
    ),
    (
      'relation',
      'finished_jobs',
      '{
        id,job_name,queue,priority,status,scheduled_at,enqueued_at,attempt,max_attempts,timeout,dedup_key,headers,tenant,runner_id,
        claimed_at,failed_at,errors,replay_of,schedule,due_at,result,finished_at,keep_until
      }',
      '{admin}'
    ),
    (
      'relation',
      'finished_jobs_default',
      '{
        id,job_name,queue,priority,status,scheduled_at,enqueued_at,attempt,max_attempts,timeout,dedup_key,headers,tenant,runner_id,
        claimed_at,failed_at,errors,replay_of,schedule,due_at,result,finished_at,keep_until
      }',
      '{admin}'
    ),
    (
      'relation',
      'jobs',
      '{
        id,job_name,queue,priority,status,scheduled_at,enqueued_at,attempt,max_attempts,timeout,dedup_key,headers,tenant,runner_id,
        claimed_at,deadline,failed_at,errors,replay_of,schedule,due_at
      }',
      '{admin}'
    ),
    ('relation', 'schedules', null, '{admin}'),

    -- The owner's alone.
    ('function', 'bind_tenant', null, '{}'),
    ('function', 'grant_roles', null, '{}'),
    ('function', 'unbind_tenant', null, '{}'),
    ('relation', 'claimed_job', null, '{}'),
    ('relation', 'history', null, '{}'),
    ('relation', 'history_of_all', null, '{}'),
    ('relation', 'history_of_queues', null, '{}'),
    ('relation', 'tallies', null, '{}'),
    ('relation', 'tenant_logins', null, '{}');
$$;

comment on function soniq._rights() is
'Which of the roles soniq_producer, soniq_runner, soniq_observer and soniq_admin may execute a function, or select from a table or view; columns is NULL for all of them.';

create or replace function soniq._own(owner regrole)
returns void
language plpgsql
volatile
as $$
declare
  relation regclass;
  routine regprocedure;
  type regtype;
begin
  for relation in
    select part.oid::regclass
    from pg_catalog.pg_class as part
    where part.relnamespace = 'soniq'::regnamespace
      and part.relkind in ('r', 'p', 'v')
      and part.relowner <> _own.owner
  loop
    execute pg_catalog.format('alter table %s owner to %s', relation, owner);
  end loop;

  for routine in
    select part.oid::regprocedure
    from pg_catalog.pg_proc as part
    where part.pronamespace = 'soniq'::regnamespace
      and part.proowner <> _own.owner
  loop
    execute pg_catalog.format('alter function %s owner to %s', routine, owner);
  end loop;

  for type in
    select part.oid::regtype
    from pg_catalog.pg_type as part
    left join pg_catalog.pg_class as row
      on row.oid = part.typrelid
    where part.typnamespace = 'soniq'::regnamespace
      and (part.typtype = 'e' or row.relkind = 'c')
      and part.typowner <> _own.owner
  loop
    execute pg_catalog.format('alter type %s owner to %s', type, owner);
  end loop;
end;
$$;

comment on function soniq._own(regrole) is
'Makes a role the owner of everything in the schema; what hangs on a table, such as its sequence, goes with it.';

create or replace function soniq._revoke_roles()
returns void
language plpgsql
volatile
as $$
declare
  grantee regrole;
begin
  for grantee in
    select known.oid::regrole
    from pg_catalog.pg_roles as known
    where known.rolname in ('soniq_producer', 'soniq_runner', 'soniq_observer', 'soniq_admin')
  loop
    execute pg_catalog.format('revoke all on all functions in schema soniq from %s', grantee);
    execute pg_catalog.format('revoke all on all tables in schema soniq from %s', grantee);
    execute pg_catalog.format('revoke all on all sequences in schema soniq from %s', grantee);
  end loop;
end;
$$;

comment on function soniq._revoke_roles() is
'Takes from the four roles whatever they may do in the schema.';

-- Ownership takes being a member that inherits, and from PostgreSQL 16 on also one that may take on the role.
create or replace function soniq._may_own(owner regrole)
returns boolean
language sql
stable
as $$
  select pg_catalog.pg_has_role(_may_own.owner, 'usage')
    and pg_catalog.pg_has_role(
      _may_own.owner,
      case when pg_catalog.current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end
    );
$$;

comment on function soniq._may_own(regrole) is
'Whether this user may give a role what is its own, and go on using it; NULL for no role.';

create or replace function soniq.grant_roles()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  missing constant text[] := array(
    select wanted.name
    from pg_catalog.unnest(array[
      'soniq_owner', 'soniq_producer', 'soniq_runner', 'soniq_observer', 'soniq_admin'
    ]) as wanted (name)
    where pg_catalog.to_regrole(wanted.name) is null
  );
  may_own constant boolean := coalesce(soniq._may_own(owner => pg_catalog.to_regrole('soniq_owner')), false);
  remedies constant text[] := array(
    select pg_catalog.format('create role %I nologin', absent.name)
    from pg_catalog.unnest(missing) as absent (name)
    union all
    select 'grant pg_read_all_stats to soniq_owner'
    where 'soniq_owner' = any (missing)
    union all
    select pg_catalog.format('grant soniq_owner to %I', current_user)
    where not may_own
  );
  granted record;
begin
  if may_own then
    alter schema soniq owner to soniq_owner;
    perform soniq._own(owner => 'soniq_owner');
  end if;

  revoke all on all functions in schema soniq from public;
  -- The policies ask it with the rights of whoever reads, who may have been granted a table or view alone. It tells
  -- nothing but the caller's own tenant.
  grant all on function soniq._bound_tenant() to public;
  perform soniq._revoke_roles();
  for granted in
    select own.kind, own.name, own.columns, 'soniq_' || role.name as grantee, function.oid::regprocedure as routine
    from soniq._rights() as own
    cross join lateral pg_catalog.unnest(own.roles) as role (name)
    left join pg_catalog.pg_proc as function
      on own.kind = 'function'
      and function.pronamespace = 'soniq'::regnamespace
      and function.proname = own.name
    where 'soniq_' || role.name <> all (missing)
  loop
    execute pg_catalog.format('grant usage on schema soniq to %I', granted.grantee);
    if granted.kind = 'function' then
      execute pg_catalog.format('grant execute on function %s to %I', granted.routine, granted.grantee);
    else
      execute pg_catalog.format(
        'grant select %s on soniq.%I to %I',
        (
          select '(' || pg_catalog.string_agg(pg_catalog.quote_ident(name), ', ') || ')'
          from pg_catalog.unnest(granted.columns) as name
        ),
        granted.name,
        granted.grantee
      );
    end if;
  end loop;

  if cardinality(remedies) > 0 then
    raise warning 'Soniq''s schema belongs to %, and of its roles are missing: %',
      (select part.nspowner::regrole from pg_catalog.pg_namespace as part where part.oid = 'soniq'::regnamespace),
      coalesce(nullif(pg_catalog.array_to_string(missing, ', '), ''), 'none')
      using hint = pg_catalog.format(
        'have an administrator run: %s; then, as this user: select soniq.grant_roles();',
        pg_catalog.array_to_string(remedies, '; ')
      );
  end if;
end;
$$;

comment on function soniq.grant_roles() is
'Gives everything in the schema to soniq_owner, and to soniq_producer, soniq_runner, soniq_observer and soniq_admin exactly the rights that docs/security.md lists. Every deployment calls it. Call it, as the owner or whoever deployed, where roles could not be made then and have been since, or where something was granted to one of the five by mistake; grants to other roles stay as they are.

Roles that there are not are left out, and where there is no soniq_owner of which the caller is a member, the owner stays who it is. A warning says so, and what an administrator has to run. Where jobs run already, a change of owner waits for a moment at which nobody uses a table.';

-- Bindings outlive the functions, with which the policies go, and a release may bring tables that need one.
do $$
begin
  perform soniq.grant_roles();
  lock table soniq.tenant_logins in share row exclusive mode;
  if exists (select from soniq.tenant_logins) then
    perform soniq._keep_tenants_apart();
  end if;
end;
$$;

commit;
