-- Verify soniq:lanes on pg

select lane_id, queue, priority
from soniq.lanes
where false;
