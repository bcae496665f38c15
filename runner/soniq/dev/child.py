"""A process that is kept running: started again when it ends or its code has changed, stopped in order."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from soniq.dev.log import Log
from soniq.dev.waiting import Signals, first_of

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds, before one that has ended is started again
LASTED = 10.0  # seconds, after which one that ends had been running well
LAST_WORDS = 1.0  # seconds, for what the children of an ended process still write


@dataclass(frozen=True, slots=True)
class Command:
    """What a child is."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    # One signal after the other, each when the seconds before are over or the user is in a hurry.
    farewell: Sequence[tuple[signal.Signals, float]] = (
        (signal.SIGTERM, 10.0),
        (signal.SIGTERM, 5.0),
    )
    options: Mapping[str, Any] = field(default_factory=dict)  # subprocess's
    of_code: Sequence[int] = ()  # exit codes that only another state of the code changes


def of_soniq(*arguments: str) -> list[str]:
    """What runs the command `soniq` of this very package."""
    # -P: a module of the project may have the name of one of Python's.
    return [sys.executable, "-P", "-m", "soniq.cli", *arguments]


class Child:
    """A command while it is kept running."""

    def __init__(
        self,
        command: Command,
        log: Log,
        signals: Signals,
        answers: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """answers: returns once the process is up. One that ends before that for the first time is given up."""
        self.is_up = asyncio.Event()
        self.is_given_up = asyncio.Event()
        self._command = command
        self._log = log
        self._signals = signals
        self._answers = answers
        self._told_to_stop = asyncio.Event()
        self._told_to_restart = asyncio.Event()

    def restart(self) -> None:
        """Stops the process in order and starts it anew."""
        self._told_to_restart.set()

    def stop(self) -> None:
        """Stops the process in order, and for good."""
        self._told_to_stop.set()

    async def keep(self) -> None:
        """Runs the process until it is told to stop and has stopped, or is given up."""
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(self._ask())
            await self._keep()
            asking.cancel()

    async def _ask(self) -> None:
        if self._answers is not None:
            await first_of(self._answers(), self._told_to_stop.wait())
            if not self._told_to_stop.is_set():
                self.is_up.set()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._told_to_stop.is_set():
            if self._told_to_restart.is_set():
                self._told_to_restart.clear()
                pause = FIRST_PAUSE
            began = time.monotonic()
            async with started(self._command, self._log, self._signals) as process:
                await first_of(
                    process.wait(), self._told_to_stop.wait(), self._told_to_restart.wait()
                )
                code = process.returncode
            if code is None:
                continue  # it was told to stop
            if self._answers is not None and not self.is_up.is_set():
                await self._log.say(f"{self._command.name} {in_words(code)}")
                self.is_given_up.set()
                return
            if not self._told_to_stop.is_set():
                if time.monotonic() - began > LASTED:
                    pause = FIRST_PAUSE
                await self._wait_after(code, pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _wait_after(self, code: int, pause: float) -> None:
        waits = code in self._command.of_code
        when = "as soon as the code changes" if waits else f"in {pause:g} s"
        await self._log.say(f"{self._command.name} {in_words(code)}; it is started again {when}")
        await first_of(
            self._told_to_stop.wait(),
            self._told_to_restart.wait(),
            within=None if waits else pause,
        )


@asynccontextmanager
async def kept(*children: Child) -> AsyncIterator[None]:
    """Within the block, the processes run; at its end, all have been stopped, at once."""
    async with asyncio.TaskGroup() as tasks:
        for child in children:
            tasks.create_task(child.keep())
        try:
            yield
        finally:
            for child in children:
                child.stop()


@asynccontextmanager
async def started(
    command: Command, log: Log, signals: Signals
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is stopped at the end of the block; all that it writes is in the log."""
    process = await asyncio.create_subprocess_exec(
        *command.arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **command.environment},
        start_new_session=True,  # Ctrl-C is ours
        **command.options,
    )
    assert process.stdout is not None
    repeating = asyncio.ensure_future(log.repeat(process.stdout, command.name))
    try:
        yield process
    finally:
        await _stop(process, command, signals)
        await asyncio.wait([repeating], timeout=LAST_WORDS)
        repeating.cancel()
        await asyncio.gather(repeating, return_exceptions=True)


async def _stop(process: asyncio.subprocess.Process, command: Command, signals: Signals) -> None:
    seen = max(signals.received, 1)
    for number, within in (*command.farewell, (signal.SIGKILL, None)):
        if process.returncode is not None:
            return
        # Not by process.send_signal(), which may reap a process that has just ended, and so take its exit code away
        # from asyncio.
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
        await first_of(process.wait(), signals.more_than(seen), within=within)
        seen = max(signals.received, seen)


def in_words(code: int) -> str:
    """How a process ended."""
    if code >= 0:
        return f"has ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"
