"""The command `soniq`, put together from soniq.commands."""

import click

import soniq
from soniq.commands.common import EXIT_CODES
from soniq.commands.config import config
from soniq.commands.worker import main as worker
from soniq.commands.worker import scheduler


@click.group(epilog=EXIT_CODES)
@click.version_option(soniq.__version__, prog_name="soniq")
def main() -> None:
    """Background jobs that live in PostgreSQL. SONIQ_DATABASE_URL says where."""


for command in (worker, scheduler, config):
    main.add_command(command)


if __name__ == "__main__":
    main()
