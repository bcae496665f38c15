"""The folder .soniq/ of a project: what stays between runs, and who is at work."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soniq.database import describe
from soniq.embedded import User
from soniq.errors import SoniqError

# Where the files of a server are if its user gets into no folder of the project.
ELSEWHERE = Path("/var/lib")


class Folder:
    """.soniq/ in the folder where `soniq dev` is started."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.path = project / ".soniq"
        self._address = self.path / "address"

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Within the block it is this process's alone. Raises SoniqError where another one is at work."""
        lock = self.path / "lock"
        try:
            self.path.mkdir(exist_ok=True)
            (self.path / ".gitignore").write_text("*\n")
            file = lock.open("a+")
        except OSError as error:
            raise SoniqError(
                f"{error.strerror}: {error.filename}; start `soniq dev` in a folder in which you may write"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise SoniqError(
                    f"`soniq dev` runs in {self.project} already (pid {file.read().strip()}): stop that one, or start"
                    " this one in another folder"
                ) from error
            except OSError as error:  # as on some file systems of a network
                raise SoniqError(
                    f"{lock} cannot be locked: {describe(error)}; start `soniq dev` in a folder on another file system"
                ) from error
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def place_for(self, user: User) -> Path:
        """The folder for a server's files: .soniq/, or one elsewhere where the server's user may not enter it.

        Raises SoniqError where that may not be entered either.
        """
        if user.uid is None:
            return self.path
        self.path.chmod(0o711)
        if user.may_enter(self.path):
            return self.path
        known = hashlib.sha256(str(self.project).encode()).hexdigest()[:12]
        elsewhere = Path(os.environ.get("XDG_STATE_HOME") or ELSEWHERE) / "soniq" / f"dev-{known}"
        elsewhere.mkdir(mode=0o711, parents=True, exist_ok=True)
        if not user.may_enter(elsewhere):
            raise SoniqError(
                f"PostgreSQL refuses to run as root, and the user {user.name}, who runs it instead, may enter neither"
                f" {self.path} nor {elsewhere}: chmod o+x the folders above one of them, let XDG_STATE_HOME name a"
                " folder open to all, or set SONIQ_DATABASE_URL to a database that is there"
            )
        return elsewhere

    @property
    def address(self) -> str | None:
        """The address of the database of its own, as it was last; None if there never was one."""
        try:
            return self._address.read_text().strip()
        except FileNotFoundError:
            return None

    @address.setter
    def address(self, url: str) -> None:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        with open(self._address, "w", opener=private) as file:
            file.write(f"{url}\n")
