"""The screen of `soniq top`: it reads, draws, and obeys keys, until told to stop.

Reading goes on by itself, so keys are heeded and the screen is drawn also while the database does not answer.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from datetime import datetime

import asyncpg
import click
from rich.console import Console
from rich.live import Live

from soniq.commands.common import opened
from soniq.database import describe, masked
from soniq.errors import DatabaseUnreachable, SoniqError
from soniq.top.frame import Away, frame, share
from soniq.top.glance import MOST_LOOKED_AT, ORDERS, Glance, View, read
from soniq.top.keys import Keyboard

ANSWER_WITHIN = 10.0  # seconds
TRY_AGAIN_AFTER = 2.0  # seconds, at most, while the database is away
# At most this part of the time is spent on reading, however slow that is: looking must not make things worse.
BUSY = 0.1


def address(url: str) -> str:
    """A database's address for a title, without the password."""
    return masked(url).partition("://")[2]


async def show_once(url: str, view: View) -> None:
    """Prints one frame, as wide as the terminal, which may be scrolled. Raises what opened() does."""
    console = _console()
    async with opened(url) as connection:
        glance = await read(connection, view, MOST_LOOKED_AT)
    height = max(console.height, MOST_LOOKED_AT)
    with console.capture() as printed:
        console.print(frame(console, address(url), glance, view, height=height, keys=False))
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


async def watch(url: str, view: View, interval: float) -> None:
    """Shows the database, looking every `interval` seconds, until q, SIGINT, SIGTERM or SIGHUP.

    Raises what opened() does where the first look fails so.
    """
    await _Top(url, view, interval).run()


def can_be_live() -> bool:
    """Whether there is a terminal to draw on and to read keys from."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not Console().is_dumb_terminal


def _console() -> Console:
    # Names come from anywhere, and a terminal may know fewer characters.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    # COLUMNS and LINES, where a shell exports them, are of when the command began; a terminal may be resized.
    lasting = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    return Console(highlight=False, _environ=lasting if sys.stdout.isatty() else None)


class _Top:
    """The screen while it is up."""

    def __init__(self, url: str, view: View, interval: float) -> None:
        self._url = url
        self._view = view
        self._interval = interval
        self._console = _console()
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._keyboard = Keyboard(sys.stdin.fileno(), self._obey)
        self._glance: Glance | None = None
        self._away: Away | None = None
        self._to_read = asyncio.Event()
        self._goes_on = asyncio.Event()
        self._to_draw = asyncio.Event()
        self._stopped = asyncio.Event()
        self._goes_on.set()

    async def run(self) -> None:
        """Goes on until told to stop."""
        logging.basicConfig(handlers=[logging.NullHandler()])  # the screen is no place for a log
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopped.set)
        loop.add_signal_handler(signal.SIGWINCH, self._to_draw.set)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        with self._keyboard.watched(), self._live:
            async with asyncio.TaskGroup() as tasks:
                going = [tasks.create_task(self._read()), tasks.create_task(self._draw())]
                await self._stopped.wait()
                for task in going:
                    task.cancel()

    async def _read(self) -> None:
        """Reads again and again, on a new connection whenever the old one is of no use any more."""
        while True:
            try:
                async with opened(self._url) as connection:
                    while True:
                        began = time.monotonic()
                        await self._look(connection)
                        took = time.monotonic() - began
                        await self._pause(max(self._interval, took / BUSY))
            except SoniqError as error:
                if self._glance is None:
                    raise
                if self._away is None:
                    self._away = Away(
                        datetime.now().astimezone(), describe(error.__cause__ or error)
                    )
                self._to_draw.set()
                await asyncio.sleep(min(self._interval, TRY_AGAIN_AFTER))

    async def _look(self, connection: asyncpg.Connection) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                self._glance = await read(connection, self._view, self._console.height)
        except TimeoutError as error:
            raise DatabaseUnreachable(f"no answer within {ANSWER_WITHIN:g} s") from error
        self._away = None
        self._to_draw.set()

    async def _pause(self, seconds: float) -> None:
        """Waits, unless there is something new to be read; while the user has it paused, for as long as that lasts."""
        self._to_read.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._to_read.wait()
        except TimeoutError:
            pass
        await self._goes_on.wait()

    async def _draw(self) -> None:
        """Draws what there is, at once when it changes, and else every second, for times that pass."""
        while True:
            self._to_draw.clear()
            self._live.update(
                frame(
                    self._console,
                    address(self._url),
                    self._glance,
                    self._view,
                    height=self._console.height,
                    away=self._away,
                    paused=not self._goes_on.is_set(),
                ),
                refresh=True,
            )
            try:
                async with asyncio.timeout(1):
                    await self._to_draw.wait()
            except TimeoutError:
                pass

    def _obey(self, key: str) -> None:
        match key:
            case "q" | "":
                self._stopped.set()
            case "p":
                if self._goes_on.is_set():
                    self._goes_on.clear()
                else:
                    self._goes_on.set()
                    self._to_read.set()
            case "1" | "2" | "3":
                self._view = self._view.ordered(ORDERS[int(key) - 1])
                self._to_read.set()
            case "up" | "k":
                self._scroll(-1)
            case "down" | "j":
                self._scroll(1)
            case "page up":
                self._scroll(-self._page())
            case "page down":
                self._scroll(self._page())
            case "home":
                self._scroll(-self._view.offset)
        self._to_draw.set()

    def _scroll(self, by: int) -> None:
        if self._glance:
            self._view = self._view.moved(by, len(self._glance.queues), self._page())
            self._to_read.set()

    def _page(self) -> int:
        if self._glance is None:
            return 1
        return max(share(self._console.height, self._glance, keys=True).queues - 1, 1)

    def _suspend(self) -> None:
        """Ctrl-Z: leaves the terminal as it was until it is told to go on."""
        loop = asyncio.get_running_loop()
        self._live.stop()
        with self._keyboard.left_alone():
            # The signal's own effect, for the kernel knows whether a shell is there to have it go on, and else does
            # nothing, as under `ssh -t host soniq top`; SIGSTOP would stop it for good.
            loop.remove_signal_handler(signal.SIGTSTP)
            signal.raise_signal(signal.SIGTSTP)
            loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._live.start()
        self._to_draw.set()
