"""One job or dead letter, with everything that is known of it."""

import textwrap
from collections.abc import Mapping
from typing import Any

import click

from soniq.commands.common import in_words, plain, print_json, printable


def print_details(record: Mapping[str, Any], as_json: bool) -> None:
    """Prints a row whose errors are decoded: a line for each column that is set, then every attempt's error."""
    if as_json:
        print_json(plain(record))
        return
    told = {name: value for name, value in record.items() if name != "errors" and value is not None}
    width = max(map(len, told))
    for name, value in told.items():
        click.echo(f"{name:<{width}}  {in_words(value)}")
    for error in record["errors"]:
        click.echo()
        click.echo(_headline(error))
        headline = f"{error.get('type') or 'error'}: {error.get('message') or ''}".rstrip(": ")
        click.echo(textwrap.indent(printable(headline), "  "))
        if error.get("traceback"):
            click.echo(textwrap.indent(printable(error["traceback"].rstrip()), "  | "))


def _headline(error: Mapping[str, Any]) -> str:
    parts = [f"attempt {error.get('attempt')} failed at {error.get('failed_at')}"]
    if error.get("runner") is not None:
        parts.append(f"on {error['runner']}")
    if error.get("reason"):
        parts.append(f"({error['reason']})")
    return " ".join(parts)
