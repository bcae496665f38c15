"""Soniq as it is in this checkout: soniq-runner with its defaults, timeouts, fences and heartbeats on.

PEER_VARIANT is for how long finished jobs are kept: empty for the default, 0 for not at all. The pool may be as large
as a concurrency of 50 has it, though no handler uses it. Enqueued by Soniq.enqueue().
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from soniq import Soniq

from .program import Calls, Enqueue, main

URL = os.environ["DATABASE_URL"]
RETENTION = os.environ["PEER_VARIANT"]

app = Soniq(URL)
# Where soniq-runner imports this module, it is told how many there will be.
calls = Calls(int(os.environ["PEER_CALLS"])) if "PEER_CALLS" in os.environ else None


@app.job(retention=float(RETENTION) if RETENTION else None)
async def noop(number: int) -> None:
    """Does nothing but tell."""
    assert calls is not None
    calls.add(number)


class SoniqItself:
    """This checkout's."""

    async def prepare(self, jobs: int) -> None:
        """The schema is in every database of the bench."""
        connection = await asyncpg.connect(URL)
        await connection.execute(
            "select soniq.enqueue_many('noop', array_agg(jsonb_build_object('number', number)))"
            f" from generate_series(1, {jobs}) as number having count(*) > 0"
        )
        await connection.close()

    async def work(self, concurrency: int, expected: int) -> None:
        """The process becomes soniq-runner, which imports this module."""
        runner = Path(sys.executable).with_name("soniq-runner")
        settings = {
            "SONIQ_DATABASE_URL": URL,
            "SONIQ_JOBS_MODULES": "benchmarks.peers.soniq_itself",
            "SONIQ_CONCURRENCY": str(concurrency),
            "SONIQ_POOL_MAX_SIZE": "60",
            "PEER_CALLS": str(expected),
        }
        os.execve(runner, [str(runner)], {**os.environ, **settings})

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[Enqueue]:
        """The application's own pool."""

        async def enqueue(number: int) -> object:
            return await app.enqueue(noop, {"number": number})

        yield enqueue
        await app.close()


if __name__ == "__main__":
    main(SoniqItself())
