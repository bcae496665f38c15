-- Verify soniq:tallies on pg

select taken_at, queues, heads, job_names, runners, schedules
from soniq.tallies
where false;
