"""`soniq config`: every setting, its value, where that is from and what it means."""

import os

import click

from soniq.commands.common import (
    EXIT_CODES,
    json_option,
    print_json,
    printable,
    told_in_a_line,
)
from soniq.commands.flags import as_texts, setting_options
from soniq.settings import Found, find_settings, unknown_in_file, unknown_names


@click.command(epilog=EXIT_CODES)
@json_option
@setting_options()
def config(as_json: bool, **flags: str | bool | None) -> None:
    """Prints each setting, its value, its source and its meaning. Ends with 10 if one is missing or wrong.

    With a worker's flags, what that worker would make of them.
    """
    with told_in_a_line("soniq config"):
        found = find_settings(os.environ, as_texts(flags))
        unknown = unknown_in_file()
    if as_json:
        print_json([_as_object(each) for each in found])
    else:
        for each in found:
            click.echo(printable(f"{each.setting.variable} = {_shown(each)}  ({each.source})"))
            click.echo(printable(f"    {each.problem or each.setting.meaning}"))
    for line in [*unknown, *unknown_names(os.environ)]:
        click.echo(printable(f"soniq config: {line}"), err=True)
    if unknown or any(each.problem for each in found):
        raise SystemExit(10)


def _shown(found: Found) -> str:
    if found.text is None:
        return "not set"
    return found.setting.shown(found.text)


def _as_object(found: Found) -> dict[str, str | None]:
    return {
        "name": found.setting.variable,
        "value": None if found.text is None else _shown(found),
        "source": found.source,
        "default": found.setting.default,
        "meaning": found.setting.meaning,
        "problem": found.problem,
    }
