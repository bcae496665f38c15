"""The runner: one process that claims jobs, runs their handlers and reports, from its start to its last job."""

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, NoReturn

import asyncpg

from soniq import claiming, registration
from soniq.claiming import Claimer
from soniq.database import (
    CONNECTION_LOST,
    check_schema,
    close,
    connect_at_start,
    describe,
    masked,
)
from soniq.doorbell import Doorbell
from soniq.errors import DatabaseUnreachable, OutcomesLost
from soniq.execution import Execution
from soniq.heartbeat import Heartbeat, Lease
from soniq.metering import Meter, MetricsSink, distinct
from soniq.modules import Code
from soniq.outcomes import Outcome
from soniq.reporting import Reporter
from soniq.settings import Settings

if TYPE_CHECKING:
    from soniq.http import MetricsServer

log = logging.getLogger("soniq")

# How long, after the shutdown timeout, released jobs may take to be reported. With what it takes to close connections
# to a database that does not answer, a runner ends five seconds after its shutdown timeout at the latest.
LAST_WORDS = 2.0


async def run(settings: Settings, code: Code, *, burst: bool, at_most: int | None) -> None:
    """Runs jobs until SIGTERM or SIGINT, or in a burst until none is ready, and `at_most` so many.

    Raises DatabaseUnreachable, SchemaMissing, SchemaMismatch or BadSettings before it claims anything, and
    OutcomesLost when the database stayed away until the end.
    """
    sinks = distinct(app.metrics_sink for app in code.apps)
    metrics = _prepare_metrics(settings, sinks)
    connection = await connect_at_start(settings.database_url, claiming.ROLE, lasting=True)
    try:
        await check_schema(connection, settings.database_url)
        await registration.register_code(connection, settings, code)
    except CONNECTION_LOST as error:
        await close(connection)
        raise DatabaseUnreachable(
            f"the connection to {masked(settings.database_url)} was lost: {describe(error)}"
        ) from error
    except BaseException:
        await close(connection)
        raise

    def note_end(outcome: Outcome) -> None:
        reporter.add(outcome)
        claimer.look_for_room()

    reporter = Reporter(settings.database_url, lambda batch: claimer.note_reported(batch))
    execution = Execution(
        code.handlers,
        concurrency=settings.concurrency,
        thread_count=settings.sync_handler_pool_size,
        on_outcome=note_end,
        meter=Meter(sinks) if sinks else None,
    )
    doorbell = Doorbell(
        settings.listen_url,
        settings.queues,
        lambda: claimer.ring(),
        told_from=settings.database_url,
    )
    claimer = Claimer(
        url=settings.database_url,
        queues=settings.queues,
        poll_interval=settings.poll_interval,
        burst=burst,
        at_most=at_most,
        register=lambda connection: register(connection),
        resume=lambda connection, former, leases: resume(connection, former, leases),
        execution=execution,
        reporter=reporter,
        doorbell=doorbell,
    )
    loop = asyncio.get_running_loop()

    def lose(leases: list[Lease]) -> None:
        loop.call_soon_threadsafe(execution.abandon, leases)
        # There is room again, and no outcome will tell of it.
        loop.call_soon_threadsafe(claimer.ring)

    def die(runner_id: int) -> None:
        if runner_id != heartbeat.runner_id:
            return  # the runner has another id by now
        lose(execution.leases)
        loop.call_soon_threadsafe(claimer.forget_runner, runner_id)

    heartbeat = Heartbeat(
        settings.database_url,
        interval=settings.heartbeat_interval,
        tick_interval=settings.tick_interval,
        leases=lambda: execution.leases,
        on_lost=lose,
        on_declared_dead=die,
    )

    async def register(connection: asyncpg.Connection) -> int:
        if heartbeat.runner_id is not None:
            log.warning("runner %s was declared dead; registering anew", heartbeat.runner_id)
        heartbeat.runner_id = await registration.register_runner(connection, settings)
        log.info(
            "runner %s serves %s at %s, %s jobs at once: %s",
            heartbeat.runner_id,
            "all queues" if settings.queues is None else "queues " + ", ".join(settings.queues),
            masked(settings.database_url),
            settings.concurrency,
            ", ".join(sorted(code.handlers)),
        )
        return heartbeat.runner_id

    async def resume(connection: asyncpg.Connection, former: int, leases: list[Lease]) -> int:
        # No heartbeat meanwhile: under the former id it would be told that the runner is dead.
        heartbeat.runner_id = None
        heartbeat.runner_id = await registration.resume_runner(connection, former, leases)
        log.info("runner %s goes on as runner %s", former, heartbeat.runner_id)
        return heartbeat.runner_id

    heartbeat.start()
    if metrics:
        metrics.start_watching(loop, lambda: claimer.not_ready, lambda: execution.sync_room)
    try:
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(doorbell.listen())
            reporting = tasks.create_task(reporter.run())
            signals = tasks.create_task(_obey_signals(claimer, execution, reporter, settings))
            await claimer.run(connection, tasks)
            for helping in (listening, reporting, signals):
                helping.cancel()
            if await execution.left_behind():
                _leave_behind(0)
    finally:
        heartbeat.stop()
        if metrics:
            metrics.stop()
        execution.close()
        await asyncio.gather(*(app.close() for app in code.apps))
        heartbeat.join(timeout=1)
    log.info("stopped; nothing is left running")


def _prepare_metrics(settings: Settings, sinks: list[MetricsSink]) -> "MetricsServer | None":
    """The server of /metrics, if one is wanted; its sink is added to the others."""
    if settings.metrics_port is None:
        return None
    from soniq.http import MetricsServer  # takes a quarter of a second, for Prometheus

    metrics = MetricsServer(settings.metrics_port, settings.database_url, sinks)
    if metrics.sink not in sinks:
        sinks.append(metrics.sink)
    return metrics


async def _obey_signals(
    claimer: Claimer, execution: Execution, reporter: Reporter, settings: Settings
) -> None:
    """The first SIGTERM or SIGINT drains, the shutdown timeout or the second one releases."""
    loop = asyncio.get_running_loop()
    received: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received.put_nowait, number)

    name = (await received.get()).name
    log.info(
        "%s: claiming no more, finishing %s jobs (at most %g s)",
        name,
        len(execution.leases),
        settings.shutdown_timeout,
    )
    claimer.stop()
    execution.release_waiting()
    try:
        async with asyncio.timeout(settings.shutdown_timeout):
            name = (await received.get()).name
    except TimeoutError:
        name = "the shutdown timeout"
    log.warning("%s: releasing %s jobs", name, len(execution.leases))
    await execution.release_all()
    await asyncio.sleep(LAST_WORDS)
    lost = OutcomesLost(
        f"the database stayed away: {reporter.unreported} outcomes could not be reported;"
        " these jobs will be taken back and run again"
    )
    if await execution.left_behind():
        log.error("%s", lost)
        _leave_behind(lost.exit_code)
    raise lost


def _leave_behind(exit_code: int) -> NoReturn:
    """Ends the process: nothing else stops a thread, or a task that refuses to end or waits for a dead network."""
    log.warning("a handler did not end when its job did; leaving it behind")
    logging.shutdown()
    os._exit(exit_code)
