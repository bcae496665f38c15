"""What every system's program in Python does, in the environment of that system: `main(system)` obeys the command line.

prepare JOBS                  makes the schema and enqueues jobs 1 to JOBS, as fast as the system can
work CONCURRENCY CALLS        runs a worker; says `first` at a handler's first call, and `last` when there were CALLS;
                              when its stdin ends, it writes [[number, time], ...], one for each call, and is gone
produce FIRST COUNT GAP       enqueues one by one, with GAP seconds between two;
                              writes {"began": time, "committed": [time, ...]}

Times are of CLOCK_MONOTONIC, which is one and the same for all processes. program.mjs is the same in JavaScript.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import uvloop

Enqueue = Callable[[int], Awaitable[object]]


class System(Protocol):
    """What a system's file has to offer. DATABASE_URL, PGHOST and so on lead to the database."""

    async def prepare(self, jobs: int) -> None:
        """Makes the schema, and enqueues jobs 1 to `jobs`."""

    async def work(self, concurrency: int, expected: int) -> None:
        """Runs a worker whose handler tells Calls(expected) the job's number; it need not end."""

    def producing(self) -> AbstractAsyncContextManager[Enqueue]:
        """A client: what it yields enqueues the job with a number, and is done when that is committed."""


class Calls:
    """The calls of a handler, kept until stdin ends."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._calls: list[tuple[int, float]] = []
        threading.Thread(target=self._tell_at_end, daemon=True).start()

    def add(self, number: int) -> None:
        """To be called by the handler."""
        self._calls.append((number, now()))
        count = len(self._calls)
        if count == 1:
            print("first", flush=True)
        if count == self._expected:
            print("last", flush=True)

    def _tell_at_end(self) -> None:
        sys.stdin.read()
        print(json.dumps(self._calls), flush=True)
        os._exit(0)  # no handler's end, and no library's, is of interest any more


def now() -> float:
    """Seconds of the clock that all processes share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def main(system: System) -> None:
    """Does what the command line says."""
    uvloop.run(_obey(system, *sys.argv[1:]))


async def _obey(system: System, command: str, *numbers: str) -> None:
    match command:
        case "prepare":
            await system.prepare(int(numbers[0]))
        case "work":
            await system.work(int(numbers[0]), int(numbers[1]))
        case "produce":
            await _produce(system, int(numbers[0]), int(numbers[1]), float(numbers[2]))
        case _:
            raise ValueError(f"{command}: prepare, work and produce are known")


async def _produce(system: System, first: int, count: int, gap: float) -> None:
    committed = []
    async with system.producing() as enqueue:
        began = now()
        for number in range(first, first + count):
            await enqueue(number)
            committed.append(now())
            if gap:
                await asyncio.sleep(gap)
    print(json.dumps({"began": began, "committed": committed}), flush=True)
