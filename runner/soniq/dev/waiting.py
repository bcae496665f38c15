"""Waiting for whichever of several things happens first."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


async def first_of(*awaited: Coroutine[Any, Any, object], within: float | None = None) -> None:
    """Returns when the first has come to its end, or the seconds are over; the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in awaited]
    try:
        done, _ = await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


class Signals:
    """SIGINT, SIGTERM and SIGHUP: the first asks to stop, each further one to hurry."""

    def __init__(self) -> None:
        self.received = 0
        self._next = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Who is started by nohup is to outlive the terminal.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._note)

    def _note(self) -> None:
        self.received += 1
        self._next.set()
        self._next = asyncio.Event()

    async def wait_for(self, awaited: Coroutine[Any, Any, object]) -> bool:
        """Waits for something unless told to stop; the answer is whether to go on."""
        await first_of(awaited, self.more_than(0))
        return not self.received

    async def more_than(self, number: int) -> None:
        """Returns once more than so many were received."""
        while self.received <= number:
            await self._next.wait()
