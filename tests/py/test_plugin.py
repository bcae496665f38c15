"""The pytest plugin: in test suites of users, each a pytest process of its own."""

import asyncio
import os
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

from conftest import StartRunner, WriteJobs, rows
from soniq import Soniq
from soniq.testing import run_until_empty, run_until_empty_sync
from testing.server import debian_binaries

TESTS = """
    import asyncio, os
    import asyncpg, pytest
    from soniq import Job, PermanentFailure, Soniq
    from soniq.testing import run_until_empty, run_until_empty_sync

    app = Soniq()

    @app.job(max_attempts=3, retry_delay=0)
    async def flaky(job: Job, text: str):
        if job.attempt < 2:
            raise ValueError("not yet")
        await app.enqueue(follow_up, {"text": text})
        return text

    @app.job
    def follow_up(text: str):
        app.enqueue_sync("unknown")

    @app.job(retry_delay=3600)
    async def tried_much_later():
        raise ValueError("no")

    async def look(query):
        connection = await asyncpg.connect(os.environ["SONIQ_DATABASE_URL"])
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    @pytest.mark.parametrize("again", [1, 2])
    def test_it_is_clean_and_real(soniq_db, again):
        assert os.environ["SONIQ_DATABASE_URL"] == soniq_db
        assert asyncio.run(look("select id from soniq.jobs")) == []
        assert app.enqueue_sync(flaky, {"text": "a"}) == 1
        assert run_until_empty_sync(app) == 4
        assert asyncio.run(look("select job_name, attempt from soniq.finished_jobs order by id")) == [
            ("flaky", 2), ("follow_up", 1)
        ]
        assert asyncio.run(look("select job_name, reason from soniq.dead_letter_jobs")) == [
            ("unknown", "unknown_job")
        ]
        assert asyncio.run(look("select runner_id from soniq.runners")) == []

    def test_in_a_loop_of_the_tests_own(soniq_db):
        async def test():
            await app.enqueue(tried_much_later)
            assert await run_until_empty(app) == 1
            assert await look("select status::text, attempt from soniq.jobs") == [("queued", 1)]
            await app.close()
        asyncio.run(test())
"""


def pytest_in(
    folder: Path, source: str, *flags: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    (folder / "test_theirs.py").write_text(textwrap.dedent(source), encoding="utf-8")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SONIQ_", "PG"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags],
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_pytest_finds_it() -> None:
    [found] = [each for each in entry_points(group="pytest11") if each.name == "soniq"]
    assert found.value == "soniq.pytest_plugin"


def test_on_a_server_of_its_own(tmp_path: Path) -> None:
    tests = textwrap.dedent(TESTS) + textwrap.dedent("""
        def test_last(soniq_db):
            data = asyncio.run(look("select current_setting('data_directory')"))
            open("data.txt", "w").write(data[0][0])
    """)
    done = pytest_in(tmp_path, tests, SONIQ_TEST_POSTGRES=str(debian_binaries()))
    assert "4 passed" in done.stdout, done.stdout + done.stderr
    data = (tmp_path / "data.txt").read_text()
    assert data.startswith("/tmp/soniq-test-")
    assert not Path(data).exists()
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert data not in processes.stdout, "nothing is left of the server"


def test_on_a_database_that_is_given(tmp_path: Path, empty_database: str) -> None:
    rows(empty_database, "create table of_theirs as select 1 as kept")
    for _ in range(2):  # the first deploys the schema
        done = pytest_in(tmp_path, TESTS, SONIQ_TEST_DATABASE_URL=empty_database)
        assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert rows(empty_database, "select kept from of_theirs") == [(1,)]


def test_a_database_in_which_a_runner_works_is_left_alone(
    tmp_path: Path, database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        from soniq import Soniq
        app = Soniq()

        @app.job
        async def fine():
            pass
    """)
    start_runner(database).wait_for_log("jobs at once")
    rows(database, "select soniq.enqueue('fine', delay => '1 hour')")
    done = pytest_in(tmp_path, TESTS, "-x", SONIQ_TEST_DATABASE_URL=database)
    assert "a soniq-runner is at work in postgresql://" in done.stdout
    assert rows(database, "select count(*) from soniq.jobs") == [(1,)]


def test_without_a_database_it_says_what_to_set(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    (tmp_path / "conftest.py").write_text(
        "from soniq import embedded\nembedded.WHERE_INSTALLED, embedded.WHEEL = (), 'no_wheel'\n"
    )
    done = pytest_in(tmp_path, TESTS, PATH=str(nothing))
    assert "set SONIQ_TEST_DATABASE_URL=postgresql://user@host/database" in done.stdout
    assert done.returncode == 1


FORGETFUL = """
    from soniq import Soniq
    app = Soniq()

    async def other():
        pass

    def test_forgets(soniq_db):
        app.enqueue("x")

    def test_is_blameless(soniq_db):
        other()

    def test_remembers(soniq_db):
        app.enqueue_sync("x")
"""


def test_a_forgotten_await_fails_the_test(tmp_path: Path, empty_database: str) -> None:
    done = pytest_in(tmp_path, FORGETFUL, SONIQ_TEST_DATABASE_URL=empty_database)
    assert "FAILED test_theirs.py::test_forgets" in done.stdout, done.stdout
    assert "coroutine 'Soniq.enqueue' was never awaited" in done.stdout
    assert "1 failed, 2 passed" in done.stdout
    done = pytest_in(
        tmp_path, FORGETFUL.replace("(soniq_db)", "()"), "-k", "forgets", "-p", "no:soniq"
    )
    assert "1 passed" in done.stdout


def test_until_empty_runs_what_a_job_enqueues_at_any_concurrency(database: str) -> None:
    app = Soniq(database)

    @app.job
    async def countdown(left: int) -> int:
        if left:
            await app.enqueue(countdown, {"left": left - 1})
        return left

    async def enqueue() -> None:
        await app.enqueue(countdown, {"left": 20})
        await app.enqueue(countdown, {"left": 20}, queue="other")
        assert await run_until_empty(app, queues=["default"], concurrency=1) == 41 - 20
        await app.close()

    asyncio.run(enqueue())
    assert run_until_empty_sync(app) == 1 + 20
    assert rows(database, "select count(*) from soniq.finished_jobs") == [(42,)]
