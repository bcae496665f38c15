-- Dead letters: replayed as new jobs with fresh attempts, found by every selection, never twice by accident, and gone
-- when they are deleted or pruned.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

-- A dead letter of a given name and queue.
create function pg_temp.letter(job_name text, queue text, max_attempts integer default 3)
returns bigint
language plpgsql
as $$
declare
  id constant bigint := soniq.enqueue(
    letter.job_name, '{"n": 1}', queue => letter.queue, priority => 0, max_attempts => letter.max_attempts,
    timeout => '9 s', dedup_key => format('dead_letters %s', nextval('pg_temp.numbers'))
  );
begin
  perform soniq.fail(
    job_id => id, attempt => pg_temp.take(job_id => id), error => '{"message": "broken"}', reason => 'permanent_failure'
  );
  return id;
end;
$$;

-- Replay.

select pg_temp.letter('replayed', 'letters replay') as letter \gset
select pg_temp.wait('1 hour') \g /dev/null
select row_eq(
  format($$select dead_letter_id, job_name, queue from soniq.replay_dead_letters(ids => array[%s])$$, :letter),
  row(:letter::bigint, 'replayed'::text, 'letters replay'::text),
  'a replay answers with the dead letter'
);
select job.id as job from soniq.jobs as job where job.replay_of = :letter \gset
select row_eq(
  $$
    select job_name, args, queue, priority, status, scheduled_at, enqueued_at, attempt, max_attempts, timeout, dedup_key,
      errors
    from soniq.jobs
    where id = $$ || :job,
  row(
    'replayed'::text collate "C", '{"n": 1}'::jsonb, 'letters replay'::text collate "C", 0::smallint, 'queued'::soniq.job_status,
    timestamptz '2030-01-01 13:00+00', timestamptz '2030-01-01 13:00+00', 0, 3, interval '9 s',
    null::text collate "C", '[]'::jsonb
  ),
  'it becomes a new job, ready at once, with what the first was made of'
);
select row_eq(
  'select status, replay_count, jsonb_array_length(errors) from soniq.get_job(' || :letter || ')',
  row('dead_letter'::soniq.job_status, 1, 1),
  'the dead letter stays, with its error, and counts'
);
select is(
  (select letter.last_replayed_at from soniq.dead_letter_jobs as letter where letter.id = :letter),
  timestamptz '2030-01-01 13:00+00',
  'and is dated'
);

select job_id as second_job from soniq.replay_dead_letters(ids => array[:letter]) \gset
select isnt(:second_job, :job, 'a letter named by its id is replayed again');
select is((pg_temp.job(:letter)).replay_count, 2, 'and counts that too');

select is(pg_temp.take(:job), 1, 'a claim hands the new job out');
select soniq.fail(:job, 1, '{}', 'permanent_failure') \g /dev/null
select job_id as grandchild from soniq.replay_dead_letters(ids => array[:job]) \gset
select is((pg_temp.job(:grandchild)).replay_of, :'job', 'a replayed job that dies is a letter of its own,');
select is((pg_temp.job(:job)).replay_of, :'letter', 'and the chain leads back to the first');

-- Fresh attempts, also for a job that was snoozed: its max_attempts had grown without its meaning more tries.

select pg_temp.new_job(max_attempts => 2) as letter \gset
select soniq.snooze(:letter, pg_temp.take(:letter), '0') from generate_series(1, 3) \g /dev/null
select soniq.fail(:letter, pg_temp.take(:letter), '{}') \g /dev/null
select pg_temp.wait('1 day') \g /dev/null
select soniq.release(:letter, pg_temp.take(:letter)) \g /dev/null
select is(
  soniq.fail(:letter, pg_temp.take(:letter), '{}'), 'dead_letter',
  'a job is snoozed and released, and dies at its second failure'
);
select job_id as job from soniq.replay_dead_letters(ids => array[:letter]) \gset
select is((pg_temp.job(:job)).max_attempts, 2, 'its replay may fail as often as it might');

select soniq.snooze(:job, pg_temp.take(:job), '0') \g /dev/null
select soniq.fail(:job, pg_temp.take(:job), '{}', 'unknown_job') \g /dev/null
select job_id as job from soniq.replay_dead_letters(ids => array[:job]) \gset
select is((pg_temp.job(:job)).max_attempts, 2, 'so may the replay of a job that died before its attempts were spent');

-- Selections.

create temporary table letters as
select lease.name, pg_temp.letter(lease.job_name, lease.queue) as id
from (values
  ('mail-1', 'letters mail', 'letters a'),
  ('mail-2', 'letters mail', 'letters a'),
  ('mail-3', 'letters mail', 'letters b'),
  ('bill-1', 'letters bill', 'letters a'),
  ('bill-2', 'letters bill', 'letters b'),
  ('ship-1', 'letters ship', 'letters c')
) as lease (name, job_name, queue);

create function pg_temp.ids(variadic names text[])
returns bigint[]
language sql
as $$
  select array_agg(letters.id)
  from letters
  where letters.name = any (ids.names);
$$;

-- The names of what a replay answers, in its order, each marked if a job was made.
create function pg_temp.replayed(arguments text)
returns text
language plpgsql
as $$
declare
  names text;
begin
  execute format(
    $statement$
      select coalesce(
        string_agg(letters.name || case when replay.job_id is null then '?' else '' end, ' ' order by ordinality), 'none'
      )
      from soniq.replay_dead_letters(%s) with ordinality as replay
      join letters
        on letters.id = replay.dead_letter_id
    $statement$,
    replayed.arguments
  )
  into names;
  return names;
end;
$$;

select is(pg_temp.replayed(step.arguments), step.names, format('replay %s: %s', step.arguments, step.why))
from (values
  ('job_name => ''letters mail'', dry_run => true', 'mail-1? mail-2? mail-3?', 'what would be replayed'),
  ('job_name => ''letters mail'', queue => ''letters b''', 'mail-3', 'both must match'),
  ('job_name => ''letters mail''', 'mail-1 mail-2', 'not mail-3 a second time'),
  ('job_name => ''letters mail''', 'none', 'nor any of them'),
  ('queue => ''letters a''', 'bill-1', 'the others of the queue are replayed already'),
  (
    'ids => pg_temp.ids(''bill-1'', ''mail-1'', ''ship-1''), job_name => ''letters mail''', 'mail-1',
    'ids are replayed again, but of this name only'
  ),
  ('ids => pg_temp.ids(''bill-1'', ''mail-1'')', 'mail-1 bill-1', 'ids again, in the order of the ids'),
  ('ids => ''{}''', 'none', 'no ids, no letters'),
  ('ids => ''{-1}''', 'none', 'an unknown id'),
  ('job_name => ''letters no such job''', 'none', 'an unknown name'),
  ('ids => pg_temp.ids(''mail-1'', ''mail-2''), max_letters => 1, dry_run => true', 'mail-1?', 'one of two ids'),
  (
    'ids => pg_temp.ids(''mail-1'', ''mail-2''), after_id => (pg_temp.ids(''mail-1''))[1], dry_run => true', 'mail-2?',
    'ids above another'
  ),
  ('everything => true, max_letters => 1, dry_run => true', 'bill-2?', 'the first of those not replayed yet'),
  ('everything => true, max_letters => 9, dry_run => true', 'bill-2? ship-1?', 'no more than there are'),
  (
    'everything => true, after_id => (pg_temp.ids(''bill-2''))[1], dry_run => true', 'ship-1?',
    'those not replayed yet above another'
  ),
  ('everything => true, dry_run => true', 'bill-2? ship-1?', 'a dry run has changed nothing'),
  ('everything => true, dry_run => null', 'bill-2 ship-1', 'all that is not replayed yet'),
  ('everything => true', 'none', 'which leaves nothing')
) as step (arguments, names, why);

select results_eq(
  $$
    select
      letters.name, letter.replay_count,
      (select count(*)::integer from soniq.jobs as job where job.replay_of = letter.id)
    from letters
    join soniq.dead_letter_jobs as letter
      on letter.id = letters.id
    order by letters.name
  $$,
  $$
    values ('bill-1', 2, 2), ('bill-2', 1, 1), ('mail-1', 3, 3), ('mail-2', 1, 1), ('mail-3', 1, 1), ('ship-1', 1, 1)
  $$,
  'replay_count is the number of jobs that were made'
);

-- Delete.

create function pg_temp.left_over()
returns text
language sql
as $$
  select coalesce(string_agg(letters.name, ' ' order by letters.name), 'none')
  from letters
  where pg_temp.status(letters.id) = 'dead_letter';
$$;

create function pg_temp.deleted(arguments text)
returns text
language plpgsql
as $$
declare
  answer bigint;
begin
  execute format('select count(*) from soniq.delete_dead_letters(%s)', deleted.arguments) into answer;
  return format('%s deleted, left: %s', answer, pg_temp.left_over());
end;
$$;

select soniq.delete_dead_letters(queue => 'letters replay') \g /dev/null
select is(pg_temp.deleted(step.arguments), step.outcome, 'delete ' || step.arguments)
from (values
  ('job_name => ''letters mail'', dry_run => true', '3 deleted, left: bill-1 bill-2 mail-1 mail-2 mail-3 ship-1'),
  ('job_name => ''letters mail'', queue => ''letters b''', '1 deleted, left: bill-1 bill-2 mail-1 mail-2 ship-1'),
  ('ids => pg_temp.ids(''mail-1'', ''mail-3'')', '1 deleted, left: bill-1 bill-2 mail-2 ship-1'),
  ('ids => pg_temp.ids(''mail-2''), dry_run => null', '1 deleted, left: bill-1 bill-2 ship-1'),
  ('ids => ''{}''', '0 deleted, left: bill-1 bill-2 ship-1'),
  ('queue => ''letters a''', '1 deleted, left: bill-2 ship-1')
) as step (arguments, outcome);

select array(select dead_letter_id from soniq.delete_dead_letters(everything => true, dry_run => true)) as told \gset
select is(
  array(select dead_letter_id from soniq.delete_dead_letters(everything => true)), :'told',
  'delete everything: those that the dry run told'
);
select is(
  :'told'::bigint[], array(select id from unnest(:'told'::bigint[]) as id order by id),
  'in the order of their ids'
);
select is(pg_temp.left_over(), 'none', 'and none is left');
select is_empty('select id from soniq.dead_letter_jobs', 'indeed not one');
select isnt((pg_temp.job(:grandchild)).id, null, 'a replayed job does not need its letter');

-- By the time of death, and by number.

select pg_temp.stop_clock('2030-01-10 12:00+00');
truncate letters;
insert into letters
select 'first', pg_temp.letter('letters time', 'letters time');
select pg_temp.wait('1 hour') \g /dev/null
insert into letters
select 'second', pg_temp.letter('letters time', 'letters time');
select pg_temp.wait('1 hour') \g /dev/null
insert into letters
select name, pg_temp.letter('letters time', 'letters time')
from unnest(array['third', 'fourth']) as name;

select is(pg_temp.replayed(step.arguments), step.names, format('replay %s: %s', step.arguments, step.why))
from (values
  ('since => ''2030-01-10 13:00+00'', dry_run => true', 'second? third? fourth?', 'since is inclusive'),
  ('before => ''2030-01-10 13:00+00'', dry_run => true', 'first?', 'before is not'),
  (
    'since => ''2030-01-10 13:00+00'', before => ''2030-01-10 14:00+00'', dry_run => true', 'second?',
    'both must match'
  ),
  ('since => ''2030-01-10 13:00+00'', before => ''2030-01-10 13:00+00'', dry_run => true', 'none', 'no time at all'),
  ('since => ''-infinity'', before => ''infinity'', dry_run => true', 'first? second? third? fourth?', 'all times'),
  ('since => ''2030-01-10 13:00+00'', job_name => ''letters no such job''', 'none', 'so must a name'),
  ('since => ''2030-01-10 13:00+00'', max_letters => 2, dry_run => true', 'second? third?', 'the first two of three'),
  ('since => ''2030-01-10 13:00+00'', max_letters => 2', 'second third', 'as the dry run said'),
  ('since => ''2030-01-10 13:00+00'', max_letters => 2', 'fourth', 'then the one that is left'),
  ('since => ''2030-01-10 13:00+00'', max_letters => 2', 'none', 'and no more'),
  ('ids => pg_temp.ids(''first'', ''second''), since => ''2030-01-10 13:00+00''', 'second', 'ids, again, of a time')
) as step (arguments, names, why);

select is(pg_temp.deleted(step.arguments), step.outcome, 'delete ' || step.arguments)
from (values
  (
    'since => ''2030-01-10 13:00+00'', before => ''2030-01-10 14:00+00'', dry_run => true',
    '1 deleted, left: first fourth second third'
  ),
  ('everything => true, max_letters => 3, dry_run => true', '3 deleted, left: first fourth second third'),
  ('before => ''2030-01-10 14:00+00'', max_letters => 1', '1 deleted, left: fourth second third'),
  ('after_id => (pg_temp.ids(''third''))[1], since => ''2030-01-10 13:00+00''', '1 deleted, left: second third'),
  ('since => ''2030-01-10 13:00+00''', '2 deleted, left: none')
) as step (arguments, outcome);

-- Prune by age.

select pg_temp.stop_clock('2030-02-01 12:00+00');
truncate letters;
insert into letters
select 'old', pg_temp.letter('letters prune', 'letters prune');
select pg_temp.wait('1 day') \g /dev/null
insert into letters
select 'young', pg_temp.letter('letters prune', 'letters prune');
select pg_temp.wait('6 days') \g /dev/null

select is(
  format(
    '%s pruned, left: %s',
    soniq.prune_dead_letters(step.older_than, max_letters => step.max_letters, dry_run => step.dry_run),
    pg_temp.left_over()
  ),
  step.outcome,
  format(
    'prune what is older than %s%s%s', step.older_than, ', at most ' || step.max_letters,
    case when step.dry_run then ', dry run' else '' end
  )
)
from (values
  (interval '7 days', null, false, '0 pruned, left: old young'),
  (interval '6 days 23:59:59', null, true, '1 pruned, left: old young'),
  (interval '0', 1, true, '1 pruned, left: old young'),
  (interval '0', 1, false, '1 pruned, left: young'),
  (interval '6 days', null, null, '0 pruned, left: young'),
  (interval '0', null, null, '1 pruned, left: none')
) as step (older_than, max_letters, dry_run, outcome);

-- By what they died of.

create function pg_temp.died_of(job_name text, error jsonb)
returns bigint
language plpgsql
as $$
declare
  id constant bigint := pg_temp.new_job(job_name => died_of.job_name);
begin
  perform soniq.fail(
    job_id => id, attempt => pg_temp.take(job_id => id), error => died_of.error, reason => 'permanent_failure'
  );
  perform pg_temp.wait('1 s');
  return id;
end;
$$;

select pg_temp.died_of('letters grouped', error) as latest
from (
  values
    (jsonb '{"type": "HTTPError", "message": "503 of /orders/12345"}'), ('{"type": "HTTPError", "message": "503 of /orders/98765"}'),
    ('{"type": "HTTPError", "message": "404 of /orders/98765"}'),
    ('{"type": "KeyError", "message": "job 0a1b2c3d-0000-4000-8000-00000000000f of INV-2031-77 and\n  x_20310_y\tat 0x7fab"}'), ('{}')
) as died (error) \g /dev/null
prepare groups as
select error_type, error_pattern, letters, last_at - first_at, latest_id, is_partial
from soniq.dead_letter_groups
where job_name = 'letters grouped'
order by error_type, error_pattern;
create temporary table grouped as
select letter.id, letter.error_type, letter.error_pattern
from soniq.dead_letters as letter
where letter.job_name = 'letters grouped';
create function pg_temp.expected_groups()
returns setof record
language sql
as $$
  select *
  from (
    values
      ('', '', 1::bigint, interval '0'), ('HTTPError', '404 of /orders/#', 1::bigint, interval '0'), ('HTTPError', '503 of /orders/#', 2, '1 s'),
      ('KeyError', 'job # of # and # at #', 1, '0')
  ) as wanted (error_type, error_pattern, letters, length)
  cross join lateral (
    select max(grouped.id), false
    from grouped
    where (grouped.error_type, grouped.error_pattern) = (wanted.error_type, wanted.error_pattern)
  ) as latest
$$;
create function pg_temp.set_letter_pages(pages bigint)
returns void
language plpgsql
as $$
begin
  create or replace function soniq._pages(relation regclass)
  returns bigint
  language sql
  volatile
  as $pages$
    select pg_catalog.current_setting('soniq_test.pages')::bigint;
  $pages$;
  perform set_config('soniq_test.pages', set_letter_pages.pages::text, true);
end;
$$;
select pg_temp.set_letter_pages(1);
select results_eq(
  'execute groups',
  'select * from pg_temp.expected_groups() as (a text, b text, c bigint, d interval, e bigint, f boolean)',
  'messages that differ in an id are one group, and those that differ in a status are not'
);
select soniq._take_tally() \g /dev/null
select pg_temp.set_letter_pages(101);
select results_eq(
  'execute groups',
  'select * from pg_temp.expected_groups() as (a text, b text, c bigint, d interval, e bigint, f boolean)',
  'of a large table, the tally tells'
);
select is(
  (select (count(*), bool_and(is_partial)) from soniq._group_letters(most => 3)), row(3::bigint, true), 'of more than are looked at, the latest'
);
select is(
  (select count(*) from soniq.replay_dead_letters(job_name => 'letters grouped', error_type => 'HTTPError', error_pattern => '503 of /orders/#')),
  2::bigint, 'a group is replayed'
);
select is(
  (select count(*) from soniq.delete_dead_letters(job_name => 'letters grouped', error_type => 'HTTPError', only_waiting => true)), 1::bigint,
  'of one type those are deleted that were not replayed'
);
select is(
  (select count(*) from soniq.delete_dead_letters(job_name => 'letters grouped', error_type => 'HTTPError', only_waiting => null)), 2::bigint,
  'or all'
);
select is(
  (select count(*) from soniq.delete_dead_letters(job_name => 'letters grouped', error_type => '', error_pattern => '')), 1::bigint,
  'and those whose error told nothing'
);

select pg_temp.set_letter_pages(1);
delete from soniq.dead_letter_jobs;
select pg_temp.died_of('letters apart', jsonb_build_object('type', format('Error%s', n))) from generate_series(1, 100) as n \g /dev/null
select is(
  (select (count(*), bool_or(is_partial)) from soniq._group_letters(most => 1000)), row(100::bigint, false), 'a hundred groups are all there are'
);
select pg_temp.died_of('letters apart', '{"type": "Error101"}') \g /dev/null
select is(
  (select (count(*), bool_and(is_partial)) from soniq._group_letters(most => 1000)), row(100::bigint, true), 'of more, the hundred largest'
);

select * from finish();
rollback;
