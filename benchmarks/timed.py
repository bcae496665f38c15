"""The handler of runs under steady load: it does nothing but note when each job was due and when it was started."""

import atexit
import os
import time
from pathlib import Path

from soniq import Job, Soniq

app = Soniq()
starts: list[tuple[float, float]] = []


@app.job
async def noop(job: Job, number: int) -> None:
    """Both clocks are one: the server is on this machine."""
    starts.append((job.scheduled_at.timestamp(), time.time()))


@atexit.register
def _tell() -> None:
    lines = (f"{due:.6f} {started:.6f}\n" for due, started in starts)
    Path(os.environ["SONIQ_BENCH_RAN"]).write_text("".join(lines))
