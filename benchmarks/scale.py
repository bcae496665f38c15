"""One box: how far more runner processes and more handlers at once lead, and what a job costs the server.

With several runners it is told how many CPUs the server uses and how many the runners, since on one machine they take
them from each other; and how many are in use at all, so that others who were busy do not go unseen. What a job costs is
told beside plain SQL, which does the same work on the same columns.
"""

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from .drain import BATCH, drain_by_pgbench
from .draining import Drained, drain_by_runner, drain_by_runners
from .rounds import Measurement, Target, Workload, measure_in_rounds
from .section import Options, Section, together
from .site import Site
from .spending import Meter, Spent

CPUS = os.cpu_count() or 1
RUNNERS = (1, 2, 4)
CONCURRENCY = 50
HANDLERS, HANDLER_SECONDS = (16, 64, 256), 0.001
MOST_COST = 1.6
FULL = 0.9  # of the machine's CPUs; the rest goes to whoever measures, and to switching


def measure(site: Site, options: Options) -> Section:
    """Runner processes, handlers, and costs."""
    crowds = [_Crowd(options.jobs, runners) for runners in RUNNERS]
    processes, handlers, costs = (
        measure_in_rounds(workload, site, options.rounds)
        for workload in (_runners(crowds), _handlers(options.jobs), _costs(options.jobs))
    )
    processes = Section(f"{processes.table}\n{_saturation(crowds)}", processes.verdicts)
    return together(processes, handlers, costs)


@dataclass(eq=False)
class _Crowd:
    """So many runner processes at once."""

    jobs: int
    runners: int
    drained: list[Drained] = field(default_factory=list)

    def __str__(self) -> str:
        return "1 soniq-runner" if self.runners == 1 else f"{self.runners} soniq-runners"

    def drain(self, site: Site) -> float:
        """Jobs a second; the rest is kept."""
        with site.database("soniq_fill.sql", jobs=self.jobs) as database:
            self.drained.append(
                drain_by_runners(database, self.jobs, runners=self.runners, concurrency=CONCURRENCY)
            )
        return self.drained[-1].jobs_per_second

    @property
    def rate(self) -> float:
        """The median of jobs a second."""
        return statistics.median(each.jobs_per_second for each in self.drained)

    @property
    def cpus(self) -> tuple[float, float, float]:
        """The medians of how many CPUs the server, the runners, and all that runs here used."""
        return (
            statistics.median(each.server_cpus for each in self.drained),
            statistics.median(each.runner_cpus for each in self.drained),
            # What others use until the end is noticed is in it, too.
            min(CPUS, statistics.median(each.all_cpus for each in self.drained)),
        )


def _runners(crowds: list[_Crowd]) -> Workload:
    lines: list[Measurement] = []
    for crowd in crowds:
        lines.append(Measurement(str(crowd), crowd.drain, lines[0] if lines else None))
    return Workload(
        f"Drain {crowds[0].jobs:,} no-op jobs by several processes at concurrency {CONCURRENCY} each; jobs a second",
        lines,
    )


def _saturation(crowds: list[_Crowd]) -> str:
    """Who is at the limit, in a line."""
    shares = ", ".join(
        f"with {crowd} {server:.2f} + {runners:.2f} of {everything:.2f}"
        for crowd in crowds
        for server, runners, everything in [crowd.cpus]
    )
    full = next((crowd for crowd in crowds if crowd.cpus[-1] >= FULL * CPUS), None)
    ends = f"all {CPUS} are in use from {full} on" if full else f"never all {CPUS} are in use"
    best = max(crowds, key=lambda crowd: crowd.rate)
    return (
        f"CPUs in use by server + runners, of those in use at all: {shares};"
        f" {ends}, and {best} drain{'s' if best.runners == 1 else ''} most"
    )


def _handlers(jobs: int) -> Workload:
    lines = []
    for concurrency in HANDLERS:
        ideal = Measurement(
            f"{concurrency} at once, and no time between them",
            partial(_without_pause, concurrency=concurrency),
        )
        lines += [
            ideal,
            Measurement(
                f"one soniq-runner, {concurrency} at once",
                partial(_drain, jobs=jobs, concurrency=concurrency),
                ideal,
            ),
        ]
    return Workload(
        f"Drain {jobs:,} jobs whose handlers sleep {1000 * HANDLER_SECONDS:g} ms; jobs a second",
        lines,
    )


def _without_pause(site: Site, concurrency: int) -> float:
    return concurrency / HANDLER_SECONDS


def _drain(site: Site, jobs: int, concurrency: int) -> float:
    with site.database("soniq_fill.sql", jobs=jobs) as database:
        return drain_by_runner(
            database, jobs, concurrency=concurrency, handler_seconds=HANDLER_SECONDS
        )


@dataclass(eq=False)
class _Cost:
    """What a drain costs the server for each job."""

    name: str
    fill: str
    jobs: int
    drain: Callable[..., object]
    _spent: Spent | None = None

    def wal_bytes(self, site: Site) -> float:
        """Measures anew."""
        with site.database(self.fill, jobs=self.jobs) as database:
            meter = Meter(database)
            self.drain(database, jobs=self.jobs, meanwhile=meter)
        self._spent = meter.spent
        return self._last.wal_bytes / self.jobs

    def commits(self, site: Site) -> float:
        """For 1,000 jobs, of what was measured last."""
        return 1000 * self._last.commits / self.jobs

    def microseconds(self, site: Site) -> float:
        """Of what was measured last."""
        return 1_000_000 * self._last.cpu_seconds / self.jobs

    @property
    def _last(self) -> Spent:
        assert self._spent is not None
        return self._spent


def _costs(jobs: int) -> Workload:
    plain = _Cost(
        f"plain SQL, batches of {BATCH}",
        "plain_fill.sql",
        jobs,
        partial(drain_by_pgbench, who="plain"),
    )
    functions = _Cost(
        "Soniq's functions, likewise",
        "soniq_fill.sql",
        jobs,
        partial(drain_by_pgbench, who="soniq"),
    )
    runner = _Cost(
        "one soniq-runner",
        "soniq_fill.sql",
        jobs,
        partial(drain_by_runner, concurrency=CONCURRENCY),
    )
    lines, targets = [], []
    for unit, take in (
        ("bytes of WAL", _Cost.wal_bytes),
        ("commits for 1,000 jobs", _Cost.commits),
        ("microseconds of server CPU", _Cost.microseconds),
    ):
        limit = Measurement(f"{unit}: {plain.name}", partial(take, plain))
        others = [
            Measurement(f"{unit}: {cost.name}", partial(take, cost), limit)
            for cost in (functions, runner)
        ]
        lines += [limit, *others]
        targets.append(Target(others[-1], MOST_COST, at_most=True))
    return Workload(
        f"What a job costs the server, of {jobs:,} drained at concurrency {CONCURRENCY};"
        " starts and ends of clients included",
        lines,
        targets,
        digits=1,
    )
