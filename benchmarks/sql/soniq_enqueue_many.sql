select count(*)
from plain.batch
cross join lateral soniq.enqueue_many(job_name => 'noop', args => batch.args);
