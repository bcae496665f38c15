"""The database of one's own: a server with its files in .soniq/, reached over a port that stays the same if it can."""

import asyncio
import math
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from soniq.database import CANNOT_CONNECT, close, describe
from soniq.dev.child import Command
from soniq.dev.folder import Folder
from soniq.dev.ports import HOST, free_port
from soniq.dev.schema import FRESH
from soniq.embedded import NoServer, Programs, dying_with_parent, find_programs, server_user
from soniq.errors import SoniqError

USER = "dev"  # not soniq: the schema of a user's own name is first in its search_path
FIRST_PORT = 54320
OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "log_checkpoints": "off",
    "log_line_prefix": "",  # soniq dev has its own
}
GOES_WITHIN = 10.0  # seconds, a server that a killed `soniq dev` has left
ANSWERS_WITHIN = 30.0  # seconds, a server that says that it is ready


@dataclass(frozen=True, slots=True)
class Cluster:
    """The files of a server, and the programs that go with them."""

    folder: Folder
    data: Path
    programs: Programs
    is_new: bool

    @classmethod
    def found(
        cls, folder: Folder, environment: Mapping[str, str], *, given: str | None, fresh: bool
    ) -> "Cluster":
        """The files that there are, or those that make() is to make.

        given: the folder with the programs. fresh: the files are to be made anew.

        Raises NoServer and SoniqError.
        """
        place = folder.place_for(server_user())
        data, copies = place / "postgres", place / "server"
        with _told(data):
            if fresh or not data.exists():
                programs = find_programs(environment, copies, given=given)
                return cls(folder, data, programs, is_new=True)
            if folder.address is None:
                raise SoniqError(
                    f"{folder.path / 'address'} is gone, with the password of {data}: {FRESH}"
                )
            programs = _programs_for(data, environment, copies, given)
            return cls(folder, data, programs, is_new=False)

    def make(self) -> None:
        """Makes the files, in place of those that there are; takes a second or two. No server may have them.

        Raises NoServer and SoniqError.
        """
        with _told(self.data):
            if self.data.exists():
                shutil.rmtree(self.data)
            password = secrets.token_urlsafe(12)
            self.folder.address = _address(password, self._former_port)
            file = self.data.with_name("password")
            file.touch(mode=0o600)
            file.write_text(password)
            self.programs.user.own(file)
            try:
                self.programs.make_cluster(self.data, user=USER, password_file=file)
            finally:
                file.unlink()

    def server(self) -> "Server":
        """The server, to be started at once: on the port that it had, if that is free, or on the next that is."""
        password = urlsplit(self.folder.address or "").password or ""
        url = _address(password, free_port(self._former_port))
        self.folder.address = url
        return Server(url, self.data, self.programs)

    @property
    def _former_port(self) -> int:
        return urlsplit(self.folder.address or "").port or FIRST_PORT


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready to be started."""

    url: str
    data: Path
    programs: Programs

    @property
    def port(self) -> int:
        """Where it is to listen."""
        return urlsplit(self.url).port or FIRST_PORT

    @property
    def command(self) -> Command:
        """What starts it."""
        options = {**OPTIONS, "port": str(self.port)}
        return Command(
            "postgres",
            [*dying_with_parent(signal.SIGINT), *self.programs.command(self.data, options)],
            farewell=((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0)),
            options={**self.programs.user.options, "cwd": "/"},
        )

    async def answers(self) -> None:
        """Returns once it lets clients in. Raises SoniqError where it is ready, and does not."""
        deadline = math.inf
        while True:
            await asyncio.sleep(0.02)
            if not await asyncio.to_thread(_is_ready, self.data):
                continue  # it would complain of whoever comes too early
            deadline = min(deadline, asyncio.get_running_loop().time() + ANSWERS_WITHIN)
            try:
                return await close(await asyncpg.connect(self.url, timeout=5))
            except CANNOT_CONNECT as error:
                may_pass = isinstance(error, OSError | asyncpg.CannotConnectNowError)
                if not may_pass or asyncio.get_running_loop().time() > deadline:
                    raise SoniqError(
                        f"PostgreSQL is ready, and does not let us in: {describe(error)}; if it is not mended, {FRESH}"
                    ) from error


def _address(password: str, port: int) -> str:
    # The server knows no SSL, and PGSSLMODE may ask for it.
    return f"postgresql://{USER}:{password}@{HOST}:{port}/postgres?sslmode=disable"


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


@contextmanager
def _told(data: Path) -> Iterator[None]:
    """Raises SoniqError for what the system refuses within the block."""
    try:
        yield
    except OSError as error:
        raise SoniqError(
            f"the database cannot be made in {data}: {describe(error)}; see to that, or set SONIQ_DATABASE_URL to one"
            " that is there"
        ) from error


async def wait_until_left(data: Path, say: Callable[[str], Awaitable[None]]) -> None:
    """Returns once no server has these files, as one may for a moment whose `soniq dev` was killed.

    say: tells people that there is something to wait for. Raises SoniqError where one stays.
    """
    deadline = asyncio.get_running_loop().time() + GOES_WITHIN
    told = False
    while (pid := await asyncio.to_thread(_holder, data)) is not None:
        if not told:
            await say(f"waiting for a PostgreSQL server (pid {pid}) that has the files in {data}")
            told = True
        if asyncio.get_running_loop().time() > deadline:
            raise SoniqError(
                f"a PostgreSQL server (pid {pid}) has the files in {data}: stop it, kill -INT {pid}"
            )
        await asyncio.sleep(0.05)


def _holder(data: Path) -> int | None:
    """The server that is at work on these files. The number that one has noted may be another process's by now."""
    try:
        pid = int(_noted(data)[0])
    except (ValueError, IndexError):
        return None
    return pid if _is_server(pid, data) else None


def _is_server(pid: int, data: Path) -> bool:
    if Path("/proc/self").exists():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return os.fsencode(data) in command.split(b"\0")
    # Where processes do not show their arguments to others, as on macOS.
    asked = ["ps", "-p", str(pid), "-o", "comm="]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()).name == "postgres"


def _is_ready(data: Path) -> bool:
    return _holder(data) is not None and "ready" in map(str.strip, _noted(data)[-1:])


def _noted(data: Path) -> list[str]:
    """What a server that is at work notes of itself: first its process id, last its state."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []
