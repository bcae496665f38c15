"""What is broken, and mended again: a server with Soniq, runners at work on it, and the notes of all that happens."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from runner_process import RunnerProcess
from soniq.errors import DatabaseUnreachable
from testing.deployment import deploy_snapshot, psql
from testing.server import Server, throwaway_server
from waiting import wait_for

from chaos.cable import Cable, cable_to
from chaos.checker import Report, check
from chaos.ledger import TABLES

DATABASE = "postgres"
SHUTDOWN_TIMEOUT = 5.0
HEARTBEAT_TIMEOUT = 3.0
# In a hurry, so that what takes minutes in production is seen in seconds.
SETTINGS = {
    "concurrency": 20,
    "heartbeat_interval": 0.3,
    "heartbeat_timeout": HEARTBEAT_TIMEOUT,
    "tick_interval": 0.2,
    "poll_interval": 0.3,
    "shutdown_timeout": SHUTDOWN_TIMEOUT,
}
LAST_SECONDS = 6.0  # for what a runner has to tell last, and to close its connections
ROOT = Path(__file__).resolve().parent.parent


class World:
    """A server and its runners. With a cable, the runners reach the server over it and nobody else does."""

    def __init__(
        self, server: Server, folder: Path, cable: Cable | None = None, url: str | None = None
    ) -> None:
        """Soniq is in the server's database already; `url` leads to it, and to others that may follow it."""
        self.server = server
        self.cable = cable
        self.url = url or server.url(DATABASE)
        self.runners: list[RunnerProcess] = []
        self._folder = folder
        self._numbers = itertools.count(1)
        self.notes = folder / "notes"
        self.notes.mkdir()
        psql(server, DATABASE, "--file", TABLES)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, *, over_cable: bool = False) -> Iterator["World"]:
        """A world that is gone when the block ends."""
        with throwaway_server() as server:
            deploy_snapshot(server, DATABASE)
            if over_cable:
                with cable_to(server) as cable, cls(server, folder, cable).closing() as world:
                    yield world
            else:
                with cls(server, folder).closing() as world:
                    yield world

    @contextmanager
    def closing(self) -> Iterator["World"]:
        """Kills what still runs when the block ends."""
        try:
            yield self
        finally:
            for runner in self.runners:
                runner.kill()

    def start_runner(self, **settings: object) -> RunnerProcess:
        """One more runner."""
        runner = RunnerProcess(
            self.cable.url(DATABASE) if self.cable else self.url,
            ROOT,
            self._folder / f"runner-{next(self._numbers)}.log",
            jobs_modules="chaos.handlers",
            chaos_notes=self.notes,
            **{**SETTINGS, **settings},
        )
        self.runners.append(runner)
        return runner

    def start_runners(self, number: int) -> None:
        """So many, and returns when they are at work."""
        for runner in [self.start_runner() for _ in range(number)]:
            runner.wait_for_log("jobs at once")

    def replace(self, runner: RunnerProcess) -> None:
        """A new runner in the place of one that has ended; it is at work when this returns.

        One that does not find the database when it starts ends, for whoever started it to try again.
        """
        self.runners.remove(runner)
        starting = self.start_runner()

        def is_at_work_or_ended() -> bool:
            return "jobs at once" in starting.log or starting.process.poll() is not None

        wait_for(is_at_work_or_ended, what="a new runner")
        if starting.process.poll() == DatabaseUnreachable.exit_code:
            self.replace(starting)

    def ask(self, query: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """What a statement answers, patiently: the server may be about to come back."""

        def answer() -> list[list[tuple[Any, ...]]]:
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
                    cursor = connection.execute(query, parameters)
                    return [cursor.fetchall() if cursor.description is not None else []]
            except psycopg.OperationalError:
                return []

        [rows] = wait_for(answer, what=f"the server to answer {query}")
        return rows

    def wait_until_all_has_ended(self, within: float = 120) -> None:
        """Returns when no job is left."""
        wait_for(
            lambda: not self.ask("select from soniq.jobs limit 1"),
            within=within,
            what=lambda: f"the jobs to end: {self.ask(LEFT)}",
        )

    def report(self, *excuses: str) -> Report:
        """Ends the runners, which have nothing to do any more, and checks what became of everything."""
        for runner in self.runners:
            stop(runner)
        return check(self.url, self.notes, frozenset(excuses))


def stop(runner: RunnerProcess, shutdown_timeout: float = SHUTDOWN_TIMEOUT) -> None:
    """Stops a runner, which ends in time, and well, or says that the database did not let it."""
    began = time.monotonic()
    code = runner.stop(within=shutdown_timeout + 30)
    took = time.monotonic() - began
    if took > shutdown_timeout + LAST_SECONDS or (
        code and "the database stayed away" not in runner.log
    ):
        raise AssertionError(f"exit code {code} after {took:.1f} s:\n{runner.log}")


LEFT = """
    select job.status::text, job.job_name, count(*), min(job.id), max(job.attempt)
    from soniq.jobs as job
    group by job.status, job.job_name
"""
