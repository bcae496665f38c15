"""The dead letters that a command looks at, or an SQL function is to take: counted, told by cause, and listed."""

from dataclasses import dataclass
from typing import Any

import asyncpg

from soniq.commands.selection import Selection


@dataclass(frozen=True, slots=True)
class Letters:
    """Some dead letters: those for which `which`, a condition on `letter`, holds with these parameters."""

    which: str
    parameters: tuple[Any, ...]

    async def count(self, connection: asyncpg.Connection) -> int:
        """How many there are."""
        return int(
            await connection.fetchval(
                f"select count(*) from soniq.dead_letter_jobs as letter where {self.which}",
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
            where {self.which}
            group by letter.job_name, letter.reason, regexp_replace(last.told, '[0-9]+', '0', 'g')
            order by count(*) desc, error
            limit {most:d}
            """,
            *self.parameters,
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
            where {self.which}
            order by letter.dead_at desc, letter.id desc
            limit {most:d}
            """,
            *self.parameters,
        )
        return list(records)


def to_read(chosen: Selection, *, not_replayed: bool = False) -> Letters:
    """All that are selected; replayed ones too, unless told."""
    return Letters(
        f"""
        ($1::bigint[] is null or letter.id = any ($1))
        and ($2::text is null or letter.job_name = $2)
        and ($3::text is null or letter.queue = $3)
        and ($4::timestamptz is null or letter.dead_at >= $4)
        and letter.dead_at < $5::timestamptz
        {"and letter.replay_count = 0" if not_replayed else ""}
        """,
        chosen.parameters,
    )


@dataclass(frozen=True, slots=True)
class Action:
    """What is done to dead letters, as in replay and replayed, by an SQL function, which alone knows to which."""

    verb: str
    done: str
    function: str

    def letters(self, chosen: Selection, most: int | None = None) -> Letters:
        """Those that the function would take now, of those selected."""
        return Letters(
            f"""
            letter.id in (
              select target.dead_letter_id
              from {self._call("dry_run => true")} as target
            )
            """,
            (*chosen.parameters, most),
        )

    async def take(
        self, connection: asyncpg.Connection, chosen: Selection, most: int, after_id: int
    ) -> list[dict[str, Any]]:
        """Does it, in one transaction, to at most so many; the answer is what was done to each, in the order of ids."""
        records = await connection.fetch(
            f"select * from {self._call('after_id => $7')}", *chosen.parameters, most, after_id
        )
        return [dict(record) for record in records]

    def _call(self, argument: str) -> str:
        return (
            f"{self.function}(ids => $1, job_name => $2, queue => $3, since => $4, before => $5,"
            f" max_letters => $6, {argument})"
        )


REPLAY = Action("replay", "replayed", "soniq.replay_dead_letters")
DELETE = Action("delete", "deleted", "soniq.delete_dead_letters")
