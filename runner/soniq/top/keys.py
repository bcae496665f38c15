"""Keys as they are typed, one by one and without being shown."""

import asyncio
import os
import re
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# What terminals send, in either of their modes for these keys.
NAMES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1bOH": "home",
    b"\x1b[1~": "home",
}
KEY = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)


class Keyboard:
    """A terminal that is read by the running event loop."""

    def __init__(self, terminal: int, on_key: Callable[[str], None]) -> None:
        """on_key: is given a character, or one of NAMES; `""` where the terminal is gone."""
        self._terminal = terminal
        self._on_key = on_key

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keys arrive within the block; afterwards the terminal is as it was."""
        loop = asyncio.get_running_loop()
        self._before = termios.tcgetattr(self._terminal)
        self._set_apart()
        loop.add_reader(self._terminal, self._read)
        try:
            yield
        finally:
            loop.remove_reader(self._terminal)
            self._restore()

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """Within the block of watched(): for so long, the terminal is as it was."""
        self._restore()
        yield
        self._set_apart()

    def _set_apart(self) -> None:
        tty.setcbreak(self._terminal, termios.TCSADRAIN)  # what was typed ahead stays

    def _restore(self) -> None:
        with suppress(termios.error):  # it may be gone
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

    def _read(self) -> None:
        try:
            typed = os.read(self._terminal, 1024)
        except OSError:
            typed = b""
        for key in KEY.findall(typed) or [b""]:
            self._on_key(NAMES.get(key) or key.decode("ascii", "replace"))
