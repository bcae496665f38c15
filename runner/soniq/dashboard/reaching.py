"""Reaching the database: a small pool, and what its login may see and do.

Each request is one transaction, so that behind a pooler all its statements meet the same session.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from soniq.commands.common import decode_json
from soniq.dashboard.refusals import from_database
from soniq.database import PooledConnection, check_schema, connect_for_pool

POOL_SIZE = 4
# Seconds. What takes longer is given up, and told.
PATIENCE = 10.0
# Grants and bindings may change while the dashboard is up.
RIGHTS_LAST = 30.0

RIGHTS = """
    select
      pg_catalog.has_column_privilege('soniq.all_jobs', 'args', 'select') as sees_args,
      pg_catalog.has_table_privilege('soniq.dead_letter_groups', 'select') as sees_letters,
      pg_catalog.has_function_privilege(
        'soniq.cancel(bigint)', 'execute'
      ) as acts,
      soniq._bound_tenant() as tenant,
      current_user::text as login
"""


@dataclass(frozen=True, slots=True)
class Rights:
    """What the database lets this login do. `tenant`: whose jobs alone it meets; None for all."""

    sees_args: bool
    sees_letters: bool
    acts: bool
    tenant: str | None
    login: str


@dataclass(frozen=True, slots=True)
class Database:
    """A connection within a transaction, and what may be asked on it."""

    connection: asyncpg.Connection
    rights: Rights

    async def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """All rows of a query."""
        return [dict(record) for record in await self.connection.fetch(query, *parameters)]

    async def row(self, query: str, *parameters: object) -> dict[str, Any] | None:
        """The first row, or None."""
        record = await self.connection.fetchrow(query, *parameters)
        return None if record is None else dict(record)

    async def value(self, query: str, *parameters: object) -> Any:
        """The first column of the first row."""
        return await self.connection.fetchval(query, *parameters)


class Reach:
    """The way to a database. Its pool opens with the first request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._rights: Rights | None = None
        self._rights_until = 0.0

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """A transaction, committed at the end. Raises Refusal for whatever the database has against it."""
        try:
            pool = await self._opened()
            async with pool.acquire(timeout=PATIENCE) as connection:
                # Nothing is set in a session but hints.
                connection.keep_as_it_is()
                rights = await self._rights_on(connection)
                async with connection.transaction():
                    yield Database(connection, rights)
        except Exception as error:
            refusal = from_database(error)
            if refusal is None:
                raise
            raise refusal from error

    async def close(self) -> None:
        """Closes the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    async def _opened(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self.url,
                    min_size=0,
                    max_size=POOL_SIZE,
                    connect=connect_for_pool,
                    connection_class=PooledConnection,
                    init=_prepare,
                    command_timeout=PATIENCE,
                    # The only setting that PgBouncer accepts from a client without being told to.
                    server_settings={"application_name": "soniq-dashboard"},
                )
            return self._pool

    async def _rights_on(self, connection: asyncpg.Connection) -> Rights:
        if self._rights is None or time.monotonic() > self._rights_until:
            # Not only the first time: the schema may have been deployed anew since.
            await check_schema(connection, self.url)
            async with connection.transaction():
                self._rights = Rights(**await connection.fetchrow(RIGHTS))
            self._rights_until = time.monotonic() + RIGHTS_LAST
        return self._rights


async def _prepare(connection: asyncpg.Connection) -> None:
    async with connection.transaction():
        await decode_json(connection)
