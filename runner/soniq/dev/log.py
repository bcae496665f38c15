"""The one log: a line for each line that a process writes, under the process's name."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

OWN = "dev"
COLOURS = {OWN: 32, "postgres": 34, "dashboard": 35, "runner": 36, "setup": 33}  # as ANSI has them
WIDTH = max(map(len, COLOURS))
MOST_WAITING = 10_000  # lines; whoever writes more than is read has to wait
LONGEST_LINE = 1 << 20  # bytes


class Log:
    """Lines on their way to stdout. They are written on a thread: a terminal may be stopped, and a pipe be full."""

    def __init__(self) -> None:
        self.is_broken = asyncio.Event()  # nobody reads stdout any more
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(MOST_WAITING)
        self._has_colours = (
            sys.stdout.isatty()
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
        )
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know few characters

    @asynccontextmanager
    async def written(self) -> AsyncIterator[None]:
        """Within the block lines are written; at its end all have been."""
        writing = asyncio.ensure_future(self._write())
        try:
            yield
        finally:
            await self._lines.put(None)
            await writing

    async def say(self, text: str, name: str = OWN) -> None:
        """Adds what a process says, in one line or more."""
        label = f"{name:<{WIDTH}} |"
        if self._has_colours:
            label = f"\x1b[{COLOURS[name]}m{label}\x1b[0m"
        for line in text.splitlines() or [""]:
            await self._lines.put(f"{label} {line}".rstrip() + "\n")

    async def repeat(self, stream: asyncio.StreamReader, name: str) -> None:
        """Adds what a process writes, until it has closed its end."""
        rest = b""
        while chunk := await stream.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                await self.say(line.decode(errors="replace"), name)
        if rest:
            await self.say(rest.decode(errors="replace"), name)

    async def _write(self) -> None:
        while (line := await self._lines.get()) is not None:
            lines = [line]
            while not self._lines.empty() and (line := self._lines.get_nowait()) is not None:
                lines.append(line)
            if not self.is_broken.is_set():
                try:
                    await asyncio.to_thread(_write_out, "".join(lines))
                except OSError:
                    self.is_broken.set()
            if line is None:
                return


def _write_out(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        # What is left in the buffer would be tried again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
