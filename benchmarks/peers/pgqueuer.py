"""PgQueuer: its asyncpg driver on one connection, as its quick start has it; uvloop, which its command line uses.

It has no setting for concurrency: what there is instead is batch_size, how many it claims and logs at a time. Finished
jobs are deleted, and a line for each change of status is kept in a log table. Filled and enqueued by Queries.enqueue().
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from pgqueuer import PgQueuer  # type: ignore[import-not-found]
from pgqueuer.db import AsyncpgDriver  # type: ignore[import-not-found]
from pgqueuer.queries import Queries  # type: ignore[import-not-found]

from .program import Calls, Enqueue, main


class Queuer:
    """A queue manager with one entrypoint."""

    async def prepare(self, jobs: int) -> None:
        """By the system's own schema."""
        async with _driver() as driver:
            queries = Queries(driver)
            await queries.install()
            if jobs:
                payloads = [str(number).encode() for number in range(1, jobs + 1)]
                await queries.enqueue(["noop"] * jobs, payloads, [0] * jobs)

    async def work(self, concurrency: int, expected: int) -> None:
        """A worker in this process."""
        calls = Calls(expected)

        async def noop(job: Any) -> None:
            calls.add(int(job.payload))

        async with _driver() as driver:
            queuer = PgQueuer(driver)
            queuer.entrypoint("noop")(noop)
            await queuer.run(batch_size=concurrency)

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[Enqueue]:
        """One connection."""
        async with _driver() as driver:
            queries = Queries(driver)

            async def enqueue(number: int) -> object:
                return await queries.enqueue("noop", str(number).encode())

            yield enqueue


@asynccontextmanager
async def _driver() -> AsyncIterator[Any]:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    yield AsyncpgDriver(connection)
    await connection.close()


if __name__ == "__main__":
    main(Queuer())
