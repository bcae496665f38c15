-- Deploy soniq:lanes to pg

begin;

-- Not unique on purpose: under a unique index, the first enqueue into a new lane would make every
-- other producer of that lane wait for its transaction. Two that start a lane at the same moment
-- leave two rows; readers take the lower lane_id.
create table if not exists soniq.lanes (
  lane_id integer generated always as identity primary key,
  queue text collate "C" not null,
  priority smallint not null check (priority between 0 and 1000)
);

-- A claim goes from one priority to the next.
create index if not exists lanes_by_priority on soniq.lanes (priority, queue);

comment on table soniq.lanes is
  'Every pair of queue and priority ever enqueued into. A claim goes through these lanes in order; finding them in the index of ready jobs would walk its dead entries.';
comment on column soniq.lanes.lane_id is 'Names the lane in a session''s scan hints.';
comment on column soniq.lanes.queue is 'The lane''s queue.';
comment on column soniq.lanes.priority is 'The lane''s priority.';

commit;
