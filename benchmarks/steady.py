"""Whether a drain stays as fast where the database carries a burden: jobs for later, a history, an old snapshot.

What can be made beforehand is made once, in a database that each round copies.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import psycopg

from .draining import drain_by_runner
from .pgbench import transactions_per_second
from .rounds import Measurement, Target, Workload, measure_in_rounds
from .section import Options, Section
from .site import TEMPLATE, Site

CONCURRENCY = 50
CHURN, CHURN_BATCH = 500_000, 1000


@dataclass(frozen=True)
class Burden:
    """What a database carries, by a file of sql/, and the share of the clean figure that the drain is to keep."""

    name: str
    share: float
    file: str
    rows: int
    is_drained: bool = False

    @property
    def template(self) -> str:
        """The database that carries it."""
        return self.file.removesuffix(".sql")


def measure(site: Site, options: Options) -> Section:
    """One runner, clean and under each burden; the largest two are ten and five times as large with --long."""
    finished, backlog = (10_000_000, 5_000_000) if options.long else (1_000_000, 1_000_000)
    burdens = [
        Burden("1,000,000 jobs for later", 0.9, "burden_later.sql", 1_000_000),
        Burden(f"{finished:,} finished jobs", 0.9, "burden_finished.sql", finished),
        Burden("100,000 dead letters", 0.9, "burden_dead.sql", 100_000),
        Burden(f"{backlog:,} ready jobs", 0.8, "burden_backlog.sql", backlog, is_drained=True),
    ]
    with ExitStack() as templates:
        for burden in burdens:
            templates.enter_context(site.template(burden.template, burden.file, burden=burden.rows))
        return measure_in_rounds(_workload(options.jobs, burdens), site, options.rounds)


def _workload(jobs: int, burdens: list[Burden]) -> Workload:
    clean = Measurement("clean", partial(_drain, jobs=jobs))
    burdened = [
        (
            Measurement(burden.name, partial(_drain_under, jobs=jobs, burden=burden), clean),
            burden.share,
        )
        for burden in burdens
    ]
    queues = Measurement(
        "200 queues, 10 priorities", partial(_drain, jobs=jobs, fill="queues_fill.sql"), clean
    )
    pinned = Measurement(
        f"xmin held, {CHURN:,} jobs churned through",
        partial(_drain_pinned, jobs=jobs),
        clean,
    )
    return Workload(
        f"Steady: {jobs:,} no-op jobs by one soniq-runner at concurrency {CONCURRENCY}; jobs a second",
        [clean, *(measurement for measurement, _ in burdened), queues, pinned],
        [
            *(Target(measurement, share) for measurement, share in burdened),
            Target(queues, 0.9),
            Target(pinned, 0.8),
        ],
    )


def _drain(site: Site, jobs: int, fill: str = "soniq_fill.sql", template: str = TEMPLATE) -> float:
    with site.database(fill, template=template, jobs=jobs) as database:
        return drain_by_runner(database, jobs, concurrency=CONCURRENCY)


def _drain_under(site: Site, jobs: int, burden: Burden) -> float:
    if not burden.is_drained:
        return _drain(site, jobs, template=burden.template)
    with site.database(template=burden.template) as database:
        return drain_by_runner(database, jobs, concurrency=CONCURRENCY, to_the_end=False)


def _drain_pinned(site: Site, jobs: int) -> float:
    with site.database() as database, psycopg.connect(database.url) as pin:
        pin.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        pin.execute("select pg_catalog.pg_current_snapshot()")
        database.run("soniq_fill.sql", jobs=CHURN)
        transactions_per_second(
            database, "soniq_drain.sql", transactions=CHURN // CHURN_BATCH, batch=CHURN_BATCH
        )
        database.run("soniq_fill.sql", jobs=jobs)
        database.settle()
        return drain_by_runner(database, jobs, concurrency=CONCURRENCY)
