"""Child processes that never outlive the demo, however it ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from soniq.embedded import dying_with_parent

from .trouble import Trouble

# One signal after the other, each when the seconds before are over; the last one is SIGKILL.
Farewell = Sequence[tuple[signal.Signals, float]]
FAREWELL: Farewell = ((signal.SIGTERM, 10.0),)


async def start(
    *command: str | Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> asyncio.subprocess.Process:
    """Starts a command that writes into `log` and is sent `death_signal` should the demo die.

    It has a session of its own: Ctrl-C is the demo's to handle.
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
    process: asyncio.subprocess.Process, farewell: Farewell = FAREWELL
) -> AsyncIterator[None]:
    """Stops the process at the end of the block, by force if it does not go."""
    try:
        yield
    finally:
        await _stop(process, farewell)


async def _stop(process: asyncio.subprocess.Process, farewell: Farewell) -> None:
    for number, within in farewell:
        if process.returncode is not None:
            return
        _send(process, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await process.wait()
    if process.returncode is None:
        _send(process, signal.SIGKILL)
        await process.wait()


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Sends a signal, if the process is still there.

    Not by process.send_signal(), which may reap a process that has just ended, and so take its exit
    code away from asyncio.
    """
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
