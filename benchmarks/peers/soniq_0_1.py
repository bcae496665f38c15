"""Soniq 0.1.0, the Python-first one on PyPI: Soniq.run_worker(), the pool large enough for its concurrency, uvloop.

Finished jobs are kept. Filled by enqueue_many(), enqueued by enqueue().
"""

import importlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .program import Calls, Enqueue, main

soniq: Any = importlib.import_module("soniq")  # not the Soniq that mypy knows


class SoniqFirst:
    """The first one."""

    def __init__(self) -> None:
        # The rest of the address is in PGHOST and its like: it stumbles over a socket in the URL.
        url = f"postgresql:///{os.environ['PGDATABASE']}"
        self._app = soniq.Soniq(database_url=url, pool_max_size=70, enqueue_validation="none")

    async def prepare(self, jobs: int) -> None:
        """By the system's own migrations."""
        async with self._app:
            await self._app.setup()
            await self._app.enqueue_many("noop", [{"number": n} for n in range(1, jobs + 1)])

    async def work(self, concurrency: int, expected: int) -> None:
        """A worker in this process."""
        calls = Calls(expected)

        async def noop(number: int) -> None:
            calls.add(number)

        self._app.job(name="noop")(noop)
        await self._app.run_worker(concurrency=concurrency)

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[Enqueue]:
        """The application's own pool."""

        async def enqueue(number: int) -> object:
            return await self._app.enqueue("noop", args={"number": number})

        async with self._app:
            yield enqueue


if __name__ == "__main__":
    main(SoniqFirst())
