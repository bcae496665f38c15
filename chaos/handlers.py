"""The jobs: each notes when it starts and when it ends, and some fail, snooze, take long, or use the database."""

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soniq.database
from soniq import Job, Snooze, Soniq

from chaos.ledger import Notebook

# What has vanished in silence is missed after 45 seconds in production.
soniq.database.ANSWER_WITHIN = soniq.database.CONNECT_WITHIN = 5.0

app = Soniq()
notebook = Notebook(Path(os.environ["SONIQ_CHAOS_NOTES"]), "ran")


@contextmanager
def noted(job: Job) -> Iterator[dict[str, Any]]:
    """Notes the start, and the end if there is one, under a nonce that is also the job's result."""
    nonce = secrets.token_hex(8)
    notebook.write("start", job.id, job.attempt, time.monotonic())
    yield {"nonce": nonce}
    notebook.write("end", job.id, job.attempt, time.monotonic(), nonce)


@app.job(retry_delay=0.1)
async def plain(job: Job) -> dict[str, Any]:
    """Does nothing else."""
    with noted(job) as result:
        return result


@app.job(retry_delay=0.1)
async def slow(job: Job) -> dict[str, Any]:
    """Takes a while, so that a fault finds it at work."""
    with noted(job) as result:
        await asyncio.sleep(0.3 + 0.1 * (job.id % 8))
        return result


@app.job(retry_delay=0.1)
def threaded(job: Job) -> dict[str, Any]:
    """Runs on a thread."""
    with noted(job) as result:
        time.sleep(0.01)
        return result


@app.job(retry_delay=0.1)
async def fails_once(job: Job) -> dict[str, Any]:
    """Fails at its first attempt."""
    with noted(job) as result:
        if job.attempt == 1:
            raise ValueError("at the first attempt")
        return result


@app.job(retry_delay=0.1, max_attempts=2)
async def gives_up(job: Job) -> None:
    """Fails at each attempt, and so becomes a dead letter."""
    with noted(job):
        raise ValueError("at each attempt")


@app.job(retry_delay=0.1)
async def snoozes_once(job: Job) -> dict[str, Any]:
    """Goes back into the queue at its first attempt."""
    with noted(job) as result:
        if job.attempt == 1:
            raise Snooze(0.1)
        return result


@app.job(retry_delay=0.1)
async def recorded(job: Job) -> dict[str, Any]:
    """Notes its start and its end in the database, too, each in a transaction of its own."""
    with noted(job) as result:
        for event in ("start", "end"):
            async with app.connection() as connection:
                await connection.execute(
                    "insert into chaos.runs (job_id, attempt, event) values ($1, $2, $3)",
                    job.id,
                    job.attempt,
                    event,
                )
        return result


@app.job(retry_delay=0.1)
async def posted(job: Job) -> None:
    """Has its effect and its completion in one transaction, as docs/reliability.md advises."""
    with noted(job):
        async with app.connection() as connection, connection.transaction():
            await connection.execute(
                "insert into chaos.posted (job_id, attempt) values ($1, $2)", job.id, job.attempt
            )
            done = "select soniq.complete(job_id => $1, attempt => $2)"
            if not await connection.fetchval(done, job.id, job.attempt):
                raise RuntimeError("the lease was lost")
