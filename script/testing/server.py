"""Throwaway PostgreSQL servers: made in a temporary directory, gone with whoever started them.

script/test and tests/py/conftest.py both get their servers here.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from .commands import run

USER = "tester"  # not soniq: the schema of a user's own name is first in its search_path
PORT = 5432  # the name of a socket in a directory of our own, so it is always free
PATIENCE = 30.0

# Nothing is worth keeping, so nothing needs to reach the disk. Commits stay synchronous: a server
# that is killed still has to know what it said it knew.
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "4GB",
    "max_connections": "200",
    "timezone": "UTC",
}


def debian_binaries() -> Path:
    """Where Debian has initdb, postgres and psql: the version script/test installed, else the newest."""
    if chosen := os.environ.get("SONIQ_TEST_POSTGRES"):
        return Path(chosen)
    installed = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(installed, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        raise FileNotFoundError(
            "no PostgreSQL server below /usr/lib/postgresql: run script/test once"
        )
    return newest.parent


class Server:
    """A server with its files below `home`. It may be stopped and started; it dies with this process."""

    def __init__(
        self,
        binaries: Path,
        home: Path,
        options: Mapping[str, str] | None = None,
        primary: "Server | None" = None,
    ) -> None:
        """Makes the cluster, or a hot standby of `primary`, which runs.

        `options` are settings of postgresql.conf, on top of OPTIONS.
        """
        self.binaries = binaries
        self.log = home / "postgres.log"
        self._home = home
        self.sockets = home / "sockets"
        self._options = {**OPTIONS, **(options or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.sockets.mkdir()
        _give_away(home, self.sockets)
        if primary is None:
            self._make("initdb", "--auth", "trust", "--encoding", "UTF8", "--locale", "C")
        else:
            self._make(
                *("pg_basebackup", "--host", str(primary.sockets), "--port", str(PORT)),
                *("--write-recovery-conf", "--checkpoint", "fast"),
            )

    def url(self, database: str = "postgres") -> str:
        """The address of a database, for psql, psycopg, asyncpg and soniq-runner."""
        return f"postgresql://{USER}@/{database}?host={quote(str(self.sockets))}&port={PORT}"

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None, "the server is stopped"
        return self._process.pid

    def environment(self, database: str) -> dict[str, str]:
        """The variables that lead libpq to a database, and PATH to psql itself instead of Debian's wrapper."""
        return {
            **os.environ,
            "PATH": f"{debian_binaries()}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PGHOST": str(self.sockets),
            "PGPORT": str(PORT),
            "PGUSER": USER,
            "PGDATABASE": database,
        }

    def start(self) -> None:
        """Starts the server, and returns when it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *as_server_user(),
                    *dying_with_parent(signal.SIGQUIT),
                    self.binaries / "postgres",
                    *("-D", self._home / "data", "-k", self.sockets, "-p", str(PORT)),
                    *(f"--{name}={value}" for name, value in self._options.items()),
                ],
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop the server
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL does not start:\n{self.log_text()}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops the server: SIGINT in order, breaking its connections; SIGQUIT as in a crash."""
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)  # a stopped process heeds nothing else
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops the server as told and starts it again on the same address."""
        self.stop(how)
        self.start()

    def promote(self) -> None:
        """Makes a standby a primary, and returns when it takes writes."""
        run(
            *as_server_user(),
            *(self.binaries / "pg_ctl", "promote", "--pgdata", self._home / "data"),
            folder=self._home,
        )

    def _make(self, program: str, *arguments: str) -> None:
        run(
            *as_server_user(),
            *(self.binaries / program, "--pgdata", self._home / "data", "--username", USER),
            *("--no-sync", *arguments),
            folder=self._home,
        )

    def create_database(self, name: str, template: str = "template1") -> str:
        """Makes a database and answers with its URL. Nobody may be connected to the template."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            # Page by page through the log, as from version 15 on unless told, takes four times as long.
            how = "strategy file_copy" if connection.info.server_version >= 150000 else ""
            connection.execute(
                sql.SQL("create database {} template {} {}").format(
                    sql.Identifier(name), sql.Identifier(template), sql.SQL(how)
                )
            )
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drops a database, whoever is connected to it."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            )

    def log_text(self, lines: int = 40) -> str:
        """The end of the server's log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def throwaway_server(
    options: Mapping[str, str] | None = None,
    binaries: Path | None = None,
    primary: Server | None = None,
) -> Iterator[Server]:
    """A running server of Debian's version, or of the given binaries; afterwards nothing is left of it.

    With a `primary`, it is its hot standby.
    """
    # Not below TMPDIR: the name of a socket must be shorter than 108 bytes.
    home = Path(tempfile.mkdtemp(prefix="soniq-test-", dir="/tmp"))
    try:
        server = Server(binaries or debian_binaries(), home, options, primary)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _server_user() -> pwd.struct_passwd | None:
    if os.geteuid():
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _give_away(*folders: Path) -> None:
    if user := _server_user():
        for folder in folders:
            os.chown(folder, user.pw_uid, user.pw_gid)


def as_server_user() -> list[str]:
    """A prefix for commands: PostgreSQL refuses to run as root. Whoever else runs this is good enough."""
    user = _server_user()
    if user is None:
        return []
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def dying_with_parent(death_signal: signal.Signals) -> list[str]:
    """A prefix for commands: PR_SET_PDEATHSIG, so that nothing outlives a test that is killed.

    It comes after any change of user, which would clear it.
    """
    return ["setpriv", "--pdeathsig", death_signal.name.removeprefix("SIG")]
