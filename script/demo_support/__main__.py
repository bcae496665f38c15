"""Reads the options, heeds the signals, and turns the demo's end into an exit code."""

import argparse
import asyncio
import os
import signal
import sys

import asyncpg

from .screen import Screen
from .story import tell
from .trouble import Trouble


async def _play(screen: Screen, kill: bool) -> int:
    play = asyncio.ensure_future(
        tell(screen, os.environ.get("SONIQ_DATABASE_URL") or None, kill=kill)
    )
    stopped_by: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        # Once: a second cancellation would interrupt the cleaning up.
        if not stopped_by:
            play.cancel()
        stopped_by.append(number)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    try:
        return 0 if await play else 1
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        screen.interrupted(stopped_by[0].name)
        return 128 + stopped_by[0]
    except Trouble as trouble:
        screen.trouble(str(trouble))
    except asyncpg.PostgresError as refusal:
        hint = getattr(refusal, "hint", None)
        screen.trouble(f"the database refuses: {refusal}" + (f"\n{hint}" if hint else ""))
    return 1


def main() -> int:
    """Runs the demo."""
    parser = argparse.ArgumentParser(prog="script/demo")
    parser.add_argument("--kill", action="store_true")
    return asyncio.run(_play(Screen(), parser.parse_args().kill))


sys.exit(main())
