"""`soniq dead-letter`: the jobs that were given up, looked at, replayed, deleted."""

import dataclasses

import asyncpg
import click

from soniq.commands.bulk import bulk_options, work_off
from soniq.commands.common import (
    EXIT_CODES,
    JOB_ID,
    decode_json,
    json_option,
    limit_option,
    on_database,
    print_rows,
)
from soniq.commands.details import print_details
from soniq.commands.export import export
from soniq.commands.letters import DELETE, REPLAY, to_read
from soniq.commands.selection import (
    Given,
    before_option,
    job_option,
    moment,
    queue_option,
    selecting,
    selection,
    since_option,
)
from soniq.errors import DatabaseRefused


@click.group("dead-letter", epilog=EXIT_CODES)
def dead_letter() -> None:
    """The jobs that were given up, with their errors."""


dead_letter.add_command(export)


@dead_letter.command("list", epilog=EXIT_CODES)
@job_option
@queue_option
@since_option
@before_option
@click.option("--not-replayed", is_flag=True, help="Only those that still wait for somebody.")
@limit_option
@json_option
def list_letters(
    job: str | None,
    queue: str | None,
    since: str | None,
    before: str | None,
    not_replayed: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Prints dead letters, the latest first."""
    given = Given(job=job, queue=queue, since=since, before=before)

    async def work(connection: asyncpg.Connection) -> list[asyncpg.Record]:
        chosen = await selection(connection, given)
        return await to_read(chosen, not_replayed=not_replayed).latest(connection, limit)

    print_rows(on_database(work), as_json, "no dead letters")


@dead_letter.command("show", epilog=EXIT_CODES)
@click.argument("job_id", type=JOB_ID, metavar="ID")
@json_option
def show(job_id: int, as_json: bool) -> None:
    """Prints everything of a dead letter, with the traceback of every attempt."""

    async def work(connection: asyncpg.Connection) -> asyncpg.Record:
        await decode_json(connection)
        record = await connection.fetchrow("select * from soniq.dead_letters where id = $1", job_id)
        if record is None:
            raise DatabaseRefused(
                f"there is no dead letter {job_id}; `soniq dead-letter list` tells which there are,"
                f" and `soniq jobs show {job_id}` what became of the job"
            )
        return record

    print_details(on_database(work), as_json)


@dead_letter.command(epilog=EXIT_CODES)
@selecting
@bulk_options
def replay(given: Given, most: int | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Makes new jobs of dead letters, ready at once; the letters stay as the record.

    Letters named by their ids are replayed also if they were before; of those that --all, --job, --queue,
    --since and --before choose, only those that were not.
    """
    given.check()

    async def work(connection: asyncpg.Connection) -> None:
        chosen = await selection(connection, given)
        await work_off(
            connection, REPLAY, chosen, most=most, dry_run=dry_run, yes=yes, as_json=as_json
        )

    on_database(work)


@dead_letter.command(epilog=EXIT_CODES)
@selecting
@bulk_options
def delete(given: Given, most: int | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Deletes dead letters for good, replayed or not. `soniq dead-letter export` keeps a copy."""
    given.check()

    async def work(connection: asyncpg.Connection) -> None:
        chosen = await selection(connection, given)
        await work_off(
            connection, DELETE, chosen, most=most, dry_run=dry_run, yes=yes, as_json=as_json
        )

    on_database(work)


@dead_letter.command(epilog=EXIT_CODES)
@click.option("--older-than", required=True, help="Their age, as in '30 days'.")
@click.option("--all", "everything", is_flag=True, help="Of every job and queue, as without it.")
@job_option
@queue_option
@since_option
@bulk_options
def prune(
    older_than: str,
    everything: bool,
    job: str | None,
    queue: str | None,
    since: str | None,
    most: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Deletes the dead letters that died longer ago than this, which is why it needs no --all."""
    given = Given(everything=everything, job=job, queue=queue, since=since)
    given.check_all()

    async def work(connection: asyncpg.Connection) -> None:
        before = await moment(connection, older_than, "--older-than")
        chosen = dataclasses.replace(await selection(connection, given), before=before)
        await work_off(
            connection, DELETE, chosen, most=most, dry_run=dry_run, yes=yes, as_json=as_json
        )

    on_database(work)
