"""Ticking without a runner: what `soniq scheduler` does."""

import asyncio
import logging
import signal
from collections.abc import Mapping

import asyncpg

from soniq.database import (
    CONNECTION_LOST,
    check_schema,
    close,
    connect_at_start,
    connect_patiently,
    describe,
)

log = logging.getLogger("soniq")
TICK = "select * from soniq.tick()"


async def tick_once(url: str) -> dict[str, int]:
    """Ticks, and answers with how much of what was done. Raises what check_schema() raises."""
    connection = await connect_at_start(url, "scheduler", lasting=True)
    try:
        await check_schema(connection, url)
        return dict(await connection.fetchrow(TICK))
    finally:
        await close(connection)


async def tick_until_told(url: str, interval: float) -> None:
    """Ticks until SIGTERM or SIGINT. What was done is logged.

    Raises what check_schema() raises; later troubles are logged and survived.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    connection = await connect_at_start(url, "scheduler", lasting=True)
    try:
        await check_schema(connection, url)
        log.info("ticking every %g s", interval)
        while not stop.is_set():
            connection = await _tick(connection, url)
            try:
                async with asyncio.timeout(interval):
                    await stop.wait()
            except TimeoutError:
                pass
    finally:
        await close(connection)
    log.info("stopped")


async def _tick(connection: asyncpg.Connection, url: str) -> asyncpg.Connection:
    """One tick; answers with the connection for the next."""
    try:
        if done := in_words(dict(await connection.fetchrow(TICK))):
            log.info("%s", done)
    except CONNECTION_LOST as error:
        log.warning("the connection was lost: %s", describe(error))
        await close(connection)
        return await connect_patiently(url, "scheduler", again=True)
    except asyncpg.PostgresError as error:
        log.error("a tick failed: %s", describe(error))
    return connection


def in_words(done: Mapping[str, int]) -> str:
    """What a tick has done; nothing, if nothing was due."""
    return ", ".join(
        f"{number} {what.replace('_', ' ')}" for what, number in done.items() if number
    )
