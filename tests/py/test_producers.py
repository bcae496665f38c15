"""Enqueueing from Python: on each driver's connections, in the transaction that is open there."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import psycopg
import pytest
from conftest import rows
from soniq import Soniq, SoniqError
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

app = Soniq()


@app.job(name="billing.charge")
async def charge(order: int = 0, note: str = "") -> None:
    """Never run here."""


Work = Callable[[Any], Awaitable[int]]


async def on_asyncpg(url: str, work: Work, commit: bool) -> None:
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    await work(connection)
    await (transaction.commit() if commit else transaction.rollback())
    await connection.close()


async def on_an_asyncpg_pool(url: str, work: Work, commit: bool) -> None:
    async with asyncpg.create_pool(url, min_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await work(connection)
        await (transaction.commit() if commit else transaction.rollback())


async def on_psycopg(url: str, work: Work, commit: bool) -> None:
    with psycopg.connect(url) as connection:
        await work(connection)
        (connection.commit if commit else connection.rollback)()


async def on_async_psycopg(url: str, work: Work, commit: bool) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await work(connection)
        await (connection.commit() if commit else connection.rollback())


async def on_a_sqlalchemy_connection(url: str, work: Work, commit: bool) -> None:
    engine = create_engine(url.replace("postgresql", "postgresql+psycopg"))
    with engine.connect() as connection:
        await work(connection)
        (connection.commit if commit else connection.rollback)()
    engine.dispose()


async def on_a_sqlalchemy_session(url: str, work: Work, commit: bool) -> None:
    engine = create_engine(url.replace("postgresql", "postgresql+psycopg"))
    with Session(engine) as session:
        await work(session)
        (session.commit if commit else session.rollback)()
    engine.dispose()


async def on_an_async_sqlalchemy_connection(url: str, work: Work, commit: bool) -> None:
    engine = create_async_engine(url.replace("postgresql", "postgresql+asyncpg"))
    async with engine.connect() as connection:
        await work(connection)
        await (connection.commit() if commit else connection.rollback())
    await engine.dispose()


async def on_an_async_sqlalchemy_session(url: str, work: Work, commit: bool) -> None:
    engine = create_async_engine(url.replace("postgresql", "postgresql+psycopg"))
    async with AsyncSession(engine) as session:
        await work(session)
        await (session.commit() if commit else session.rollback())
    await engine.dispose()


DRIVERS = [
    on_asyncpg,
    on_an_asyncpg_pool,
    on_psycopg,
    on_async_psycopg,
    on_a_sqlalchemy_connection,
    on_a_sqlalchemy_session,
    on_an_async_sqlalchemy_connection,
    on_an_async_sqlalchemy_session,
]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_job_joins_the_callers_transaction(
    database: str, driver: Callable[[str, Work, bool], Awaitable[None]]
) -> None:
    answers: list[int] = []

    async def work(connection: Any) -> int:
        job_id = await app.enqueue(
            charge,
            {"order": 7, "note": "ü 'quoted' :name %s $1"},
            connection=connection,
            queue="money",
            priority=5,
            scheduled_at=datetime(2031, 2, 3, tzinfo=UTC),
            max_attempts=4,
            timeout=90,
            dedup_key="order 7",
        )
        answers.append(job_id)
        return job_id

    async def both() -> None:
        await driver(database, work, False)
        assert rows(database, "select id from soniq.jobs") == []
        await driver(database, work, True)

    asyncio.run(both())
    assert rows(
        database,
        "select id, job_name, args, queue, priority, scheduled_at, max_attempts,"
        " timeout::text, dedup_key from soniq.jobs",
    ) == [
        (
            answers[1],
            "billing.charge",
            {"order": 7, "note": "ü 'quoted' :name %s $1"},
            "money",
            5,
            datetime(2031, 2, 3, tzinfo=UTC),
            4,
            "00:01:30",
            "order 7",
        )
    ]


def test_without_a_connection_the_app_uses_its_own(database: str) -> None:
    async def work() -> None:
        own = Soniq(database)
        await own.enqueue("by name only", delay=60)
        await own.close()

    asyncio.run(work())
    assert rows(
        database, "select job_name, scheduled_at - enqueued_at = '1 minute' from soniq.jobs"
    ) == [("by name only", True)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: app.enqueue("x", [1]), "args of x are a list: give a mapping"),  # type: ignore[arg-type]
        (lambda: app.enqueue("x", {"a": object()}), "args of x are not JSON"),
        (lambda: app.enqueue("x", {"a": float("nan")}), "args of x are not JSON"),
        (lambda: app.enqueue("x", delay=-1), "delay is -1: give 0 or more"),
        (
            lambda: app.enqueue("x", scheduled_at=datetime(2031, 1, 1)),
            "has no time zone: give an aware datetime",
        ),
        (lambda: app.enqueue(print), "is not a job of this app \\(its jobs: billing.charge\\)"),
        (lambda: app.enqueue("x", connection=object()), "connection is a builtins.object: give a"),
        (lambda: Soniq().enqueue("x"), "no database is known: set SONIQ_DATABASE_URL"),
    ],
)
def test_what_python_can_tell_is_wrong_is_told(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[], Awaitable[int]], message: str
) -> None:
    monkeypatch.delenv("SONIQ_DATABASE_URL", raising=False)

    async def try_it() -> None:
        await call()

    with pytest.raises(SoniqError, match=message):
        asyncio.run(try_it())


def test_what_the_database_refuses_comes_with_its_code_and_hint(database: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(database)
        try:
            await app.enqueue("x", priority=1001, connection=connection)
        finally:
            await connection.close()

    with pytest.raises(asyncpg.PostgresError, match="priority 1001 is out of range") as error:
        asyncio.run(work())
    assert error.value.sqlstate == "SQ005"
    assert "from 0 (runs first) to 1000 (runs last)" in error.value.hint


LAST_STATEMENT = "select query from pg_stat_activity where pid = %s"


def test_a_connection_is_reset_after_a_handler_and_not_after_an_enqueue(database: str) -> None:
    async def work() -> None:
        own = Soniq(database, pool_max_size=1)
        async with own.connection() as connection:
            pid = connection.get_server_pid()
            await connection.execute("set statement_timeout = '1 h'")
        assert rows(database, LAST_STATEMENT, pid)[0][0].startswith("SELECT pg_advisory_unlock_all")
        await own.enqueue("x")
        assert rows(database, LAST_STATEMENT, pid)[0][0].startswith("select soniq.enqueue")
        async with own.connection() as connection:
            assert connection.get_server_pid() == pid
            assert await connection.fetchval("show statement_timeout") == "0"
            await connection.execute("set statement_timeout = '1 h'")
        async with own.connection() as connection:
            assert await connection.fetchval("show statement_timeout") == "0"
        await own.close()

    asyncio.run(work())
