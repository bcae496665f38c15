"""For tests of programs that use Soniq: the jobs that a test has enqueued, run here and now.

The runner's own code claims and reports them, in SQL, so retries, policies and dead letters are the real ones. What a
runner does besides is left out: it does not listen, beat or tick, so schedules enqueue nothing, and a job that is
to be tried again later stays queued.

The fixture `soniq_db`, and what makes a forgotten `await` of `enqueue` an error, are in soniq.pytest_plugin, which
pytest loads by itself.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from soniq import registration
from soniq.app import Soniq
from soniq.claiming import Claimer
from soniq.database import check_schema, close, connect_at_start
from soniq.doorbell import Doorbell
from soniq.execution import Execution
from soniq.modules import Code
from soniq.outcomes import Outcome, Released
from soniq.reporting import Reporter
from soniq.settings import read_settings


async def run_until_empty(
    app: Soniq,
    *,
    database_url: str | None = None,
    queues: Sequence[str] | None = None,
    concurrency: int = 4,
) -> int:
    """Runs an app's jobs in this event loop until none is ready, and answers how many attempts that were.

    A handler that raises fails its attempt, as in a runner: look in soniq.get_job(), soniq.finished_jobs and
    soniq.dead_letter_jobs for what became of a job. Jobs whose names the app does not have become dead letters.

    database_url: the app's by default, which is SONIQ_DATABASE_URL.
    queues: all by default. concurrency: how many jobs run at once.

    Raises DatabaseUnreachable, SchemaMissing, SchemaMismatch, and BadSettings for policies that the database refuses.
    """
    url = database_url or app.database_url
    settings = read_settings(
        {
            "SONIQ_DATABASE_URL": url,
            "SONIQ_JOBS_MODULES": __name__,
            "SONIQ_CONCURRENCY": str(concurrency),
            "SONIQ_QUEUES": "*" if queues is None else ",".join(queues),
            # Nothing beats here, and a debugger may stop the test for long.
            "SONIQ_HEARTBEAT_TIMEOUT": "86400",
        },
        {},
        Path(os.devnull),
    )
    ended = 0

    def count(outcome: Outcome) -> None:
        nonlocal ended
        ended += not isinstance(outcome, Released)
        reporter.add(outcome)
        claimer.look_for_room()

    async def register(connection: asyncpg.Connection) -> int:
        return await registration.register_runner(connection, settings)

    reporter = Reporter(url, lambda batch: claimer.note_reported(batch))
    execution = Execution(
        app.handlers,
        concurrency=settings.concurrency,
        thread_count=settings.sync_handler_pool_size,
        on_outcome=count,
    )
    claimer = Claimer(
        url=url,
        queues=settings.queues,
        poll_interval=settings.poll_interval,
        burst=True,
        at_most=None,
        register=register,
        resume=registration.resume_runner,
        execution=execution,
        reporter=reporter,
        doorbell=Doorbell(  # which nobody hears
            None, settings.queues, lambda: claimer.ring(), told_from=url
        ),
    )
    connection = await connect_at_start(url, "test", lasting=True)
    try:
        await check_schema(connection, url)
        await registration.register_code(connection, settings, Code((app,), app.handlers, {}))
        async with asyncio.TaskGroup() as tasks:
            reporting = tasks.create_task(reporter.run())
            await claimer.run(connection, tasks)
            reporting.cancel()
    finally:
        execution.close()
        await close(connection)
    return ended


def run_until_empty_sync(
    app: Soniq,
    *,
    database_url: str | None = None,
    queues: Sequence[str] | None = None,
    concurrency: int = 4,
) -> int:
    """run_until_empty() for tests that are not async; closes what connections the app opened meanwhile."""

    async def run() -> int:
        try:
            return await run_until_empty(
                app, database_url=database_url, queues=queues, concurrency=concurrency
            )
        finally:
            await app.close()

    return asyncio.run(run())
