-- Verify soniq:tallies on pg

select taken_at, queues, heads, job_names, runners, letters, schedules
from soniq.tallies
where false;
