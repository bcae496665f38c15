"""`soniq dead-letter export`: every column of dead letters, as CSV or as JSON lines, however many there are."""

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import asyncpg
import click

from soniq.commands.common import EXIT_CODES, decode_json, on_database, plain
from soniq.commands.letters import Letters, to_read
from soniq.commands.selection import Given, selecting, selection
from soniq.errors import SoniqError

COLUMNS = (
    "id, job_name, queue, priority, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout,"
    " dedup_key, headers, runner_id, claimed_at, replay_of, schedule, due_at, reason, dead_at, replay_count,"
    " last_replayed_at, errors"
)
# Rows fetched at once; with long tracebacks, some megabytes.
PREFETCH = 100


@click.command(epilog=EXIT_CODES)
@selecting
@click.option(
    "--format",
    "how",
    type=click.Choice(["csv", "jsonl"]),
    default="jsonl",
    show_default=True,
    help="One JSON object a line, or CSV, in which args and errors are JSON.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file, which is replaced; stdout unless given.",
)
def export(given: Given, how: str, output: Path | None) -> None:
    """Writes dead letters, the oldest id first; all of them unless some are chosen.

    They are those of one moment, read as they are written, so that any number needs little memory.
    """
    if given != Given():
        given.check()

    async def work(connection: asyncpg.Connection) -> int:
        await decode_json(connection)
        chosen = to_read(await selection(connection, given))
        with _opened(output) as file:
            return await _write(connection, chosen, how, file)

    count = on_database(work)
    if output is not None:
        click.echo(f"{count} dead letters written to {output}", err=True)


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Where to write. Raises SoniqError for a file that cannot be written."""
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as file:
            yield file
    except (ConnectionError, TimeoutError):
        raise  # the database's
    except OSError as error:
        raise SoniqError(
            f"cannot write {output}: {error.strerror or error}; give another --output"
        ) from error


async def _write(connection: asyncpg.Connection, chosen: Letters, how: str, file: TextIO) -> int:
    count = 0
    sheet = csv.writer(file, lineterminator="\n")
    if how == "csv":
        sheet.writerow(COLUMNS.split(", "))
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for record in connection.cursor(
            f"""
            select {COLUMNS}
            from soniq.dead_letter_jobs as letter
            where {chosen.which}
            order by letter.id
            """,
            *chosen.parameters,
            prefetch=PREFETCH,
        ):
            row = plain(record)
            if how == "csv":
                sheet.writerow(_cell(row[name]) for name in row)
            else:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
