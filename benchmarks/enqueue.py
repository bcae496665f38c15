"""Taking in jobs: one by one from few and many connections, alone and beside a busy runner; thousands in one statement.

What is compared is always one statement: soniq.enqueue(), and a bare INSERT of the same columns into a table with the
same columns, checks, indexes and storage settings, each committed before the next.

Beside a busy runner, a soniq-runner listens for the jobs and works them off as they come, which takes the CPUs and the
disk from whoever enqueues. The INSERT has to suffer as much: beside it the same runner works off other jobs, which were
put there beforehand and come due at the rate at which soniq.enqueue() has just brought them. So in each round
soniq.enqueue() comes first. What the runner did meanwhile is told for both; where it cannot keep up, it is as busy as
it can be beside either.
"""

import time
from dataclasses import dataclass
from functools import partial

from testing.outcome import CheckFailed

from .draining import started_runners
from .pgbench import transactions_per_second
from .rounds import Measurement, Target, Workload, measure_in_rounds
from .section import Options, Section, together
from .site import Database, Site

SECONDS = 3
CLIENTS = (1, 16, 64)
CONCURRENCY = 50  # of the busy runner
LEAD = 3  # seconds until the first of the other jobs is due: the runner is started meanwhile
LEAST, LEAST_AT_ONCE = 0.8, 0.5
UNTIL_DUE = """
select coalesce(extract(epoch from min(scheduled_at) - clock_timestamp()), 0)
from soniq.jobs
"""


def measure(site: Site, options: Options) -> Section:
    """soniq.enqueue() beside a bare INSERT, soniq.enqueue_many() beside INSERT ... SELECT unnest(...)."""
    workloads = (_quiet(), _busy(), _at_once(options.jobs))
    return together(*(measure_in_rounds(each, site, options.rounds) for each in workloads))


def _connections(clients: int) -> str:
    return "1 connection" if clients == 1 else f"{clients} connections"


def _quiet() -> Workload:
    lines, targets = [], []
    for clients in CLIENTS:
        plain = Measurement(
            f"plain INSERT, {_connections(clients)}",
            partial(_alone, who="plain", clients=clients),
        )
        soniq = Measurement(
            f"soniq.enqueue(), {_connections(clients)}",
            partial(_alone, who="soniq", clients=clients),
            plain,
        )
        lines += [plain, soniq]
        targets.append(Target(soniq, LEAST))
    return Workload("Enqueue one by one; jobs a second", lines, targets)


def _alone(site: Site, who: str, clients: int) -> float:
    with site.database() as database:
        return _one_by_one(database, who, clients)


def _one_by_one(database: Database, who: str, clients: int) -> float:
    return transactions_per_second(database, f"{who}_enqueue.sql", clients=clients, seconds=SECONDS)


def _busy() -> Workload:
    lines, targets = [], []
    for clients in CLIENTS:
        beside = BesideRunner(clients)
        to = f"{_connections(clients)}, busy runner"
        plain = Measurement(f"plain INSERT, {to}", beside.insert)
        soniq = Measurement(f"soniq.enqueue(), {to}", beside.enqueue, plain)
        lines += [
            soniq,
            Measurement("  jobs that the runner did meanwhile", beside.done_beside_enqueue),
            plain,
            Measurement("  jobs that the runner did meanwhile", beside.done_beside_insert),
        ]
        targets.append(Target(soniq, LEAST))
    return Workload(
        f"Enqueue one by one, beside a soniq-runner at concurrency {CONCURRENCY} that works off as many jobs;"
        " jobs a second",
        lines,
        targets,
    )


@dataclass(eq=False)
class BesideRunner:
    """So many connections and a runner; enqueue() comes before the others."""

    clients: int
    _enqueued: float = 0
    _done_beside_enqueue: float = 0
    _done_beside_insert: float = 0

    def enqueue(self, site: Site) -> float:
        """The runner works off what is enqueued."""
        with site.database() as database:
            self._enqueued, self._done_beside_enqueue = self._measure(database, "soniq")
        return self._enqueued

    def insert(self, site: Site) -> float:
        """The runner works off other jobs, which come due as often."""
        with site.database() as database:
            database.run(
                "enqueue_other.sql",
                jobs=round(self._enqueued * (SECONDS + 1)),
                rate=round(self._enqueued),
                lead=LEAD,
            )
            inserted, self._done_beside_insert = self._measure(database, "plain")
        return inserted

    def done_beside_enqueue(self, site: Site) -> float:
        """Jobs a second."""
        return self._done_beside_enqueue

    def done_beside_insert(self, site: Site) -> float:
        """Jobs a second."""
        return self._done_beside_insert

    def _measure(self, database: Database, who: str) -> tuple[float, float]:
        """What goes in a second, and what the runner does."""
        with started_runners(database, 1, concurrency=CONCURRENCY) as [runner]:
            runner.process.wait_for_log("jobs at once")
            time.sleep(max(0, database.number(UNTIL_DUE)))
            began = database.number("select extract(epoch from clock_timestamp())")
            rate = _one_by_one(database, who, self.clients)
            if runner.process.process.poll() is not None:
                raise CheckFailed(f"the runner has ended:\n{runner.process.log}")
        done = database.number(
            "select count(*) from soniq.finished_jobs"
            f" where finished_at >= to_timestamp({began}) and finished_at < to_timestamp({began + SECONDS})"
        )
        return rate, done / SECONDS


def _at_once(jobs: int) -> Workload:
    plain = Measurement(
        f"plain INSERT of {jobs:,} by SELECT unnest(...)",
        partial(_in_one_statement, who="plain", jobs=jobs),
    )
    soniq = Measurement(
        f"soniq.enqueue_many() of {jobs:,}",
        partial(_in_one_statement, who="soniq", jobs=jobs),
        plain,
    )
    return Workload(
        "Enqueue at once; jobs a second", [plain, soniq], [Target(soniq, LEAST_AT_ONCE)]
    )


def _in_one_statement(site: Site, who: str, jobs: int) -> float:
    with site.database("batch.sql", jobs=jobs) as database:
        return jobs * transactions_per_second(database, f"{who}_enqueue_many.sql", transactions=1)
