"""Connections to the database, made, checked and made again.

Whatever the address leads to: one server, several of which one takes writes, or a pooler that gives each transaction to
another session. Nothing but hints is kept in a session, except on the connection that listens (doorbell.py).
"""

import asyncio
import logging
import random
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import asyncpg

import soniq
from soniq.errors import DatabaseUnreachable, SchemaMismatch, SchemaMissing, SoniqError

log = logging.getLogger("soniq")

# Seconds. A server that has vanished answers nothing, not even that it is gone.
CONNECT_WITHIN = 10.0  # for each server that the address names
FIRST_PAUSE = 0.5  # at the most, before a connection is made again
ANSWER_WITHIN = 45.0  # for a runner's statement; one that takes longer is cancelled and tried again

# How long, and in how many other databases, a schema that is missing is looked for.
LOOK_ELSEWHERE_WITHIN = 5.0
MOST_ELSEWHERE = 50
MOST_NAMED = 3

VERSION = "select soniq.version()"
HAS_SCHEMA = "select pg_catalog.to_regprocedure('soniq.version()') is not null"
OTHER_DATABASES = """
    select datname
    from pg_catalog.pg_database
    where datallowconn
      and not datistemplate
      and datname <> pg_catalog.current_database()
      and pg_catalog.has_database_privilege(datname, 'connect')
    order by datname <> 'postgres', oid desc
    limit $1
"""

# The kernel notices a vanished peer itself, within half a minute, whether it owes an answer (idle, interval, count) or
# the receipt of a question (user timeout, in milliseconds). Not every system has each option.
KEEPALIVE = (
    ("TCP_KEEPIDLE", 15),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 30_000),
)
# The same for the server, so that a vanished runner's waiting sign and locks go too.
SERVER_KEEPALIVE = (
    "set tcp_keepalives_idle = 15; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3;"
    " set tcp_user_timeout = 30000;"
)

CANNOT_CONNECT = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

# What a call raises when the connection, or the server behind it, is gone. Anything else is an answer. The internal
# error is what asyncpg says where a server's farewell has come but not yet its end of the connection. A server that
# takes no writes has become a standby: another one takes them now. A TimeoutError is an OSError.
CONNECTION_LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
)


async def connect(url: str, role: str, *, lasting: bool = False) -> asyncpg.Connection:
    """One connection, which pg_stat_activity shows as soniq-runner and its role.

    lasting: it is kept, so a statement that is not answered within ANSWER_WITHIN raises TimeoutError.

    Raises DatabaseUnreachable for an address that cannot be read, otherwise one of CANNOT_CONNECT; also for a server
    that takes no writes, whatever target_session_attrs says: nothing of Soniq could be done there.
    """
    connection = await connect_for_pool(
        url,
        # The only setting that PgBouncer accepts from a client without being told to.
        server_settings={"application_name": f"soniq-runner {role}"},
        command_timeout=ANSWER_WITHIN if lasting else None,
    )
    connection.add_log_listener(_log_notice)
    return connection


class PooledConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection of a pool, reset when its user lets go of it, unless told that there is nothing to reset."""

    _is_as_it_was = False

    def keep_as_it_is(self) -> None:
        """What was done leaves nothing behind in the session, and to reset it would take as long as that took."""
        self._is_as_it_was = True

    async def reset(self, *, timeout: float | None = None) -> None:
        """Called by the pool: undoes what a user has set, locked or listened to."""
        if not self._is_as_it_was:
            await super().reset(timeout=timeout)
        self._is_as_it_was = False


async def connect_for_pool(url: str, **options: Any) -> asyncpg.Connection:
    """A connection like connect()'s for asyncpg.create_pool(connect=...), which gives the options."""
    problems = []
    for place, address in _servers(url):
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                return await _connect_to_one(address, options)
        except (*CANNOT_CONNECT, ValueError) as error:
            # A certificate that does not verify is a ValueError too, but an OSError first.
            if isinstance(error, ValueError) and not isinstance(error, OSError):
                raise _unreadable(url) from error
            problems.append((place, error))
    if len(problems) == 1:
        raise problems[0][1]
    told = "; ".join(f"{place}: {describe(error)}" for place, error in problems)
    raise ConnectionError(f"none of the servers will do: {told}")


async def _connect_to_one(url: str, options: dict[str, Any]) -> asyncpg.Connection:
    # asyncpg would look for the session's attributes with a prepared statement, before it is known whether one may be.
    options = {**options, "target_session_attrs": "any"}
    connection = await asyncpg.connect(url, **options)
    try:
        direct = await is_direct(connection)
        if not direct:
            # Prepared statements belong to a session, and the next transaction may be given another, where the same
            # name means something else: wrong results, not only errors.
            await close(connection)
            connection = await asyncpg.connect(url, **options, statement_cache_size=0)
        _keep_alive(connection)
        read_only = await connection.execute(
            f"{SERVER_KEEPALIVE if direct else ''} select"
            " where pg_catalog.current_setting('transaction_read_only')::boolean"
        )
        if read_only == "SELECT 1":
            raise ConnectionError("the server is read-only, as a standby is")
    except BaseException:
        connection.terminate()
        raise
    return connection


async def is_direct(connection: asyncpg.Connection) -> bool:
    """Whether the session is the connection's own, so that what is kept in it is there for the next transaction.

    A pooler hands out process ids of its own making, since any of its sessions may be the one to cancel.
    """
    # Answered by the number of rows: execute() prepares nothing, but shows no row either.
    said = await connection.execute(
        f"select where pg_catalog.pg_backend_pid() = {connection.get_server_pid()}"
    )
    return bool(said == "SELECT 1")


def _keep_alive(connection: asyncpg.Connection) -> None:
    transport_socket = connection._transport.get_extra_info("socket")
    if transport_socket.family not in (socket.AF_INET, socket.AF_INET6):
        return  # what is on this machine does not vanish in silence
    transport_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):
            transport_socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _servers(url: str) -> list[tuple[str, str]]:
    """The servers that an address names, in order: each one's host for messages, and an address of it alone.

    asyncpg knows such lists, but has one timeout for all: a first host that is down would leave nothing for the second.
    """
    scheme, _, rest = url.partition("://")
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        return [("", url)]  # the driver says what is wrong with it
    user, at, places = parts.netloc.rpartition("@")
    if "," in places:
        after = rest.removeprefix(parts.netloc)
        return [(place, f"{scheme}://{user}{at}{place}{after}") for place in places.split(",")]
    hosts, ports = query.get("host", "").split(","), query.get("port", "").split(",")
    if places or len(hosts) == 1 or len(ports) not in (1, len(hosts)):
        return [("", url)]
    servers = []
    for host, port in zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True):
        alone = {**query, "host": host, **({"port": port} if port else {})}
        options = urlencode(alone, quote_via=quote)
        servers.append((host, f"{scheme}://{parts.netloc}{parts.path}?{options}"))
    return servers


def _unreadable(url: str) -> DatabaseUnreachable:
    # What the driver says of an address that it cannot read quotes pieces of the password.
    return DatabaseUnreachable(
        f"cannot read the database's address {masked(url)}: write it as"
        " postgresql://user:password@host:5432/database, and percent-encode what is special in a"
        " password: %2F for /, %3F for ?, %23 for #, %40 for @, %25 for %"
    )


def _log_notice(_: asyncpg.Connection, notice: asyncpg.PostgresLogMessage) -> None:
    """What the database has to say besides its answers, such as that a schedule was replaced."""
    log.warning("the database says: %s", notice.message)


async def connect_at_start(url: str, role: str, *, lasting: bool = False) -> asyncpg.Connection:
    """connect(), or DatabaseUnreachable with the address and the driver's reason."""
    try:
        return await connect(url, role, lasting=lasting)
    except CANNOT_CONNECT as error:
        raise DatabaseUnreachable(
            f"cannot reach the database at {masked(url)}: {describe(error)};"
            " check SONIQ_DATABASE_URL, and that the server is up"
        ) from error


async def connect_patiently(url: str, role: str, *, again: bool = False) -> asyncpg.Connection:
    """A lasting connection, however long it takes; waits grow to ten seconds and differ between runners.

    again: one was lost. Then there is a wait before the first try, too: a server that restarts loses all runners in the
    same moment.
    """
    if again:
        await asyncio.sleep(random.uniform(0, FIRST_PAUSE))
    pause = 0.1
    while True:
        try:
            return await connect(url, role, lasting=True)
        except (*CANNOT_CONNECT, DatabaseUnreachable) as error:
            log.warning(
                "no connection for %s: %s; next try in about %.1f s", role, describe(error), pause
            )
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, 10.0)


async def persist(
    connection: asyncpg.Connection,
    url: str,
    role: str,
    converse: Callable[[asyncpg.Connection], Awaitable[None]],
    on_break: Callable[[], None],
) -> None:
    """Runs `converse` until it returns, anew and on a new connection whenever the old one breaks.

    What the database refuses is tried again after a second: a full disk is mended one day.
    """
    try:
        while True:
            try:
                return await converse(connection)
            except CONNECTION_LOST as error:
                obey_cancellation()
                log.warning(
                    "the database is away (%s: %s): running handlers go on, their outcomes are kept",
                    role,
                    describe(error),
                )
                on_break()
                await close(connection)
                connection = await connect_patiently(url, role, again=True)
                log.info("connected again, to %s", role)
            except asyncpg.PostgresError as error:
                obey_cancellation()
                log.error("the database refuses: %s; trying again", describe(error))
                await asyncio.sleep(1)
    finally:
        await close(connection)


def obey_cancellation() -> None:
    """Raises CancelledError if this task was cancelled and has met another error while it came to its end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def check_schema(connection: asyncpg.Connection, url: str) -> None:
    """Raises SchemaMissing or SchemaMismatch unless the schema is of this package's major.minor."""
    try:
        found = str(await connection.fetchval(VERSION))
    except (
        asyncpg.InvalidSchemaNameError,
        asyncpg.UndefinedFunctionError,
        asyncpg.InsufficientPrivilegeError,
    ) as error:
        raise SchemaMissing(
            f"Soniq's schema cannot be used in {await _whereabouts(connection)}: {describe(error)};"
            f" {await _remedy_where_missing(connection, url, error)}"
        ) from error
    ours = soniq.__version__
    if _series(found) < _series(ours):
        raise SchemaMismatch(
            f"the schema in {masked(url)} is of version {found}, too old for this runner ({ours});"
            f" run: {_deployment(url)}"
        )
    if _series(found) > _series(ours):
        raise SchemaMismatch(
            f"the schema in {masked(url)} is of version {found}, too new for this runner ({ours});"
            " run: pip install --upgrade soniq"
        )


def _deployment(url: str) -> str:
    """What deploys the schema there, from anywhere and from a checkout."""
    place = masked(url)
    target = f"db:postgresql://{place.partition('://')[2]}"
    return (
        f"soniq setup, with SONIQ_DATABASE_URL={place}, or, in a checkout, sqitch deploy {target}"
    )


async def _remedy_where_missing(
    connection: asyncpg.Connection, url: str, error: asyncpg.PostgresError
) -> str:
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return (
            "grant this user soniq_runner, or which of Soniq's roles has what it is to do, or give another"
            f" user than that of {masked(url)}"
        )
    others = await _databases_with_schema(connection, url)
    if not others:
        return (
            f"run: {_deployment(url)}. If it was set up already, then in"
            " another database, which this server does not have or does not show to this user"
        )
    return (
        f"SONIQ_DATABASE_URL is {masked(url)}, and this server has the schema in"
        f" {', '.join(map(masked, others))}: set SONIQ_DATABASE_URL to that, or run soniq setup with the"
        " address as it is"
    )


async def _databases_with_schema(connection: asyncpg.Connection, url: str) -> list[str]:
    """The addresses of other databases of this server that have Soniq's schema; some that can be seen in time."""
    found: list[str] = []
    # Only a help to whoever reads the message, so nothing that goes wrong here matters.
    with suppress(*CANNOT_CONNECT, SoniqError, ValueError):
        async with asyncio.timeout(LOOK_ELSEWHERE_WITHIN):
            for (name,) in await connection.fetch(OTHER_DATABASES, MOST_ELSEWHERE):
                with suppress(*CANNOT_CONNECT, SoniqError, ValueError):
                    if await _has_schema(other := _with_database(url, name)):
                        found.append(other)
                if len(found) == MOST_NAMED:
                    break
    return found


async def _has_schema(url: str) -> bool:
    connection = await connect(url, "looking for the schema")
    try:
        return bool(await connection.fetchval(HAS_SCHEMA))
    finally:
        connection.terminate()


def _with_database(url: str, name: str) -> str:
    """The same address with another database."""
    parts = urlsplit(url)
    query = [
        (key, value)
        for key, value in parse_qsl(parts.query, keep_blank_values=True)
        if key not in ("database", "dbname")
    ]
    # Not parts.geturl(): without a host it would take the slashes away.
    options = f"?{urlencode(query, quote_via=quote, safe='/')}" if query else ""
    return f"{parts.scheme}://{parts.netloc}/{quote(name, safe='')}{options}"


async def _whereabouts(connection: asyncpg.Connection) -> str:
    """Which database, as its server calls it, where, and as whom."""
    database, user = await connection.fetchrow("select current_database(), current_user")
    address = connection._addr
    place = address if isinstance(address, str) else f"{address[0]} port {address[1]}"
    return f"the database {database!r} at {place}, as user {user!r}"


def _series(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def masked(url: str) -> str:
    """The address without its password, whatever is wrong with it."""
    # All up to the last @: a password with a / or ? that is not encoded would end in the middle otherwise.
    url = re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", url)


def describe(error: BaseException) -> str:
    """An error in one line: its class, and its message if it has one."""
    message = " ".join(str(error).split())
    if isinstance(error, TimeoutError) and not message:
        message = "no answer in time"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


async def close(connection: Any) -> None:
    """Closes a connection that may be broken already."""
    try:
        await connection.close(timeout=1)
    except (*CANNOT_CONNECT, TimeoutError):
        connection.terminate()
