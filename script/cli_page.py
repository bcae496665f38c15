"""The manual page of the command line, from click's own tree of commands and from Soniq's errors."""

import inspect
from collections.abc import Iterator

import click
from soniq.cli import main
from soniq.errors import SoniqError

INTRODUCTION = """# Commands

<!-- Generated from the command soniq by script/generate. Do not edit: run script/generate cli. -->

`soniq` looks at the database of `SONIQ_DATABASE_URL`, and acts on it; `soniq-runner` is `soniq worker` by another
name. Settings come from the environment or `soniq.toml` ([settings.md](settings.md)). What a command prints with
`--json` is for programs and on stdout; messages are on stderr. Every command has `--help`.
"""
BULK = """## Many at once

`dead-letter replay`, `delete` and `prune` take many jobs. They ask on the terminal before five or more, after the
most frequent errors of these; without a terminal they refuse (18), unless `--yes` is given. `--dry-run` tells how
many it would be, their errors and the latest ten, and changes nothing. Each thousand is a transaction of its own:
what is done stays done if the next one fails, or at Ctrl-C. Where there are more than a thousand, a bar on stderr
tells how far it is, if stderr is a terminal. `dead-letter export` takes nothing away, so it does not ask; it shows
the bar when it writes to `--output`.
"""
COMPLETION = """## Shell completion

[`soniq completion`](#soniq-completion) prints what a shell sources. It completes commands, options and their choices,
and from the database the names of queues, schedules and jobs. If the database does not answer within two seconds, it
completes no names.
"""


def cli_page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, _exit_codes(), BULK, COMPLETION]
    parts += [_section(command, path) for path, command in _commands(main, "soniq")]
    return "\n".join(parts)


def _exit_codes() -> str:
    explained = {
        error.exit_code: inspect.cleandoc(error.__doc__ or "")
        for error in SoniqError.__subclasses__()
        if error.exit_code != SoniqError.exit_code
    }
    own = {
        0: "Done, or there was nothing to do.",
        1: "Anything else, such as a file that cannot be written; of `soniq doctor`, that there is a problem.",
        2: "The command line is wrong; the message says how it should be.",
    }
    rows = [(str(code), meaning) for code, meaning in sorted((own | explained).items())]
    return "## Exit codes\n\n" + _table(("exit code", ""), rows)


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, in the order of their names."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, each in sorted(command.commands.items()):
        yield from _commands(each, f"{path} {name}")


def _section(command: click.Command, path: str) -> str:
    usage = " ".join([path, *command.collect_usage_pieces(click.Context(command, info_name=path))])
    parts = [f"## {path}\n", f"    {usage}\n", _prose(command.help or "")]
    options = [each for each in command.params if isinstance(each, click.Option)]
    if options:
        parts.append(_table(("option", ""), [(_names(each), _meaning(each)) for each in options]))
    return "\n".join(parts)


def _prose(help_text: str) -> str:
    """A docstring as Markdown: what click is told to leave as it is, is code."""
    paragraphs = inspect.cleandoc(help_text).split("\n\n")
    told = [
        "\n".join(f"    {line}" for line in paragraph.splitlines()[1:])
        if paragraph.startswith("\b")
        else paragraph
        for paragraph in paragraphs
    ]
    return "\n\n".join(told) + "\n"


def _names(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return f"`{names}`"
    if isinstance(option.type, click.Choice):
        return f"`{names} {'|'.join(map(str, option.type.choices))}`"
    numbers = {"integer range": "N", "integer": "N", "float range": "N"}
    kind = {**numbers, "file": "FILE", "directory": "FOLDER"}.get(option.type.name, "TEXT")
    return f"`{names} {kind}`"


def _meaning(option: click.Option) -> str:
    told = [option.help or ""]
    if option.required:
        told.append("Has to be given.")
    elif option.show_default:
        told.append(f"{option.default} unless given.")
    return " ".join(told)


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [head, ("---", "---"), *rows]
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in cells)
