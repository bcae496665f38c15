"""Child processes that never outlive the demo, however it ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from soniq.embedded import dying_with_parent

from .trouble import Trouble

PATIENCE = 10.0


async def start(
    *command: str | Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    **options: Any,
) -> asyncio.subprocess.Process:
    """Starts a command that writes into `log` and is sent `death_signal` should the demo die.

    It has a session of its own: Ctrl-C is the demo's to handle. `options` are subprocess's.
    """
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *dying_with_parent(death_signal),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if environment is None else {**os.environ, **environment},
            cwd=folder,
            start_new_session=True,
            **options,
        )


async def run(
    *command: str | Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> None:
    """Runs a command to its end. Raises Trouble with its output if it fails."""
    process = await start(*command, log=log, environment=environment, folder=folder)
    async with stopping(process):
        if await process.wait():
            raise Trouble(f"{' '.join(map(str, command))} failed:\n{tail(log)}")


@asynccontextmanager
async def stopping(
    process: asyncio.subprocess.Process, farewell: signal.Signals = signal.SIGTERM
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Stops the process at the end of the block, by force if it does not go."""
    try:
        yield process
    finally:
        await stop(process, farewell)


async def stop(
    process: asyncio.subprocess.Process, farewell: signal.Signals = signal.SIGTERM
) -> int:
    """Asks a process to end, waits, and answers with its exit code."""
    if process.returncode is None:
        send(process, farewell)
        send(process, signal.SIGCONT)  # a stopped process heeds nothing else
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            send(process, signal.SIGKILL)
    return await process.wait()


def send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Sends a signal, if the process is still there.

    Not by process.send_signal(), which may reap a process that has just ended, and so take its exit
    code away from asyncio.
    """
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
