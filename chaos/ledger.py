"""Notes of what was acknowledged, started and ended, in files that outlive whoever wrote them.

Each process has a file of its own and writes a line at a time, with one call, so a process that is killed leaves whole
lines. Times are the machine's monotonic clock, which all its processes share.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TABLES = Path(__file__).with_name("ledger.sql")


class Notebook:
    """One process's file."""

    def __init__(self, folder: Path, what: str) -> None:
        """`what` is acknowledged or ran."""
        self._file = os.open(
            folder / f"{what}-{os.getpid()}-{time.monotonic_ns()}",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND,
        )

    def write(self, *words: object) -> None:
        """Notes one line."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


@dataclass
class Run:
    """One run of a handler. `ended` is None if it never came to its end; `nonce` is what it said it was."""

    job_id: int
    attempt: int
    started: float
    ended: float | None = None
    nonce: str | None = None


def acknowledged(folder: Path) -> list[int]:
    """The ids of the jobs of which a producer was told that they are committed."""
    return [int(words[0]) for words in _lines(folder, "acknowledged")]


def runs(folder: Path) -> list[Run]:
    """Every run of a handler, in the order in which they started."""
    found: list[Run] = []
    for path in _files(folder, "ran"):
        under_way: dict[tuple[int, int], Run] = {}
        for event, job_id, attempt, moment, *nonce in _words(path):
            lease = int(job_id), int(attempt)
            if event == "start":
                under_way[lease] = Run(*lease, started=float(moment))
                found.append(under_way[lease])
            else:
                under_way[lease].ended, under_way[lease].nonce = float(moment), nonce[0]
    return sorted(found, key=lambda run: run.started)


def _lines(folder: Path, what: str) -> Iterator[list[str]]:
    for path in _files(folder, what):
        yield from _words(path)


def _words(path: Path) -> Iterator[list[str]]:
    for line in path.read_text().splitlines():
        yield line.split()


def _files(folder: Path, what: str) -> list[Path]:
    return sorted(folder.glob(f"{what}-*"))
