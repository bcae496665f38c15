-- register_job_type(): a policy is kept as declared, replaced as a whole, and written only when it changes. What
-- enqueue() and fail() make of it is in enqueue.sql and fail.sql.

begin;
\ir support.sql
select no_plan();
select pg_temp.stop_clock('2030-01-01 12:00+00');

create function pg_temp.policy(job_name text)
returns text
language sql
as $$
  select concat_ws(
    ' | ', type.queue, type.priority, type.max_attempts, type.timeout, type.retry_delays, type.backoff,
    type.max_retry_delay, to_char(type.registered_at, 'HH24:MI')
  )
  from soniq.job_types as type
  where type.job_name = policy.job_name;
$$;

select soniq.register_job_type(
  'declared', queue => 'mail', priority => 0, max_attempts => 3, timeout => '1 minute', retry_delays => '{1 s, 2 s}',
  backoff => 'fixed', max_retry_delay => '1 hour'
);
select is(
  pg_temp.policy('declared'),
  'mail | 0 | 3 | 00:01:00 | {00:00:01,00:00:02} | fixed | 01:00:00 | 12:00',
  'a policy is kept as declared'
);

select soniq.register_job_type('declared', priority => 7);
select is(pg_temp.policy('declared'), '7 | 12:00', 'a later declaration replaces the whole of it');

select soniq.register_job_type('bare');
select is(pg_temp.policy('bare'), '12:00', 'nothing need be declared but the name');

select pg_temp.wait('1 hour') \g /dev/null
select soniq.register_job_type('declared', priority => 7);
select is(pg_temp.policy('declared'), '7 | 12:00', 'the same declaration again writes nothing');
select soniq.register_job_type('declared', priority => 8);
select is(pg_temp.policy('declared'), '8 | 13:00', 'a different one is dated');

select lives_ok(format('select soniq.register_job_type(%s)', allowed.arguments), allowed.arguments)
from (values
  ('''allowed'', retry_delays => ''{0 s}'''),
  ('''allowed'', retry_delays => array_fill(interval ''1 s'', array[1000])'),
  ('''allowed'', backoff => ''exponential'''),
  ('''allowed'', retry_delays => ''{1 s}'', backoff => ''exponential'', max_retry_delay => ''0'''),
  ('''allowed'', priority => 1000, max_attempts => 1000, timeout => ''0''')
) as allowed (arguments);

-- Arguments that are shown to nobody.

select soniq.register_job_type('declared secret', secret_args => '{card,pin}');
select soniq.enqueue('declared secret', '{"card": "4111", "amount": 7}', queue => 'declared secret') as secret \gset
select is(
  (pg_temp.job(:secret)).args, '{"card": "***", "amount": 7}', 'a secret argument is shown as ***, and others as they are'
);
select is(
  (select args from soniq.claim(runner_id => pg_temp.the_runner(), queues => '{declared secret}')),
  '{"card": "4111", "amount": 7}', 'and its runner gets it'
);
select soniq.fail(:secret, 1, '{}', 'permanent_failure') \g /dev/null
select is(
  (select array[letter.args, job.args] from soniq.dead_letters as letter join soniq.all_jobs as job using (id) where id = :secret),
  '{"{\"card\": \"***\", \"amount\": 7}","{\"card\": \"***\", \"amount\": 7}"}', 'also where it is a dead letter'
);
select is((select args from soniq.dead_letter_jobs where id = :secret), '{"card": "4111", "amount": 7}', 'which keeps it');
select soniq.register_job_type('declared secret');
select is((pg_temp.job(:secret)).args, '{"card": "4111", "amount": 7}', 'until it is no longer declared as secret');
select soniq.register_job_type('declared secret', secret_args => '{}');
select is((pg_temp.job(:secret)).args, '{"card": "4111", "amount": 7}', 'or none is');
select is(
  pg_temp.refusal($$select soniq.register_job_type('declared secret', secret_args => '{card,null}')$$),
  pg_temp.refused_with('SQ025', 'secret_args have a NULL among them', 'Give the names of arguments, 100 at the most.'),
  'each has a name'
);
select is(
  pg_temp.refusal($$select soniq.register_job_type('x', secret_args => array_fill('a'::text, array[101]))$$),
  pg_temp.refused_with('SQ025', 'secret_args are 101 names', 'Give the names of arguments, 100 at the most.'),
  'and there are not too many'
);

select * from finish();
rollback;
