"""Everything that the command line takes is given bad values: each is answered, with a documented exit code.

In this process, since there are thousands: what a process of its own adds is in the other tests of commands.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from bad_values import BAD, LONG
from click.testing import CliRunner, Result
from conftest import rows
from soniq.cli import main
from soniq.commands.common import EXIT_CODES

DOCUMENTED = {int(code) for code in re.findall(r"\b\d+\b", EXIT_CODES)}
# These start something, or look at more than the database; their flags are settings, which `config` reads, too.
NOT_TRIED = {"worker", "scheduler", "dashboard", "setup", "doctor"}
NO_UTF8 = "\udcff"  # what Python makes of such a byte
VALUES = [
    *(
        value.text
        for type_ in ("text", "interval", "timestamp with time zone")
        for value in BAD[type_]
        if value.text is not None and len(value.text) < LONG
    ),
    NO_UTF8,
    "\N{ARABIC-INDIC DIGIT THREE}",
    "-1",
    "0",
    "0.5",
    "1_000",
    "9" * 30,
    "9" * 5000,
    "1e400",
    "inf",
    "nan",
    "--help",
    "2026-13-01",
    "2026-02-30 25:61",
    "-infinity",
    "10000-01-01",
    "0001-01-01 BC",
    "-5d",
    "99999999999d",
    "1" + "0" * 400 + "h",
    "* * * * * *",
    "@never",
    "61 * * * *",
    "Europe/Nowhere",
    "../../etc/passwd",
]


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every command that can be tried."""
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            if name not in NOT_TRIED:
                yield from commands(each, (*path, name))
    else:
        yield path


def found(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


def tries(path: tuple[str, ...], values: Sequence[str]) -> Iterator[list[str]]:
    """The command with each of the values in each place that takes one."""
    flags = ["--json"] if any(each.name == "as_json" for each in found(path).params) else []
    for parameter in found(path).params:
        for value in values:
            if isinstance(parameter, click.Argument):
                yield [*path, "--", value]
            elif not getattr(parameter, "is_flag", False):
                yield [*path, f"{parameter.opts[0]}={value}"]
                if value == NO_UTF8:
                    yield [*path, *flags, f"{parameter.opts[0]}={value}"]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([*VALUES[::8], NO_UTF8], id="some"),
        pytest.param(VALUES, marks=pytest.mark.long, id="all"),
    ],
)
@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_a_bad_value_is_told_and_nothing_breaks(
    database: str,
    path: tuple[str, ...],
    values: Sequence[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is told to write a file writes it here, also where its name leads upwards.
    folder = tmp_path / "some" / "folders" / "deeper"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SONIQ_DATABASE_URL", database)
    rows(database, "select soniq.enqueue('some', queue => 'some')")
    before = rows(database, "select id, status::text, queue from soniq.jobs")
    runner = CliRunner()
    for arguments in tries(path, values):
        expect_an_answer(runner.invoke(main, arguments), arguments)
    assert rows(database, "select id, status::text, queue from soniq.jobs") == before


def expect_an_answer(result: Result, arguments: list[str]) -> None:
    told = f"soniq {' '.join(argument[:100] for argument in arguments)!r}: {result.output[-500:]}"
    assert result.exception is None or isinstance(result.exception, SystemExit), (
        f"{told}: {result.exception!r}"
    )
    assert result.exit_code in DOCUMENTED, f"{told}: exit code {result.exit_code}"
    assert result.output or not result.exit_code, told
    assert "Traceback" not in result.output, told
