"""How many seconds of CPU time processes have used, as /proc tells it."""

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


def used_by(pid: int) -> float:
    """By all threads of a process, and none of its children."""
    own, _ = _ticks(pid)
    return own / TICKS


def used_by_all() -> float:
    """By everything that runs on this machine, and by what a hypervisor took from it."""
    first, *_ = (PROC / "stat").read_text().splitlines()
    user, nice, system, _idle, _disk, irq, softirq, stolen, *_ = map(int, first.split()[1:])
    return (user + nice + system + irq + softirq + stolen) / TICKS


def used_by_server(postmaster: int) -> float:
    """By a PostgreSQL server: the postmaster and its children, those that have ended included.

    The kernel adds what a child has used to the postmaster's account when that takes note of its end. Where it
    happens while the children are looked at, one may be counted twice or not at all, so they are looked at again.
    """
    while True:
        _, ended = _ticks(postmaster)
        living = sum(_living(postmaster))
        own, ended_by_now = _ticks(postmaster)
        if ended == ended_by_now:
            return (own + ended + living) / TICKS


def _living(postmaster: int) -> Iterator[int]:
    for pid in (PROC / f"{postmaster}/task/{postmaster}/children").read_text().split():
        try:
            yield _ticks(int(pid))[0]
        except (FileNotFoundError, ProcessLookupError):
            continue


def _ticks(pid: int) -> tuple[int, int]:
    """What a process has used, and what those of its children had that it has waited for."""
    # Its name comes before, in parentheses, and may contain anything.
    _, _, fields = (PROC / f"{pid}/stat").read_text().rpartition(")")
    user, system, children_user, children_system = map(int, fields.split()[11:15])
    return user + system, children_user + children_system
