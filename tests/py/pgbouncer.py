"""A PgBouncer, in transaction mode unless told, in front of a test's server: gone with whoever started it."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from testing.server import PORT, USER, Server, as_server_user, dying_with_parent
from waiting import wait_for

PROGRAM = Path("/usr/sbin/pgbouncer")

# Nothing that a client might ask for at its start is ignored, as is PgBouncer's default.
CONFIGURATION = """
[databases]
* = host={server} port={server_port}

[pgbouncer]
listen_port = {port}
unix_socket_dir = {home}
auth_type = trust
auth_file = {home}/users.txt
pool_mode = {mode}
default_pool_size = {pool_size}
max_client_conn = 500
"""


def name_of(url: str) -> str:
    """The name of the database in an address."""
    return str(conninfo_to_dict(url)["dbname"])


class PgBouncer:
    """A PgBouncer that may be stopped and started; it dies with this process."""

    def __init__(self, server: Server, home: Path, pool_size: int) -> None:
        """Keeps its files in `home`; start() starts it."""
        self._server = server
        self._home = home
        self._pool_size = pool_size
        self._log = home / "pgbouncer.log"
        (home / "users.txt").write_text(f'"{USER}" ""\n')
        if os.geteuid() == 0:
            owner = server.sockets.stat()
            os.chown(home, owner.st_uid, owner.st_gid)

    def start(self, mode: str = "transaction") -> None:
        """Starts it, and returns when it answers."""
        configuration = self._home / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(
                server=self._server.sockets,
                server_port=PORT,
                port=PORT,
                home=self._home,
                mode=mode,
                pool_size=self._pool_size,
            )
        )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *as_server_user(),  # PgBouncer refuses to run as root
                    *dying_with_parent(signal.SIGKILL),
                    *(PROGRAM, configuration),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._answers, what=lambda: f"PgBouncer to answer:\n{self.log}")

    @property
    def log(self) -> str:
        """Everything it has written so far."""
        return self._log.read_text(errors="replace")

    def url(self, database: str) -> str:
        """The address of a database of the server's, through the pool."""
        return f"postgresql://{USER}@/{database}?host={quote(str(self._home))}&port={PORT}"

    def stop(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"PgBouncer does not start:\n{self.log}")
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def throwaway_pgbouncer(server: Server, *, pool_size: int = 5) -> Iterator[PgBouncer]:
    """A PgBouncer in front of `server`, with at most `pool_size` connections for each database."""
    # Not below TMPDIR: the name of a socket must be shorter than 108 bytes.
    home = Path(tempfile.mkdtemp(prefix="soniq-test-", dir="/tmp"))
    try:
        bouncer = PgBouncer(server, home, pool_size)
        bouncer.start()
        try:
            yield bouncer
        finally:
            bouncer.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
