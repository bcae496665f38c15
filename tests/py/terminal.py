"""A command at a terminal of its own. pyte understands what is written to it, so its screen is read as by a person."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte
from testing.server import dying_with_parent

READ_AT_ONCE = 65536


class Terminal:
    """A terminal, and the process that it was opened for."""

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        folder: Path | None = None,
        lines: int = 24,
        columns: int = 80,
    ) -> None:
        """Starts the command; it is killed with this process."""
        self.written = b""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        [program, *flags] = [*dying_with_parent(signal.SIGKILL), *map(str, command)]
        ready, begin = os.pipe()
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.close(begin)
            os.read(ready, 1)  # the terminal has its size
            if folder is not None:
                os.chdir(folder)
            os.execvpe(
                program,
                [program, *flags],
                {**environment, "TERM": environment.get("TERM", "xterm")},
            )
        os.close(ready)
        self.mode = termios.tcgetattr(self._terminal)
        self.resize(lines, columns)
        os.close(begin)
        self._code: int | None = None

    def resize(self, lines: int, columns: int) -> None:
        """Changes the size, of which the process is told."""
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)

    def type(self, keys: str) -> None:
        """Types these keys."""
        os.write(self._terminal, keys.encode())

    def send(self, number: signal.Signals) -> None:
        """Sends the process a signal."""
        os.kill(self.pid, number)

    @property
    def shown(self) -> str:
        """What is on the screen."""
        self._read(0)
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def settings(self) -> list[object]:
        """How the terminal treats what is typed, as termios has it."""
        return termios.tcgetattr(self._terminal)

    def wait_for(self, is_there: str | Callable[[str], object], within: float = 30) -> str:
        """Waits until a text is on the screen, or what is there is as wanted; the answer is the screen."""
        deadline = time.monotonic() + within
        while True:
            shown = self.shown
            if is_there in shown if isinstance(is_there, str) else is_there(shown):
                return shown
            assert time.monotonic() < deadline, f"waited {within} s in vain, before:\n{shown}"
            if not self._read(0.1):
                shown = self.shown  # what it said last came with its end
                if is_there in shown if isinstance(is_there, str) else is_there(shown):
                    return shown
                raise AssertionError(f"the process has ended; it left:\n{shown}")

    def exit_code(self, within: float = 30) -> int:
        """Waits until the process has ended."""
        deadline = time.monotonic() + within
        while self._code is None:
            self._read(0.05)
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._read(0)
                self._code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                self.close()
                raise AssertionError(f"it still runs after {within} s:\n{self.shown}")
        return self._code

    def close(self) -> None:
        """Ends the process, if it has not ended."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self._code = os.waitstatus_to_exitcode(status)

    def _read(self, within: float) -> bool:
        """Takes in what was written, waiting for it so long; the answer is whether there can be more."""
        while select.select([self._terminal], [], [], within)[0]:
            try:
                chunk = os.read(self._terminal, READ_AT_ONCE)
            except OSError:
                return False  # how a terminal tells that nobody has it open any more
            if not chunk:
                return False
            self.written += chunk
            self._stream.feed(chunk)
            within = 0
        return True
