"""One look into the database: everything that a frame of `soniq top` shows, by views made for being looked at often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import asyncpg

Row = Mapping[str, Any]
Order = Literal["depth", "age", "name"]
ORDERS: tuple[Order, ...] = get_args(Order)
MINUTES = 30  # of history
MOST_LOOKED_AT = 50  # queues, where nobody scrolls

HEAD = """
    select
      soniq.version() as version,
      soniq.clock() as as_of,
      -- As soniq.metrics() tells it, which would count everything else besides.
      case chore.due_at
        when '-infinity' then null
        when 'infinity' then interval '0'
        else greatest(soniq.clock() - chore.due_at, interval '0')
      end as tick_lag,
      pg_catalog.has_table_privilege('soniq.dead_letter_groups', 'select') as sees_errors
    from soniq.chores as chore
    where chore.chore = 'absent_runners'
"""
# Those claimed last: of jobs with one timeout, the last in the index of leases.
RUNNING = """
    select
      lease.runner_id,
      lease.job_name,
      pg_catalog.count(*) as jobs,
      soniq.clock() - min(lease.claimed_at) as oldest_age
    from (
      select job.runner_id, job.job_name, job.claimed_at
      from soniq.all_jobs as job
      where job.status = 'processing'
      order by job.deadline desc
      limit 200
    ) as lease
    group by lease.runner_id, lease.job_name
    order by jobs desc, lease.job_name
"""
HISTORIES = """
    select
      known.queue,
      pg_catalog.array_agg(noted.done order by noted.began_at) as done
    from pg_catalog.unnest($1::text[]) as known (queue)
    cross join lateral soniq.history(length => $2, queue => known.queue) as noted
    where not noted.is_whole
    group by known.queue
"""


@dataclass(frozen=True, slots=True)
class View:
    """What of the queues is shown: their order, and how many are passed over."""

    order: Order = "depth"
    offset: int = 0

    def sorted(self, queues: Sequence[Row]) -> list[Row]:
        """The deepest, or those whose oldest job waits longest, first; or by name."""
        match self.order:
            case "depth":
                return sorted(queues, key=lambda each: (-each["ready"], each["queue"]))
            case "age":
                none = timedelta(-1)
                return sorted(
                    queues, key=lambda each: (-(each["oldest_ready_age"] or none), each["queue"])
                )
            case "name":
                return sorted(queues, key=lambda each: each["queue"])

    def within(self, queues: int, rows: int) -> "View":
        """The same, but no further down than the last so many rows: queues vanish, and terminals grow."""
        return replace(self, offset=max(min(self.offset, queues - rows), 0))

    def moved(self, by: int, queues: int, rows: int) -> "View":
        """The same further down or up from what is seen, as far as there are queues."""
        seen = self.within(queues, rows)
        return replace(seen, offset=seen.offset + by).within(queues, rows)

    def ordered(self, order: Order) -> "View":
        """From the top, in another order."""
        return View(order)


@dataclass(frozen=True, slots=True)
class Glance:
    """What was read. Rows are those of the views."""

    version: str
    as_of: datetime
    tick_lag: timedelta | None  # None: nothing ever ticked
    concerns: Sequence[Row]
    queues: Sequence[Row]
    # By queue, of those looked at: jobs done in each minute, the latest last and not over yet.
    histories: Mapping[str, Sequence[int]]
    runners: Sequence[Row]
    running: Sequence[Row]
    letters: Sequence[Row] | None  # None: this login may not see errors


async def read(connection: asyncpg.Connection, view: View, most: int) -> Glance:
    """Reads everything, and the histories of at most so many queues, those that the view shows first."""
    head = await connection.fetchrow(HEAD)
    queues = await connection.fetch("select * from soniq.queue_counts")
    offset = view.within(len(queues), most).offset
    shown = view.sorted(queues)[offset : offset + most]
    histories = await connection.fetch(
        HISTORIES, [each["queue"] for each in shown], timedelta(minutes=MINUTES)
    )
    letters = None
    if head["sees_errors"]:
        letters = await connection.fetch(
            "select * from soniq.dead_letter_groups order by last_at desc"
        )
    return Glance(
        version=head["version"],
        as_of=head["as_of"],
        tick_lag=head["tick_lag"],
        concerns=await connection.fetch("select * from soniq.concerns"),
        queues=queues,
        histories={each["queue"]: each["done"] for each in histories},
        runners=await connection.fetch(
            "select * from soniq.runner_stats order by state = 'alive', runner_id"
        ),
        running=await connection.fetch(RUNNING),
        letters=letters,
    )
