"""Draining a queue that is full: how fast no-op jobs are handed out, run and marked done, history kept."""

from contextlib import AbstractContextManager
from functools import partial

from testing.outcome import CheckFailed

from .draining import NOTHING, drain_by_runner
from .pgbench import transactions_per_second
from .rounds import Measurement, Target, Workload, measure_in_rounds
from .section import Options, Section
from .site import Database, Site

BATCH = 100


def measure(site: Site, options: Options) -> Section:
    """Plain SQL, Soniq's functions, and one runner process at two concurrencies."""
    return measure_in_rounds(_workload(options.jobs), site, options.rounds)


def _workload(jobs: int) -> Workload:
    plain = Measurement(
        f"plain SQL, batches of {BATCH}, one connection",
        partial(_by_pgbench, who="plain", jobs=jobs),
    )
    functions = Measurement(
        "soniq.claim() and soniq.complete(), likewise",
        partial(_by_pgbench, who="soniq", jobs=jobs),
        plain,
    )
    runners = [
        Measurement(
            f"one soniq-runner at concurrency {concurrency}",
            partial(_by_runner, jobs=jobs, concurrency=concurrency),
            plain,
        )
        for concurrency in (10, 50)
    ]
    return Workload(
        f"Drain {jobs:,} no-op jobs, history kept; jobs a second",
        [plain, functions, *runners],
        [
            Target(functions, 0.85),
            *(Target(runner, 0.75, functions) for runner in runners),
            Target(runners[-1], 0.5),
        ],
    )


def drain_by_pgbench(
    database: Database, who: str, jobs: int, meanwhile: AbstractContextManager[object] = NOTHING
) -> float:
    """Jobs a second, of plain SQL or of Soniq's functions. meanwhile: entered while pgbench runs, not for the check."""
    with meanwhile:
        rate = transactions_per_second(
            database, f"{who}_drain.sql", transactions=jobs // BATCH, batch=BATCH
        )
    _check_history(database, who, jobs)
    return rate * BATCH


def _by_pgbench(site: Site, who: str, jobs: int) -> float:
    with site.database(f"{who}_fill.sql", jobs=jobs) as database:
        return drain_by_pgbench(database, who, jobs)


def _by_runner(site: Site, jobs: int, concurrency: int) -> float:
    with site.database("soniq_fill.sql", jobs=jobs) as database:
        return drain_by_runner(database, jobs, concurrency=concurrency)


def _check_history(database: Database, schema: str, jobs: int) -> None:
    done = database.number(f"select count(distinct id) from {schema}.finished_jobs")
    left = database.number(f"select count(*) from {schema}.jobs")
    if (done, left) != (jobs, 0):
        raise CheckFailed(
            f"{schema}: of {jobs} jobs {done:g} are in the history, {left:g} are left"
        )
