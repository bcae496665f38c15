"""The handlers that latency is measured with: one notes when it was called, the other is the load beside it."""

import atexit
import os
import time
from pathlib import Path

from soniq import Soniq

app = Soniq()
stamps: dict[int, float] = {}


@app.job
async def stamp(number: int) -> None:
    """By the clock that whoever enqueues on this machine reads too."""
    stamps[number] = time.clock_gettime(time.CLOCK_MONOTONIC)


@app.job
async def noop(number: int) -> None:
    """One of many."""


@atexit.register
def _tell() -> None:
    lines = (f"{number} {moment}" for number, moment in stamps.items())
    Path(os.environ["SONIQ_BENCH_STAMPS"]).write_text("\n".join(lines))
