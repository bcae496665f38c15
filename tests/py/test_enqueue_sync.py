"""Enqueueing from code that is not async, and of job names that nobody knows."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import pytest
from conftest import StartRunner, WriteJobs, rows
from soniq import Soniq, SoniqError
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from test_misbehaving import run

app = Soniq()


@app.job(name="billing.charge")
async def charge(order: int) -> None:
    """Never run here."""


Work = Callable[[Any], None]


def on_psycopg(url: str, work: Work, commit: bool) -> None:
    with psycopg.connect(url) as connection:
        work(connection)
        (connection.commit if commit else connection.rollback)()


def on_a_sqlalchemy_connection(url: str, work: Work, commit: bool) -> None:
    engine = create_engine(url.replace("postgresql", "postgresql+psycopg"))
    with engine.connect() as connection:
        work(connection)
        (connection.commit if commit else connection.rollback)()
    engine.dispose()


def on_a_sqlalchemy_session(url: str, work: Work, commit: bool) -> None:
    engine = create_engine(url.replace("postgresql", "postgresql+psycopg"))
    with Session(engine) as session:
        work(session)
        (session.commit if commit else session.rollback)()
    engine.dispose()


def on_a_scoped_session(url: str, work: Work, commit: bool) -> None:
    engine = create_engine(url.replace("postgresql", "postgresql+psycopg"))
    session = scoped_session(sessionmaker(engine))
    work(session)
    (session.commit if commit else session.rollback)()
    session.remove()
    engine.dispose()


DRIVERS = [on_psycopg, on_a_sqlalchemy_connection, on_a_sqlalchemy_session, on_a_scoped_session]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("unknown_jobs", ["allow", "warn"])
def test_a_job_joins_the_callers_transaction(
    database: str, driver: Callable[[str, Work, bool], None], unknown_jobs: Any
) -> None:
    own = Soniq(unknown_jobs=unknown_jobs)
    answers: list[int] = []

    def work(connection: Any) -> None:
        args = {"order": 7, "note": "ü 'quoted' :name %s $1"}
        answers.append(own.enqueue_sync("charge", args, connection=connection, delay=60))

    driver(database, work, False)
    assert rows(database, "select from soniq.jobs") == []
    driver(database, work, True)
    assert rows(
        database, "select id, args ->> 'note', scheduled_at - enqueued_at = '60' from soniq.jobs"
    ) == [(answers[1], "ü 'quoted' :name %s $1", True)]


@pytest.mark.parametrize("has_psycopg", [True, False])
def test_without_a_connection_it_makes_one(
    database: str, monkeypatch: pytest.MonkeyPatch, has_psycopg: bool
) -> None:
    monkeypatch.setenv("SONIQ_DATABASE_URL", database)
    if not has_psycopg:
        monkeypatch.setitem(sys.modules, "psycopg", None)
    ids = [app.enqueue_sync(charge, {"order": order}) for order in range(2)]
    refused = asyncpg.PostgresError if not has_psycopg else psycopg.Error
    with pytest.raises(refused, match="priority 1001 is out of range"):
        app.enqueue_sync(charge, {"order": 1}, priority=1001)
    monkeypatch.undo()
    assert rows(database, "select id, args from soniq.jobs order by id") == [
        (ids[0], {"order": 0}),
        (ids[1], {"order": 1}),
    ]


def test_where_a_loop_runs_it_takes_only_a_connection(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONIQ_DATABASE_URL", database)

    async def blocks() -> None:
        app.enqueue_sync(charge, {"order": 1})

    with pytest.raises(SoniqError, match=r"would block the event loop .* await app.enqueue"):
        asyncio.run(blocks())
    assert rows(database, "select from soniq.jobs") == []

    async def has_one() -> None:
        with psycopg.connect(database) as connection:
            app.enqueue_sync(charge, {"order": 1}, connection=connection)

    asyncio.run(has_one())
    assert rows(database, "select args from soniq.jobs") == [({"order": 1},)]


def test_what_has_to_be_awaited_is_refused(database: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(database)
        try:
            app.enqueue_sync(charge, {"order": 1}, connection=connection)
        finally:
            await connection.close()

    with pytest.raises(SoniqError, match=r"has to be awaited: await app.enqueue"):
        asyncio.run(work())
    with pytest.raises(SoniqError, match=r"connection is a builtins.object: give a connection"):
        app.enqueue_sync(charge, {"order": 1}, connection=object())
    with pytest.raises(SoniqError, match="cannot take these args: missing order"):
        app.enqueue_sync(charge)


def test_a_def_handler_enqueues(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        from soniq import Soniq
        app = Soniq()

        @app.job
        def first():
            return app.enqueue_sync("second", delay=3600)
    """)
    start_runner(database).wait_for_log("jobs at once")
    second = run(database, "first")["result"]
    assert rows(database, "select id, job_name from soniq.jobs") == [(second, "second")]


def test_an_app_outlives_the_loop_that_opened_its_pool(database: str) -> None:
    own = Soniq(database)
    for _ in range(2):
        asyncio.run(own.enqueue("x"))
    asyncio.run(own.close())
    assert rows(database, "select count(*) from soniq.jobs") == [(2,)]


def test_names_that_nobody_knows(database: str, caplog: pytest.LogCaptureFixture) -> None:
    rows(database, "select soniq.register_job_type('known')")
    told = "no runner has ever registered the job 'knwon': check its spelling"

    async def work(own: Soniq, name: str) -> None:
        await own.enqueue(name)
        await own.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(work(Soniq(database), "knwon"))
        for mode in ("warn", "refuse"):
            asyncio.run(work(Soniq(database, unknown_jobs=mode), "known"))
            Soniq(database, unknown_jobs=mode).enqueue_sync("known")
        assert caplog.text == ""
        asyncio.run(work(Soniq(database, unknown_jobs="warn"), "knwon"))
        assert told in caplog.text
    count = rows(database, "select count(*) from soniq.jobs")
    own = Soniq(database, unknown_jobs="refuse")
    own.job(charge)
    with pytest.raises(SoniqError, match=told):
        asyncio.run(work(own, "knwon"))
    with pytest.raises(SoniqError, match=told):
        own.enqueue_sync("knwon")
    assert rows(database, "select count(*) from soniq.jobs") == count
    own.enqueue_sync(charge, {"order": 1})  # its own are known
    with pytest.raises(SoniqError, match="unknown_jobs is 'maybe': give 'allow', 'warn' or"):
        Soniq(unknown_jobs="maybe")  # type: ignore[arg-type]


def test_what_becomes_of_unknown_names_may_be_a_setting(
    database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = "no runner has ever registered the job 'knwon': check its spelling"
    own = Soniq(database)
    own.enqueue_sync("knwon")
    monkeypatch.setenv("SONIQ_UNKNOWN_JOBS", "refuse")
    with pytest.raises(SoniqError, match=told):
        own.enqueue_sync("knwon")
    with pytest.raises(SoniqError, match=told):
        asyncio.run(own.enqueue("knwon"))
    Soniq(database, unknown_jobs="allow").enqueue_sync("knwon")
    monkeypatch.setenv("SONIQ_UNKNOWN_JOBS", "Warn")
    with caplog.at_level(logging.WARNING):
        own.enqueue_sync("knwon")
    assert told in caplog.text
    with pytest.raises(SoniqError, match=told):
        Soniq(database, unknown_jobs="refuse").enqueue_sync("knwon")
    monkeypatch.setenv("SONIQ_UNKNOWN_JOBS", "forbid")
    with pytest.raises(SoniqError, match="SONIQ_UNKNOWN_JOBS is 'forbid': give allow, warn or"):
        own.enqueue_sync("knwon")


def test_a_runners_flag_says_what_becomes_of_unknown_names(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        from soniq import Soniq
        app = Soniq()

        @app.job(max_attempts=1)
        async def first():
            await app.enqueue("knwon")
    """)
    runner = start_runner(database, "--unknown-jobs", "refuse", unknown_jobs="allow")
    runner.wait_for_log("jobs at once")
    [error] = run(database, "first")["errors"]
    assert error["message"].startswith("no runner has ever registered the job 'knwon'")
    assert rows(database, "select from soniq.jobs") == []


def test_who_may_only_enqueue_is_told_what_the_check_needs(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    for statement in (
        "drop role if exists only_enqueues",
        "create role only_enqueues login",
        "grant usage on schema soniq to only_enqueues",
        "grant execute on function soniq.enqueue to only_enqueues",
    ):
        rows(database, statement)
    theirs = database.replace("tester@", "only_enqueues@")
    try:
        assert Soniq(theirs).enqueue_sync("x") == 1
        with caplog.at_level(logging.WARNING), psycopg.connect(theirs) as connection:
            Soniq(unknown_jobs="warn").enqueue_sync("x", connection=connection)
        assert "grant select on soniq.job_types to this user" in caplog.text
        with pytest.raises(SoniqError, match=r"grant select on soniq.job_types to this user"):
            Soniq(theirs, unknown_jobs="refuse").enqueue_sync("x")
        assert rows(database, "select count(*) from soniq.jobs") == [(2,)]
    finally:
        rows(database, "drop owned by only_enqueues")
        rows(database, "drop role only_enqueues")


def test_a_producer_imports_neither_psycopg_nor_pydantic() -> None:
    code = (
        "import sys; from soniq import Soniq; app = Soniq()\n"
        "@app.job\nasync def f(a: int, b: list[str] | None = None): pass\n"
        "print([name for name in ('psycopg', 'pydantic', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "[]\n"
