"""A database for the tests of programs that use Soniq: found or made, with the schema, and emptied for each test."""

import asyncio
import os
import pwd
import re
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

from soniq.commands.sqitch import project_folder
from soniq.database import CANNOT_CONNECT, check_schema, close, connect_at_start, masked
from soniq.errors import SoniqError

T = TypeVar("T")
USER = "tester"  # not soniq: the schema of a user's own name is first in its search_path
PATIENCE = 30.0  # seconds
WHERE_INSTALLED = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
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
        with _throwaway_server(_binaries(environment)) as url:
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
        if await connection.fetchval("select pg_catalog.to_regnamespace('soniq') is null"):
            for script in _deploy_scripts():
                await connection.execute(script.read_text(encoding="utf-8"))
        await check_schema(connection, url)
    finally:
        await close(connection)


def _deploy_scripts() -> list[Path]:
    """The plan's scripts in order. A change that was reworked since a tag has one with the tag's name too."""
    folder = project_folder()
    changes: list[str] = []
    tagged: dict[int, str] = {}
    for line in (folder / "sqitch.plan").read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            tag = line.split()[0]
            tagged.update((index, tag) for index in range(len(changes)) if index not in tagged)
        elif line.strip() and not line.startswith("%"):
            changes.append(line.split()[0])
    last = {name: index for index, name in enumerate(changes)}
    return [
        folder / f"migrations/deploy/{name}{'' if last[name] == index else tagged[index]}.sql"
        for index, name in enumerate(changes)
    ]


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


def _binaries(environment: Mapping[str, str]) -> Path:
    """Where initdb and postgres are."""
    folders = [Path(given)] if (given := environment.get("SONIQ_TEST_POSTGRES")) else []
    if found := shutil.which("initdb", path=environment.get("PATH")):
        folders.append(Path(found).resolve().parent)
    installed = [path for pattern in WHERE_INSTALLED for path in Path("/").glob(pattern[1:])]
    folders += sorted(installed, key=_version, reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoTestDatabase(
        "the fixture soniq_db needs PostgreSQL: set SONIQ_TEST_DATABASE_URL=postgresql://user@host/database, a"
        " database for tests, in which Soniq's tables are emptied before each; or install a server, as with"
        " apt-get install postgresql, or set SONIQ_TEST_POSTGRES to the folder with its initdb and postgres"
    )


def _version(folder: Path) -> int:
    numbers = re.findall(r"\d+", str(folder))
    return int(numbers[0]) if numbers else 0


@contextmanager
def _throwaway_server(binaries: Path) -> Iterator[str]:
    # Not below TMPDIR: the name of a socket must be shorter than 108 bytes.
    home = Path(tempfile.mkdtemp(prefix="soniq-test-", dir="/tmp"))
    who = _server_user()
    try:
        if who:
            os.chown(home, who["user"], who["group"])
        _run_initdb(binaries, home, who)
        log = home / "postgres.log"
        with log.open("wb") as file:
            server = subprocess.Popen(
                [
                    *_dying_with_parent(),
                    *(binaries / "postgres", "-D", home / "data", "-k", home),
                    *(f"--{name}={value}" for name, value in OPTIONS.items()),
                ],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop the server
                **who,
            )
        try:
            url = f"postgresql://{USER}@/postgres?host={quote(str(home))}&port=5432"
            _wait_for(_answers(url, server, log))
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run_initdb(binaries: Path, home: Path, who: dict[str, Any]) -> None:
    done = subprocess.run(
        [
            *(binaries / "initdb", "--pgdata", home / "data", "--username", USER, "--no-sync"),
            *("--auth", "trust", "--encoding", "UTF8", "--locale", "C"),
        ],
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **who,
    )
    if done.returncode:
        raise NoTestDatabase(f"{binaries / 'initdb'} fails: {done.stderr.strip()}")


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


def _server_user() -> dict[str, Any]:
    """Options of subprocess: PostgreSQL refuses to run as root. Whoever else runs this is good enough."""
    if os.geteuid():
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _dying_with_parent() -> list[str]:
    """A prefix for commands, where the system has it: nothing outlives a test run that is killed."""
    return ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
