"""What takes many jobs is confirmed by a person, or by --yes."""

import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from soniq.commands.common import database_name, in_words
from soniq.errors import NotConfirmed

# So many and more are asked about.
MANY = 5

yes_option = click.option("--yes", is_flag=True, help=f"Do not ask before {MANY} or more.")


def confirm(verb: str, done: str, count: int, causes: Sequence[Mapping[str, Any]]) -> None:
    """Asks on the terminal before `count` dead letters are taken; `causes` are their errors, the most frequent first.

    `verb` and `done` are as in replay and replayed. Raises NotConfirmed if the answer is no, or nobody can answer.
    """
    if count < MANY:
        return
    if not sys.stdin.isatty():
        raise NotConfirmed(
            f"{count} dead letters would be {done}, and there is no terminal to ask at;"
            f" nothing was changed: add --yes to {verb} them, or --dry-run to look at them first"
        )
    click.echo(f"{count} dead letters in {database_name()} would be {done}:", err=True)
    click.echo(told_causes(causes, count), err=True)
    if not _agrees(f"{verb.capitalize()} {count} dead letters?"):
        raise NotConfirmed(f"not confirmed: no dead letter was {done}")


def _agrees(question: str) -> bool:
    # asyncio takes the first Ctrl-C as a wish to cancel a task, which nobody can hear who waits for a line.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        return False  # Ctrl-C or Ctrl-D
    finally:
        signal.signal(signal.SIGINT, handler)


def told_causes(causes: Sequence[Mapping[str, Any]], count: int) -> str:
    """A line for each cause: how many, of which job, and the error of one of them."""
    lines = [f"{each['count']:>8}  {each['job_name']}  {_cause(each)}" for each in causes]
    rest = count - sum(each["count"] for each in causes)
    if rest > 0:
        lines.append(f"{rest:>8}  with other errors")
    return "\n".join(lines)


def _cause(each: Mapping[str, Any]) -> str:
    told = each["reason"] if each["error"] is None else f"{each['reason']}: {each['error']}"
    line = in_words(told)
    return line if len(line) <= 100 else line[:97] + "..."
