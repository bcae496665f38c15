"""soniq-runner, also as `soniq worker`: runs handlers. `soniq scheduler` only ticks."""

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

import soniq
from soniq import logs, modules, runner, ticking
from soniq.commands.common import EXIT_CODES, print_json, told_in_a_line
from soniq.commands.flags import as_texts, setting_options
from soniq.errors import BadSettings, SoniqError
from soniq.settings import (
    Settings,
    check_pool,
    names_of,
    read_settings,
    read_some,
    unknown_names,
)

log = logging.getLogger("soniq")
SCHEDULER_SETTINGS = ("database_url", "tick_interval", "log_level", "log_format")


@click.command("worker", epilog=EXIT_CODES)
@setting_options(names_of(Settings))
@click.option("--burst", is_flag=True, help="Stop when no job is ready and none runs.")
@click.option("--run-once", is_flag=True, help="Run one job, if one is ready, and stop.")
@click.option(
    "--traceback", is_flag=True, help="Print the traceback where a module cannot be imported."
)
@click.version_option(soniq.__version__, prog_name="soniq-runner")
def main(burst: bool, run_once: bool, traceback: bool, **flags: str | bool | None) -> None:
    """Claims jobs and runs their handlers until SIGTERM or SIGINT.

    SONIQ_DATABASE_URL says where the jobs are, SONIQ_JOBS_MODULES which modules have the handlers; `soniq config`
    tells all settings.
    """
    with told_in_a_line("soniq-runner", traceback=traceback):
        _run(as_texts(flags), burst=burst, at_most=1 if run_once else None)


def _run(flags: dict[str, str | None], *, burst: bool, at_most: int | None) -> None:
    with with_unknown_names():
        settings = read_settings(os.environ, flags)
    logs.set_up(settings.log_level, settings.log_format)
    warn_of_unknown_names()
    code = _import(settings)
    for app in code.apps:
        app.take_settings(settings)
    running = runner.run(settings, code, burst=burst or at_most is not None, at_most=at_most)
    with asyncio.Runner(loop_factory=fastest_loop()) as loop:
        loop.run(running)


@contextmanager
def with_unknown_names() -> Iterator[None]:
    """Adds to BadSettings the names that nobody reads: a misspelt one may be why another is missing."""
    try:
        yield
    except BadSettings as error:
        raise BadSettings("\n".join([str(error), *unknown_names(os.environ)])) from error


def warn_of_unknown_names() -> None:
    """Logs a line for each SONIQ_* name that nobody reads."""
    for line in unknown_names(os.environ):
        log.warning("%s", line)


def _import(settings: Settings) -> modules.Code:
    """The code of the modules, for which the pools are large enough."""
    # Where one starts the runner is where one's modules are, as with python -m.
    sys.path.insert(0, os.getcwd())
    try:
        code = modules.merge(modules.import_apps(settings.jobs_modules))
    except SoniqError as error:
        # Whether the apps size their pools themselves is not known, and better told than found out next time.
        try:
            check_pool(settings)
        except BadSettings as pool:
            raise type(error)(f"{error}\n{pool}") from error.__cause__ or error
        raise
    if not all(app.pool_is_sized_in_code for app in code.apps):
        check_pool(settings)
    return code


def fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed (`pip install soniq[uvloop]`); None is asyncio's own."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@click.command("scheduler", epilog=EXIT_CODES)
@setting_options(SCHEDULER_SETTINGS)
@click.option("--once", is_flag=True, help="Tick once, print what was done, and stop.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print JSON.")
def scheduler(once: bool, as_json: bool, **flags: str | bool | None) -> None:
    """Calls soniq.tick() until SIGTERM or SIGINT, as every runner does, and runs no jobs.

    For where no runner is up all the time; any number of them, and of runners, may tick at once.
    """
    if as_json and not once:
        raise click.UsageError("--json goes with --once")
    with told_in_a_line("soniq scheduler"):
        with with_unknown_names():
            settings = read_some(SCHEDULER_SETTINGS, os.environ, as_texts(flags))
        logs.set_up(settings["log_level"], settings["log_format"])
        warn_of_unknown_names()
        url = settings["database_url"]
        if once:
            done = asyncio.run(ticking.tick_once(url))
            if as_json:
                print_json(done)
            else:
                click.echo(ticking.in_words(done) or "nothing was due")
        else:
            asyncio.run(ticking.tick_until_told(url, settings["tick_interval"]))
