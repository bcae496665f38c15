-- Verify soniq:history on pg

select queue, span, began_at, done, cancelled, failed, dead, most_ready, longest_wait, wait_times, run_times
from soniq.history
where false;
