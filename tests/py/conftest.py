"""What the tests share: a PostgreSQL server with Soniq deployed, and runners as real processes.

    def test_a_job_runs(database: str, write_jobs: WriteJobs, start_runner: StartRunner) -> None:
        write_jobs('''
            from soniq import Soniq
            app = Soniq()

            @app.job
            async def greet(name: str) -> str:
                return f"hello {name}"
        ''')
        runner = start_runner(database, concurrency=2)
        [(job_id,)] = rows(database, "select soniq.enqueue('greet', %s)", '{"name": "Ada"}')
        wait_for(lambda: rows(database, "select from soniq.finished_jobs where id = %s", job_id))
        assert runner.stop() == 0

The types are imported: from conftest import StartRunner, WriteJobs, rows; from waiting import wait_for;
from runner_process import RunnerProcess; from testing.server import Server.
"""

import itertools
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString, Protocol

import psycopg
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "script"), str(ROOT / "examples/orders")]

from runner_process import RunnerProcess  # noqa: E402
from testing.deployment import deploy_snapshot  # noqa: E402
from testing.server import Server, throwaway_server  # noqa: E402

from chaos.world import World  # noqa: E402

TEMPLATE = "soniq_template"


# Files of few tests that take long: what is started last is waited for alone.
FIRST = (
    "test_dashboard_pages.py",
    "test_wheel.py",
    "test_soak.py",
    "test_model.py",
    "test_demo.py",
    "test_command_setup.py",
    "test_command_dev.py",
    "test_plugin.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts these files first."""
    items.sort(key=lambda item: item.path.name not in FIRST)


def rows(url: str, query: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
    """Runs one statement, commits it, and answers with its rows ([] if it has none)."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query, parameters)
        return cursor.fetchall() if cursor.description is not None else []


class WriteJobs(Protocol):
    """Writes a module for runners to import: write_jobs(source, name="jobs")."""

    def __call__(self, source: str, name: str = "jobs") -> Path:
        """Answers with the module's file."""


class StartRunner(Protocol):
    """Starts a soniq-runner: start_runner(database, "--burst", concurrency=2, poll_interval=0.2)."""

    def __call__(self, url: str, *flags: str, **settings: object) -> RunnerProcess:
        """`settings` become SONIQ_* variables; jobs_modules is "jobs" unless told."""


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server that all tests share. A test that stops one takes `own_server`."""
    with throwaway_server() as server:
        server.create_database(TEMPLATE)
        deploy_snapshot(server, TEMPLATE)
        yield server


@pytest.fixture(scope="session")
def _database_names() -> Iterator[str]:
    return (f"test_{number}" for number in itertools.count(1))


@pytest.fixture
def database(server: Server, _database_names: Iterator[str]) -> Iterator[str]:
    """The URL of a new database with Soniq deployed, this test's alone."""
    name = next(_database_names)
    yield server.create_database(name, TEMPLATE)
    server.drop_database(name)


@pytest.fixture
def empty_database(server: Server, _database_names: Iterator[str]) -> Iterator[str]:
    """The URL of a new database without Soniq."""
    name = next(_database_names)
    yield server.create_database(name)
    server.drop_database(name)


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server of this test's own, to be stopped and started, with Soniq in own_server.url()."""
    with throwaway_server() as server:
        deploy_snapshot(server, "postgres")
        yield server


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server of this test's own to be broken, where chaos/ takes notes. No runner is at work yet."""
    with World.opened(tmp_path) as world:
        yield world


@pytest.fixture
def wired_world(tmp_path: Path) -> Iterator[World]:
    """The same, and its runners reach the server over a cable."""
    with World.opened(tmp_path, over_cable=True) as world:
        yield world


@pytest.fixture
def write_jobs(tmp_path: Path) -> WriteJobs:
    """Writes modules with handlers where start_runner starts its runners."""

    def write(source: str, name: str = "jobs") -> Path:
        module = tmp_path / f"{name}.py"
        module.write_text(textwrap.dedent(source), encoding="utf-8")
        return module

    return write


@pytest.fixture
def start_runner(tmp_path: Path) -> Iterator[StartRunner]:
    """Starts runners in tmp_path. Those that still run at the test's end are killed.

    Their logs are part of a failing test's report, as captured output of its teardown.
    """
    started: list[RunnerProcess] = []

    def start(url: str, *flags: str, **settings: object) -> RunnerProcess:
        settings = {"jobs_modules": "jobs", **settings}
        log = tmp_path / f"runner-{len(started) + 1}.log"
        started.append(RunnerProcess(url, tmp_path, log, *flags, **settings))
        return started[-1]

    yield start
    for number, runner in enumerate(started, 1):
        runner.kill()
        print(f"----- log of runner {number} (pid {runner.pid})\n{runner.log}")
