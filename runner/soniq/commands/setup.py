"""`soniq setup`: deploys the schema by sqitch, from the project that comes with this package."""

import asyncio
import os
from typing import Any

import asyncpg
import click

from soniq.commands import sqitch
from soniq.commands.common import EXIT_CODES, database_name, print_json, told_in_a_line
from soniq.database import check_schema, close, connect_at_start
from soniq.errors import SoniqError
from soniq.settings import read_one


@click.command(epilog=EXIT_CODES)
@click.option("--status", "only_status", is_flag=True, help="Only tell what is deployed.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be deployed.")
@click.option(
    "--lock-timeout",
    type=click.IntRange(0),
    default=60,
    show_default=True,
    help="Seconds to wait while another setup deploys to this database.",
)
@click.option("--json", "as_json", is_flag=True, help="With --status or --dry-run: print JSON.")
def setup(only_status: bool, dry_run: bool, lock_timeout: int, as_json: bool) -> None:
    """Deploys Soniq's schema, or what is new of it, to the database of SONIQ_DATABASE_URL.

    It may be called at every start and from any number of machines at once: one deploys, and the others wait and find
    it done. Needs sqitch, which is no part of this package.
    """
    if as_json and not (only_status or dry_run):
        raise click.UsageError("--json goes with --status or --dry-run")
    with told_in_a_line("soniq setup"):
        url = read_one("database_url", os.environ, {})
        if not (only_status or dry_run):
            _deploy(url, lock_timeout)
            return
        found = asyncio.run(_compare(url))
    if as_json:
        print_json(found)
    elif only_status:
        _tell_status(found)
    else:
        _tell_dry_run(found)


def _deploy(url: str, lock_timeout: int) -> None:
    sqitch.check_installed()
    # Whether the database is there is better told by us than by sqitch.
    asyncio.run(_visit(url))
    sqitch.deploy(url, lock_timeout)
    asyncio.run(_visit(url, check=True))
    click.echo(f"Soniq is deployed in {database_name()}")


async def _visit(url: str, *, check: bool = False) -> None:
    connection = await connect_at_start(url, "setup")
    try:
        if check:
            await check_schema(connection, url)
    finally:
        await close(connection)


async def _compare(url: str) -> dict[str, Any]:
    """What the database has, and what of the plan it lacks."""
    planned = sqitch.planned_changes()
    connection = await connect_at_start(url, "setup")
    try:
        version = await _version(connection)
        deployed = await _deployed_changes(connection)
    finally:
        await close(connection)
    return {
        "database": database_name(),
        "version": version,
        "deployed": [name for change, name in planned.items() if change in deployed],
        "pending": [name for change, name in planned.items() if change not in deployed],
    }


async def _version(connection: asyncpg.Connection) -> str | None:
    try:
        return str(await connection.fetchval("select soniq.version()"))
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError):
        return None
    except asyncpg.InsufficientPrivilegeError as error:
        raise SoniqError(
            f"this user may not use the schema soniq in {database_name()}: {error}; set it up as its owner"
        ) from error


async def _deployed_changes(connection: asyncpg.Connection) -> set[str]:
    """The ids of changes that sqitch knows of in this database; none, if it never was here."""
    try:
        records = await connection.fetch(
            "select change_id from sqitch.changes where project = $1", sqitch.PROJECT
        )
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return set()
    except asyncpg.InsufficientPrivilegeError as error:
        raise SoniqError(
            f"this user may not read what sqitch deployed to {database_name()}: {error};"
            " set it up as the user who deployed first"
        ) from error
    return {record["change_id"] for record in records}


def _tell_status(found: dict[str, Any]) -> None:
    click.echo(f"database  {found['database']}")
    click.echo(f"schema    {_version_in_words(found)}")
    click.echo(f"deployed  {len(found['deployed'])} changes")
    click.echo(f"pending   {', '.join(found['pending']) or 'none'}")


def _version_in_words(found: dict[str, Any]) -> str:
    if found["version"] is None:
        return "not deployed"
    return f"{found['version']}{'' if found['deployed'] else ', not deployed by sqitch'}"


def _tell_dry_run(found: dict[str, Any]) -> None:
    if not found["pending"]:
        click.echo(f"nothing would be deployed to {found['database']}: it is up to date")
        return
    click.echo(f"{len(found['pending'])} changes would be deployed to {found['database']}:")
    for name in found["pending"]:
        click.echo(f"  {name}")
    click.echo("nothing was changed")
