"""One frame of `soniq top`: what was read, laid out for a terminal of any size, with colours or without."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from soniq.commands.common import printable
from soniq.top.glance import MINUTES, Glance, Row, View

KEYS = "q quit  p pause  up/down j/k scroll  order: 1 depth  2 age  3 name"
MOST_CONCERNS = 3
BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
# Told by the sign where there are no colours.
SEVERITIES = {1: ("!!!", "bold red"), 2: ("!! ", "yellow"), 3: ("!  ", "cyan")}
STATES = {"silent": "yellow", "lost": "bold red"}
NARROW, WIDE = 60, 110
HISTORY = "last"  # so many minutes
# Characters of a name for which columns that matter less leave; and those that it has in any case.
NAME, SHORTEST_NAME = 16, 8


@dataclass(frozen=True, slots=True)
class Away:
    """The database cannot be read: since when, and why."""

    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Lines:
    """How many lines each part gets, its head included; 0: it is left out."""

    concerns: int
    queues: int
    runners: int
    letters: int


def share(height: int, glance: Glance, *, keys: bool) -> Lines:
    """Shares a height out: the lower tables get a quarter of it each, or more where the queues leave some over."""
    left = height - 2 - keys
    concerns = min(max(min(len(glance.concerns), MOST_CONCERNS, left // 4), 1), max(left, 0))
    left -= concerns
    wanted = {
        "queues": 1 + max(len(glance.queues), 1),
        "runners": 1 + max(len(glance.runners), 1),
        "letters": 1 + len(glance.letters) if glance.letters else 0,
    }
    lower = left // 4 if left // 4 > 1 else 0
    given = {name: min(wanted[name], lower) for name in ("letters", "runners")}
    for name in ("queues", "runners", "letters"):
        if name == "queues" or lower:
            spare = left - sum(given.values())
            lines = min(wanted[name], given.get(name, 0) + max(spare, 0))
            given[name] = lines if lines > 1 else 0  # a head without a row tells nothing
    return Lines(concerns, **given)


def frame(
    console: Console,
    database: str,
    glance: Glance | None,
    view: View,
    *,
    height: int,
    away: Away | None = None,
    paused: bool = False,
    keys: bool = True,
) -> RenderableType:
    """Everything; before the first look only that it is to come."""
    parts: list[RenderableType] = [_title(console, database, glance, away, paused)]
    if glance is None:
        return Group(*parts, Text(f"looking into {printable(database)} ..."))
    lines = share(height, glance, keys=keys)
    parts.append(_trouble(away) if away else _totals(glance))
    parts += _concerns(glance, lines.concerns)
    tables: list[list[RenderableType]] = []
    if lines.queues:
        tables.append([*_queues(console, glance, view, lines.queues - 1)])
    if lines.runners:
        tables.append([*_runners(glance, lines.runners - 1)])
    if glance.letters and lines.letters:
        tables.append([_letters(glance.as_of, glance.letters, lines.letters - 1)])
    left = height - 2 - lines.concerns - lines.queues - lines.runners - lines.letters - keys
    if left >= len(tables):
        tables = [[Text(), *table] for table in tables]
        left -= len(tables)
    parts += chain.from_iterable(tables)
    if keys:
        parts += [Text()] * left
        parts.append(Text(KEYS, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def _title(
    console: Console, database: str, glance: Glance | None, away: Away | None, paused: bool
) -> RenderableType:
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    line.add_column(no_wrap=True, justify="right")
    right = Text()
    if paused:
        right.append("PAUSED ", style="bold yellow")
    if glance is not None:
        if console.width >= NARROW:
            right.append(f"schema {glance.version}  ")
        right.append(f"{glance.as_of.astimezone():%H:%M:%S}", style="dim" if away else "")
    line.add_row(Text.assemble(("soniq top  ", "bold"), printable(database)), right)
    return line


def _trouble(away: Away) -> Text:
    lasts = datetime.now().astimezone() - away.since
    return Text(
        f"AWAY since {away.since:%H:%M:%S} ({age(lasts)}): {printable(away.why)}",
        style="bold red",
        no_wrap=True,
        overflow="ellipsis",
    )


def _totals(glance: Glance) -> Text:
    states = [each["state"] for each in glance.runners]
    there = [each for each in glance.runners if each["state"] != "lost"]
    told = Text(no_wrap=True, overflow="ellipsis")
    told.append(f"runners {states.count('alive')} alive")
    for state, style in STATES.items():
        if number := states.count(state):
            told.append(f", {number} {state}", style=style)
    told.append(
        f"   slots {count(sum(each['running'] for each in there))}"
        f" of {count(sum(each['concurrency'] for each in there))}"
    )
    told.append(
        "   never ticked" if glance.tick_lag is None else f"   tick lag {age(glance.tick_lag)}"
    )
    return told


def _concerns(glance: Glance, lines: int) -> Iterator[Text]:
    if lines and not glance.concerns:
        yield Text("nothing is wrong", style="green")
    for concern in glance.concerns[:lines]:
        sign, style = SEVERITIES[concern["severity"]]
        message = printable(concern["message"])
        yield Text(f"{sign} {message}", style=style, no_wrap=True, overflow="ellipsis")


def _queues(console: Console, glance: Glance, view: View, rows: int) -> Iterator[RenderableType]:
    ordered = view.sorted(glance.queues)
    offset = view.within(len(ordered), rows).offset
    shown = ordered[offset : offset + rows]
    columns = _figures(console, glance, shown)
    part = _part("QUEUES", offset, len(shown), len(ordered))
    table = _table(part, *columns, width=SHORTEST_NAME)
    for column in table.columns:
        if str(column.header).startswith(HISTORY):
            column.justify = "left"
    for each, *figures in zip(shown, *columns.values(), strict=True):
        table.add_row(_name(each["queue"]), *figures)
    yield table
    if not ordered:
        yield Text("no queues: nothing was ever enqueued", no_wrap=True, overflow="ellipsis")


def _figures(console: Console, glance: Glance, queues: Sequence[Row]) -> dict[str, list[Text]]:
    """The columns beside the names of queues, as many of them as there is room for."""
    minutes = MINUTES if console.width >= WIDE else 10
    bars = PLAIN_BARS if console.options.ascii_only else BARS
    history = f"{HISTORY} {minutes}m"
    over = [glance.histories.get(each["queue"], [])[:-1] for each in queues]
    columns = {
        "ready": [_estimate(each, "ready", "bold" if each["ready"] else "dim") for each in queues],
        "later": [_estimate(each, "scheduled") for each in queues],
        "running": [_estimate(each, "processing") for each in queues],
        "oldest": [_oldest(each["oldest_ready_age"]) for each in queues],
        "done/min": [Text(count(done[-1]) if done else "-") for done in over],
        history: [
            Text(sparkline(done[-minutes:], bars).ljust(minutes), style="cyan") for done in over
        ],
        "dead": [
            Text(count(each["dead_letters"]), style="red" if each["dead_letters"] else "dim")
            for each in queues
        ],
        "": [Text("paused" if each["paused"] else "", style="yellow") for each in queues],
    }
    # Of all queues, so that nothing jumps while those that are shown change.
    longest = max((cell_len(each["queue"]) for each in glance.queues), default=0)
    name = min(max(longest, SHORTEST_NAME), NAME)
    # What matters least leaves first.
    for head in (history, "done/min", "later", "running"):
        if name + sum(map(_width, columns, columns.values())) > console.width:
            del columns[head]
    return columns


def _estimate(queue: Row, name: str, style: str = "") -> Text:
    return Text(("~" if queue["is_estimate"] else "") + count(queue[name]), style=style)


def _oldest(waits: timedelta | None) -> Text:
    return Text("-" if waits is None else age(waits))


def _width(head: str, cells: Sequence[Text]) -> int:
    """Of a column, with the space before it."""
    return 2 + max(len(head), *(each.cell_len for each in cells), 0)


def _runners(glance: Glance, rows: int) -> Iterator[RenderableType]:
    shown = glance.runners[:rows]
    table = _table(
        _part("RUNNERS", 0, len(shown), len(glance.runners)),
        *("slots", "heard of", "runs"),
        width=NAME,
    )
    table.columns[3].justify = "left"
    table.columns[3].ratio = 2
    for each in shown:
        name = _name(f"{each['host']}:{each['pid']}")
        if style := STATES.get(each["state"]):
            name = Text(f"{each['state']} ", style=style).append_text(name)
        table.add_row(
            name,
            f"{each['running']}/{each['concurrency']}",
            age(each["silent_for"]),
            _what_runs(each, glance.running),
        )
    yield table
    if not glance.runners:
        yield Text(
            "no runner is registered, so nothing runs: start one, with soniq worker",
            no_wrap=True,
            overflow="ellipsis",
        )


def _what_runs(runner: Row, running: Sequence[Row]) -> Text:
    held = [each for each in running if each["runner_id"] == runner["runner_id"]]
    told = [
        f"{each['job_name']}{' x' + count(each['jobs']) if each['jobs'] > 1 else ''}"
        f" {age(each['oldest_age'])}"
        for each in held
    ]
    if sum(each["jobs"] for each in held) < runner["running"]:
        told.append("...")  # there are more than were read
    return Text(printable(", ".join(told)), no_wrap=True, overflow="ellipsis")


def _letters(as_of: datetime, letters: Sequence[Row], rows: int) -> Table:
    shown = letters[:rows]
    table = _table(
        _part("FAILURES", 0, len(shown), len(letters)), *("jobs", "last", "died of"), width=NAME
    )
    table.columns[3].justify = "left"
    table.columns[3].ratio = 2
    for each in shown:
        error = ": ".join(filter(None, (each["error_type"], each["error_pattern"])))
        table.add_row(
            _name(each["job_name"]),
            Text(count(each["letters"]) + ("+" if each["is_partial"] else ""), style="red"),
            age(as_of - each["last_at"]),
            Text(printable(" ".join(error.split())), no_wrap=True, overflow="ellipsis"),
        )
    return table


def _table(first: str, *others: str, width: int) -> Table:
    """Its first column is so wide at least."""
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column(first, ratio=1, width=width, no_wrap=True, overflow="ellipsis")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _part(name: str, offset: int, shown: int, of: int) -> str:
    """A table's name, and which part of it is shown if not all."""
    return name if shown == of else f"{name} {offset + 1}-{offset + shown}/{of}"


def _name(text: str) -> Text:
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


def count(number: int) -> str:
    """A number in at most five characters: 9,999, 12.3k, 123k, 1.2M."""
    if number < 10_000:
        return f"{number:,}"
    units: float = number
    for unit in "kMG":
        units /= 1000
        if units < 99.95:
            return f"{units:.1f}{unit}"
        if units < 999.5 or unit == "G":
            return f"{units:.0f}{unit}"
    raise AssertionError


def age(length: timedelta) -> str:
    """A duration in its largest unit: 0.4s, 45s, 12m, 3h, 5d."""
    seconds = max(length.total_seconds(), 0)
    if seconds < 10:
        return f"{seconds:.1f}s"
    for unit, size, up_to in (("s", 1, 120), ("m", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < up_to:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def sparkline(numbers: Sequence[int], bars: str) -> str:
    """A bar for each number, as high as it is of the highest."""
    most = max(numbers, default=0) or 1
    return "".join(bars[math.ceil(number / most * (len(bars) - 1))] for number in numbers)
