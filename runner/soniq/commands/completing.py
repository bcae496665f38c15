"""Names that the shell completes from the database: quickly, or not at all."""

import asyncio
import os
from collections.abc import Callable

import asyncpg
import click
from click.shell_completion import CompletionItem

from soniq.settings import read_one

# Whoever presses Tab waits no longer.
PATIENCE = 2.0
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _from_database(query: str) -> Completer:
    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        # There is nobody to tell: a completion that fails completes nothing.
        try:
            return [CompletionItem(name) for name in asyncio.run(_names(query, incomplete))]
        except Exception:
            return []

    return complete


async def _names(query: str, beginning: str) -> list[str]:
    async with asyncio.timeout(PATIENCE):
        connection = await asyncpg.connect(read_one("database_url", os.environ, {}))
        try:
            records = await connection.fetch(query, beginning)
        finally:
            connection.terminate()
    return [str(record[0]) for record in records]


queue_names = _from_database(
    """
    select queue from soniq.lanes where starts_with(queue, $1)
    union select queue from soniq.queues where starts_with(queue, $1)
    order by 1 limit 100
    """
)
schedule_names = _from_database(
    "select name from soniq.schedules where starts_with(name, $1) order by 1 limit 100"
)
job_names = _from_database(
    "select job_name from soniq.job_types where starts_with(job_name, $1) order by 1 limit 100"
)
