"""Which dead letters a command is about: its ids and options, and the rows that they select."""

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

# A batch is one transaction: short enough to hold up nobody, large enough to cost little.
BATCH = 1000

since_option = click.option(
    "--since",
    help="That died since then: a time, as in 2026-11-25T08:00 (UTC unless it says), or how long"
    " ago, as in '2 hours'.",
)
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

    def check(self) -> None:
        """Raises click.UsageError where nothing is selected, or everything and a part of it."""
        part = bool(self.ids or self.job or self.queue or self.since)
        if self.everything and part:
            raise click.UsageError(
                "--all is given, and a part of it: leave out either --all, or ids, --job, --queue and --since"
            )
        if not self.everything and not part:
            raise click.UsageError(
                "no dead letters are selected: give ids, --job, --queue, --since, or --all;"
                " --dry-run shows what would be taken"
            )


def selecting(command: F) -> F:
    """Gives a command the ids and options of a selection, which it takes as `given`."""

    @click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID]...")
    @click.option("--all", "everything", is_flag=True, help="All of them.")
    @job_option
    @queue_option
    @since_option
    @functools.wraps(command)
    def wrapped(
        *,
        ids: tuple[int, ...],
        everything: bool,
        job: str | None,
        queue: str | None,
        since: str | None,
        **others: Any,
    ) -> Any:
        return command(given=Given(ids, everything, job, queue, since), **others)

    return wrapped  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Letters:
    """The dead letters that match. `before` is when they were chosen, so that they do not become more meanwhile."""

    ids: list[int] | None
    job: str | None
    queue: str | None
    since: datetime | None
    before: datetime
    only_waiting: bool = False

    WHERE = """
        ($1::bigint[] is null or letter.id = any ($1))
        and ($2::text is null or letter.job_name = $2)
        and ($3::text is null or letter.queue = $3)
        and ($4::timestamptz is null or letter.dead_at >= $4)
        and letter.dead_at < $5::timestamptz
        and (not $6::boolean or letter.replay_count = 0)
    """

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Those of WHERE."""
        return self.ids, self.job, self.queue, self.since, self.before, self.only_waiting

    async def count(self, connection: asyncpg.Connection) -> int:
        """How many there are."""
        return int(
            await connection.fetchval(
                f"select count(*) from soniq.dead_letter_jobs as letter where {self.WHERE}",
                *self.parameters,
            )
        )

    async def causes(self, connection: asyncpg.Connection, most: int = 5) -> list[asyncpg.Record]:
        """Their most frequent errors; messages that differ in their numbers only are one."""
        records = await connection.fetch(
            f"""
            select count(*), letter.job_name, letter.reason, min(last.told) as error
            from soniq.dead_letter_jobs as letter
            cross join lateral (
              select concat_ws(
                ': ', letter.errors -> -1 ->> 'type', left(letter.errors -> -1 ->> 'message', 200)
              ) as told
            ) as last
            where {self.WHERE}
            group by letter.job_name, letter.reason, regexp_replace(last.told, '[0-9]+', '0', 'g')
            order by count(*) desc, error
            limit $7
            """,
            *self.parameters,
            most,
        )
        return list(records)

    async def latest(self, connection: asyncpg.Connection, most: int) -> list[asyncpg.Record]:
        """Those that died last, in a line each."""
        records = await connection.fetch(
            f"""
            select
              letter.id, letter.job_name, letter.queue, letter.reason, letter.attempt as attempts,
              letter.dead_at, letter.replay_count as replays,
              left(concat_ws(
                ': ', letter.errors -> -1 ->> 'type', letter.errors -> -1 ->> 'message'
              ), 80) as error
            from soniq.dead_letter_jobs as letter
            where {self.WHERE}
            order by letter.dead_at desc, letter.id desc
            limit $7
            """,
            *self.parameters,
            most,
        )
        return list(records)

    async def batch(self, connection: asyncpg.Connection, after: int) -> list[int]:
        """The next of their ids, at most BATCH; called in the transaction in which these are worked on.

        Two commands at once take turns by an advisory lock, so that none replays what the other has just replayed.
        """
        await connection.execute(
            "select pg_advisory_xact_lock(hashtextextended('soniq dead-letter', 0))"
        )
        records = await connection.fetch(
            f"""
            select letter.id
            from soniq.dead_letter_jobs as letter
            where {self.WHERE} and letter.id > $7
            order by letter.id
            limit $8
            """,
            *self.parameters,
            after,
            BATCH,
        )
        return [record["id"] for record in records]


async def letters(
    connection: asyncpg.Connection,
    given: Given,
    *,
    only_waiting: bool = False,
    before: datetime | None = None,
) -> Letters:
    """What is selected, of what has died until now, or `before`.

    Raises DatabaseRefused for an id that is no dead letter's, click.BadParameter for --since."""
    ids = list(dict.fromkeys(given.ids)) or None
    if ids:
        await _check_ids(connection, ids)
    return Letters(
        ids=ids,
        job=given.job,
        queue=given.queue,
        since=None if given.since is None else await moment(connection, given.since, "--since"),
        before=before or await connection.fetchval("select soniq.clock()"),
        # Who names a letter means it, also a second time; who names a crowd means those that wait.
        only_waiting=only_waiting and not ids,
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
