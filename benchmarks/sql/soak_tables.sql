-- What was enqueued, noted in the transaction that did it, to be compared with what has ended.

create schema if not exists plain;

create table plain.enqueued (
  id bigint primary key
);

-- A second after it failed, a job is tried again.
update soniq.settings
set default_retry_delays = '{1 second}',
  default_backoff = 'fixed';

select soniq.schedule('soak ' || n, job_name => 'soak', every => '1 second', args => '{"does": "end"}')
from generate_series(1, 20) as n;
