"""A steady stream of jobs while something keeps vacuum from its work, and how soon all is well once it lets go.

While a transaction holds what PostgreSQL calls xmin, no row that was deleted since can be removed, nor its entries in
indexes. One that stays open does it; three readers of 40 seconds each do it that overlap, so that xmin moves at times.
"""

import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
from runner_process import RunnerProcess
from testing.server import throwaway_server

from .pgbench import steady_load
from .rounds import progress
from .section import Options, Section, Verdict
from .series import Series, by_second, every_second, p99
from .site import OPTIONS, Database, Site

RATE = 800  # jobs a second
# What docs/postgresql.md recommends for this many jobs.
AUTOVACUUM = {"autovacuum_naptime": "5s"}
LOOKS = 20  # at the bystander, each second
BYSTANDER = "select sum(amount) from plain.bystander where id between %s and %s"
STATE = """
select table_stats.n_dead_tup, pg_catalog.pg_total_relation_size(table_stats.relid)
from pg_catalog.pg_stat_user_tables as table_stats
where table_stats.relid = 'soniq.jobs'::regclass
"""
SMOOTH = 5  # seconds
WITHIN = 60  # seconds until all is to be well
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Case:
    """What holds xmin: so many transactions that overlap, each for so long."""

    name: str
    transactions: int
    length: float


CASES = (Case("one transaction", 1, float("inf")), Case("three readers of 40 s", 3, 40.0))


@dataclass(frozen=True)
class Phases:
    """How many seconds it is watched before, while xmin is held, and after."""

    before: int
    held: int
    after: int

    @property
    def release(self) -> int:
        """The second in which xmin is let go."""
        return self.before + self.held

    @property
    def end(self) -> int:
        """The second in which all is over."""
        return self.release + self.after


@dataclass(frozen=True)
class Quantity:
    """One of the things that are watched."""

    title: str
    unit: str
    digits: int = 0
    more_is_better: bool = False
    shrinks: bool = True

    def is_well(self, before: Series, now: Series) -> bool:
        """Whether it is about as it was: not twice the worst of before, or nine tenths.

        A table keeps its pages, so its size is not asked.
        """
        if self.more_is_better:
            return now.median >= 0.9 * min(before.figures)
        return not self.shrinks or now.median <= 2 * max(before.figures)


RATES = Quantity("jobs started", "/s", more_is_better=True)
WAITING = Quantity("waiting time, p99 of each second", "ms", digits=1)
DEAD = Quantity("dead rows of soniq.jobs", "")
SIZE = Quantity("size of soniq.jobs with its indexes", "MB", digits=1, shrinks=False)
LATENCY = Quantity("a query on another table, median of each second", "ms", digits=2)
Watched = dict[Quantity, Series]


def measure(site: Site, options: Options) -> Section:
    """Both ways of holding xmin, on a server whose autovacuum looks as often as is recommended."""
    # Takes a second, for matplotlib, which only the extra `bench` has.
    from .plot import Panel, plot

    phases = Phases(60, 600, 90) if options.long else Phases(15, 45, 30)
    with throwaway_server({**OPTIONS, **AUTOVACUUM}) as server:
        own_site = Site(server)
        watched = {case: _watch(own_site, case, phases) for case in CASES}
    lines = [
        f"xmin held for {phases.held} s at {RATE} jobs a second in and out, one soniq-runner at concurrency 50,"
        f" autovacuum_naptime {AUTOVACUUM['autovacuum_naptime']}; medians",
        f"  {'':55}{'before':>12}{'last held':>12}{'at the end':>12}",
    ]
    verdicts = []
    for case in CASES:
        lines += _lines(case, watched[case], phases)
        verdicts.append(_verdict(case, watched[case], phases))
    panels = [
        Panel(
            quantity.title,
            quantity.unit,
            {case.name: watched[case][quantity].between(0, phases.end) for case in CASES},
        )
        for quantity in watched[CASES[0]]
    ]
    shaded = (float(phases.before), float(phases.release), "xmin is held")
    return Section("\n".join(lines), verdicts, {"held-xmin.svg": plot(panels, shaded)})


def _watch(site: Site, case: Case, phases: Phases) -> Watched:
    with (
        tempfile.TemporaryDirectory(prefix="soniq-bench-") as folder,
        site.database("bystander.sql") as database,
    ):
        ran = Path(folder) / "ran"
        runner = RunnerProcess(
            database.url,
            Path(__file__).parent,
            Path(folder) / "log",
            jobs_modules="timed",
            concurrency=50,
            bench_ran=ran,
        )
        try:
            runner.wait_for_log("jobs at once")
            with steady_load(database, {"soniq_enqueue.sql": 1}, rate=RATE, clients=16):
                time.sleep(2)  # until both are at their pace
                began = time.time()
                state = _sample(database, case, phases, began)
            runner.stop()
        finally:
            runner.kill()
        starts = [
            (float(started) - began, 1000 * (float(started) - float(due)))
            for due, started in map(str.split, ran.read_text().splitlines())
        ]
    return {
        RATES: by_second(starts, len, phases.end),
        WAITING: by_second(starts, p99, phases.end),
        **state,
    }


def _sample(database: Database, case: Case, phases: Phases, began: float) -> Watched:
    """Holds xmin for its while, and looks at everything once a second."""
    seconds: list[float] = []
    dead: list[float] = []
    sizes: list[float] = []
    latencies: list[float] = []
    with psycopg.connect(database.url, autocommit=True) as eye, ExitStack() as stack:
        holders = [
            stack.enter_context(psycopg.connect(database.url)) for _ in range(case.transactions)
        ]
        for holder in holders:
            holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        renewal = [
            phases.before + index * case.length / case.transactions if index else phases.before
            for index in range(case.transactions)
        ]
        for second in every_second(phases.end, began):
            progress(f"xmin held by {case.name}: {second:.0f} of {phases.end} s ...")
            for index, holder in enumerate(holders):
                if second >= phases.release:
                    holder.rollback()
                elif second >= renewal[index]:
                    holder.rollback()
                    holder.execute("select pg_catalog.pg_current_snapshot()")
                    renewal[index] += case.length
            row = eye.execute(STATE).fetchone()
            assert row is not None
            seconds.append(second)
            dead.append(row[0])
            sizes.append(row[1] / MEGABYTE)
            latencies.append(statistics.median(_latency(eye) for _ in range(LOOKS)))
    progress("")
    return {
        DEAD: Series(seconds, dead),
        SIZE: Series(seconds, sizes),
        LATENCY: Series(seconds, latencies),
    }


def _latency(connection: psycopg.Connection) -> float:
    """Milliseconds that a thousand rows by their keys take."""
    first = random.randint(1, 99_000)
    began = time.perf_counter()
    connection.execute(BYSTANDER, (first, first + 999)).fetchone()
    return 1000 * (time.perf_counter() - began)


def _lines(case: Case, watched: Watched, phases: Phases) -> list[str]:
    lines = [f"  {case.name}"]
    for quantity, series in watched.items():
        before, held, after = (
            f"{series.between(begin, end).median:,.{quantity.digits}f}"
            for begin, end in (
                (0, phases.before),
                (phases.release - 10, phases.release),
                (phases.end - 10, phases.end),
            )
        )
        unit = f" [{quantity.unit}]" if quantity.unit else ""
        lines.append(f"    {quantity.title + unit:53}{before:>12}{held:>12}{after:>12}")
    return lines


def _verdict(case: Case, watched: Watched, phases: Phases) -> Verdict:
    """Whether there is a while of some seconds soon after the release in which all is well."""
    for second in range(phases.release, phases.end - SMOOTH):
        ill = [
            quantity.title
            for quantity, series in watched.items()
            if not quantity.is_well(
                series.between(0, phases.before), series.between(second, second + SMOOTH)
            )
        ]
        if not ill:
            after = second + SMOOTH - phases.release
            return Verdict(
                after <= WITHIN,
                f"xmin held by {case.name}: {after} s after its release all is as before,"
                f" at most {WITHIN} s wanted",
            )
    return Verdict(
        False,
        f"xmin held by {case.name}: {phases.after} s after its release not as before: {', '.join(ill)}",
    )
