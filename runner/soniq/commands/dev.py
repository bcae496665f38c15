"""`soniq dev`: everything that a developer needs, by one command."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import click

from soniq.commands.common import EXIT_CODES, told_in_a_line
from soniq.commands.flags import as_texts, setting_options
from soniq.errors import ModuleNotImportable
from soniq.settings import find_settings, read_settings

OF_THE_RUNNER = ("queues", "concurrency", "shutdown_timeout", "log_level")
# Whoever kills a runner while trying things out does not want to wait five minutes for its jobs.
HEARTBEAT_TIMEOUT = "30"
NOT_YET_KNOWN = "postgresql://"


@click.command(epilog=EXIT_CODES)
@click.argument("modules", required=False, metavar="[MODULE[,MODULE...]]")
@setting_options(OF_THE_RUNNER)
@click.option(
    "--runners", type=click.IntRange(1), default=1, show_default=True, help="How many runners."
)
@click.option("--no-reload", is_flag=True, help="Keep the runner as it is when the code changes.")
@click.option(
    "--watch",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another folder with code, besides the modules' own packages. Several times for several.",
)
@click.option("--no-dashboard", is_flag=True, help="Start no dashboard.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="The dashboard's port; unless given 8787, or the next that is free.",
)
@click.option(
    "--postgres",
    type=click.Path(exists=True, file_okay=False),
    help="The folder with initdb and postgres; found unless given.",
)
@click.option("--fresh", is_flag=True, help="Make the database in .soniq/ anew: all in it is lost.")
@click.option(
    "--setup", is_flag=True, help="Deploy to SONIQ_DATABASE_URL first, as `soniq setup` does."
)
def dev(
    modules: str | None,
    runners: int,
    no_reload: bool,
    watch: tuple[Path, ...],
    no_dashboard: bool,
    port: int | None,
    postgres: str | None,
    fresh: bool,
    setup: bool,
    **flags: str | bool | None,
) -> None:
    """Runs the jobs of MODULE on this machine while you write them: database, runner, dashboard, one log.

    Without MODULE it takes those of SONIQ_JOBS_MODULES.

    The database is a PostgreSQL server of your own in the folder .soniq/, with Soniq's schema, and stays between runs.
    Where SONIQ_DATABASE_URL is set it is that one instead. The runner starts anew when the code changes. Ctrl-C stops
    it all, a second one hurries.

    Needs `pip install 'soniq[dev]'`.
    """
    with told_in_a_line("soniq dev"):
        given = {**as_texts(flags), "jobs_modules": modules}
        found = {each.setting.name: each for each in find_settings(os.environ, given)}
        url = found["database_url"]
        if url.text is None:
            given["database_url"] = NOT_YET_KNOWN
        read = read_settings(os.environ, given)
        _check_names(read.jobs_modules)
        if url.text is not None:
            _refuse(fresh, "--fresh makes the database in .soniq/ anew", url.source)
            _refuse(postgres, "--postgres runs the database in .soniq/", url.source)
        elif setup:
            raise click.UsageError(
                "--setup deploys to SONIQ_DATABASE_URL, which is not set: a database in .soniq/ needs none"
            )
        if no_dashboard and port is not None:
            raise click.UsageError("--port is the dashboard's, and --no-dashboard starts none")
        of_runner = {
            found[name].setting.variable: str(found[name].text)
            for name in (*OF_THE_RUNNER, "jobs_modules")
        }
        if all(found[f"heartbeat_{each}"].source == "default" for each in ("interval", "timeout")):
            of_runner["SONIQ_HEARTBEAT_TIMEOUT"] = HEARTBEAT_TIMEOUT
        from soniq.dev.session import Plan, run  # which other commands need not wait for

        asyncio.run(
            run(
                Plan(
                    database_url=url.value,
                    modules=read.jobs_modules,
                    settings=of_runner,
                    shutdown_timeout=read.shutdown_timeout,
                    runners=runners,
                    reload=not no_reload,
                    watched=watch,
                    dashboard=not no_dashboard,
                    port=port,
                    postgres=postgres,
                    fresh=fresh,
                    setup=setup,
                )
            )
        )


def _refuse(option: object, what: str, source: str) -> None:
    """Raises UsageError for an option of the database in .soniq/ where another one is given."""
    if option:
        raise click.UsageError(f"{what}, and the one to be used is given by {source}")


def _check_names(modules: Sequence[str]) -> None:
    """Raises ModuleNotImportable for a file's name, as a shell completes it."""
    for name in modules:
        if name.endswith(".py"):
            module = ".".join(Path(os.path.relpath(name)).with_suffix("").parts).lstrip(".")
            raise ModuleNotImportable(
                f"{name} is a file: give the module's name, as one would import it: soniq dev {module}"
            )
