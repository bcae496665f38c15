"""What keeps a fork of the runner from being a second runner.

A handler may fork, by itself or through multiprocessing. The child has copies of the runner's sockets, and of its event
loops in the midst of whatever they did. It may do its own work, and must neither speak on these sockets nor keep them
open, since the server would go on believing in a runner that has died.
"""

import asyncio
import contextlib
import os
import sys
import weakref
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass
class _Lineage:
    """How many forks lie between the process that imported this and the one that asks."""

    generation: int = 0


# What os.register_at_fork() is told cannot be taken back, so it is told once, of whatever is guarded at the time.
_guarded: "weakref.WeakSet[asyncio.AbstractEventLoop]" = weakref.WeakSet()
_lineage = _Lineage()


def generation() -> int:
    """Another number in a child than in its parent. To ask for the process id costs a job a twelfth of its time."""
    return _lineage.generation


def guard(loop: asyncio.AbstractEventLoop) -> None:
    """In children forked from now on, what this loop reads and writes leads nowhere, and going on with it ends them.

    uvloop does not tell what it reads and writes: there, only what end_child() is called for is kept from going on.
    """
    _guarded.add(loop)


def end_child(error: BaseException | None) -> NoReturn:
    """Ends a forked child in which a handler returned to the runner, with the exit code of a program that ends so."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    if isinstance(error, SystemExit):
        os._exit(error.code if isinstance(error.code, int) else int(error.code is not None))
    os._exit(0 if error is None else 1)


def _in_child() -> None:
    _lineage.generation += 1
    nowhere = os.open(os.devnull, os.O_RDWR)
    for loop in list(_guarded):
        selector: Any = getattr(loop, "_selector", None)
        with contextlib.suppress(Exception):
            for descriptor in list(selector.get_map()):
                # Not closed: whoever owns it will do that, when the number could be another file's.
                os.dup2(nowhere, descriptor, inheritable=False)
        ready: Any = getattr(loop, "_ready", None)
        with contextlib.suppress(Exception):
            # Before all that is due in this round of the loop, which is the runner's.
            handle = loop.call_soon(end_child, None)
            ready.remove(handle)
            ready.appendleft(handle)
    _guarded.clear()
    os.close(nowhere)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
