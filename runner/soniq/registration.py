"""What a runner makes known when it starts: the policies of its handlers, their schedules, and itself."""

import json
import logging
import os
import socket
from collections.abc import Sequence
from datetime import timedelta

import asyncpg

import soniq
from soniq.errors import BadSettings
from soniq.handler import Handler
from soniq.modules import Code, PeriodicJob
from soniq.settings import Settings

log = logging.getLogger("soniq")


async def register_code(connection: asyncpg.Connection, settings: Settings, code: Code) -> None:
    """Registers job types and schedules, all or none; reports schedules that the code has no longer.

    Raises BadSettings, which names the handler, for what the database refuses.
    """
    async with connection.transaction():
        for name, handler in sorted(code.handlers.items()):
            await _register_job_type(connection, settings, name, handler)
        for name, periodic in sorted(code.periodic.items()):
            await _register_schedule(connection, name, periodic)
        for module in settings.jobs_modules:
            await _prune_schedules(connection, settings, code, module)


async def _register_job_type(
    connection: asyncpg.Connection, settings: Settings, name: str, handler: Handler
) -> None:
    policy = handler.policy
    await _tell(
        connection,
        f"the job {name!r} ({handler.where})",
        "select soniq.register_job_type(job_name => $1, queue => $2, priority => $3,"
        " max_attempts => $4, timeout => $5, retry_delays => $6, backoff => $7,"
        " max_retry_delay => $8, retention => $9, secret_args => $10)",
        name,
        policy.queue,
        policy.priority,
        policy.max_attempts,
        _first(policy.timeout, settings.job_timeout),
        policy.retry_delays,
        policy.backoff,
        policy.max_retry_delay,
        _first(policy.retention, settings.retention),
        list(policy.secret_args) or None,
    )


def _first(declared: timedelta | None, seconds: float | None) -> timedelta | None:
    """What the handler declares, else what the settings say, else nothing."""
    if declared is None and seconds is not None:
        return timedelta(seconds=seconds)
    return declared


async def _register_schedule(
    connection: asyncpg.Connection, name: str, periodic: PeriodicJob
) -> None:
    schedule = periodic.schedule
    await _tell(
        connection,
        f"the schedule {name!r} ({schedule.where})",
        "select soniq.schedule(name => $1, job_name => $2, cron => $3, every => $4, timezone => $5,"
        " args => $6, missed_runs => $7, max_missed_runs => $8, allow_overlap => $9, source => $10)",
        name,
        periodic.job_name,
        schedule.cron,
        schedule.every,
        schedule.timezone,
        None if schedule.args is None else json.dumps(schedule.args),
        schedule.missed_runs,
        schedule.max_missed_runs,
        schedule.allow_overlap,
        periodic.module,
    )


async def _prune_schedules(
    connection: asyncpg.Connection, settings: Settings, code: Code, module: str
) -> None:
    kept = [name for name, periodic in code.periodic.items() if periodic.module == module]
    rows = await connection.fetch(
        "select name from soniq.prune_schedules(source => $1, keep => $2, dry_run => $3) as name",
        module,
        kept,
        not settings.prune_schedules,
    )
    for (name,) in rows:
        log.warning(
            "module %s has the schedule %r no longer: %s",
            module,
            name,
            "it is removed"
            if settings.prune_schedules
            else "it goes on; SONIQ_PRUNE_SCHEDULES=true removes it, or select soniq.unschedule('...')",
        )


async def _tell(
    connection: asyncpg.Connection, what: str, statement: str, *arguments: object
) -> None:
    try:
        await connection.execute(statement, *arguments)
    except (asyncpg.PostgresError, asyncpg.DataError) as error:
        problem = getattr(error, "message", None) or error
        remedy = getattr(error, "hint", None)
        raise BadSettings(
            f"{what} cannot be registered: {problem}{f'; {remedy}' if remedy else ''}"
        ) from error


async def register_runner(connection: asyncpg.Connection, settings: Settings) -> int:
    """Makes this process a runner and answers with its runner_id."""
    runner_id: int = await connection.fetchval(
        "select soniq.register_runner(host => $1, pid => $2, queues => $3, concurrency => $4,"
        " heartbeat_timeout => $5, runner_version => $6)",
        socket.gethostname(),
        os.getpid(),
        settings.queues,
        settings.concurrency,
        timedelta(seconds=settings.heartbeat_timeout),
        soniq.__version__,
    )
    return runner_id


async def resume_runner(
    connection: asyncpg.Connection, former: int, leases: Sequence[tuple[int, int]]
) -> int:
    """Goes on, with these leases, under a new runner_id, which is the answer."""
    runner_id: int = await connection.fetchval(
        "select soniq.resume_runner(runner_id => $1, job_ids => $2, attempts => $3)",
        former,
        [job_id for job_id, _ in leases],
        [attempt for _, attempt in leases],
    )
    return runner_id
