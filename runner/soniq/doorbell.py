"""Waiting for jobs: the LISTEN connection, with the runner's bell and its waiting sign (sql/wakeup.sql).

Without this connection a runner only polls. So nothing here fails for the caller: a broken connection is made anew
in the background, and the sign goes up again with the next wait.

Behind a pooler that gives a session away after each transaction, LISTEN succeeds and nothing is ever heard, and the
sign would hang on somebody else's session. So no sign goes up before a notification has been heard.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from soniq.database import CONNECTION_LOST, close, connect_patiently, describe, is_direct, masked

log = logging.getLogger("soniq")

# Seconds.
HEARD_WITHIN = 2.0
CALL_WITHIN = 10.0  # claiming waits for these calls, so they may not take long
PING_EVERY = 30.0
LISTEN_AGAIN_AFTER = 300.0  # where nothing was heard: the network, or the pooler, may have changed


@dataclass(frozen=True)
class Heard:
    """The queues of the jobs that were announced, one each, and whether there may be jobs announced to nobody."""

    queues: Sequence[str] = ()
    may_be_more: bool = False


class Doorbell:
    """`ring` is called when a job for one of these queues (None: all) is announced to this runner.

    url: where to listen. told_from: the address from which producers notify, as far as the runner knows.
    """

    def __init__(
        self,
        url: str,
        queues: Sequence[str] | None,
        ring: Callable[[], None],
        *,
        told_from: str,
    ) -> None:
        self._url = url
        self._queues = queues
        self._ring = ring
        self._told_from = told_from
        self._connection: asyncpg.Connection | None = None
        self._speaking = asyncio.Lock()
        self._is_deaf = False
        self._heard: list[str] = []
        self._may_be_more = False
        self.waiting = False

    async def listen(self) -> None:
        """Keeps a listening connection until cancelled."""
        again = False
        while True:
            connection = await connect_patiently(self._url, "listen", again=again)
            again = True
            pause = 0.0
            try:
                await self._listen_on(connection)
                pause = LISTEN_AGAIN_AFTER
            except CONNECTION_LOST as error:
                log.warning(
                    "the listening connection was lost; polling until it is back: %s",
                    describe(error),
                )
            except asyncpg.PostgresError as error:
                log.error("the database does not let us listen: %s; polling", describe(error))
                pause = CALL_WITHIN
            finally:
                self._connection = None
                self.waiting = False
                await close(connection)
            await asyncio.sleep(pause)

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

    async def pass_on(self, queues: Sequence[str]) -> None:
        """Takes the sign down, and wakes as many others as queues are named, those that wait for them."""
        self.waiting = False
        await self._call("select soniq.wake_others(queues => $1)", list(queues))

    @property
    def listens(self) -> bool:
        """Whether this runner can be woken."""
        return self._connection is not None

    @property
    def has_heard(self) -> bool:
        """Whether a job has been announced since take_heard()."""
        return bool(self._heard)

    def take_heard(self) -> "Heard":
        """What was announced to this runner, and perhaps to no other."""
        heard = Heard(self._heard, self._may_be_more)
        self._heard, self._may_be_more = [], False
        return heard

    async def _listen_on(self, connection: asyncpg.Connection) -> None:
        """Listens until the connection is lost, which is raised; returns if nothing can be heard on it."""
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        echo = _Echo(connection)
        await echo.listen()
        async with self._teller(connection) as teller:
            if not await echo.is_heard_from(teller):
                await echo.unlisten()
                self._say_that_it_is_deaf()
                return
        if self._is_deaf:
            self._is_deaf = False
            log.info("notifications arrive now")

        bell = await connection.fetchval("select soniq.take_bell()")
        await connection.add_listener(f"soniq_bell_{bell}", self._hear)
        self._connection = connection
        self.waiting = False
        self._ring()
        while not await _happens(lost, within=PING_EVERY):
            async with self._speaking:
                if not await echo.is_heard_from(connection):
                    raise ConnectionError("nothing is heard on it any more")
        raise ConnectionError("it was closed")

    @asynccontextmanager
    async def _teller(self, listener: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
        """The connection to notify from, for a test whose answer can be believed.

        What a session tells itself comes along with the answer to its own call, also where a pooler passes on nothing
        else, and proves nothing about another address.
        """
        if self._told_from == self._url and await is_direct(listener):
            yield listener
            return
        teller = await connect_patiently(self._told_from, "listening test")
        try:
            yield teller
        finally:
            await close(teller)

    def _say_that_it_is_deaf(self) -> None:
        if self._is_deaf:
            log.debug("notifications still do not arrive at %s", masked(self._url))
        else:
            self._is_deaf = True
            log.warning(
                "notifications do not arrive at %s: polling every SONIQ_POLL_INTERVAL instead;"
                " set SONIQ_LISTEN_URL to an address that leads directly to the same database,"
                " past any pooler such as PgBouncer in transaction mode",
                masked(self._url),
            )

    async def _call(self, sql: str, *arguments: Any) -> Any:
        connection = self._connection
        if connection is None:
            return None
        try:
            async with asyncio.timeout(CALL_WITHIN), self._speaking:
                return await connection.fetchval(sql, *arguments)
        except CONNECTION_LOST:
            connection.terminate()  # which listen() notices
            return None

    def _hear(self, connection: object, pid: int, channel: str, message: object) -> None:
        word, _, queue = str(message).partition(" ")
        self._heard.append(queue)
        self._may_be_more = self._may_be_more or word == "more"
        self._ring()


class _Echo:
    """A channel of a connection's own, to find out whether it hears."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._channel = f"soniq_echo_{secrets.token_hex(8)}"
        self._awaited = ""
        self._heard = asyncio.Event()

    async def listen(self) -> None:
        """Prepares for is_heard_from()."""
        await self._connection.add_listener(self._channel, self._hear)

    async def unlisten(self) -> None:
        """Gives the channel up."""
        await self._connection.remove_listener(self._channel, self._hear)

    async def is_heard_from(self, teller: asyncpg.Connection) -> bool:
        """Whether a notification from this connection arrives. Raises what its call raises."""
        self._awaited = secrets.token_hex(8)
        self._heard.clear()
        await teller.execute(
            f"select pg_catalog.pg_notify('{self._channel}', '{self._awaited}')",
            timeout=CALL_WITHIN,
        )
        return await _happens(self._heard, within=HEARD_WITHIN)

    def _hear(self, connection: object, pid: int, channel: str, payload: object) -> None:
        if payload == self._awaited:
            self._heard.set()


async def _happens(event: asyncio.Event, *, within: float) -> bool:
    """Whether the event is set before so many seconds are over."""
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False
