"""What runs out: the server's disk, and a runner's memory."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from conftest import StartRunner, WriteJobs, rows
from testing.deployment import deploy_snapshot
from testing.server import as_server_user, throwaway_server
from waiting import wait_for

from chaos.checker import ERROR, HANDED_BACK, RUNNER_LOST
from chaos.producing import Producer
from chaos.world import World

RATE = 60.0
SEED = 1
DISK = "64m"
MEMORY = 150_000_000
HANDLERS = """
    from soniq import Soniq
    app = Soniq()

    @app.job(max_attempts=1)
    async def greedy():
        hoard = []
        while True:
            hoard.append(b"x" * 10_000_000)

    @app.job
    async def modest():
        pass
"""


@contextmanager
def small_disk() -> Iterator[Path]:
    """A folder of the server's user on a disk of its own."""
    folder = Path(tempfile.mkdtemp(prefix="soniq-test-", dir="/tmp"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder],
        capture_output=True,
        text=True,
    )
    try:
        if mounted.returncode:
            pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
        for word in as_server_user():
            if word.startswith("--reuid="):
                shutil.chown(folder, int(word.removeprefix("--reuid=")))
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], capture_output=True)
        folder.rmdir()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world whose database is on a disk of 64 MB; its log is not."""
    with small_disk() as disk, throwaway_server() as server:
        template = server.url("template1")
        rows(template, f"create tablespace small location '{disk}'")
        rows(template, "alter database postgres set tablespace small")
        deploy_snapshot(server, "postgres")
        with World(server, tmp_path).closing() as world:
            yield world


@contextmanager
def full_disk(world: World) -> Iterator[None]:
    """Nothing more can be written to the tables as long as the block lasts."""
    with psycopg.connect(world.url, autocommit=True) as connection:
        # Vacuum would give back what the statement that fails has taken.
        connection.execute("create table ballast (filler text) with (autovacuum_enabled = off)")
        connection.execute("alter table ballast alter filler set storage plain")
        for rows_at_once in (1000, 1):
            with pytest.raises(psycopg.errors.DiskFull):
                _fill(connection, rows_at_once)
        yield
        connection.execute("drop table ballast")


def _fill(connection: psycopg.Connection, rows_at_once: int) -> None:
    filler = "insert into ballast select repeat('x', 8000) from generate_series(1, %s)"
    while True:
        connection.execute(filler, [rows_at_once])


def test_a_full_disk_costs_time_and_no_job(world: World) -> None:
    world.start_runners(2)
    producer = Producer(world.url, world.notes, RATE, SEED)
    producer.start()
    wait_for(lambda: producer.acknowledged > RATE)
    with full_disk(world):
        for runner in world.runners:
            runner.wait_for_log("could not extend file|No space left")
            assert runner.process.poll() is None
    before = producer.acknowledged
    wait_for(lambda: producer.acknowledged > before + RATE)
    producer.stop()
    world.wait_until_all_has_ended()
    report = world.report(RUNNER_LOST, HANDED_BACK, ERROR)
    assert report.faults == []


@contextmanager
def little_memory(pid: int) -> Iterator[None]:
    """The kernel kills the process if it takes more than MEMORY."""
    first, second = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    parent, limit = (first, "memory.limit_in_bytes") if first.exists() else (second, "memory.max")
    group = parent / f"soniq-test-{pid}"
    try:
        group.mkdir()
        (group / limit).write_text(str(MEMORY))
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        pytest.skip(f"memory cannot be limited here: {error}")
    yield
    group.rmdir()


def test_a_handler_that_takes_all_memory_costs_its_own_attempt_and_no_other_job(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    settings = {"heartbeat_interval": 0.2, "heartbeat_timeout": 1, "tick_interval": 0.1}
    greedy = start_runner(database, **settings)
    greedy.wait_for_log("jobs at once")
    with little_memory(greedy.pid):
        rows(database, "select soniq.enqueue('greedy')")
        rows(database, "select soniq.enqueue('modest') from generate_series(1, 50)")
        assert greedy.exit_code() == -9
    start_runner(database, **settings)
    wait_for(lambda: not rows(database, "select from soniq.jobs"))
    assert rows(database, "select job_name, reason from soniq.dead_letter_jobs") == [
        ("greedy", "runner_lost")
    ]
    assert rows(database, "select count(*) from soniq.finished_jobs where status = 'done'") == [
        (50,)
    ]
