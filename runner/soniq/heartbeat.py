"""Heartbeats and ticks, on a thread, an event loop and a connection of their own.

A handler that blocks the runner's event loop for a minute must not make the runner look dead: its jobs would be run
twice.
"""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import asyncpg

from soniq import forking
from soniq.database import (
    CONNECTION_LOST,
    close,
    connect_patiently,
    describe,
    obey_cancellation,
)

log = logging.getLogger("soniq")
Lease = tuple[int, int]


class Heartbeat(threading.Thread):
    """Beats for a runner until stopped.

    leases: called on this thread; the (job_id, attempt) pairs that the runner believes it holds.
    on_lost: called on this thread with the leases that are no longer the runner's.
    on_declared_dead: called on this thread when the database does not know the runner any more.
    """

    def __init__(
        self,
        url: str,
        *,
        interval: float,
        tick_interval: float,
        leases: Callable[[], Sequence[Lease]],
        on_lost: Callable[[list[Lease]], None],
        on_declared_dead: Callable[[int], None],
    ) -> None:
        super().__init__(name="soniq-heartbeat", daemon=True)
        self._url = url
        self._interval = interval
        self._tick_interval = tick_interval
        self._leases = leases
        self._on_lost = on_lost
        self._on_declared_dead = on_declared_dead
        self.runner_id: int | None = None
        self._loop = asyncio.new_event_loop()
        forking.guard(self._loop)
        self._main: asyncio.Task[None] | None = None

    def run(self) -> None:
        """The thread's life."""
        with suppress(asyncio.CancelledError):
            self._main = self._loop.create_task(self._live())
            self._loop.run_until_complete(self._main)
        self._loop.close()

    def stop(self) -> None:
        """Has the thread end; may be called from any other."""
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(lambda: self._main and self._main.cancel())

    async def _live(self) -> None:
        again = False
        while True:
            connection = await connect_patiently(self._url, "heartbeat", again=again)
            again = True
            try:
                await self._beat_and_tick(connection)
            except CONNECTION_LOST as error:
                obey_cancellation()
                log.warning("the heartbeat's connection was lost: %s", describe(error))
            except asyncpg.PostgresError as error:
                obey_cancellation()
                log.error("a heartbeat or tick failed: %s", describe(error))
                await asyncio.sleep(min(1.0, self._interval))
            finally:
                await close(connection)

    async def _beat_and_tick(self, connection: asyncpg.Connection) -> None:
        clock = self._loop.time
        next_beat = clock()
        # Runners that start together tick at different moments.
        next_tick = clock() + self._tick_interval * random.random()
        while True:
            if clock() >= next_beat:
                next_beat = clock() + self._interval
                await self._beat(connection)
            if clock() >= next_tick:
                next_tick = clock() + self._tick_interval
                await connection.fetchrow("select * from soniq.tick()")
            await asyncio.sleep(max(min(next_beat, next_tick) - clock(), 0))

    async def _beat(self, connection: asyncpg.Connection) -> None:
        runner_id, leases = self.runner_id, self._leases()
        if runner_id is None:
            return
        answer = await connection.fetchrow(
            "select * from soniq.heartbeat(runner_id => $1, job_ids => $2, attempts => $3)",
            runner_id,
            [job_id for job_id, _ in leases],
            [attempt for _, attempt in leases],
        )
        if not answer["registered"]:
            self._on_declared_dead(runner_id)
        elif answer["lost_jobs"]:
            self._on_lost(list(zip(answer["lost_jobs"], answer["lost_attempts"], strict=True)))
