"""The soniq-runner command."""

import asyncio
import logging
import os
import sys

import click

import soniq
from soniq import modules, runner
from soniq.errors import SoniqError
from soniq.settings import read_settings


@click.command(
    epilog="Exit codes: 0 stopped as asked, 2 usage, 10 settings, 11 a module cannot be imported,"
    " 12 a module without jobs, 13 two handlers with one name, 14 database unreachable,"
    " 15 schema not deployed, 16 schema of another version, 1 anything else."
)
@click.option("--concurrency", help="Jobs at once (SONIQ_CONCURRENCY, 4).")
@click.option("--queues", help="Queues to serve, separated by commas (SONIQ_QUEUES, all).")
@click.option(
    "--prune-schedules",
    is_flag=True,
    help="Remove schedules that the modules have no longer (SONIQ_PRUNE_SCHEDULES, false).",
)
@click.option("--burst", is_flag=True, help="Stop when no job is ready and none runs.")
@click.version_option(soniq.__version__, prog_name="soniq-runner")
def main(concurrency: str | None, queues: str | None, prune_schedules: bool, burst: bool) -> None:
    """Claims jobs and runs their handlers until SIGTERM or SIGINT.

    SONIQ_DATABASE_URL says where the jobs are, SONIQ_JOBS_MODULES which modules have the handlers.
    """
    try:
        _run(
            {
                "concurrency": concurrency,
                "queues": queues,
                "prune_schedules": "true" if prune_schedules else None,
            },
            burst,
        )
    except (SoniqError, BaseExceptionGroup) as raised:
        error = _refusal(raised)
        if error is None:
            raise
        click.echo(f"soniq-runner: {error}", err=True)
        sys.exit(error.exit_code)


def _run(flags: dict[str, str | None], burst: bool) -> None:
    settings = read_settings(os.environ, flags)
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    # Where one starts the runner is where one's modules are, as with python -m.
    sys.path.insert(0, os.getcwd())
    apps = modules.import_apps(settings.jobs_modules)
    code = modules.merge(apps)
    asyncio.run(runner.run(settings, code, burst=burst))


def _refusal(raised: BaseException) -> SoniqError | None:
    """The error that Soniq itself raised, also from within the groups that task groups make."""
    if isinstance(raised, BaseExceptionGroup):
        return next(filter(None, map(_refusal, raised.exceptions)), None)
    return raised if isinstance(raised, SoniqError) else None


if __name__ == "__main__":
    main()
