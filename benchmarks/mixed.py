"""The handlers of the soak: they end well, fail, or snooze, as their job says, and note when it was due and started."""

import atexit
import os
import time
from pathlib import Path

from soniq import Job, Snooze, Soniq

app = Soniq()
starts: list[tuple[float, float, int]] = []


@app.job
async def soak(job: Job, does: str) -> None:
    """On the event loop."""
    _do(job, does)


@app.job
def soak_thread(job: Job, does: str) -> None:
    """On a thread, for a millisecond."""
    time.sleep(0.001)
    _do(job, does)


def _do(job: Job, does: str) -> None:
    again = job.attempt == 1 and does in ("fail once", "snooze once")
    ends_well = does != "fail" and not again
    starts.append((job.scheduled_at.timestamp(), time.time(), job.id if ends_well else 0))
    if does == "snooze once" and again:
        raise Snooze(1)
    if not ends_well:
        raise ValueError(does)


@atexit.register
def _tell() -> None:
    lines = (f"{due:.6f} {started:.6f} {job_id}\n" for due, started, job_id in starts)
    Path(os.environ["SONIQ_BENCH_RAN"]).write_text("".join(lines))
