"""Which dead letters a command is about: its ids and options, checked and read."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg
import click

from soniq.commands.common import JOB_ID
from soniq.commands.completing import job_names, queue_names
from soniq.errors import DatabaseRefused

F = TypeVar("F", bound=Callable[..., Any])

since_option = click.option(
    "--since",
    help="That died since then: a time, as in 2026-11-25T08:00 (UTC unless it says), or how long"
    " ago, as in '2 hours'.",
)
before_option = click.option("--before", help="That died before then, told as with --since.")
job_option = click.option("--job", help="Of this job name.", shell_complete=job_names)
queue_option = click.option("--queue", help="Of this queue.", shell_complete=queue_names)


@dataclass(frozen=True, slots=True)
class Given:
    """What was given on the command line."""

    ids: tuple[int, ...] = ()
    everything: bool = False
    job: str | None = None
    queue: str | None = None
    since: str | None = None
    before: str | None = None

    def check(self) -> None:
        """Raises click.UsageError where nothing is selected, or everything and a part of it."""
        self.check_all()
        if not self.everything and not self._parts():
            raise click.UsageError(
                "no dead letters are selected: give ids, --job, --queue, --since, --before,"
                " or --all; --dry-run shows what would be taken"
            )

    def check_all(self) -> None:
        """Raises click.UsageError where everything is selected, and a part of it."""
        if self.everything and (parts := self._parts()):
            raise click.UsageError(
                f"--all is given, and a part of it: leave out either --all, or {' and '.join(parts)}"
            )

    def _parts(self) -> list[str]:
        """How the options are called that choose a part."""
        values = {
            "the ids": self.ids,
            "--job": self.job,
            "--queue": self.queue,
            "--since": self.since,
            "--before": self.before,
        }
        return [name for name, value in values.items() if value]


def selecting(command: F) -> F:
    """Gives a command the ids and options of a selection, which it takes as `given`."""

    @click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID]...")
    @click.option("--all", "everything", is_flag=True, help="All of them.")
    @job_option
    @queue_option
    @since_option
    @before_option
    @functools.wraps(command)
    def wrapped(
        *,
        ids: tuple[int, ...],
        everything: bool,
        job: str | None,
        queue: str | None,
        since: str | None,
        before: str | None,
        **others: Any,
    ) -> Any:
        return command(given=Given(ids, everything, job, queue, since, before), **others)

    return wrapped  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Selection:
    """What was given, as the database takes it.

    There is always a `before`: what dies after the command has begun is not of its choosing.
    """

    ids: list[int] | None
    job: str | None
    queue: str | None
    since: datetime | None
    before: datetime

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The first parameters of whatever is asked of these letters, $1 to $5."""
        return self.ids, self.job, self.queue, self.since, self.before


async def selection(connection: asyncpg.Connection, given: Given) -> Selection:
    """Reads what was given.

    Raises DatabaseRefused for an id that is no dead letter's, click.BadParameter for --since and --before.
    """
    ids = list(dict.fromkeys(given.ids)) or None
    if ids:
        await _check_ids(connection, ids)
    return Selection(
        ids=ids,
        job=given.job,
        queue=given.queue,
        since=None if given.since is None else await moment(connection, given.since, "--since"),
        before=await moment(connection, given.before, "--before")
        if given.before is not None
        else await connection.fetchval("select soniq.clock()"),
    )


async def _check_ids(connection: asyncpg.Connection, ids: list[int]) -> None:
    found = await connection.fetch(
        "select id from soniq.dead_letter_jobs where id = any ($1::bigint[])", ids
    )
    missing = sorted(set(ids) - {record["id"] for record in found})
    if missing:
        told = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise DatabaseRefused(
            f"there is no dead letter {told}; `soniq dead-letter list` tells which there are,"
            " and `soniq jobs show ID` what became of a job"
        )


async def moment(connection: asyncpg.Connection, text: str, option: str) -> datetime:
    """The time that a text names, itself or by how long ago it is. Raises click.BadParameter."""
    now: datetime = await connection.fetchval("select soniq.clock()")
    remedy = "give a time, as in 2026-11-25T08:00:00+01:00, or how long ago it was, as in '2 hours'"
    try:
        time = datetime.fromisoformat(text)
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
    except ValueError:
        try:
            time = await connection.fetchval(
                "select $1::timestamptz - $2::text::interval", now, text
            )
        except (asyncpg.DataError, ValueError, OverflowError) as error:
            raise click.BadParameter(f"{text!r} is no time: {remedy}", param_hint=option) from error
    if time > now:
        raise click.BadParameter(
            f"{text!r} lies in the future, it is {now:%Y-%m-%d %H:%M:%S%z} by the database's clock: {remedy}",
            param_hint=option,
        )
    return time
