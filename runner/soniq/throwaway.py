"""A database for the tests of programs that use Soniq: found or made, with the schema, and emptied for each test."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import asyncpg

from soniq.database import CANNOT_CONNECT, check_schema, close, connect_at_start, masked
from soniq.deploying import deploy_if_missing
from soniq.embedded import NoServer, Programs, dying_with_parent, find_programs
from soniq.errors import SoniqError

T = TypeVar("T")
USER = "tester"  # not soniq: the schema of a user's own name is first in its search_path
PATIENCE = 30.0  # seconds
# Nothing is worth keeping, so nothing needs to reach the disk.
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
}


class NoTestDatabase(SoniqError):
    """There is no database for tests; the message says what to set."""


@contextmanager
def provide(environment: Mapping[str, str]) -> Iterator[str]:
    """The address of a database with Soniq's schema: SONIQ_TEST_DATABASE_URL, else one on a server of its own.

    Raises NoTestDatabase if there is neither, DatabaseUnreachable and SchemaMismatch.
    """
    if url := environment.get("SONIQ_TEST_DATABASE_URL"):
        _wait_for(_deploy(url))
        yield url
    else:
        with _throwaway_server(environment) as url:
            _wait_for(_deploy(url))
            yield url


def clean(url: str) -> None:
    """Empties Soniq's tables and resets its settings. Raises NoTestDatabase if a runner is at work there."""
    _wait_for(_clean(url))


def _wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """On a thread: a loop may run on this one, since async tests take fixtures too."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


async def _deploy(url: str) -> None:
    connection = await connect_at_start(url, "test")
    try:
        await deploy_if_missing(connection)
        await check_schema(connection, url)
    finally:
        await close(connection)


async def _clean(url: str) -> None:
    connection = await connect_at_start(url, "test")
    try:
        if await connection.fetchval(
            "select exists (select from pg_catalog.pg_stat_activity"
            " where datname = pg_catalog.current_database()"
            " and application_name = 'soniq-runner heartbeat')"
        ):
            raise NoTestDatabase(
                f"a soniq-runner is at work in {masked(url)}, whose jobs would be removed and which would take"
                " the tests': stop it, or let SONIQ_TEST_DATABASE_URL name a database that only tests use"
            )
        tables = await connection.fetchval(
            "select pg_catalog.string_agg(pg_catalog.format('%I.%I', 'soniq', relname), ', ')"
            " from pg_catalog.pg_class"
            " where relnamespace = 'soniq'::regnamespace and relkind in ('r', 'p')"
            " and not relispartition and relname not in ('settings', 'chores')"
        )
        await connection.execute(
            # Rather an error than a test that hangs on what a former one left open.
            "begin; set local lock_timeout = '10s';"
            f" truncate {tables} restart identity;"
            " delete from soniq.settings; insert into soniq.settings (only_row) values (true);"
            " commit"
        )
    except asyncpg.LockNotAvailableError as error:
        raise NoTestDatabase(
            f"Soniq's tables in {masked(url)} cannot be emptied: a transaction is open there, perhaps one that"
            " an earlier test left"
        ) from error
    finally:
        await close(connection)


@contextmanager
def _throwaway_server(environment: Mapping[str, str]) -> Iterator[str]:
    # Not below TMPDIR: the name of a socket must be shorter than 108 bytes.
    home = Path(tempfile.mkdtemp(prefix="soniq-test-", dir="/tmp"))
    try:
        programs = _programs(environment, home)
        programs.user.own(home)
        data, log = home / "data", home / "postgres.log"
        programs.make_cluster(data, user=USER)
        options = {**OPTIONS, "unix_socket_directories": str(home)}
        with log.open("wb") as file:
            server = subprocess.Popen(
                [*dying_with_parent(signal.SIGQUIT), *programs.command(data, options)],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop the server
                **programs.user.options,
            )
        try:
            url = f"postgresql://{USER}@/postgres?host={quote(str(home))}&port=5432"
            _wait_for(_answers(url, server, log))
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait()
    except NoServer as error:
        raise NoTestDatabase(str(error)) from error
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _programs(environment: Mapping[str, str], home: Path) -> Programs:
    try:
        return find_programs(environment, home, given=environment.get("SONIQ_TEST_POSTGRES"))
    except NoServer as error:
        raise NoTestDatabase(
            "the fixture soniq_db needs PostgreSQL: set SONIQ_TEST_DATABASE_URL=postgresql://user@host/database, a"
            " database for tests, in which Soniq's tables are emptied before each; or have a server that can be"
            f" started, also in the folder SONIQ_TEST_POSTGRES: {error}"
        ) from error


async def _answers(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            await close(await asyncpg.connect(url, timeout=5))
        except CANNOT_CONNECT as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise NoTestDatabase(f"PostgreSQL does not start:\n{_text(log)}") from error
            await asyncio.sleep(0.02)
        else:
            return


def _text(file: Path) -> str:
    return file.read_text(errors="replace")
