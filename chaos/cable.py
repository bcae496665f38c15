"""A network of our own: a TCP port of this machine that leads to a server, and can be slow, silent, or torn.

It works on a thread of its own, and each of its connections leads to one of the server's. What a connection is for, it
learns from the application_name with which the client introduces itself.
"""

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Any

from testing.server import PORT, USER, Server

INTRODUCED = re.compile(rb"application_name\0([^\0]*)\0")
NEXT_ANSWER = 0.05  # seconds that a question is given to be answered before the connection is torn


class Way(Enum):
    """Which way something goes."""

    TO_SERVER = auto()
    TO_CLIENT = auto()


class Tear(Enum):
    """Where a connection is torn: before the server has the question, within it, or before its answer is heard."""

    BEFORE = auto()
    WITHIN = auto()
    AFTER = auto()


class Cable:
    """A port that leads to a server, whatever state it is in. Its methods may be called from any thread."""

    def __init__(self, server: Server) -> None:
        """Leads nowhere until carry() runs."""
        self.port = 0
        self._socket = str(server.sockets / f".s.PGSQL.{PORT}")
        self._lies = threading.Event()
        self._links: set[_Link] = set()
        self._joining: set[asyncio.Task[None]] = set()
        self.delay = 0.0
        self.silent: frozenset[Way] = frozenset()
        self.tears: dict[bytes, Tear] = {}

    def url(self, database: str) -> str:
        """The address of a database over this cable."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def cut(self, *ways: Way) -> None:
        """What is sent from now on these ways (both, unless told) is lost, also on new connections."""
        self._call(self._set_silent, frozenset(ways or Way))

    def mend(self) -> None:
        """New connections get through; those that lost something stay dead."""
        self._call(self._set_silent, frozenset())

    def slow(self, seconds: float) -> None:
        """From now on each piece of what is sent takes so long, either way."""
        self._call(self._set_delay, seconds)

    def tear(self) -> None:
        """Resets all connections at once."""
        self._call(self._tear)

    def tear_at(self, application: str, where: Tear) -> None:
        """Resets the next connection of this application_name that asks the server something."""
        self._call(self.tears.__setitem__, application.encode(), where)

    def has_torn(self, application: str) -> bool:
        """Whether that has happened."""
        return application.encode() not in self.tears

    async def carry(self) -> None:
        """Accepts connections until remove()."""
        self._loop = asyncio.get_running_loop()
        self._removed = asyncio.Event()
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        self._lies.set()
        await self._removed.wait()
        listener.close()
        self._tear()
        for joining in self._joining:
            joining.cancel()
        await asyncio.gather(*self._joining, return_exceptions=True)

    def wait_until_it_lies(self) -> None:
        """Then `port` is known."""
        assert self._lies.wait(10)

    def remove(self) -> None:
        """Ends carry()."""
        self._call(self._removed.set)

    def _call(self, function: Any, *arguments: object) -> None:
        self._loop.call_soon_threadsafe(function, *arguments)

    def _set_silent(self, ways: frozenset[Way]) -> None:
        self.silent = ways

    def _set_delay(self, seconds: float) -> None:
        self.delay = seconds

    def _tear(self) -> None:
        for link in list(self._links):
            link.tear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        joining = asyncio.ensure_future(self._join(reader, writer))
        self._joining.add(joining)
        joining.add_done_callback(self._joining.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, writer)
        self._links.add(link)
        try:
            await link.carry(reader, self._socket)
        except OSError:
            pass  # one of the two ends is gone, and so goes the other
        finally:
            # A silent link stays as it is, so that neither end learns of it.
            if not link.is_silent:
                link.close()
                self._links.discard(link)


class _Link:
    """One connection through the cable."""

    def __init__(self, cable: Cable, client: asyncio.StreamWriter) -> None:
        self._cable = cable
        self._ends = [client]
        self._application = b""
        self._lost: set[Way] = set()

    @property
    def is_silent(self) -> bool:
        """Whether it has lost something, so that what follows makes no sense."""
        return bool(self._lost)

    async def carry(self, reader: asyncio.StreamReader, path: str) -> None:
        if Way.TO_SERVER in self._cable.silent:
            self._lost.add(Way.TO_SERVER)
            return
        there_reader, there_writer = await asyncio.open_unix_connection(path)
        self._ends.append(there_writer)
        [client, server] = self._ends
        await _until_either_ends(
            self._carry(reader, server, Way.TO_SERVER),
            self._carry(there_reader, client, Way.TO_CLIENT),
        )

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        while data := await reader.read(65536):
            if self._cable.delay:
                await asyncio.sleep(self._cable.delay)
            if way in self._cable.silent:
                self._lost.add(way)
            if way in self._lost:
                continue
            if way is Way.TO_SERVER and (where := self._tears_now(data)):
                await self._tear_at(data, writer, where)
                return
            writer.write(data)
            await writer.drain()
        if self.is_silent:
            await asyncio.Event().wait()  # neither end is to learn that the other has gone

    def _tears_now(self, data: bytes) -> Tear | None:
        if introduced := INTRODUCED.search(data):
            self._application = introduced[1]
            return None
        return self._cable.tears.pop(self._application, None)

    async def _tear_at(self, data: bytes, server: asyncio.StreamWriter, where: Tear) -> None:
        if where is not Tear.BEFORE:
            server.write(data if where is Tear.AFTER else data[: len(data) // 2])
            await server.drain()
        if where is Tear.AFTER:
            self._lost.add(Way.TO_CLIENT)
            await asyncio.sleep(NEXT_ANSWER)
        self._lost.clear()
        self.tear()

    def tear(self) -> None:
        """Resets both ends."""
        for end in self._ends:
            if (plug := end.get_extra_info("socket")) is not None and plug.family == socket.AF_INET:
                with suppress(OSError):  # it is closed already
                    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()

    def close(self) -> None:
        """Closes both ends, with what is still to be sent."""
        for end in self._ends:
            end.close()


async def _until_either_ends(*ways: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def cable_to(server: Server) -> Iterator[Cable]:
    """A cable that is gone, with its connections, when the block ends."""
    cable = Cable(server)
    thread = threading.Thread(target=lambda: asyncio.run(cable.carry()))
    thread.start()
    try:
        cable.wait_until_it_lies()
        yield cable
    finally:
        cable.remove()
        thread.join()
