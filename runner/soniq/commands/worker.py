"""soniq-runner, also as `soniq worker`: runs handlers. `soniq scheduler` only ticks."""

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Callable

import click

import soniq
from soniq import logs, modules, runner, ticking
from soniq.commands.common import EXIT_CODES, told_in_a_line
from soniq.settings import check_pool, read_one, read_settings, unknown_names

log = logging.getLogger("soniq")


@click.command("worker", epilog=EXIT_CODES)
@click.option("--concurrency", help="Jobs at once (SONIQ_CONCURRENCY, 4).")
@click.option("--queues", help="Queues to serve, separated by commas (SONIQ_QUEUES, all).")
@click.option(
    "--metrics-port", help="Serve /metrics, /healthz and /readyz there (SONIQ_METRICS_PORT)."
)
@click.option(
    "--prune-schedules",
    is_flag=True,
    help="Remove schedules that the modules have no longer (SONIQ_PRUNE_SCHEDULES, false).",
)
@click.option("--burst", is_flag=True, help="Stop when no job is ready and none runs.")
@click.option("--run-once", is_flag=True, help="Run one job, if one is ready, and stop.")
@click.version_option(soniq.__version__, prog_name="soniq-runner")
def main(
    concurrency: str | None,
    queues: str | None,
    metrics_port: str | None,
    prune_schedules: bool,
    burst: bool,
    run_once: bool,
) -> None:
    """Claims jobs and runs their handlers until SIGTERM or SIGINT.

    SONIQ_DATABASE_URL says where the jobs are, SONIQ_JOBS_MODULES which modules have the handlers; `soniq config`
    tells all settings.
    """
    flags = {
        "concurrency": concurrency,
        "queues": queues,
        "metrics_port": metrics_port,
        "prune_schedules": "true" if prune_schedules else None,
    }
    with told_in_a_line("soniq-runner"):
        _run(flags, burst=burst, at_most=1 if run_once else None)


def _run(flags: dict[str, str | None], *, burst: bool, at_most: int | None) -> None:
    settings = read_settings(os.environ, flags)
    logs.set_up(settings.log_level, settings.log_format)
    for line in unknown_names(os.environ):
        log.warning("%s", line)
    # Where one starts the runner is where one's modules are, as with python -m.
    sys.path.insert(0, os.getcwd())
    code = modules.merge(modules.import_apps(settings.jobs_modules))
    if not all(app.pool_is_sized_in_code for app in code.apps):
        check_pool(settings)
    for app in code.apps:
        app.size_pool(settings.pool_min_size, settings.pool_max_size)
    running = runner.run(settings, code, burst=burst or at_most is not None, at_most=at_most)
    with asyncio.Runner(loop_factory=fastest_loop()) as loop:
        loop.run(running)


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed (`pip install soniq[uvloop]`); None is asyncio's own."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@click.command("scheduler", epilog=EXIT_CODES)
@click.option("--once", is_flag=True, help="Tick once, print what was done, and stop.")
def scheduler(once: bool) -> None:
    """Calls soniq.tick() until SIGTERM or SIGINT, as every runner does, and runs no jobs.

    For where no runner is up all the time; any number of them, and of runners, may tick at once.
    """
    with told_in_a_line("soniq scheduler"):
        url = read_one("database_url", os.environ, {})
        interval = read_one("tick_interval", os.environ, {})
        logs.set_up(read_one("log_level", os.environ, {}), read_one("log_format", os.environ, {}))
        asyncio.run(ticking.tick_until_told(url, interval, once=once))
