"""What a tick costs when nothing is due, at a size at which anything that reads a whole table would show."""

import psycopg

from .section import Options, Section, Verdict
from .site import Site

QUEUED, FINISHED = 1_000_000, 10_000_000
MOST_PAGES = 50
TICK = "explain (analyze, buffers, format json) select * from soniq.tick()"


def measure(site: Site, options: Options) -> Section:
    """Whether it touches as few pages as promised."""
    with (
        site.database("tick_fill.sql", queued=QUEUED, finished=FINISHED) as database,
        psycopg.connect(database.url, autocommit=True) as connection,
    ):
        # The first tick of a session fills its caches, and does chores that are due.
        first, *_, last = [_pages(connection) for _ in range(3)]
    table = (
        f"A tick with nothing due, at 1,000 schedules, 200 runners with 10,000 leases, {QUEUED:,} queued and"
        f" {FINISHED:,} finished jobs: {last} pages (a session's first: {first})"
    )
    wanted = Verdict(last < MOST_PAGES, f"a tick: {last} pages, under {MOST_PAGES} wanted")
    return Section(table, [wanted])


def _pages(connection: psycopg.Connection) -> int:
    row = connection.execute(TICK).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
