"""`soniq queues`: how full they are, paused and resumed."""

import difflib
from typing import Literal

import asyncpg
import click

from soniq.commands.common import EXIT_CODES, json_option, on_database, print_json, print_rows
from soniq.commands.completing import queue_names

queue_argument = click.argument("queue", shell_complete=queue_names)


@click.group(epilog=EXIT_CODES)
def queues() -> None:
    """Queues: how full they are; pause and resume them."""


@queues.command("list", epilog=EXIT_CODES)
@json_option
def list_queues(as_json: bool) -> None:
    """Prints each queue that was ever enqueued into, or has settings."""

    async def work(connection: asyncpg.Connection) -> list[asyncpg.Record]:
        return list(await connection.fetch("select * from soniq.queue_stats order by queue"))

    print_rows(on_database(work), as_json, "no queues: nothing was ever enqueued")


@queues.command("pause", epilog=EXIT_CODES)
@queue_argument
@json_option
def pause(queue: str, as_json: bool) -> None:
    """Hands out no more jobs of a queue; those being processed go on."""
    changed = _change("pause_queue", queue)
    _tell(queue, True, changed, as_json)


@queues.command("resume", epilog=EXIT_CODES)
@queue_argument
@json_option
def resume(queue: str, as_json: bool) -> None:
    """Hands a paused queue's jobs out again."""
    changed = _change("resume_queue", queue)
    _tell(queue, False, changed, as_json)


def _change(function: Literal["pause_queue", "resume_queue"], queue: str) -> bool:
    async def work(connection: asyncpg.Connection) -> bool:
        known = await connection.fetch(
            "select queue from soniq.lanes union select queue from soniq.queues"
        )
        _warn_of_unknown(queue, sorted(record["queue"] for record in known))
        return bool(await connection.fetchval(f"select soniq.{function}(queue => $1)", queue))

    return on_database(work)


def _warn_of_unknown(queue: str, known: list[str]) -> None:
    """A queue may be paused before its first job, so a name that nobody has used is only told of."""
    if queue in known:
        return
    near = difflib.get_close_matches(queue, known, n=1)
    remedy = (
        f"did you mean {near[0]!r}?" if near else "`soniq queues list` tells which queues there are"
    )
    click.echo(f"soniq: no job was ever enqueued into the queue {queue!r}; {remedy}", err=True)


def _tell(queue: str, paused: bool, changed: bool, as_json: bool) -> None:
    if as_json:
        print_json({"queue": queue, "paused": paused, "changed": changed})
    elif paused:
        click.echo(f"queue {queue} {'is paused' if changed else 'was paused already'}")
    else:
        click.echo(f"queue {queue} {'is resumed' if changed else 'was not paused'}")
