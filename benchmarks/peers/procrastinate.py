"""procrastinate: its worker with listen_notify, a psycopg pool with room for every job in hand, uvloop.

Finished jobs are kept, as by default. Filled by batch_defer_async(), enqueued by defer_async().
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import procrastinate  # type: ignore[import-not-found]

from .program import Calls, Enqueue, main


class Procrastinate:
    """An app with one task."""

    def __init__(self) -> None:
        connector = procrastinate.PsycopgConnector(
            conninfo=os.environ["DATABASE_URL"], min_size=4, max_size=20
        )
        self._app = procrastinate.App(connector=connector)

    async def prepare(self, jobs: int) -> None:
        """By the system's own schema."""
        async with self._app.open_async():
            await self._app.schema_manager.apply_schema_async()
            await self._app.configure_task("noop").batch_defer_async(
                *({"number": number} for number in range(1, jobs + 1))
            )

    async def work(self, concurrency: int, expected: int) -> None:
        """A worker in this process."""
        calls = Calls(expected)

        async def noop(number: int) -> None:
            calls.add(number)

        self._app.task(name="noop")(noop)
        async with self._app.open_async():
            await self._app.run_worker_async(concurrency=concurrency)

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[Enqueue]:
        """The application's own pool."""
        task = self._app.configure_task("noop")

        async def enqueue(number: int) -> object:
            return await task.defer_async(number=number)

        async with self._app.open_async():
            yield enqueue


if __name__ == "__main__":
    main(Procrastinate())
