"""What a tick costs when nothing is due, at a size at which anything that reads a whole table would show."""

import psycopg

from .site import Site

QUEUED, FINISHED = 1_000_000, 10_000_000
MOST_PAGES = 50
TICK = "explain (analyze, buffers, format json) select * from soniq.tick()"


def verdict(site: Site) -> tuple[bool, str]:
    """Whether it touches as few pages as promised, and a line that says so."""
    with (
        site.database("tick_fill.sql", queued=QUEUED, finished=FINISHED) as database,
        psycopg.connect(database.url, autocommit=True) as connection,
    ):
        # The first tick of a session fills its caches, and does chores that are due.
        first, *_, last = [_pages(connection) for _ in range(3)]
    met = last < MOST_PAGES
    return met, (
        f"{'PASS' if met else 'FAIL'}  a tick with nothing due, at 1,000 schedules, 200 runners with 10,000"
        f" leases, {QUEUED:,} queued and {FINISHED:,} finished jobs: {last} pages, under {MOST_PAGES} wanted"
        f" (a session's first tick: {first})"
    )


def _pages(connection: psycopg.Connection) -> int:
    row = connection.execute(TICK).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
