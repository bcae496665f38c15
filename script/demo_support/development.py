"""`soniq dev` beside the demo: it has the database, unless one is given, and keeps runners, which follow the code."""

import asyncio
import os
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from . import children
from .cast import EXAMPLE, PATIENCE, QUEUE, Workplace
from .trouble import Trouble

RUNNERS = 2
OPTIONS = (
    *("--runners", str(RUNNERS), "--queues", QUEUE, "--concurrency", "40"),
    *("--no-dashboard", "--shutdown-timeout", "5"),
)
# The second one hurries it.
FAREWELL = ((signal.SIGTERM, 5.0), (signal.SIGTERM, 20.0))
ADDRESS = "for other shells: export SONIQ_DATABASE_URL="
CRASHED = "runner has ended with exit code "


@dataclass(frozen=True)
class Runner:
    """A runner that is registered, with its process."""

    runner_id: int
    pid: int


class Development:
    """A `soniq dev` at work."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path) -> None:
        self._process = process
        self._home = home
        self._log = home / "dev.log"

    @classmethod
    @asynccontextmanager
    async def begun(cls, place: Workplace, url: str | None) -> AsyncIterator["Development"]:
        """Has one until the end of the block: on this database, or on one of its own."""
        for name in ("handlers.py", "shop.py"):
            shutil.copy(EXAMPLE / name, place.home)
        process = await children.start(
            *(Path(sys.executable).with_name("soniq"), "dev", "handlers", *OPTIONS),
            log=place.home / "dev.log",
            environment={**place.environment, "SONIQ_DATABASE_URL": url or ""},
            folder=place.home,
            death_signal=signal.SIGTERM,
        )
        self = cls(process, place.home)
        async with children.stopping(process, FAREWELL):
            yield self
        if process.returncode:
            self._complain()

    async def address(self) -> str:
        """The address of its database, once that has the schema."""
        while True:
            for line in self._said:
                if ADDRESS in line:
                    return shlex.split(line.partition(ADDRESS)[2])[0]
            self.must_run()
            await asyncio.sleep(0.02)

    async def runners(
        self, connection: asyncpg.Connection, number: int, *, after: int
    ) -> list[Runner]:
        """So many runners that were registered after the one with this id; from then on they may claim jobs."""
        try:
            async with asyncio.timeout(PATIENCE):
                while len(found := await _registered(connection, after)) < number:
                    self.must_run()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Trouble(
                f"{number} runners did not register in {PATIENCE:g} s:\n{children.tail(self._log)}"
            ) from None
        return found

    def mend(self) -> None:
        """Puts the mended handlers in the place of the others, as an editor saves a file."""
        draft = self._home / "handlers.draft"
        shutil.copyfile(EXAMPLE / "handlers_fixed.py", draft)
        draft.rename(self._home / "handlers.py")

    def must_run(self) -> None:
        """Raises Trouble if it has ended, or a runner has without being told to."""
        if self._process.returncode is not None:
            self._complain()
        if any(CRASHED in line for line in self._said):
            raise Trouble(f"a runner has ended:\n{children.tail(self._log)}")

    def _complain(self) -> None:
        raise Trouble(
            f"soniq dev has ended with exit code {self._process.returncode}:\n{children.tail(self._log)}"
        )

    @property
    def _said(self) -> list[str]:
        """What it has said itself, and not what it repeats of others."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if line.startswith("dev ")]


async def kill_while_busy(connection: asyncpg.Connection, runner: Runner) -> int:
    """`kill -9` while it holds jobs; answers with how many it takes down with it."""
    try:
        while not (held := await _held_once_still(connection, runner)):
            _send(runner, signal.SIGCONT)
            await asyncio.sleep(0.01)
    finally:
        _send(runner, signal.SIGKILL)  # one that is stopped would heed nothing else
    return held


async def latest_runner(connection: asyncpg.Connection) -> int:
    """The id of the runner that was registered last; 0 if there is none."""
    latest: int = await connection.fetchval(
        "select coalesce(pg_catalog.max(runner_id), 0) from soniq.runners"
    )
    return latest


async def _registered(connection: asyncpg.Connection, after: int) -> list[Runner]:
    rows = await connection.fetch(
        """
        select runner.runner_id, runner.pid
        from soniq.runners as runner
        where runner.queues = array[$1]
          and runner.runner_id > $2
        order by runner.runner_id
        """,
        QUEUE,
        after,
    )
    return [Runner(**row) for row in rows]


async def _held_once_still(connection: asyncpg.Connection, runner: Runner) -> int:
    """Stops the process and counts its jobs, when the server has done what it was told before."""
    _send(runner, signal.SIGSTOP)
    before, held = -1, await _held(connection, runner)
    while held != before:
        await asyncio.sleep(0.1)
        before, held = held, await _held(connection, runner)
    return held


async def _held(connection: asyncpg.Connection, runner: Runner) -> int:
    held: int = await connection.fetchval(
        """
        select pg_catalog.count(*)
        from soniq.jobs as job
        where job.runner_id = $1
          and job.status = 'processing'
        """,
        runner.runner_id,
    )
    return held


def _send(runner: Runner, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(runner.pid, number)
