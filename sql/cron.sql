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
