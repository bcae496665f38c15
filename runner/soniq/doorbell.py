"""Waiting for jobs: LISTEN, with the runner's bell and its waiting sign (sql/wakeup.sql).

It is done on the connection on which the runner claims, or on one of its own where there is an address for it.
Without it a runner only polls. So nothing here fails for the caller: it goes on with the next connection, and the sign
goes up again with the next wait.

Behind a pooler that gives a session away after each transaction, LISTEN succeeds and nothing is ever heard, and the
sign would hang on somebody else's session. So no sign goes up before a notification has been heard.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from soniq.database import (
    CONNECTION_LOST,
    close,
    connect_patiently,
    describe,
    is_direct,
    masked,
    obey_cancellation,
)

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

    url: where to listen, on a connection of its own; None is on those that it is lent.
    told_from: the address from which producers notify, as far as the runner knows.
    """

    def __init__(
        self,
        url: str | None,
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
        self._lent: asyncpg.Connection | None = None
        self._is_lent = asyncio.Event()
        self.speaking = asyncio.Lock()
        self._is_deaf = False
        self._heard: list[str] = []
        self._may_be_more = False
        self.waiting = False

    def lend(self, connection: asyncpg.Connection) -> None:
        """Lends the connection that claims, until it breaks; whoever calls on it holds `speaking` meanwhile."""
        self._lent = connection
        self._is_lent.set()

    async def listen(self) -> None:
        """Listens until cancelled."""
        again = False
        while True:
            connection = await self._next_connection(again=again)
            again = True
            pause = 0.0
            try:
                if await self._can_hear(connection):
                    await self._listen_on(connection)
                else:
                    pause = LISTEN_AGAIN_AFTER
            except CONNECTION_LOST as error:
                obey_cancellation()
                log.warning(
                    "the listening connection was lost; polling until it is back: %s",
                    describe(error),
                )
                connection.terminate()
            except asyncpg.PostgresError as error:
                obey_cancellation()
                log.error("the database does not let us listen: %s; polling", describe(error))
                pause = CALL_WITHIN
            finally:
                self._connection = None
                self.waiting = False
                if self._url is not None:
                    await close(connection)
            self._ring()  # to look without being told, and to notice that the connection is gone
            await asyncio.sleep(pause)

    async def _next_connection(self, *, again: bool) -> asyncpg.Connection:
        if self._url is not None:
            return await connect_patiently(self._url, "listen", again=again)
        while self._lent is None or self._lent.is_closed():
            self._is_lent.clear()
            await self._is_lent.wait()
        return self._lent

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

    async def _can_hear(self, connection: asyncpg.Connection) -> bool:
        """Whether a notification arrives, and by more than chance.

        What a session tells itself comes along with the answer to its own call, also where a pooler passes on nothing
        else, and so may what another session tells it when it claims.
        """
        async with self.speaking:
            direct = await is_direct(connection)
        async with AsyncExitStack() as opened:
            listener = teller = connection
            if not direct:
                listener = await opened.enter_async_context(_connected(self._listened_at))
            if not direct or self._listened_at != self._told_from:
                teller = await opened.enter_async_context(_connected(self._told_from))
            async with self._listening(listener, echo := _Echo()):
                can_hear = await echo.arrives(teller, self.speaking)
        if not can_hear:
            self._say_that_it_is_deaf()
        elif self._is_deaf:
            self._is_deaf = False
            log.info("notifications arrive now")
        return can_hear

    async def _listen_on(self, connection: asyncpg.Connection) -> None:
        """Listens until the connection is gone; returns where that is the lender's to say, raises it otherwise."""
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        async with self.speaking:
            bell = await connection.fetchval("select soniq.take_bell()")
        async with (
            self._listening(connection, echo := _Echo()),
            self._listening(connection, _Ear(f"soniq_bell_{bell}", self._hear)),
        ):
            self._connection = connection
            self.waiting = False
            self._ring()
            while not await _happens(lost, within=PING_EVERY):
                try:
                    is_heard = await echo.arrives(connection, self.speaking)
                except asyncpg.PostgresError as error:
                    raise ConnectionError(f"it cannot be tested: {describe(error)}") from error
                if not is_heard:
                    raise ConnectionError("nothing is heard on it any more")
        if self._url is not None:
            raise ConnectionError("it was closed")

    @asynccontextmanager
    async def _listening(self, connection: asyncpg.Connection, ear: "_Ear") -> AsyncIterator[None]:
        """The connection is not listened on any more afterwards, since it may go on being used."""
        async with self.speaking:
            await connection.add_listener(ear.channel, ear.hear)
        try:
            yield
        finally:
            if not connection.is_closed():
                async with self.speaking:
                    await connection.remove_listener(ear.channel, ear.hear)

    @property
    def _listened_at(self) -> str:
        return self._url or self._told_from

    def _say_that_it_is_deaf(self) -> None:
        if self._is_deaf:
            log.debug("notifications still do not arrive at %s", masked(self._listened_at))
        else:
            self._is_deaf = True
            log.warning(
                "notifications do not arrive at %s: polling every SONIQ_POLL_INTERVAL instead;"
                " set SONIQ_LISTEN_URL to an address that leads directly to the same database,"
                " past any pooler such as PgBouncer in transaction mode",
                masked(self._listened_at),
            )

    async def _call(self, sql: str, *arguments: Any) -> Any:
        connection = self._connection
        if connection is None:
            return None
        try:
            async with asyncio.timeout(CALL_WITHIN), self.speaking:
                return await connection.fetchval(sql, *arguments)
        except CONNECTION_LOST:
            connection.terminate()  # which those who use it notice
            return None

    def _hear(self, connection: object, pid: int, channel: str, message: object) -> None:
        word, _, queue = str(message).partition(" ")
        self._heard.append(queue)
        self._may_be_more = self._may_be_more or word == "more"
        self._ring()


class _Ear:
    """A channel and what is called with what is heard on it."""

    def __init__(self, channel: str, hear: Callable[[object, int, str, object], None]) -> None:
        self.channel = channel
        self.hear = hear


class _Echo(_Ear):
    """A channel that nobody else knows, to find out whether what is told is heard."""

    def __init__(self) -> None:
        super().__init__(f"soniq_echo_{secrets.token_hex(8)}", self._note)
        self._awaited = ""
        self._heard = asyncio.Event()

    async def arrives(self, teller: asyncpg.Connection, speaking: asyncio.Lock) -> bool:
        """Whether a notification from this connection is heard. Raises what its call raises."""
        self._awaited = secrets.token_hex(8)
        self._heard.clear()
        async with speaking:
            await teller.execute(
                f"select pg_catalog.pg_notify('{self.channel}', '{self._awaited}')",
                timeout=CALL_WITHIN,
            )
        return await _happens(self._heard, within=HEARD_WITHIN)

    def _note(self, connection: object, pid: int, channel: str, payload: object) -> None:
        if payload == self._awaited:
            self._heard.set()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection for a test of what is heard."""
    connection = await connect_patiently(url, "listening test")
    try:
        yield connection
    finally:
        await close(connection)


async def _happens(event: asyncio.Event, *, within: float) -> bool:
    """Whether the event is set before so many seconds are over."""
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False
