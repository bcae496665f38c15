"""A queue that is full, drained by one runner or several: how fast, and whether each job was run exactly once."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psycopg
from runner_process import RunnerProcess
from testing.outcome import CheckFailed

from . import cpu
from .site import Database

PATIENCE = 600.0
NOTHING = nullcontext()
LOOK = 0.2  # seconds between two looks; each reads over the jobs that have gone, so they are few


def drain_by_runner(
    database: Database,
    jobs: int,
    *,
    concurrency: int,
    to_the_end: bool = True,
    handler_seconds: float = 0,
    meanwhile: AbstractContextManager[object] = NOTHING,
) -> float:
    """Jobs a second, from the first claim to the last report, by the database's clock: a start is not counted.

    Where more than `jobs` are ready, not `to_the_end`: the runner is asked to stop as soon as so many are done.
    handler_seconds: how long each handler sleeps. meanwhile: entered while the runner runs, and not for the check.
    """
    history = _History(database)
    with (
        meanwhile,
        started_runners(
            database,
            1,
            *(["--burst"] if to_the_end else []),
            concurrency=concurrency,
            bench_until=0 if to_the_end else jobs,
            bench_seconds=handler_seconds,
        ) as [runner],
    ):
        numbers = runner.ended()
    return history.check(numbers, jobs) / history.seconds()


@dataclass(frozen=True)
class Drained:
    """Jobs a second, and how many CPUs the server, the runners, and all that runs on this machine used meanwhile."""

    jobs_per_second: float
    server_cpus: float
    runner_cpus: float
    all_cpus: float


def drain_by_runners(database: Database, jobs: int, *, runners: int, concurrency: int) -> Drained:
    """By so many processes, timed in the same way. All wait for the jobs before there are any."""
    history = _History(database)
    database.execute("select soniq.pause_queue('default')")
    with (
        psycopg.connect(database.url) as eye,
        started_runners(database, runners, concurrency=concurrency) as started,
    ):
        for runner in started:
            runner.process.wait_for_log("jobs at once")
        before = _cpu_seconds(database, started)
        eye.execute("select soniq.resume_queue('default')")
        eye.commit()
        deadline = time.monotonic() + PATIENCE
        while eye.execute("select from soniq.jobs limit 1").rowcount:
            if time.monotonic() > deadline:
                raise CheckFailed(f"jobs are left after {PATIENCE:g} s:\n{started[0].process.log}")
            time.sleep(LOOK)
        # What is seen late costs nothing: by now all of them wait.
        after = _cpu_seconds(database, started)
        numbers = [number for runner in started for number in runner.stopped()]
    done, seconds = history.check(numbers, jobs), history.seconds()
    used = (now - then for then, now in zip(before, after, strict=True))
    return Drained(done / seconds, *(each / seconds for each in used))


def _cpu_seconds(database: Database, started: list["StartedRunner"]) -> tuple[float, float, float]:
    """What the server, the runners, and all that runs here have used."""
    return (
        cpu.used_by_server(database.server.pid),
        sum(cpu.used_by(runner.process.pid) for runner in started),
        cpu.used_by_all(),
    )


@dataclass(frozen=True)
class StartedRunner:
    """A runner, and the file in which its handler leaves the numbers of its jobs."""

    process: RunnerProcess
    ran: Path

    def ended(self) -> list[str]:
        """The numbers of its jobs, once it has ended."""
        if self.process.exit_code(PATIENCE) != 0:
            raise CheckFailed(f"the runner failed:\n{self.process.log}")
        return self.ran.read_text().split()

    def stopped(self) -> list[str]:
        """The same, when told to end."""
        self.process.stop(PATIENCE)
        return self.ended()


@contextmanager
def started_runners(
    database: Database, runners: int, *flags: str, **settings: object
) -> Iterator[list[StartedRunner]]:
    """So many runners of noop.py, with `settings` as of RunnerProcess. None of them outlives the block."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soniq-bench-")))
        started = []
        for number in range(runners):
            ran = folder / f"ran-{number}"
            process = RunnerProcess(
                database.url,
                Path(__file__).parent,
                folder / f"log-{number}",
                *flags,
                jobs_modules="noop",
                bench_ran=ran,
                **settings,
            )
            stack.callback(process.kill)
            started.append(StartedRunner(process, ran))
        yield started


class _History:
    """What is done from here on, as the database knows it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ready = database.number("select count(*) from soniq.jobs")
        known = database.number("select coalesce(max(id), 0) from soniq.finished_jobs")
        self._new = f"from soniq.finished_jobs where id > {known:.0f}"

    def check(self, numbers: list[str], jobs: int) -> float:
        """How many jobs are done. Raises CheckFailed unless each was run once and is in the history."""
        done = self._database.number(f"select count(distinct id) {self._new}")
        gone = self._ready - self._database.number("select count(*) from soniq.jobs")
        if not len(numbers) == len(set(numbers)) == done == gone or done < jobs:
            raise CheckFailed(
                f"of {jobs} jobs to be done, {gone:g} have left soniq.jobs and {done:g} are in the history;"
                f" the handlers were called {len(numbers)} times, for {len(set(numbers))} of them"
            )
        return done

    def seconds(self) -> float:
        """From the first claim to the last report."""
        return self._database.number(
            f"select extract(epoch from max(finished_at) - min(claimed_at)) {self._new}"
        )
