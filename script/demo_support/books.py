"""Questions put to the database: how far the jobs are, what became of them, whether the books balance."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import asyncpg

from .cast import EXAMPLE, QUEUE


@dataclass(frozen=True)
class Imported:
    """What the importer added."""

    orders: int
    jobs: int
    first_job_id: int


@dataclass(frozen=True)
class DeadLetters:
    """Dead letters of one cause."""

    job_name: str
    reason: str
    error: str
    jobs: int
    example: str


@dataclass(frozen=True)
class Tally:
    """What became of the jobs so far."""

    done: int
    dead: int
    retries: int
    snoozes: int
    taken_back: int


@dataclass(frozen=True)
class Books:
    """The orders against the ledger."""

    orders: int
    entries: int
    wrong_or_missing: int
    orders_total: Decimal
    ledger_total: Decimal

    @property
    def balance(self) -> bool:
        """Whether each order is in the ledger once, with its own amount."""
        return (
            self.orders == self.entries > 0
            and self.wrong_or_missing == 0
            and self.orders_total == self.ledger_total
        )


async def server_version(connection: asyncpg.Connection) -> str:
    """The number of the server's release."""
    version: str = await connection.fetchval("show server_version")
    return version.split()[0]


async def hurry(connection: asyncpg.Connection) -> None:
    """Lets a throwaway server do without what keeps data through a crash: nothing is worth keeping."""
    for setting in (
        "fsync = off",
        "full_page_writes = off",
        "synchronous_commit = off",
        "max_wal_size = '4GB'",
    ):
        await connection.execute(f"alter system set {setting}")
    await connection.execute("select pg_catalog.pg_reload_conf()")


async def prepare(connection: asyncpg.Connection) -> None:
    """Makes the shop's tables anew and clears what an earlier, interrupted demo left in its queue."""
    await connection.execute((EXAMPLE / "schema.sql").read_text())
    await connection.execute(
        f"""
        select soniq.cancel(job_id => job.id)
        from soniq.jobs as job
        where job.queue = '{QUEUE}';
        select soniq.delete_dead_letters(queue => '{QUEUE}');
        """
    )


async def import_orders(connection: asyncpg.Connection) -> Imported:
    """Stages the file with COPY, then runs import.sql, in one transaction."""
    async with connection.transaction():
        await connection.copy_to_table(
            "staged",
            schema_name="orders_demo",
            source=EXAMPLE / "orders.csv",
            format="csv",
            header=True,
        )
        return Imported(**await connection.fetchrow((EXAMPLE / "import.sql").read_text()))


async def unfinished(connection: asyncpg.Connection, first_job_id: int) -> Mapping[str, int]:
    """How many jobs of each name are still to be done."""
    rows = await connection.fetch(
        """
        select job.job_name, pg_catalog.count(*) as jobs
        from soniq.jobs as job
        where job.queue = $1
          and job.id >= $2
        group by job.job_name
        """,
        QUEUE,
        first_job_id,
    )
    return {row["job_name"]: row["jobs"] for row in rows}


async def tally(connection: asyncpg.Connection, first_job_id: int) -> Tally:
    """Counts outcomes, and what it took to get there."""
    row = await connection.fetchrow(
        """
        with ended as (
          select 'done' as status, job.attempt, job.errors
          from soniq.finished_jobs as job
          where job.queue = $1
            and job.id >= $2
            and job.status = 'done'
          union all
          select 'dead', letter.attempt, letter.errors
          from soniq.dead_letter_jobs as letter
          where letter.queue = $1
            and letter.id >= $2
            and letter.replay_count = 0
        ),
        counted as (
          select
            ended.status,
            ended.attempt,
            pg_catalog.jsonb_array_length(ended.errors) as failures,
            (
              select pg_catalog.count(*)
              from pg_catalog.jsonb_array_elements(ended.errors) as failure
              where failure ->> 'reason' = 'runner_lost'
            ) as taken_back
          from ended
        )
        select
          pg_catalog.count(*) filter (where counted.status = 'done') as done,
          pg_catalog.count(*) filter (where counted.status = 'dead') as dead,
          -- The failure that ended a job was not followed by a retry.
          coalesce(pg_catalog.sum(
            counted.failures - counted.taken_back - (counted.status = 'dead')::integer
          ), 0)::bigint as retries,
          -- An attempt without an error, besides the one that succeeded, was put off.
          coalesce(pg_catalog.sum(
            counted.attempt - counted.failures - (counted.status = 'done')::integer
          ), 0)::bigint as snoozes,
          coalesce(pg_catalog.sum(counted.taken_back), 0)::bigint as taken_back
        from counted
        """,
        QUEUE,
        first_job_id,
    )
    return Tally(**row)


async def dead_letters(connection: asyncpg.Connection) -> list[DeadLetters]:
    """The dead letters by cause."""
    rows = await connection.fetch((EXAMPLE / "dead_letters.sql").read_text())
    return [DeadLetters(**row) for row in rows]


async def read_books(connection: asyncpg.Connection) -> Books:
    """The orders against the ledger."""
    return Books(**await connection.fetchrow((EXAMPLE / "books.sql").read_text()))
