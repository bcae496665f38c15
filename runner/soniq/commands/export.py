"""`soniq dead-letter export`: every column of dead letters, as CSV or as JSON lines, however many there are."""

import csv
import json
import sys
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import Any, TextIO

import asyncpg
import click

from soniq.commands.bulk import DRY_RUN, counted, tell_dry_run
from soniq.commands.common import EXIT_CODES, on_database, plain
from soniq.commands.letters import Letters, to_read
from soniq.commands.progress import progress
from soniq.commands.selection import Given, selecting, selection
from soniq.errors import SoniqError

COLUMNS = (
    "id, job_name, queue, priority, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout,"
    " dedup_key, headers, tenant, runner_id, claimed_at, replay_of, schedule, due_at, reason, dead_at, replay_count,"
    " last_replayed_at, errors"
)
JSON_COLUMNS = {"args", "headers", "errors"}
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
@click.option("--dry-run", is_flag=True, help=DRY_RUN + " No file is written.")
def export(given: Given, how: str, output: Path | None, dry_run: bool) -> None:
    """Writes dead letters, the oldest id first; all of them unless some are chosen.

    They are those of one moment, read as they are written, so that any number needs little memory. They stay where they
    are, so nothing is asked before.
    """
    if given != Given():
        given.check()

    async def work(connection: asyncpg.Connection) -> None:
        chosen = to_read(await selection(connection, given))
        if dry_run:
            await tell_dry_run(connection, chosen, "export", "exported", as_json=False)
            return
        with _opened(output) as file:
            count = await _write(connection, chosen, how, file, with_bar=output is not None)
        if output is not None:
            click.echo(f"{counted(count)} written to {output}", err=True)

    on_database(work)


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


async def _write(
    connection: asyncpg.Connection, chosen: Letters, how: str, file: TextIO, with_bar: bool
) -> int:
    write = _csv(file) if how == "csv" else _json_lines(file)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # A bar would run into what is written to a terminal.
        expected = await chosen.count(connection) if with_bar else 0
        with progress("Export dead letters", expected) as advance:
            count = 0
            async for record in _read(connection, chosen):
                write(plain(record))
                count += 1
                if count % PREFETCH == 0:
                    advance(PREFETCH)
            advance(count % PREFETCH)
    return count


def _read(connection: asyncpg.Connection, chosen: Letters) -> AsyncIterable[asyncpg.Record]:
    cursor: AsyncIterable[asyncpg.Record] = connection.cursor(
        f"""
        select {COLUMNS}
        from soniq.dead_letters as letter
        where {chosen.which}
        order by letter.id
        """,
        *chosen.parameters,
        prefetch=PREFETCH,
    )
    return cursor


def _csv(file: TextIO) -> Callable[[dict[str, Any]], None]:
    sheet = csv.writer(file, lineterminator="\n")
    sheet.writerow(COLUMNS.split(", "))
    return lambda row: sheet.writerow(row.values())


def _json_lines(file: TextIO) -> Callable[[dict[str, Any]], None]:
    return lambda row: print(f"{{{', '.join(starmap(_member, row.items()))}}}", file=file)


def _member(name: str, value: Any) -> str:
    # JSON stays as the database has it: Python would round its numbers.
    is_json = name in JSON_COLUMNS and value is not None
    return f"{json.dumps(name)}: {value if is_json else json.dumps(value, ensure_ascii=False)}"
