"""The command `soniq`, put together from soniq.commands."""

import os

import click

import soniq
from soniq.commands.common import EXIT_CODES
from soniq.commands.completion import completion
from soniq.commands.config import config
from soniq.commands.dashboard import dashboard
from soniq.commands.dead_letters import dead_letter
from soniq.commands.dev import dev
from soniq.commands.doctor import doctor
from soniq.commands.jobs import jobs
from soniq.commands.queues import queues
from soniq.commands.schedules import schedules
from soniq.commands.setup import setup
from soniq.commands.status import inspect, status
from soniq.commands.top import top
from soniq.commands.worker import main as worker
from soniq.commands.worker import scheduler
from soniq.settings import unknown_names

# In the log, or among their findings; what `completion` says is for a shell.
TELL_OF_UNKNOWN_NAMES_THEMSELVES = (
    "dev",
    "worker",
    "scheduler",
    "dashboard",
    "config",
    "doctor",
    "completion",
)


@click.group(epilog=EXIT_CODES)
@click.version_option(soniq.__version__, prog_name="soniq")
@click.pass_context
def main(context: click.Context) -> None:
    """Background jobs that live in PostgreSQL. SONIQ_DATABASE_URL says where."""
    if context.invoked_subcommand not in TELL_OF_UNKNOWN_NAMES_THEMSELVES:
        for line in unknown_names(os.environ):
            click.echo(f"soniq: {line}", err=True)


for command in (
    dev,
    setup,
    worker,
    scheduler,
    status,
    inspect,
    top,
    jobs,
    queues,
    schedules,
    dead_letter,
    doctor,
    dashboard,
    config,
    completion,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
