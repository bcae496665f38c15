-- Cron: what fires when. Times without an offset are local ones of the zone that is named. tests/py/test_cron.py
-- compares many more with other implementations.

begin;
\ir support.sql
select no_plan();

-- The next fires as the clock on the wall shows them, each with its offset from UTC where that matters.
create function pg_temp.fires(expression text, after timestamptz, runs integer default 1, timezone text default 'UTC')
returns text
language sql
as $$
  select string_agg(to_char(fire.local_time, 'YYYY-MM-DD HH24:MI:SS'), ', ' order by fire.run_at)
  from soniq.cron_preview(
    expression => fires.expression, timezone => fires.timezone, after => fires.after, runs => fires.runs
  ) as fire;
$$;

-- What an expression means. 2026 begins on a Thursday.

select is(
  pg_temp.fires(expression => example.expression, after => '2026-01-01 00:00+00', runs => 3),
  example.expected,
  to_json(example.expression)::text
)
from (values
  ('* * * * *', '2026-01-01 00:01:00, 2026-01-01 00:02:00, 2026-01-01 00:03:00'),
  ('5 * * * *', '2026-01-01 00:05:00, 2026-01-01 01:05:00, 2026-01-01 02:05:00'),
  ('0 9 * * *', '2026-01-01 09:00:00, 2026-01-02 09:00:00, 2026-01-03 09:00:00'),
  ('59 23 31 12 *', '2026-12-31 23:59:00, 2027-12-31 23:59:00, 2028-12-31 23:59:00'),

  -- Lists, ranges and steps.
  ('0 6,18 * * *', '2026-01-01 06:00:00, 2026-01-01 18:00:00, 2026-01-02 06:00:00'),
  ('0 18,6,18 * * *', '2026-01-01 06:00:00, 2026-01-01 18:00:00, 2026-01-02 06:00:00'),
  ('0 22-23 * * *', '2026-01-01 22:00:00, 2026-01-01 23:00:00, 2026-01-02 22:00:00'),
  ('0 7-7 * * *', '2026-01-01 07:00:00, 2026-01-02 07:00:00, 2026-01-03 07:00:00'),
  ('*/20 * * * *', '2026-01-01 00:20:00, 2026-01-01 00:40:00, 2026-01-01 01:00:00'),
  ('*/45 * * * *', '2026-01-01 00:45:00, 2026-01-01 01:00:00, 2026-01-01 01:45:00'),
  ('10-50/20 3 * * *', '2026-01-01 03:10:00, 2026-01-01 03:30:00, 2026-01-01 03:50:00'),
  ('50/4 3 * * *', '2026-01-01 03:50:00, 2026-01-01 03:54:00, 2026-01-01 03:58:00'),
  ('1,10-20/10,58/1 0 * * *', '2026-01-01 00:01:00, 2026-01-01 00:10:00, 2026-01-01 00:20:00'),
  ('*,5 * * * *', '2026-01-01 00:01:00, 2026-01-01 00:02:00, 2026-01-01 00:03:00'),
  ('007 09 * * *', '2026-01-01 09:07:00, 2026-01-02 09:07:00, 2026-01-03 09:07:00'),

  -- Names.
  ('0 0 1 jun,DEC *', '2026-06-01 00:00:00, 2026-12-01 00:00:00, 2027-06-01 00:00:00'),
  ('0 0 1 Oct-dec/2 *', '2026-10-01 00:00:00, 2026-12-01 00:00:00, 2027-10-01 00:00:00'),
  ('0 0 1 nov/1 *', '2026-11-01 00:00:00, 2026-12-01 00:00:00, 2027-11-01 00:00:00'),
  ('0 0 * * Mon', '2026-01-05 00:00:00, 2026-01-12 00:00:00, 2026-01-19 00:00:00'),
  ('0 0 * * wed-FRI', '2026-01-02 00:00:00, 2026-01-07 00:00:00, 2026-01-08 00:00:00'),

  -- Sunday.
  ('0 0 * * 0', '2026-01-04 00:00:00, 2026-01-11 00:00:00, 2026-01-18 00:00:00'),
  ('0 0 * * 7', '2026-01-04 00:00:00, 2026-01-11 00:00:00, 2026-01-18 00:00:00'),
  ('0 0 * * 0,7', '2026-01-04 00:00:00, 2026-01-11 00:00:00, 2026-01-18 00:00:00'),
  ('0 0 * * sun-sun', '2026-01-04 00:00:00, 2026-01-11 00:00:00, 2026-01-18 00:00:00'),
  ('0 0 * * sat-sun', '2026-01-03 00:00:00, 2026-01-04 00:00:00, 2026-01-10 00:00:00'),
  ('0 0 * * 6-0', '2026-01-03 00:00:00, 2026-01-04 00:00:00, 2026-01-10 00:00:00'),
  ('0 0 * * 6-7', '2026-01-03 00:00:00, 2026-01-04 00:00:00, 2026-01-10 00:00:00'),
  ('0 0 * * sun-mon', '2026-01-04 00:00:00, 2026-01-05 00:00:00, 2026-01-11 00:00:00'),
  ('0 0 * * 7-1', '2026-01-04 00:00:00, 2026-01-05 00:00:00, 2026-01-11 00:00:00'),
  ('0 0 * * 6/1', '2026-01-03 00:00:00, 2026-01-04 00:00:00, 2026-01-10 00:00:00'),
  ('0 0 * * */7', '2026-01-04 00:00:00, 2026-01-11 00:00:00, 2026-01-18 00:00:00'),
  ('0 0 * * */3', '2026-01-03 00:00:00, 2026-01-04 00:00:00, 2026-01-07 00:00:00'),

  -- The day: either when both are restricted, both when one begins with *.
  ('0 0 4 * mon', '2026-01-04 00:00:00, 2026-01-05 00:00:00, 2026-01-12 00:00:00'),
  ('0 0 30 2 mon', '2026-02-02 00:00:00, 2026-02-09 00:00:00, 2026-02-16 00:00:00'),
  ('0 0 13 * *', '2026-01-13 00:00:00, 2026-02-13 00:00:00, 2026-03-13 00:00:00'),
  ('0 0 */2 * mon', '2026-01-05 00:00:00, 2026-01-19 00:00:00, 2026-02-09 00:00:00'),
  ('0 0 13 * */5', '2026-02-13 00:00:00, 2026-03-13 00:00:00, 2026-09-13 00:00:00'),
  ('0 0 *,13 * fri', '2026-01-02 00:00:00, 2026-01-09 00:00:00, 2026-01-16 00:00:00'),
  ('0 0 31 * *', '2026-01-31 00:00:00, 2026-03-31 00:00:00, 2026-05-31 00:00:00'),

  -- Leap years.
  ('0 0 29 2 *', '2028-02-29 00:00:00, 2032-02-29 00:00:00, 2036-02-29 00:00:00'),
  ('0 0 29 2 */7', '2032-02-29 00:00:00, 2060-02-29 00:00:00, 2088-02-29 00:00:00'),

  -- With seconds.
  ('*/20 * * * * *', '2026-01-01 00:00:20, 2026-01-01 00:00:40, 2026-01-01 00:01:00'),
  ('5,58 59 23 * * *', '2026-01-01 23:59:05, 2026-01-01 23:59:58, 2026-01-02 23:59:05'),
  ('30 0 12 * * sun', '2026-01-04 12:00:30, 2026-01-11 12:00:30, 2026-01-18 12:00:30'),

  -- Shorthands.
  ('@hourly', '2026-01-01 01:00:00, 2026-01-01 02:00:00, 2026-01-01 03:00:00'),
  ('@daily', '2026-01-02 00:00:00, 2026-01-03 00:00:00, 2026-01-04 00:00:00'),
  ('@midnight', '2026-01-02 00:00:00, 2026-01-03 00:00:00, 2026-01-04 00:00:00'),
  ('@weekly', '2026-01-04 00:00:00, 2026-01-11 00:00:00, 2026-01-18 00:00:00'),
  ('@monthly', '2026-02-01 00:00:00, 2026-03-01 00:00:00, 2026-04-01 00:00:00'),
  ('@yearly', '2027-01-01 00:00:00, 2028-01-01 00:00:00, 2029-01-01 00:00:00'),
  (' @Annually ', '2027-01-01 00:00:00, 2028-01-01 00:00:00, 2029-01-01 00:00:00'),

  -- White space.
  (E'\t 0   9\n*\t* * \r\n', '2026-01-01 09:00:00, 2026-01-02 09:00:00, 2026-01-03 09:00:00'),

  -- What never comes.
  ('0 0 30 2 *', null),
  ('0 0 31 feb,4,6,9,11 *', null),
  ('0 0 31 4,6 */2', null)
) as example (expression, expected);

select is(
  pg_temp.fires(expression => '*/10 * * * * *', after => example.after),
  example.expected,
  'later than ' || example.after
)
from (values
  (timestamptz '2026-01-01 00:00:09.999999+00', '2026-01-01 00:00:10'),
  ('2026-01-01 00:00:10+00', '2026-01-01 00:00:20'),
  ('2026-01-01 00:00:10.000001+00', '2026-01-01 00:00:20'),
  ('1000-01-01 00:00:00+00', '1000-01-01 00:00:10'),
  ('9999-12-31 00:00:00+00', '9999-12-31 00:00:10'),
  ('2026-12-31 23:59:55+00', '2027-01-01 00:00:00')
) as example (after, expected);

select is(
  pg_temp.fires(expression => '0 0 29 2 */7', after => '9999-12-31 00:00+00'),
  '10004-02-29 00:00:00',
  'the last time to search from is not the last to find'
);

select is(
  pg_temp.fires(expression => '0 0 29 2 *', after => example.after, runs => 2),
  example.expected,
  'leap years after ' || example.after
)
from (values
  (timestamptz '1896-03-01 00:00+00', '1904-02-29 00:00:00, 1908-02-29 00:00:00'),
  ('1996-03-01 00:00+00', '2000-02-29 00:00:00, 2004-02-29 00:00:00'),
  ('2096-03-01 00:00+00', '2104-02-29 00:00:00, 2108-02-29 00:00:00')
) as example (after, expected);

-- Where the clocks change. Each example is one night; the instants are in UTC.

create function pg_temp.instants(expression text, timezone text, after timestamptz, until timestamptz)
returns text
language sql
as $$
  select coalesce(string_agg(to_char(fire.run_at at time zone 'UTC', 'DD HH24:MI'), ', ' order by fire.run_at), 'none')
  from soniq.cron_preview(
    expression => instants.expression, timezone => instants.timezone, after => instants.after, runs => 60
  ) as fire
  where fire.run_at < instants.until;
$$;

select is(
  pg_temp.instants(
    expression => example.expression, timezone => example.timezone, after => example.after, until => example.until
  ),
  example.expected,
  format('%s, %s: %s', example.night, example.expression, example.why)
)
from (values
  -- London, 2026-03-29: from 00:59:59 to 02:00:00, at 01:00 UTC.
  (
    'gap', '30 1 * * *', 'Europe/London', timestamptz '2026-03-28 12:00+00', timestamptz '2026-03-30 12:00+00',
    '29 01:00, 30 00:30', 'a skipped time fires when the gap ends'
  ),
  (
    'gap', '*/15 1 * * *', 'Europe/London', '2026-03-28 12:00+00', '2026-03-30 00:20+00',
    '29 01:00, 30 00:00, 30 00:15', 'several do so once'
  ),
  (
    'gap', '*/30 1-2 * * *', 'Europe/London', '2026-03-28 12:00+00', '2026-03-29 12:00+00',
    '29 01:00, 29 01:30', 'and together with the time that the gap ends at'
  ),
  (
    'gap', '0 2 * * *', 'Europe/London', '2026-03-28 12:00+00', '2026-03-29 12:00+00',
    '29 01:00', 'the end of the gap is not in it'
  ),
  (
    'gap', '59 0 * * *', 'Europe/London', '2026-03-28 12:00+00', '2026-03-29 12:00+00',
    '29 00:59', 'nor is the minute before'
  ),
  (
    'gap', '30 1 * * *', 'Europe/London', '2026-03-29 01:00+00', '2026-03-30 12:00+00',
    '30 00:30', 'after the gap it has fired'
  ),
  (
    'gap', '30 1 29 3 *', 'Europe/London', '2026-03-29 00:59:59.5+00', '2026-03-29 12:00+00',
    '29 01:00', 'half a second before the gap it has not'
  ),
  (
    'gap', '30 1 * * sun', 'Europe/London', '2026-03-28 12:00+00', '2026-04-05 12:00+00',
    '29 01:00, 05 00:30', 'on the day that it is'
  ),
  (
    'gap', '30 * * * *', 'Europe/London', '2026-03-28 23:00+00', '2026-03-29 03:00+00',
    '28 23:30, 29 00:30, 29 01:30, 29 02:30', 'hourly follows the clock, so nothing is made up for'
  ),
  (
    'gap', '*/15 * * * *', 'Europe/London', '2026-03-29 00:30+00', '2026-03-29 01:30+00',
    '29 00:45, 29 01:00, 29 01:15', 'and so does finer'
  ),
  (
    'gap', '0 */2 * * *', 'Europe/London', '2026-03-28 21:00+00', '2026-03-29 06:00+00',
    '28 22:00, 29 00:00, 29 01:00, 29 03:00, 29 05:00', 'every two hours is a list of times'
  ),

  -- London, 2026-10-25: from 01:59:59 back to 01:00:00, at 01:00 UTC.
  (
    'fold', '30 1 * * *', 'Europe/London', '2026-10-24 12:00+00', '2026-10-26 12:00+00',
    '25 00:30, 26 01:30', 'a time that comes twice fires the first time'
  ),
  (
    'fold', '*/30 1 * * *', 'Europe/London', '2026-10-24 12:00+00', '2026-10-25 12:00+00',
    '25 00:00, 25 00:30', 'and so do several'
  ),
  (
    'fold', '30 1 * * *', 'Europe/London', '2026-10-25 01:10+00', '2026-10-26 12:00+00',
    '26 01:30', 'when the clock was put back it has fired'
  ),
  (
    'fold', '0 2 * * *', 'Europe/London', '2026-10-24 12:00+00', '2026-10-25 12:00+00',
    '25 02:00', 'the end of the fold comes once'
  ),
  (
    'fold', '30 * * * *', 'Europe/London', '2026-10-24 23:00+00', '2026-10-25 03:00+00',
    '24 23:30, 25 00:30, 25 01:30, 25 02:30', 'hourly follows the clock, so both times count'
  ),
  (
    'fold', '30 0-23 25 10 *', 'Europe/London', '2026-10-25 00:45+00', '2026-10-25 03:00+00',
    '25 01:30, 25 02:30', 'whichever way all hours are written'
  ),
  (
    'fold', '0 */2 * * *', 'Europe/London', '2026-10-24 22:00+00', '2026-10-25 06:00+00',
    '24 23:00, 25 02:00, 25 04:00', 'every two hours is a list of times'
  ),

  -- Lord Howe: half an hour. At 02:00 on 2026-10-04 to 02:30; at 02:00 on 2026-04-05 back to 01:30.
  (
    'gap of 30 minutes', '15 2 * * *', 'Australia/Lord_Howe', '2026-10-02 16:00+00', '2026-10-04 20:00+00',
    '03 15:30, 04 15:15', 'a skipped time fires when the gap ends'
  ),
  (
    'fold of 30 minutes', '45 * * * *', 'Australia/Lord_Howe', '2026-04-04 14:00+00', '2026-04-04 17:00+00',
    '04 14:45, 04 15:15, 04 16:15', 'hourly follows the clock'
  ),

  -- Troll: two hours. At 01:00 UTC on 2026-03-29 from 01:00 to 03:00, on 2026-10-25 from 03:00 to 01:00.
  (
    'gap of 2 hours', '30 1,2 * * *', 'Antarctica/Troll', '2026-03-28 12:00+00', '2026-03-29 12:00+00',
    '29 01:00', 'both hours fire once'
  ),
  (
    'fold of 2 hours', '30 1,2 * * *', 'Antarctica/Troll', '2026-10-24 12:00+00', '2026-10-25 12:00+00',
    '24 23:30, 25 00:30', 'both hours fire the first time'
  ),

  -- Dublin has its winter time as daylight saving of minus an hour.
  (
    'fold with negative saving', '30 1 * * *', 'Europe/Dublin', '2026-10-24 12:00+00', '2026-10-25 12:00+00',
    '25 00:30', 'the first time is the first'
  ),

  -- Santiago puts the clock forward from 24:00 and back to 23:00 the day before.
  (
    'gap at midnight', '@daily', 'America/Santiago', '2026-09-05 12:00+00', '2026-09-07 12:00+00',
    '06 04:00, 07 03:00', 'the day begins when the gap ends'
  ),
  (
    'fold at midnight', '30 23 4 4 *', 'America/Santiago', '2026-04-04 12:00+00', '2026-04-06 12:00+00',
    '05 02:30', 'half past eleven fires the first time'
  ),
  (
    'fold at midnight', '30 * 4 4 *', 'America/Santiago', '2026-04-05 02:45+00', '2026-04-06 12:00+00',
    '05 03:30', 'hourly, the day is an hour longer, although it seemed to be over'
  ),

  -- Apia crossed the date line: there was no 2011-12-30.
  (
    'a day that is no more', '0 9 * * *', 'Pacific/Apia', '2011-12-29 12:00+00', '2011-12-31 12:00+00',
    '29 19:00, 30 10:00, 30 19:00', 'its time fires when it would have begun'
  ),
  (
    'a day that is no more', '0 */8 30 12 *', 'Pacific/Apia', '2011-12-01 12:00+00', '2012-01-01 00:00+00',
    '30 10:00', 'all its times together fire once'
  )
) as example (night, expression, timezone, after, until, expected, why);

select is(
  pg_temp.fires(expression => '0 * 29 2 *', after => '2026-01-01 00:00+00', timezone => 'Europe/London'),
  '2028-02-29 00:00:00',
  'following the clock over years and several changes of it'
);

-- Defaults.

select pg_temp.stop_clock();

select is(soniq.cron_next('0 * * * *'), '2030-01-01 13:00+00', 'after defaults to now, timezone to UTC');
select is(soniq.cron_next('0 * * * *', null, null), '2030-01-01 13:00+00', 'and so they do when they are NULL');
select is(
  (select array_agg(preview.run_at) from soniq.cron_preview('0 * * * *', null, null, null) as preview),
  (
    select array_agg(fire.at)
    from generate_series(timestamptz '2030-01-01 13:00+00', '2030-01-01 22:00+00', '1 hour') as fire (at)
  ),
  'a preview is of the next ten fires'
);

select results_eq(
  $$select * from soniq.cron_preview('30 1 * * *', 'Asia/Kathmandu', '2026-01-01 00:00+00', 2)$$,
  $$
    values
      (timestamptz '2026-01-01 19:45+00', timestamp '2026-01-02 01:30', interval '5:45'),
      (timestamptz '2026-01-02 19:45+00', timestamp '2026-01-03 01:30', interval '5:45')
  $$,
  'a preview has the instant, the local time and its offset'
);

select is(count(*)::integer, 1000, 'a preview may have 1000 rows')
from soniq.cron_preview('* * * * *', runs => 1000);

-- The session's settings have no say.

create function pg_temp.under(setting text, value text, expression text, timezone text, after timestamptz)
returns bigint
language plpgsql
as $$
declare
  before constant text := current_setting(under.setting);
  answer bigint;
begin
  perform set_config(under.setting, under.value, true);
  select sum(extract(epoch from fire.run_at))
  into answer
  from soniq.cron_preview(
    expression => under.expression, timezone => under.timezone, after => under.after, runs => 4
  ) as fire;
  perform set_config(under.setting, before, true);
  return answer;
end;
$$;

select is(
  pg_temp.under(
    setting => session.setting, value => session.value,
    expression => example.expression, timezone => example.timezone, after => example.after
  ),
  pg_temp.under(
    setting => 'timezone', value => 'UTC',
    expression => example.expression, timezone => example.timezone, after => example.after
  ),
  format('%s in %s with %s %s', example.expression, example.timezone, session.setting, session.value)
)
from (values
  ('timezone', 'America/New_York'),
  ('timezone', 'Pacific/Apia'),
  ('timezone', 'Australia/Lord_Howe'),
  ('timezone', 'Europe/London'),
  ('timezone', 'Foo+5:43'),
  ('datestyle', 'german'),
  ('datestyle', 'sql, dmy'),
  ('intervalstyle', 'sql_standard'),
  ('intervalstyle', 'iso_8601'),
  ('timezone_abbreviations', 'Australia')
) as session (setting, value)
cross join (values
  ('30 2 * * *', 'America/New_York', timestamptz '2026-03-07 12:00:00.5+00'),
  ('30 * * * *', 'America/New_York', '2026-10-31 23:00+00'),
  ('0 9 * * *', 'Pacific/Apia', '2011-12-29 12:00+00'),
  ('0 */2 29 2 *', 'GMT', '2026-01-01 00:00+00'),
  -- In these, the session's clocks change before the fire.
  ('30 * 9 3 *', 'UTC', '2026-03-01 00:00+00'),
  ('0 * 2 11 *', 'Asia/Kathmandu', '2026-10-31 00:00+00'),
  ('30 1 * * *', 'Europe/London', '2026-03-28 12:00+00')
) as example (expression, timezone, after);

-- Time zones: IANA's names.

select isnt(
  soniq.cron_next('@daily', timezone => good.timezone),
  null,
  format('%L is a time zone', good.timezone)
)
from (values
  ('UTC'), ('utc'), ('GMT'), ('Europe/London'), ('europe/london'), ('America/Argentina/Buenos_Aires'),
  ('America/Port-au-Prince'), ('Etc/GMT+5'), ('Etc/GMT-14'), ('Etc/GMT+12'), ('Etc/GMT+0')
) as good (timezone);

-- Names without a / are the slow ones: PostgreSQL reads all its files for each.
select lives_ok(
  $$
    select soniq._check_timezone(known.name)
    from soniq._timezone_names() as known (name)
    where known.name ~ '/'
      or known.name in ('Japan', 'NZ-CHAT', 'EST5EDT')
  $$,
  'the names of the list pass'
);

select is(
  pg_temp.refusal(format('select soniq.cron_next(''@daily'', timezone => %L)', bad.timezone)),
  pg_temp.refused_with('SQ018', bad.problem, bad.remedy),
  format('%L is no time zone', left(bad.timezone, 60))
)
from (values
  (
    'Berlin', 'time zone ''Berlin'' is not known',
    'Did you mean Europe/Berlin? Names are those of pg_timezone_names.'
  ),
  (
    'Foo5', 'time zone ''Foo5'' is not known',
    'Give a name of pg_timezone_names, as in Europe/London.'
  ),
  ('UTC+3', 'time zone ''UTC+3'' is not known', 'Did you mean UTC? Names are those of pg_timezone_names.'),
  ('+02', 'time zone ''+02'' is not known', 'Give a name of pg_timezone_names, as in Europe/London.'),
  ('<X>-3', 'time zone ''<X>-3'' is not known', 'Give a name of pg_timezone_names, as in Europe/London.'),
  ('', 'time zone '''' is not known', 'Give a name of pg_timezone_names, as in Europe/London.'),
  ('localtime', 'time zone ''localtime'' is not known', 'Give a name of pg_timezone_names, as in Europe/London.'),
  (
    repeat('n', 1000000), format('time zone %L is not known', repeat('n', 60)),
    'Give a name of pg_timezone_names, as in Europe/London.'
  ),
  ('x/../../etc/passwd', 'time zone ''x/../../etc/passwd'' is not known', 'Give a name of pg_timezone_names, as in Europe/London.'),
  (
    'CEST', 'time zone ''CEST'' is an abbreviation',
    'Name a place, as in Europe/London: an abbreviation knows no daylight saving.'
  ),
  (
    'cet', 'time zone ''cet'' is an abbreviation',
    'Name a place, as in Europe/London: an abbreviation knows no daylight saving.'
  ),
  (
    repeat('z', 300), 'time zone ''' || repeat('z', 60) || ''' is not known',
    'Give a name of pg_timezone_names, as in Europe/London.'
  )
) as bad (timezone, problem, remedy);

select alike(
  pg_temp.refusal(format('select soniq.cron_next(''@daily'', timezone => %L)', bad.timezone)),
  format(E'SQ018: time zone %L is not known\nDid you mean %s%%? Names are those of pg_timezone_names.', bad.timezone, bad.meant),
  format('%L is no time zone, and is near one', bad.timezone)
)
from (values
  ('Europe/Lodnon', 'Europe/London, '),
  ('Pacific/Auklnad', 'Pacific/Auckland, '),
  ('Etc/GMT+15', 'Etc/GMT+1, '),
  ('posix/Europe/London', 'Europe/London, ')
) as bad (timezone, meant);

select lives_ok('select soniq._check_timezone(null)', 'a time zone that is NULL passes: it is the default');
select lives_ok('select soniq._check_cron(null)', 'an expression that is NULL passes: it is the default');
select lives_ok('select soniq._check_cron(''0 0 30 2 *'')', 'an expression that never fires is well formed');

-- Expressions that are refused, by all who take one.

create temporary table bad_expressions as
select *
from (values
  (
    '', 'cron expression is empty',
    'Give five fields, which are minute, hour, day of month, month and day of week, or six, with seconds first.'
  ),
  (
    E' \t ', 'cron expression is empty',
    'Give five fields, which are minute, hour, day of month, month and day of week, or six, with seconds first.'
  ),
  (
    '* * * *', 'cron expression ''* * * *'': it has 4 fields',
    'Give five fields, which are minute, hour, day of month, month and day of week, or six, with seconds first.'
  ),
  (
    '0 0 * * * * 2026', 'cron expression ''0 0 * * * * 2026'': it has 7 fields',
    'Give five fields, which are minute, hour, day of month, month and day of week, or six, with seconds first.'
  ),
  (
    '* * * * *' || repeat(' ', 992),
    'cron expression has 1001 characters: ''* * * * *' || repeat(' ', 51) || '''',
    'Give at most 1000 characters.'
  ),
  (
    '@reboot', 'cron expression ''@reboot'': the database does not know of reboots',
    'Enqueue the job where the machine or the service is started.'
  ),
  (
    '@fortnightly', 'cron expression ''@fortnightly'': there is no such name',
    'Give five or six fields, or @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually.'
  ),

  (
    '61 * * * *', 'cron expression ''61 * * * *'': minute is ''61'', which is not 0 to 59',
    'Give 0 to 59, or * for all.'
  ),
  (
    ' 60 0 0 * * * ', 'cron expression ''60 0 0 * * *'': second is ''60'', which is not 0 to 59',
    'Give 0 to 59, or * for all.'
  ),
  (
    '0 1,24 * * *', 'cron expression ''0 1,24 * * *'': hour is ''24'', which is not 0 to 23',
    'Give 0 to 23, or * for all.'
  ),
  (
    '0 0 0 * *', 'cron expression ''0 0 0 * *'': day of month is ''0'', which is not 1 to 31',
    'Give 1 to 31, or * for all.'
  ),
  (
    '0 0 1-32 * *', 'cron expression ''0 0 1-32 * *'': day of month is ''32'', which is not 1 to 31',
    'Give 1 to 31, or * for all.'
  ),
  (
    '0 0 * 13 *', 'cron expression ''0 0 * 13 *'': month is ''13'', which is not 1 to 12 or jan to dec',
    'Give 1 to 12 or jan to dec, or * for all.'
  ),
  (
    '0 0 * Foo *', 'cron expression ''0 0 * Foo *'': month is ''Foo'', which is not 1 to 12 or jan to dec',
    'Give 1 to 12 or jan to dec, or * for all.'
  ),
  (
    '0 0 * * mon-8', 'cron expression ''0 0 * * mon-8'': day of week is ''8'', which is not 0 to 7 or sun to sat',
    'Give 0 to 7 or sun to sat, or * for all.'
  ),
  (
    '0 0 * * monday', 'cron expression ''0 0 * * monday'': day of week is ''monday'', which is not 0 to 7 or sun to sat',
    'Give 0 to 7 or sun to sat, or * for all.'
  ),
  (
    '0 0 jan * *', 'cron expression ''0 0 jan * *'': day of month is ''jan'', which is not 1 to 31',
    'Give 1 to 31, or * for all.'
  ),
  (
    '99999999999999999999 * * * *',
    'cron expression ''99999999999999999999 * * * *'': minute is ''99999999999999999999'', which is not 0 to 59',
    'Give 0 to 59, or * for all.'
  ),
  (
    E'\u0663 * * * *', E'cron expression ''\u0663 * * * *'': minute is ''\u0663'', which is not 0 to 59',
    'Give 0 to 59, or * for all.'
  ),

  (
    '0 0 ? * *', 'cron expression ''0 0 ? * *'': day of month is ''?'', which is not 1 to 31',
    'Do without ?, L, W and #: they are extensions that Soniq does not have.'
  ),
  (
    '0 0 L * *', 'cron expression ''0 0 L * *'': day of month is ''L'', which is not 1 to 31',
    'Do without ?, L, W and #: they are extensions that Soniq does not have.'
  ),
  (
    '0 0 l-2 * *', 'cron expression ''0 0 l-2 * *'': day of month is ''l'', which is not 1 to 31',
    'Do without ?, L, W and #: they are extensions that Soniq does not have.'
  ),
  (
    '0 0 15W * *', 'cron expression ''0 0 15W * *'': day of month is ''15W'', which is not 1 to 31',
    'Do without ?, L, W and #: they are extensions that Soniq does not have.'
  ),
  (
    '0 0 * * 5L', 'cron expression ''0 0 * * 5L'': day of week is ''5L'', which is not 0 to 7 or sun to sat',
    'Do without ?, L, W and #: they are extensions that Soniq does not have.'
  ),
  (
    '0 0 * * fri#2', 'cron expression ''0 0 * * fri#2'': day of week is ''fri#2'', which is not 0 to 7 or sun to sat',
    'Do without ?, L, W and #: they are extensions that Soniq does not have.'
  ),

  (
    '*/0 * * * *', 'cron expression ''*/0 * * * *'': minute is ''*/0'', whose step is not 1 to 60',
    'Give a step of 1 to 60. It counts within the field: no step is longer than that.'
  ),
  (
    '*/90 * * * *', 'cron expression ''*/90 * * * *'': minute is ''*/90'', whose step is not 1 to 60',
    'Give a step of 1 to 60. It counts within the field: no step is longer than that.'
  ),
  (
    '0 1-9/99999999999 * * *', 'cron expression ''0 1-9/99999999999 * * *'': hour is ''1-9/99999999999'', whose step is not 1 to 24',
    'Give a step of 1 to 24. It counts within the field: no step is longer than that.'
  ),
  (
    '0 0 * * */8', 'cron expression ''0 0 * * */8'': day of week is ''*/8'', whose step is not 1 to 7',
    'Give a step of 1 to 7. It counts within the field: no step is longer than that.'
  ),
  (
    '*/x * * * *', 'cron expression ''*/x * * * *'': minute is ''*/x'', whose step is not 1 to 60',
    'Give a step of 1 to 60. It counts within the field: no step is longer than that.'
  ),

  (
    '5-1 * * * *', 'cron expression ''5-1 * * * *'': minute is ''5-1'', which runs backwards',
    'Write 5-59,0-1.'
  ),
  (
    '0 22-6/5 * * *', 'cron expression ''0 22-6/5 * * *'': hour is ''22-6/5'', which runs backwards',
    'Write 22,3.'
  ),
  (
    '0 0 1 nov-2 *', 'cron expression ''0 0 1 nov-2 *'': month is ''nov-2'', which runs backwards',
    'Write 11-12,1-2.'
  ),
  (
    '0 0 1 11-3/2 *', 'cron expression ''0 0 1 11-3/2 *'': month is ''11-3/2'', which runs backwards',
    'Write 11,1,3.'
  ),
  (
    '0 0 * * fri-mon', 'cron expression ''0 0 * * fri-mon'': day of week is ''fri-mon'', which runs backwards',
    'Write 5-6,0-1.'
  )
) as bad (expression, problem, remedy)
union all
select
  expression,
  format('cron expression %L: minute is %L, which is no list of values, ranges and steps', expression, split_part(expression, ' ', 1)),
  'Write *, a value, a range as in 1-5, either with a step as in */15 or 1-5/2, or a list of these as in 1,3-5.'
from (values
  ('1,,2 * * * *'), (', * * * *'), ('1, * * * *'), ('-5 * * * *'), ('5- * * * *'), ('1-2-3 * * * *'), ('*5 * * * *'),
  ('*-5 * * * *'), ('1-* * * * *'), ('/5 * * * *'), ('5/ * * * *'), ('*/5/5 * * * *'), ('** * * * *')
) as malformed (expression);

select is(
  pg_temp.refusal(format(place.call, bad.expression)),
  pg_temp.refused_with('SQ017', bad.problem, bad.remedy),
  format(place.call, left(bad.expression, 60))
)
from bad_expressions as bad
cross join (values
  ('select soniq.cron_next(%L)'),
  ('select * from soniq.cron_preview(%L)'),
  ('select soniq._check_cron(%L)')
) as place (call);

-- What else is refused.

select is(
  pg_temp.refusal('select * from soniq.' || bad.call),
  pg_temp.refused_with(bad.code, bad.problem, bad.remedy),
  bad.call
)
from (values
  ('cron_next(null)', 'SQ017', 'cron expression is NULL', 'Give the cron expression.'),
  ('cron_preview(null)', 'SQ017', 'cron expression is NULL', 'Give the cron expression.'),
  ('cron_next(''@daily'', ''infinity'')', 'SQ006', 'after is infinity', 'Give a time between the years 1000 and 9999.'),
  ('cron_next(''@daily'', ''-infinity'')', 'SQ006', 'after is -infinity', 'Give a time between the years 1000 and 9999.'),
  (
    'cron_next(''@daily'', ''999-12-31 00:00+00'')', 'SQ006',
    'after is 0999-12-31 00:00:00+00', 'Give a time between the years 1000 and 9999.'
  ),
  (
    'cron_preview(''@daily'', after => ''9999-12-31 00:00:01+00'')', 'SQ006',
    'after is 9999-12-31 00:00:01+00', 'Give a time between the years 1000 and 9999.'
  ),
  ('cron_preview(''@daily'', runs => 0)', 'SQ012', 'runs 0 is out of range', 'Give a whole number from 1 to 1000.'),
  ('cron_preview(''@daily'', runs => 1001)', 'SQ012', 'runs 1001 is out of range', 'Give a whole number from 1 to 1000.'),
  (
    'cron_preview(''@daily'', ''CEST'')', 'SQ018', 'time zone ''CEST'' is an abbreviation',
    'Name a place, as in Europe/London: an abbreviation knows no daylight saving.'
  )
) as bad (call, code, problem, remedy);

select * from finish();
rollback;
