"""How soon a job starts: on an idle system, beside other jobs, by polling, and with 200 runners that wait for it."""

import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from pgbouncer import throwaway_pgbouncer
from runner_process import RunnerProcess
from testing.outcome import CheckFailed
from testing.server import throwaway_server

from . import idle_runners
from .section import Options, Section, Verdict
from .site import DATABASE, OPTIONS, Database, Site

JOBS = 500
CONCURRENCY = 10
LOAD = 0.3  # of what the machine can do
FULL_JOBS, FULL_BATCH = 20_000, 100
BATCH_EVERY = 0.002  # seconds
POLL_INTERVAL, POLLED_JOBS = 0.5, 25
MILLISECOND = 0.001
MOST_P50, MOST_P99 = 2 * MILLISECOND, 5 * MILLISECOND
MOST_POLLED = POLL_INTERVAL + 20 * MILLISECOND
ENQUEUE = "select soniq.enqueue('stamp', jsonb_build_object('number', %s::integer))"
FILL = "select count(*) from soniq.enqueue_many('noop', array_fill('{\"number\": 0}'::jsonb, array[%s]))"


@dataclass(frozen=True)
class Latency:
    """Seconds from the commit of an enqueue to the start of its handler."""

    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Latency":
        """What these say."""
        percentiles = statistics.quantiles(seconds, n=100, method="inclusive")
        return cls(percentiles[49], percentiles[98], max(seconds))

    @classmethod
    def median(cls, rounds: list["Latency"]) -> "Latency":
        """Of each the median over the rounds."""
        return cls(
            *(
                statistics.median(each)
                for each in zip(*((one.p50, one.p99, one.longest) for one in rounds), strict=True)
            )
        )

    def __str__(self) -> str:
        """Milliseconds, as columns."""
        return "".join(
            f"{each / MILLISECOND:>11.2f}" for each in (self.p50, self.p99, self.longest)
        )


def measure(site: Site, options: Options) -> Section:
    """Medians over the rounds of p50, p99 and the longest; then what waits costs when 200 runners do."""
    idle = Latency.median([_idle(site) for _ in range(options.rounds)])
    loaded, rate = [], 0.0
    for _ in range(options.rounds):
        latency, rate = _loaded(site)
        loaded.append(latency)
    busy = Latency.median(loaded)
    polled = _polled(site)
    with (
        throwaway_server({**OPTIONS, "max_connections": "300"}) as server,
        Site(server).database() as database,
    ):
        crowd = idle_runners.observe(database.url)
    among = Latency.of(crowd.latencies)
    lines = [
        f"Milliseconds from the commit of an enqueue to the start of its handler, {JOBS} jobs;"
        " to the answer of the claim where runners are simulated",
        f"  {'':62}{'p50':>11}{'p99':>11}{'longest':>11}",
        f"  {'one runner, idle':62}{idle}",
        f"  {f'one runner at {LOAD:.0%} load, {rate:,.0f} other jobs a second':62}{busy}",
        f"  {f'polling every {POLL_INTERVAL} s, through PgBouncer':62}{polled}",
        f"  {f'{idle_runners.RUNNERS} simulated runners, idle':62}{among}",
        f"With {idle_runners.RUNNERS} idle runners, a job of a trickle starts {crowd.woken_per_job:.2f} claims;"
        f" with those that look every {idle_runners.POLL_INTERVAL:g} s anyway there are {crowd.claims_per_job:.2f}",
        *(f"  {burst}" for burst in crowd.bursts),
    ]
    verdicts = [
        _at_most("idle, p50", idle.p50, MOST_P50),
        _at_most("idle, p99", idle.p99, MOST_P99),
        _at_most(f"at {LOAD:.0%} load, p50", busy.p50, MOST_P50),
        _at_most(f"at {LOAD:.0%} load, p99", busy.p99, MOST_P99),
        _at_most("polling, longest", polled.longest, MOST_POLLED),
        Verdict(
            crowd.woken_per_job <= 2,
            f"{idle_runners.RUNNERS} idle runners: {crowd.woken_per_job:.2f} claims started by an enqueue,"
            " at most 2 wanted",
        ),
        *(
            _at_most(f"a burst reaches {burst.runners} runners", burst.told, idle_runners.MOST_TOLD)
            for burst in crowd.bursts
        ),
    ]
    return Section("\n".join(lines), verdicts)


def _at_most(what: str, seconds: float, most: float) -> Verdict:
    return Verdict(
        seconds <= most,
        f"{what}: {seconds / MILLISECOND:.2f} ms, at most {most / MILLISECOND:g} ms wanted",
    )


def _idle(site: Site) -> Latency:
    with site.database() as database, _stamping(database, database.url) as run:
        return run.latency(JOBS, pause=lambda: random.uniform(0.005, 0.015))


def _loaded(site: Site) -> tuple[Latency, float]:
    """Also how many jobs a second are the load."""
    with site.database() as database, _stamping(database, database.url) as run:
        rate = LOAD * run.full_rate()
        with _load(database, rate):
            return run.latency(JOBS, pause=lambda: random.uniform(0.005, 0.015)), rate


def _polled(site: Site) -> Latency:
    with (
        site.database() as database,
        throwaway_pgbouncer(site.server) as bouncer,
        _stamping(database, bouncer.url(DATABASE), poll_interval=POLL_INTERVAL) as run,
    ):
        run.runner.wait_for_log("notifications do not arrive")
        return run.latency(POLLED_JOBS, pause=lambda: random.uniform(1, 2) * POLL_INTERVAL)


class _Run:
    """A runner that stamps jobs, and whoever enqueues them."""

    def __init__(self, database: Database, runner: RunnerProcess, stamps: Path) -> None:
        self._database = database
        self.runner = runner
        self._stamps = stamps

    def latency(self, jobs: int, pause: Callable[[], float]) -> Latency:
        """Enqueues one by one, ends the runner, and compares its stamps."""
        committed = {}
        with psycopg.connect(self._database.url, autocommit=True) as connection:
            for number in range(jobs):
                time.sleep(pause())
                connection.execute(ENQUEUE, [number], prepare=True)
                committed[number] = time.clock_gettime(time.CLOCK_MONOTONIC)
        time.sleep(2 * POLL_INTERVAL)
        if self.runner.stop(60) != 0:
            raise CheckFailed(f"the runner failed:\n{self.runner.log}")
        stamps = dict(line.split() for line in self._stamps.read_text().splitlines())
        if len(stamps) != jobs:
            raise CheckFailed(f"of {jobs} jobs {len(stamps)} were started")
        return Latency.of([float(stamps[str(each)]) - committed[each] for each in range(jobs)])

    def full_rate(self) -> float:
        """Jobs a second that a producer, as that of the load, and the runner manage together at their best."""
        began = time.monotonic()
        with psycopg.connect(self._database.url, autocommit=True) as connection:
            for _ in range(FULL_JOBS // FULL_BATCH):
                connection.execute(FILL, [FULL_BATCH])
            while connection.execute("select from soniq.jobs limit 1").rowcount:
                time.sleep(0.02)
        return FULL_JOBS / (time.monotonic() - began)


@contextmanager
def _stamping(database: Database, url: str, **settings: object) -> Iterator[_Run]:
    with tempfile.TemporaryDirectory(prefix="soniq-bench-") as folder:
        stamps = Path(folder) / "stamps"
        runner = RunnerProcess(
            url,
            Path(__file__).parent,
            Path(folder) / "log",
            **{
                "jobs_modules": "stamp",
                "concurrency": CONCURRENCY,
                "bench_stamps": stamps,
                **settings,
            },
        )
        try:
            runner.wait_for_log("jobs at once")
            time.sleep(1)  # until it only waits
            yield _Run(database, runner, stamps)
        finally:
            runner.kill()


@contextmanager
def _load(database: Database, rate: float) -> Iterator[None]:
    """So many jobs a second, in batches, until the end of the block."""
    over = threading.Event()

    def produce() -> None:
        began, sent = time.monotonic(), 0
        with psycopg.connect(database.url, autocommit=True) as connection:
            while not over.wait(BATCH_EVERY):
                due = round(rate * (time.monotonic() - began)) - sent
                if due > 0:
                    connection.execute(FILL, [due])
                    sent += due

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
