-- Headers: what is sent along beside the arguments stays with the job wherever it goes.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

create temporary view headers_of as
select all_jobs.id, all_jobs.headers
from soniq.all_jobs;

select soniq.enqueue('traced', queue => 'headers', max_attempts => 2, headers => '{"traceparent": "00-a"}') as id \gset
select soniq.enqueue('untraced', queue => 'no headers') as untraced \gset
select is((select headers from headers_of where id = :id), '{"traceparent": "00-a"}', 'a job keeps its headers');
select is((select headers from headers_of where id = :untraced), null, 'or has none');
select array_agg(id) as ids
from soniq.enqueue_many('traced', '{"{}","{}"}'::jsonb[], queue => 'many headers', headers => '{"n": 1}') as made (id) \gset
select is(
  array(select headers from headers_of where id = any (:'ids'::bigint[])),
  array['{"n": 1}', '{"n": 1}']::jsonb[],
  'enqueue_many() gives them to all'
);

select is(
  (select headers from pg_temp.claim(queues => '{headers}')),
  '{"traceparent": "00-a"}',
  'claim() answers with them'
);
select soniq.fail(:id, 1, '{"type": "E", "message": "m"}');
select pg_temp.stop_clock('2030-01-02 12:00+00');
select is(
  (select headers from pg_temp.claim(queues => '{headers}')),
  '{"traceparent": "00-a"}',
  'also on the second attempt'
);
select soniq.fail(:id, 2, '{"type": "E", "message": "m"}');
select is(
  (select headers from soniq.dead_letter_jobs where id = :id),
  '{"traceparent": "00-a"}',
  'a dead letter has them'
);
select job_id as replay from soniq.replay_dead_letters(ids => array[:id]::bigint[]) \gset
select is((select headers from headers_of where id = :replay), '{"traceparent": "00-a"}', 'and its replay too');
select attempt from pg_temp.claim(queues => '{headers}') \gset
select soniq.complete(:replay, :attempt);
select is(
  (select headers from soniq.finished_jobs where id = :replay),
  '{"traceparent": "00-a"}',
  'and the finished job'
);

-- Bad ones.

select is(
  pg_temp.refusal(format('select soniq.enqueue(%L, headers => %L)', 'x', given)),
  pg_temp.refused_with(
    'SQ022',
    format('headers must be a JSON object, not %s', kind),
    'Name each header, as in {"traceparent": "00-..."}; NULL for none.'
  ),
  format('%s is refused', kind)
)
from (values ('[]', 'array'), ('"00-a"', 'string'), ('null', 'null')) as bad (given, kind);
select lives_ok(
  format('select soniq.enqueue(%L, headers => %L)', 'x', jsonb_build_object('n', repeat('n', 8192 - 9))),
  '8192 bytes are taken'
);
select alike(
  pg_temp.refusal(format('select soniq.enqueue(%L, headers => %L)', 'x', jsonb_build_object('n', repeat('n', 8193 - 9)))),
  'SQ022: headers take 8193 bytes; the limit is 8192%',
  'one more is not'
);

select * from finish();
rollback;
