-- Verify soniq:chores on pg

select chore, due_at
from soniq.chores
where false;

select 1 / (pg_catalog.count(*) = 4)::integer
from soniq.chores
where chore in ('partitions', 'absent_runners', 'overdue_jobs', 'tally');
