"""Taking many dead letters: shown or confirmed first, then in batches, each a transaction of its own."""

from collections.abc import Callable
from typing import Any, TypeVar

import asyncpg
import click

from soniq.commands.common import json_option, plain, print_json, table
from soniq.commands.confirming import confirm, told_causes, yes_option
from soniq.commands.letters import Action, Letters
from soniq.commands.progress import progress
from soniq.commands.selection import Selection

F = TypeVar("F", bound=Callable[..., Any])
SAMPLE = 10
DRY_RUN = "Only tell how many, and the latest; change nothing."
# A batch is one transaction: short enough to hold up nobody, large enough to cost little.
BATCH = 1000


def bulk_options(command: F) -> F:
    """Gives a command the options --limit, --dry-run, --yes and --json."""
    limit = click.option(
        "--limit",
        "most",
        type=click.IntRange(1, 2**31 - 1),
        help="At most so many, those enqueued first; all unless given.",
    )
    dry_run = click.option("--dry-run", is_flag=True, help=DRY_RUN)
    return limit(dry_run(yes_option(json_option(command))))


async def work_off(
    connection: asyncpg.Connection,
    action: Action,
    chosen: Selection,
    *,
    most: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Does something to dead letters, at most so many, and tells it.

    A batch that is done stays done if the next one fails. Raises NotConfirmed.
    """
    letters = action.letters(chosen, most)
    if dry_run:
        await tell_dry_run(connection, letters, action.verb, action.done, as_json)
        return
    count = await letters.count(connection)
    if not yes:
        confirm(action.verb, action.done, count, await letters.causes(connection))

    taken: list[dict[str, Any]] = []
    try:
        await _take_all(connection, action, chosen, most, count, taken)
    except BaseException:
        # Ctrl-C too: what is done stays done.
        if taken:
            click.echo(f"soniq: stopped, with {counted(len(taken))} {action.done}", err=True)
        raise

    if as_json:
        print_json({**_summary(action.verb, False, len(taken)), "dead_letters": taken})
    else:
        click.echo(f"{counted(len(taken))} {action.done}")


async def _take_all(
    connection: asyncpg.Connection,
    action: Action,
    chosen: Selection,
    most: int | None,
    count: int,
    taken: list[dict[str, Any]],
) -> None:
    with progress(f"{action.verb.capitalize()} dead letters", count) as advance:
        last = 0
        while size := BATCH if most is None else min(BATCH, most - len(taken)):
            done = await action.take(connection, chosen, size, last)
            if not done:
                return
            taken += done
            last = done[-1]["dead_letter_id"]
            advance(len(done))


async def tell_dry_run(
    connection: asyncpg.Connection, letters: Letters, verb: str, done: str, as_json: bool
) -> None:
    """Prints what a command would be about, `verb` and `done` being as in replay and replayed."""
    count = await letters.count(connection)
    causes = await letters.causes(connection)
    sample = await letters.latest(connection, SAMPLE)
    if as_json:
        told = {"causes": list(map(plain, causes)), "sample": list(map(plain, sample))}
        print_json({**_summary(verb, True, count), **told})
        return
    click.echo(f"{counted(count)} would be {done}; nothing was changed")
    if count:
        click.echo(told_causes(causes, count))
        click.echo()
        click.echo(table(sample))
        if count > len(sample):
            click.echo(f"... and {count - len(sample)} more")


def _summary(verb: str, dry_run: bool, count: int) -> dict[str, Any]:
    return {"action": verb, "dry_run": dry_run, "count": count}


def counted(count: int) -> str:
    """A number of dead letters, as one says it."""
    return "1 dead letter" if count == 1 else f"{count} dead letters"
