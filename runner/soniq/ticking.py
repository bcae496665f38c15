"""Ticking without a runner: what `soniq scheduler` does."""

import asyncio
import logging
import signal

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


async def tick_until_told(url: str, interval: float, *, once: bool) -> None:
    """Ticks until SIGTERM or SIGINT, or once. What was done is logged, or for once printed.

    Raises what check_schema() raises; later troubles are logged and survived.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    connection = await connect_at_start(url, "scheduler", lasting=True)
    try:
        await check_schema(connection, url)
        if once:
            print(
                _told(await connection.fetchrow("select * from soniq.tick()")) or "nothing was due"
            )
            return
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
        if done := _told(await connection.fetchrow("select * from soniq.tick()")):
            log.info("%s", done)
    except CONNECTION_LOST as error:
        log.warning("the connection was lost: %s", describe(error))
        await close(connection)
        return await connect_patiently(url, "scheduler")
    except asyncpg.PostgresError as error:
        log.error("a tick failed: %s", describe(error))
    return connection


def _told(done: asyncpg.Record) -> str:
    return ", ".join(
        f"{number} {what.replace('_', ' ')}" for what, number in done.items() if number
    )
