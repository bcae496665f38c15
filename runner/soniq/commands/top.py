"""`soniq top`: queues, runners, failures and what is wrong, in a terminal."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any, get_args

import click

from soniq.commands.common import (
    EXIT_CODES,
    json_option,
    on_database,
    plain,
    print_json,
    told_in_a_line,
)
from soniq.commands.extras import check_extra
from soniq.database import masked
from soniq.settings import read_one
from soniq.top.glance import MOST_LOOKED_AT, Glance, Order, Row, View, read


@click.command(epilog=EXIT_CODES)
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks; more where a look takes long, a tenth of the time at the most.",
)
@click.option(
    "--order",
    type=click.Choice(get_args(Order)),
    default="depth",
    show_default=True,
    help="Which queues come first: those with most jobs ready, with the oldest, or by name.",
)
@click.option(
    "--once", is_flag=True, help="Print one frame and stop, as where there is no terminal."
)
@json_option
def top(interval: float, order: Order, once: bool, as_json: bool) -> None:
    """Shows queues, runners, latest failures and what is wrong, again and again; q quits.

    \b
    q                  quit
    p                  pause, and go on
    up, down, j, k     scroll the queues; Page Up, Page Down, Home
    1, 2, 3            order the queues by depth, age, name

    It takes the role soniq_observer; failures are shown to soniq_admin, since errors may quote what jobs carry.
    """
    view = View(order)
    if as_json:
        print_json(_as_json(on_database(lambda connection: read(connection, view, MOST_LOOKED_AT))))
        return
    with told_in_a_line("soniq top"):
        check_extra("top", "rich")
        url = read_one("database_url", os.environ, {})
        # Not above: whoever does without it need not have Rich.
        from soniq.top import screen

        if once or not screen.can_be_live():
            asyncio.run(screen.show_once(url, view))
        else:
            asyncio.run(screen.watch(url, view, interval))


def _as_json(glance: Glance) -> dict[str, Any]:
    return {
        "database": masked(read_one("database_url", os.environ, {})),
        "schema_version": glance.version,
        "as_of": glance.as_of.isoformat(),
        "tick_lag": None if glance.tick_lag is None else glance.tick_lag.total_seconds(),
        "concerns": _rows(glance.concerns),
        "queues": [
            {**plain(each), "done_by_minute": glance.histories.get(each["queue"])}
            for each in glance.queues
        ],
        "runners": [
            {
                **plain(each),
                "runs": _rows(
                    [job for job in glance.running if job["runner_id"] == each["runner_id"]]
                ),
            }
            for each in glance.runners
        ],
        "dead_letter_groups": None if glance.letters is None else _rows(glance.letters),
    }


def _rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return list(map(plain, rows))
