"""awa: a Rust engine that calls Python handlers, by its AsyncClient; uvloop.

Finished jobs are kept for a while. Filled by enqueue_many_copy(), enqueued by insert().
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import awa  # type: ignore[import-not-found]

from .program import Calls, Enqueue, main

QUEUE = "default"


@dataclass
class Noop:
    """A job's arguments, and by its name its kind."""

    number: int


class Awa:
    """A client with one task."""

    def __init__(self) -> None:
        host, user, database = (os.environ[name] for name in ("PGHOST", "PGUSER", "PGDATABASE"))
        url = f"postgresql://{user}@localhost/{database}?host={host}"  # it wants both hosts
        self._client = awa.AsyncClient(url, max_connections=20)

    async def prepare(self, jobs: int) -> None:
        """By the system's own migrations."""
        async with self._client as client:
            await client.migrate()
            await client.install_queue_storage()
            if jobs:
                await client.enqueue_many_copy([Noop(number) for number in range(1, jobs + 1)])

    async def work(self, concurrency: int, expected: int) -> None:
        """A worker in this process."""
        calls = Calls(expected)

        async def noop(job: Any) -> None:
            calls.add(job.args.number)

        self._client.task(Noop, queue=QUEUE)(noop)
        await self._client.start([(QUEUE, concurrency)])
        await asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[Enqueue]:
        """The client's own pool."""

        async def enqueue(number: int) -> object:
            return await self._client.insert(Noop(number), queue=QUEUE)

        async with self._client:
            yield enqueue


if __name__ == "__main__":
    main(Awa())
