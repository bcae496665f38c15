"""Connections to the database, made, checked and made again."""

import asyncio
import logging
import random
import re
from typing import Any

import asyncpg

import soniq
from soniq.errors import DatabaseUnreachable, SchemaMismatch, SchemaMissing

log = logging.getLogger("soniq")

CANNOT_CONNECT = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

# What a call raises when the connection, or the server behind it, is gone. Anything else is an answer. The internal
# error is what asyncpg says where a server's farewell has come but not yet its end of the connection.
CONNECTION_LOST = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)


async def connect(url: str, role: str) -> asyncpg.Connection:
    """One connection, which pg_stat_activity shows as soniq-runner and its role."""
    connection = await asyncpg.connect(
        url, timeout=10, server_settings={"application_name": f"soniq-runner {role}"}
    )
    connection.add_log_listener(_log_notice)
    return connection


def _log_notice(_: asyncpg.Connection, notice: asyncpg.PostgresLogMessage) -> None:
    """What the database has to say besides its answers, such as that a schedule was replaced."""
    log.warning("the database says: %s", notice.message)


async def connect_at_start(url: str, role: str) -> asyncpg.Connection:
    """A connection, or DatabaseUnreachable with the address and the driver's reason."""
    try:
        return await connect(url, role)
    except ValueError as error:
        # What the driver says of an address that it cannot read quotes pieces of the password.
        raise DatabaseUnreachable(
            f"cannot read the database's address {masked(url)}: write it as"
            " postgresql://user:password@host:5432/database, and percent-encode what is special in a"
            " password: %2F for /, %3F for ?, %23 for #, %40 for @, %25 for %"
        ) from error
    except CANNOT_CONNECT as error:
        raise DatabaseUnreachable(
            f"cannot reach the database at {masked(url)}: {describe(error)};"
            " check SONIQ_DATABASE_URL, and that the server is up"
        ) from error


async def connect_patiently(url: str, role: str) -> asyncpg.Connection:
    """A connection, however long it takes; waits grow to ten seconds and differ between runners."""
    pause = 0.1
    while True:
        try:
            return await connect(url, role)
        except CANNOT_CONNECT as error:
            log.warning(
                "no connection for %s: %s; next try in about %.1f s", role, describe(error), pause
            )
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, 10.0)


async def check_schema(connection: asyncpg.Connection, url: str) -> None:
    """Raises SchemaMissing or SchemaMismatch unless the schema is of this package's major.minor."""
    try:
        found = str(await connection.fetchval("select soniq.version()"))
    except (
        asyncpg.InvalidSchemaNameError,
        asyncpg.UndefinedFunctionError,
        asyncpg.InsufficientPrivilegeError,
    ) as error:
        raise SchemaMissing(
            f"Soniq's schema cannot be used in {masked(url)}: {describe(error)};"
            f" run: sqitch deploy db:{masked(url)} (or grant this user its use)"
        ) from error
    ours = soniq.__version__
    if _series(found) < _series(ours):
        raise SchemaMismatch(
            f"the schema in {masked(url)} is of version {found}, too old for this runner ({ours});"
            f" run: sqitch deploy db:{masked(url)}"
        )
    if _series(found) > _series(ours):
        raise SchemaMismatch(
            f"the schema in {masked(url)} is of version {found}, too new for this runner ({ours});"
            " run: pip install --upgrade soniq"
        )


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
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


async def close(connection: Any) -> None:
    """Closes a connection that may be broken already."""
    try:
        await connection.close(timeout=2)
    except (*CANNOT_CONNECT, TimeoutError):
        connection.terminate()
