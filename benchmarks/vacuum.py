"""How large soniq.jobs grows between two vacuums, at a steady rate of jobs that are done at once.

It takes some minutes, and what it measures is autovacuum's settings rather than Soniq's speed, so it has no target.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from runner_process import RunnerProcess
from testing.server import throwaway_server

from .section import Options, Section
from .site import OPTIONS, Database, Site

RATE = 1700  # jobs a second
SECONDS = 75
EVERY = 0.1  # seconds between two batches
MEGABYTE = 1_000_000

# PostgreSQL's own thresholds, in place of those that come with the schema.
PLAIN = """
alter table soniq.jobs
reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)
"""


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    naptime: str
    preparation: str = "select"


CASES = (
    Case("autovacuum_naptime = 1min", "1min"),
    Case("autovacuum_naptime = 5s", "5s"),
    Case("5s, with PostgreSQL's own thresholds", "5s", PLAIN),
)


def measure(site: Site, options: Options) -> Section:
    """The table of docs/postgresql.md, measured on servers of its own."""
    lines = [
        f"{RATE:,} jobs a second for {SECONDS} s, each done at once by one runner",
        f"  {'':38}{'done':>9}{'soniq.jobs at its largest':>28}{'its indexes':>14}{'vacuums':>9}",
    ]
    for case in CASES:
        with throwaway_server({**OPTIONS, "autovacuum_naptime": case.naptime}) as server:
            lines.append(_line(case, Site(server)))
    return Section("\n".join(lines))


def _line(case: Case, site: Site) -> str:
    with (
        tempfile.TemporaryDirectory(prefix="soniq-bench-") as folder,
        site.database() as database,
        psycopg.connect(database.url, autocommit=True) as connection,
    ):
        connection.execute(case.preparation.encode())
        runner = RunnerProcess(
            database.url,
            Path(__file__).parent,
            Path(folder) / "log",
            jobs_modules="noop",
            concurrency=50,
            bench_ran=Path(folder) / "ran",
        )
        try:
            runner.wait_for_log("jobs at once")
            table, indexes = _largest(connection)
        finally:
            runner.kill()
        done = database.number("select count(*) from soniq.finished_jobs")
        vacuums = _vacuums(database)
    return (
        f"  {case.name:38}{done:>9,.0f}{table / MEGABYTE:>25.1f} MB{indexes / MEGABYTE:>11.1f} MB"
        f"{vacuums:>9.0f}"
    )


def _largest(connection: psycopg.Connection) -> tuple[int, int]:
    """Enqueues at the rate, and looks at the sizes meanwhile."""
    table = indexes = number = 0
    began = time.monotonic()
    for batch in range(1, round(SECONDS / EVERY) + 1):
        upto = round(RATE * EVERY * batch)
        connection.execute(
            "select soniq.enqueue_many('noop', array_agg(jsonb_build_object('number', n)))"
            " from generate_series(%s::integer, %s::integer) as n",
            (number + 1, upto),
        )
        number = upto
        sizes = connection.execute(
            "select pg_relation_size('soniq.jobs'), pg_indexes_size('soniq.jobs')"
        ).fetchone()
        assert sizes is not None
        table, indexes = max(table, sizes[0]), max(indexes, sizes[1])
        time.sleep(max(0.0, began + EVERY * batch - time.monotonic()))
    return table, indexes


def _vacuums(database: Database) -> float:
    return database.number(
        "select autovacuum_count from pg_stat_user_tables where relid = 'soniq.jobs'::regclass"
    )
