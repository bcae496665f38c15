"""The database of one's own: a server with its files in .soniq/, reached over a port that stays the same if it can."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

import soniq
from soniq.database import CANNOT_CONNECT, check_schema, close, connect_at_start, describe
from soniq.deploying import deploy_if_missing
from soniq.dev.child import Command
from soniq.dev.folder import Folder
from soniq.embedded import NoServer, Programs, dying_with_parent, find_programs, server_user
from soniq.errors import SchemaMismatch, SoniqError

USER = "dev"  # not soniq: the schema of a user's own name is first in its search_path
FIRST_PORT = 54320
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "log_checkpoints": "off",
    "log_line_prefix": "",  # soniq dev has its own
}
GOES_WITHIN = 10.0  # seconds, a server that a killed `soniq dev` has left
FRESH = "make it anew, without its jobs and all else that is in it: soniq dev --fresh"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that is ready to be started."""

    url: str
    data: Path
    programs: Programs
    is_new: bool

    @property
    def command(self) -> Command:
        """What starts it."""
        options = {**OPTIONS, "port": str(urlsplit(self.url).port)}
        return Command(
            "postgres",
            [*dying_with_parent(signal.SIGINT), *self.programs.command(self.data, options)],
            farewell=((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0)),
            options={**self.programs.user.options, "cwd": "/"},
        )

    async def answers(self) -> None:
        """Returns once it lets clients in."""
        while True:
            await asyncio.sleep(0.02)
            if not _is_ready(self.data):
                continue  # it would complain of whoever comes too early
            with suppress(*CANNOT_CONNECT):
                await close(await asyncpg.connect(self.url, timeout=5))
                return

    async def deploy(self) -> bool:
        """Deploys the schema, if there is none; the answer is whether it did. Raises SchemaMismatch."""
        connection = await connect_at_start(self.url, "dev")
        try:
            is_new = await deploy_if_missing(connection)
            try:
                await check_schema(connection, self.url)
            except SchemaMismatch as error:
                found = await connection.fetchval("select soniq.version()")
                raise SchemaMismatch(
                    f"the schema in {self.data} is of version {found}, and this is soniq {soniq.__version__}:"
                    f" install soniq {found} to go on with its jobs, or {FRESH}"
                ) from error
        finally:
            await close(connection)
        return is_new


def prepare(
    folder: Folder, environment: Mapping[str, str], *, given: str | None, fresh: bool
) -> Postgres:
    """Finds a server and makes its files, unless they are there. Takes a second or two.

    given: the folder with its programs. fresh: makes the files anew.

    Raises NoServer and SoniqError.
    """
    place = folder.place_for(server_user())
    try:
        return _prepare(folder, environment, place, given, fresh)
    except OSError as error:
        raise SoniqError(
            f"the database cannot be made in {place}: {describe(error)}; see to that, or set SONIQ_DATABASE_URL to one"
            " that is there"
        ) from error


def _prepare(
    folder: Folder, environment: Mapping[str, str], place: Path, given: str | None, fresh: bool
) -> Postgres:
    data = place / "postgres"
    if fresh:
        shutil.rmtree(data, ignore_errors=True)
    is_new = not data.exists()
    if is_new:
        programs = find_programs(environment, place / "server", given=given)
        url = _address(folder.address, secrets.token_urlsafe(12))
        _make(programs, data, urlsplit(url).password or "")
    else:
        programs = _programs_for(data, environment, place / "server", given)
        if folder.address is None:
            raise SoniqError(
                f"{folder.path / 'address'} is gone, with the password of {data}: {FRESH}"
            )
        url = _address(folder.address, urlsplit(folder.address).password or "")
    folder.address = url
    return Postgres(url, data, programs, is_new)


def _address(former: str | None, password: str) -> str:
    """The address on the port that it had, if that is free, or on the next that is."""
    port = free_port((urlsplit(former).port if former else None) or FIRST_PORT)
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"


def _make(programs: Programs, data: Path, password: str) -> None:
    file = data.with_name("password")
    file.touch(mode=0o600)
    file.write_text(password)
    programs.user.own(file)
    try:
        programs.make_cluster(data, user=USER, password_file=file)
    finally:
        file.unlink()


def _programs_for(
    data: Path, environment: Mapping[str, str], copies: Path, given: str | None
) -> Programs:
    """The programs of the version by which the files were made; no other can read them."""
    major = int((data / "PG_VERSION").read_text())
    try:
        return find_programs(environment, copies, given=given, major=major)
    except NoServer as error:
        raise NoServer(
            f"the database in {data} was made by PostgreSQL {major}, and {error}; or {FRESH}"
        ) from error


def free_port(first: int) -> int:
    """The first free port of 127.0.0.1, from this one on."""
    for port in range(first, first + 1000):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SoniqError(
        f"no port from {first} to {first + 999} is free on 127.0.0.1: free one of them"
    )


async def wait_until_left(data: Path) -> None:
    """Returns once no server has these files, as one may for a moment whose `soniq dev` was killed.

    Raises SoniqError where one stays.
    """
    deadline = asyncio.get_running_loop().time() + GOES_WITHIN
    while (pid := _holder(data)) is not None:
        if asyncio.get_running_loop().time() > deadline:
            raise SoniqError(
                f"a PostgreSQL server (pid {pid}) has the files in {data}: stop it, kill -INT {pid}"
            )
        await asyncio.sleep(0.05)


def _holder(data: Path) -> int | None:
    try:
        pid = int(_noted(data)[0])
        os.kill(pid, 0)
    except (ProcessLookupError, ValueError, IndexError):
        return None
    except PermissionError:
        pass  # somebody else's, but there
    return pid


def _is_ready(data: Path) -> bool:
    return "ready" in map(str.strip, _noted(data)[-1:])


def _noted(data: Path) -> list[str]:
    """What a server that is at work notes of itself: first its process id, last its state."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []
