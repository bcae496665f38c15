"""What each page of the dashboard costs the server, with ten million finished jobs and a thousand queues.

The dashboard runs in this process, on a real connection; pg_stat_statements tells what its statements came to: buffers
touched, in memory or not, and milliseconds of execution. The milliseconds are this machine's.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import psycopg
from soniq.dashboard import dashboard
from testing.server import throwaway_server

from .section import Options, Section, Verdict
from .site import OPTIONS, Site

QUEUES, DEAD_LETTERS = 1000, 100_000
MOST_BUFFERS, MOST_MILLISECONDS = 200, 100
TURNS = 3  # the first ones fill the session's caches; the least counts
COST = """
    select sum(calls)::bigint, sum(shared_blks_hit + shared_blks_read)::bigint, sum(total_exec_time)::float8
    from pg_stat_statements
    where query !~ '^(BEGIN|COMMIT|ROLLBACK)'
"""


@dataclass(frozen=True)
class Cost:
    """What a page's statements came to."""

    statements: int
    buffers: int
    milliseconds: float


def measure(_: Site, options: Options) -> Section:
    """Each page beside its targets."""
    jobs = 10_000_000 if options.long else 1_000_000
    extended = {**OPTIONS, "shared_preload_libraries": "pg_stat_statements"}
    with throwaway_server(extended) as server, Site(server).database() as database:
        database.run(
            "scrape_fill.sql",
            queues=QUEUES,
            priorities=1,
            queued=100_000,
            finished=jobs,
            dead=DEAD_LETTERS,
        )
        database.run("pages_history.sql", queues=QUEUES)
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("create extension pg_stat_statements")
            connection.execute("select soniq._take_tally()")
        costs = asyncio.run(_costs(database.url))
    width = max(map(len, costs))
    lines = [
        f"Each page of the dashboard at {jobs:,} finished and 100,000 queued jobs, {DEAD_LETTERS:,} dead letters,"
        f" {QUEUES:,} queues, 1,000 schedules, 200 runners",
        f"  {'':{width}}{'statements':>12}{'buffers':>10}{'ms':>8}",
        *(
            f"  {name:{width}}{cost.statements:>12}{cost.buffers:>10,}{cost.milliseconds:>8.1f}"
            for name, cost in costs.items()
        ),
    ]
    dearest = max(costs, key=lambda name: costs[name].buffers)
    slowest = max(costs, key=lambda name: costs[name].milliseconds)
    return Section(
        "\n".join(lines),
        [
            Verdict(
                costs[dearest].buffers < MOST_BUFFERS,
                f"the dearest page is {dearest}: {costs[dearest].buffers:,} buffers,"
                f" under {MOST_BUFFERS} wanted",
            ),
            Verdict(
                costs[slowest].milliseconds < MOST_MILLISECONDS,
                f"the slowest page is {slowest}: {costs[slowest].milliseconds:.1f} ms of the server,"
                f" under {MOST_MILLISECONDS} wanted",
            ),
        ],
    )


async def _costs(url: str) -> dict[str, Cost]:
    site = dashboard(url)
    transport = httpx.ASGITransport(app=site)
    costs = {}
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://dashboard.test") as client,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as watcher,
    ):
        for path in _paths():
            taken = []
            for _ in range(TURNS):
                await watcher.execute("select pg_stat_statements_reset()")
                answer = await client.get(path)
                assert answer.status_code == 200, (path, answer.status_code, answer.text)
                cursor = await watcher.execute(COST)
                row = await cursor.fetchone()
                assert row is not None
                taken.append(Cost(*row))
            costs[path] = min(taken, key=lambda cost: cost.buffers)
    return costs


def _paths() -> Iterator[str]:
    queue, job = quote("queue 5"), 1_000_000_000 + 500
    # As a page fetches itself anew that was opened half a million jobs ago.
    pinned = job + 500_000
    yield from ("/", "/?span=day", "/?span=week")
    yield from ("/queues", f"/queue?name={queue}", f"/queue?name={queue}&span=week")
    yield "/jobs"
    yield from (
        f"/jobs?status={status}"
        for status in ("queued", "processing", "done", "cancelled", "dead_letter")
    )
    yield from (
        f"/jobs?queue={queue}",
        "/jobs?name=job+5",
        "/jobs?tenant=nobody",
        "/jobs?text=nothing",
    )
    yield "/jobs?since=3h&until=2h"
    yield "/jobs?since=2020-01-01T00:00&until=2020-01-02T00:00"
    yield from (f"/jobs?pinned={pinned}", f"/jobs?name=job+5&pinned={pinned}")
    yield f"/jobs/{job}"
    yield from ("/dead-letters", "/dead-letters/list", "/dead-letters/list?error_type=Bench")
    yield f"/dead-letters/list?error_type=Bench&pinned={pinned}"
    yield f"/dead-letters/list?queue={queue}&waiting=true"
    group = "name=job+5&error_type=Bench&error_pattern=5"
    yield f"/dead-letters/list?{group}"
    yield from ("/dead-letters/replay", f"/dead-letters/replay?{group}", "/dead-letters/delete")
    yield from ("/schedules", f"/schedule?name={quote('bench 5')}", "/runners")
    yield from ("/api/stats", "/api/queues", "/api/runners", "/api/schedules", "/api/dead-letters")
    yield from ("/api/dead-letters/groups", "/runners?id=1")
