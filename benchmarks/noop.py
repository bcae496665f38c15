"""The handler that runners are measured with: it does nothing, or sleeps, and keeps count of what it was called for."""

import asyncio
import atexit
import os
import signal
from pathlib import Path

from soniq import Soniq

app = Soniq()
numbers: list[int] = []
UNTIL = int(os.environ.get("SONIQ_BENCH_UNTIL", "0"))
SECONDS = float(os.environ.get("SONIQ_BENCH_SECONDS", "0"))


@app.job
async def noop(number: int) -> None:
    """Each job has a number of its own, so that one run twice or never shows."""
    if SECONDS:
        await asyncio.sleep(SECONDS)
    numbers.append(number)
    if len(numbers) == UNTIL:
        signal.raise_signal(signal.SIGTERM)


@atexit.register
def _tell() -> None:
    Path(os.environ["SONIQ_BENCH_RAN"]).write_text("\n".join(map(str, numbers)))
