"""Waiting for jobs: the LISTEN connection, on which the waiting sign hangs (sql/wakeup.sql).

Without this connection a runner only polls. So nothing here fails for the caller: a broken connection is made anew
in the background, and the sign goes up again with the next wait.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from soniq.database import CONNECTION_LOST, close, connect_patiently

log = logging.getLogger("soniq")
CHANNEL = "soniq_jobs"


class Doorbell:
    """`ring` is called when a job for one of these queues (None: all) is announced."""

    def __init__(self, url: str, queues: Sequence[str] | None, ring: Callable[[], None]) -> None:
        self._url = url
        self._queues = queues
        self._ring = ring
        self._connection: asyncpg.Connection | None = None
        self.waiting = False

    async def listen(self) -> None:
        """Keeps a listening connection until cancelled."""
        while True:
            connection = await connect_patiently(self._url, "listen")
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _, lost=lost: lost.set())
            try:
                await connection.add_listener(CHANNEL, self._heard)
                self._connection = connection
                self._ring()
                await lost.wait()
                log.warning("the listening connection was lost; polling until it is back")
            except CONNECTION_LOST:
                pass
            finally:
                self._connection = None
                self.waiting = False
                await close(connection)

    async def start_waiting(self) -> float | None:
        """Puts up the sign; answers how many seconds until the next job known is due."""
        self.waiting = True
        due = await self._call("select soniq.wait_for_jobs(queues => $1)", self._queues)
        return None if due is None else max(due.total_seconds(), 0.0)

    async def stop_waiting(self) -> None:
        """Takes the sign down, so that producers need not notify a runner that looks anyway."""
        if self.waiting:
            self.waiting = False
            await self._call("select soniq.stop_waiting()")

    async def _call(self, sql: str, *arguments: Any) -> Any:
        if self._connection is None:
            return None
        try:
            return await self._connection.fetchval(sql, *arguments)
        except CONNECTION_LOST:
            return None

    def _heard(self, connection: object, pid: int, channel: str, queue: object) -> None:
        if self._queues is None or queue in self._queues:
            self._ring()
