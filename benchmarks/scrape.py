"""What it costs to look: pages read by metrics(), the views, and the commands that list and count, at ten million jobs.

No page is visible to all, as after a bulk load or behind a long transaction, which is the worst case for a count.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import psycopg
from soniq.commands import doctor
from soniq.commands.findings import Patient
from soniq.commands.jobs import STATUSES, read_jobs
from soniq.commands.letters import to_read
from soniq.commands.selection import Given, selection
from soniq.commands.status import read_inspection, read_status

from .section import Options, Section, Verdict
from .site import Database, Site

MOST_PAGES = 200
PAGES_A_LANE = 5
DEAD_LETTERS = 100_000
LIMIT = 50  # what the commands list unless told
Question = Callable[["Counting"], Awaitable[Any]]


class Counting(asyncpg.Connection):  # type: ignore[misc]  # it has no types
    """A connection that notes how many pages each query touches, in memory or not."""

    pages: list[int]

    async def fetch(self, query: str, *arguments: Any, **options: Any) -> Any:
        """The rows."""
        await self._explain(query, *arguments)
        return await super().fetch(query, *arguments, **options)

    async def fetchrow(self, query: str, *arguments: Any, **options: Any) -> Any:
        """The first row."""
        await self._explain(query, *arguments)
        return await super().fetchrow(query, *arguments, **options)

    async def fetchval(self, query: str, *arguments: Any, **options: Any) -> Any:
        """The first row's first column."""
        await self._explain(query, *arguments)
        return await super().fetchval(query, *arguments, **options)

    async def _explain(self, query: str, *arguments: Any) -> None:
        explained = await super().fetchval(
            f"explain (analyze, buffers, format json) {query}", *arguments
        )
        plan = json.loads(explained)[0]["Plan"]
        self.pages.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@dataclass(frozen=True)
class Shape:
    """How the jobs are spread."""

    queues: int
    priorities: int

    @property
    def lanes(self) -> int:
        """The pairs of queue and priority."""
        return self.queues * self.priorities


FEW, MANY = Shape(10, 3), Shape(200, 10)


def measure(site: Site, options: Options) -> Section:
    """Few lanes, for which the target is, and many, to tell how it grows."""
    jobs = 10_000_000 if options.long else 1_000_000
    few, many = (_measure_shape(site, shape, jobs) for shape in (FEW, MANY))
    names = f"{FEW.lanes} lanes", f"{MANY.lanes:,} lanes"
    lines = [
        f"Pages of the dearest query of each, at {jobs:,} queued and {jobs:,} finished jobs,"
        f" {DEAD_LETTERS:,} dead letters, 1,000 schedules, 200 runners",
        f"  {'':40}{names[0]:>12}{names[1]:>14}",
        *(f"  {name:40}{few[name]:>12,}{many[name]:>14,}" for name in few),
    ]
    dearest = max((name for name in few if name != TALLY), key=lambda name: few[name])
    a_lane = max(many["metrics()"], many["queue_stats"]) / MANY.lanes
    return Section(
        "\n".join(lines),
        [
            Verdict(
                few[dearest] < MOST_PAGES,
                f"at {FEW.lanes} lanes, the dearest is {dearest}: {few[dearest]} pages,"
                f" under {MOST_PAGES} wanted",
            ),
            Verdict(
                a_lane < PAGES_A_LANE,
                f"at {MANY.lanes:,} lanes, metrics() reads {a_lane:.1f} pages a lane,"
                f" under {PAGES_A_LANE} wanted",
            ),
        ],
    )


def _measure_shape(site: Site, shape: Shape, jobs: int) -> dict[str, int]:
    with site.database() as database:
        with _nothing_is_visible_to_all(database):
            database.run(
                "scrape_fill.sql",
                queues=shape.queues,
                priorities=shape.priorities,
                queued=jobs,
                finished=jobs,
                dead=DEAD_LETTERS,
            )
        return asyncio.run(_pages(database.url))


@contextmanager
def _nothing_is_visible_to_all(database: Database) -> Iterator[None]:
    """What is added meanwhile is younger than an open transaction, so vacuum cannot mark its pages."""
    with psycopg.connect(database.url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("select")  # and holds no lock
        yield


TALLY = "the tally, which tick() takes once a minute"


async def _pages(url: str) -> dict[str, int]:
    connection: Counting = await asyncpg.connect(url, connection_class=Counting)
    connection.pages = []
    pages = {}
    try:
        for name, ask in _questions(url):
            # The first time fills the session's caches.
            for _ in range(3):
                connection.pages.clear()
                await ask(connection)
            pages[name] = max(connection.pages)
    finally:
        await connection.close()
    return pages


def _questions(url: str) -> Iterator[tuple[str, Question]]:
    yield TALLY, lambda connection: connection.fetch("select soniq._take_tally()")
    for source in ("metrics()", "queue_stats", "job_stats", "runner_stats"):
        yield source, _all_of(source)
    yield "soniq status", read_status
    yield "soniq inspect", read_inspection
    yield "soniq doctor", lambda connection: _examine(connection, url)
    yield "soniq jobs list", _jobs()
    yield "soniq jobs list --queue", _jobs(queue="queue 5")
    yield "soniq jobs list --job", _jobs(job="job 5")
    for status in STATUSES:
        yield f"soniq jobs list --status {status}", _jobs(status=status)
    yield "soniq dead-letter list", _letters(Given())
    yield "soniq dead-letter list --queue", _letters(Given(queue="queue 5"))
    yield "soniq dead-letter list --not-replayed", _letters(Given(), not_replayed=True)


def _all_of(source: str) -> Question:
    return lambda connection: connection.fetch(f"select * from soniq.{source}")


def _jobs(queue: str | None = None, job: str | None = None, status: str | None = None) -> Question:
    return lambda connection: read_jobs(connection, queue, job, status, LIMIT)


def _letters(given: Given, *, not_replayed: bool = False) -> Question:
    async def ask(connection: Counting) -> None:
        chosen = await selection(connection, given)
        await to_read(chosen, not_replayed=not_replayed).latest(connection, LIMIT)

    return ask


async def _examine(connection: Counting, url: str) -> None:
    patient = Patient(url, None, 10, None, connection)
    for check in doctor.CHECKS:
        async for _ in check(patient):
            pass
