"""What commands share: the database, errors as messages and exit codes, tables and JSON."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from traceback import format_exception
from typing import Any, TypeVar

import asyncpg
import click

from soniq.database import (
    CONNECTION_LOST,
    check_schema,
    close,
    connect_at_start,
    describe,
    masked,
)
from soniq.errors import DatabaseRefused, DatabaseUnreachable, SoniqError
from soniq.settings import read_one

T = TypeVar("T")
EXIT_CODES = (
    "Exit codes: 0 done, 1 anything else, 2 usage, 10 settings, 11 a module cannot be imported, 12 a module"
    " without jobs, 13 two of one name, 14 database unreachable, 15 schema not deployed, 16 schema of another"
    " version, 17 the database refuses, 18 not confirmed."
)
WHO_MAY = (
    "watching takes the role soniq_observer, to see into jobs and to act on them soniq_admin: grant this"
    " user one of them"
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
limit_option = click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, the latest."
)

# The ids that a bigint can hold; click says which value is out of this range.
JOB_ID = click.IntRange(1, 2**63 - 1)


@contextmanager
def told_in_a_line(program: str, *, traceback: bool = False) -> Iterator[None]:
    """Turns Soniq's own errors into a message on stderr and an exit code.

    traceback: print that of what brought one about, too.
    """
    try:
        yield
    except (SoniqError, BaseExceptionGroup) as raised:
        error = _refusal(raised)
        if error is None:
            raise
        if traceback and error.__cause__ is not None:
            click.echo("".join(format_exception(error.__cause__)), err=True, nl=False)
        click.echo(f"{program}: {error}", err=True)
        sys.exit(error.exit_code)


def _refusal(raised: BaseException) -> SoniqError | None:
    """The error that Soniq itself raised, also from within the groups that task groups make."""
    if isinstance(raised, BaseExceptionGroup):
        return next(filter(None, map(_refusal, raised.exceptions)), None)
    return raised if isinstance(raised, SoniqError) else None


def on_database(work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """Does something on a connection to the database of SONIQ_DATABASE_URL, whose schema is the right one.

    Raises what opened() does.
    """

    async def do(url: str) -> T:
        async with opened(url) as connection:
            return await work(connection)

    with told_in_a_line("soniq"):
        return asyncio.run(do(read_one("database_url", os.environ, {})))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database whose schema is the right one.

    Raises DatabaseUnreachable, SchemaMissing, SchemaMismatch, and DatabaseRefused with the database's own message and
    remedy, also for what goes wrong within the block.
    """
    connection = await connect_at_start(url, "command")
    try:
        await check_schema(connection, url)
        yield connection
    except asyncpg.QueryCanceledError as error:
        raise DatabaseRefused(_with_hint(error)) from error
    except CONNECTION_LOST as error:
        if isinstance(error, OSError) and not connection.is_closed():
            raise  # of something else, such as whoever reads stdout no longer
        raise DatabaseUnreachable(
            f"the connection to the database at {masked(url)} was lost: {describe(error)};"
            " see what was done, and run the command again"
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseRefused(f"{_with_hint(error)}; {WHO_MAY}") from error
    except asyncpg.PostgresError as error:
        raise DatabaseRefused(_with_hint(error)) from error
    finally:
        await close(connection)


def _with_hint(error: asyncpg.PostgresError) -> str:
    message = getattr(error, "message", None) or str(error)
    hint = getattr(error, "hint", None)
    return f"{message}; {hint}" if hint else message


def database_name() -> str:
    """The database's address without its password, for messages."""
    return masked(read_one("database_url", os.environ, {}))


def print_rows(rows: Sequence[Mapping[str, Any]], as_json: bool, nothing: str) -> None:
    """Prints rows as a table, or as one JSON array; `nothing` is said where there are none."""
    if as_json:
        print_json([plain(row) for row in rows])
    elif not rows:
        click.echo(nothing)
    else:
        click.echo(table(rows))


def print_json(value: Any) -> None:
    """Prints one JSON value on a line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    # A surrogate, as Python makes of an argument that is no UTF-8, is spelled out, in JSON's own way.
    click.echo(text.encode("utf-8", "backslashreplace").decode())


async def decode_json(connection: asyncpg.Connection) -> None:
    """From now on json and jsonb arrive as what they hold; as their text only where Python cannot read it."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=json.dumps, decoder=_decode
        )


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # a number or a nesting that only PostgreSQL takes
        return text


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows in aligned columns under their names."""
    names = list(rows[0].keys())
    cells = [[in_words(row[name]) for name in names] for row in rows]
    widths = [
        max(len(names[column]), *(len(line[column]) for line in cells))
        for column in range(len(names))
    ]
    lines = [names, *cells]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def in_words(value: Any) -> str:
    """A value as people read it: intervals in seconds or more, times to the second."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S%z")
        case timedelta():
            return duration(value)
        case dict():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            return ",".join(map(in_words, value)) or "-"
        case float():
            return f"{value:g}"
        case _:
            return printable(" ".join(str(value).split()))


def printable(text: str) -> str:
    """A text of somebody's making, with its control characters written out, so that it cannot play with a terminal."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else repr(character)[1:-1]
        for character in text
    )


def duration(value: timedelta) -> str:
    """As in 1h30m, 45s, 0.2s."""
    seconds = value.total_seconds()
    if abs(seconds) < 10:
        return f"{seconds:.1f}s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number)[:12] or "0s"


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON has it: times as ISO 8601, durations in seconds."""
    return {
        name: value.total_seconds()
        if isinstance(value, timedelta)
        else value.isoformat()
        if isinstance(value, datetime)
        else value
        for name, value in row.items()
    }
