"""Where settings come from, which wins, and what is said of those that are wrong or unknown."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import StartRunner, WriteJobs, rows
from waiting import wait_for

SONIQ = Path(sys.executable).with_name("soniq")
GOOD = """
    from soniq import Soniq
    app = Soniq()

    @app.job
    async def work():
        pass
"""


def config(folder: Path, *flags: str, **environment: str) -> tuple[int, str, str]:
    """`soniq config` in a folder: exit code, stdout, stderr."""
    done = subprocess.run(
        [SONIQ, "config", *flags],
        cwd=folder,
        env={f"SONIQ_{name.upper()}": value for name, value in environment.items()},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def values(folder: Path, **environment: str) -> dict[str, dict[str, Any]]:
    environment = {
        "database_url": "postgresql://me:secret@host/shop",
        "jobs_modules": "jobs",
        **environment,
    }
    code, printed, _ = config(folder, "--json", **environment)
    assert code == 0
    return {each["name"]: each for each in json.loads(printed)}


def test_the_environment_wins_over_the_file_and_that_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "soniq.toml").write_text(
        'concurrency = 8\npoll_interval = 0.5\nqueues = ["mail", "bills"]\nprune_schedules = true\n'
    )
    found = values(tmp_path, concurrency="16")
    assert (found["SONIQ_CONCURRENCY"]["value"], found["SONIQ_CONCURRENCY"]["source"]) == (
        "16",
        "SONIQ_CONCURRENCY",
    )
    assert found["SONIQ_POLL_INTERVAL"]["value"] == "0.5"
    assert found["SONIQ_QUEUES"]["value"] == "mail,bills"
    assert found["SONIQ_PRUNE_SCHEDULES"]["source"] == "soniq.toml"
    assert found["SONIQ_TICK_INTERVAL"]["source"] == "default"


def test_a_flag_wins_over_the_environment(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    runner = start_runner(database, "--concurrency", "7", concurrency=3)
    runner.wait_for_log("7 jobs at once")


def test_secrets_are_masked(tmp_path: Path) -> None:
    found = values(tmp_path, listen_url="postgresql://me:other@direct/shop")
    assert found["SONIQ_DATABASE_URL"]["value"] == "postgresql://me:***@host/shop"
    assert found["SONIQ_LISTEN_URL"]["value"] == "postgresql://me:***@direct/shop"


def test_each_is_explained_and_what_is_wrong_is_said(tmp_path: Path) -> None:
    code, printed, _ = config(tmp_path, concurrency="many")
    assert code == 10
    assert "SONIQ_CONCURRENCY = many  (SONIQ_CONCURRENCY)\n" in printed
    assert "    SONIQ_CONCURRENCY is 'many': give a whole number, 1 or more\n" in printed
    assert "SONIQ_DATABASE_URL = not set" in printed
    assert "    Seconds between two calls of soniq.tick().\n" in printed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "concurency = 4",
            "soniq.toml: concurency is not a setting of Soniq; did you mean concurrency?",
        ),
        ("colour = 4", "soniq.toml: colour is not a setting of Soniq\n"),
        ("concurrency = = 4", "soniq.toml cannot be read: "),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "soniq.toml").write_text(content)
    code, _, said = config(tmp_path)
    assert code == 10
    assert message in said


def test_unknown_names_are_reported_with_the_nearest(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    runner = start_runner(database, concurency=8, something_else=1)
    runner.wait_for_log("jobs at once")
    assert (
        "SONIQ_CONCURENCY is not a setting of Soniq; did you mean SONIQ_CONCURRENCY?" in runner.log
    )
    assert "SONIQ_SOMETHING_ELSE is not a setting of Soniq\n" in runner.log


def test_a_pool_that_is_too_small_is_refused_with_the_numbers(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    runner = start_runner(database, concurrency=30, pool_max_size=20)
    assert runner.exit_code() == 10
    assert (
        "Connection pool too small: SONIQ_POOL_MAX_SIZE is 20, and SONIQ_CONCURRENCY +"
        " SONIQ_POOL_HEADROOM is 30 + 2 = 32: set SONIQ_POOL_MAX_SIZE=32, or lower SONIQ_CONCURRENCY"
        " to 18, or set SONIQ_POOL_MAX_SIZE=0 if no handler asks for app.connection()" in runner.log
    )


def test_without_a_pool_a_handler_that_asks_for_a_connection_is_told(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(
        GOOD
        + """
    @app.job(max_attempts=1)
    async def ask():
        async with app.connection():
            pass
    """
    )
    runner = start_runner(database, concurrency=30, pool_max_size=0)
    runner.wait_for_log("jobs at once")
    rows(database, "select soniq.enqueue('ask')")
    [(message,)] = wait_for(
        lambda: rows(database, "select errors -> 0 ->> 'message' from soniq.dead_letter_jobs")
    )
    assert message.startswith("a connection is asked for, and SONIQ_POOL_MAX_SIZE is 0")
    assert runner.stop() == 0


def test_json_logs_are_one_object_a_line(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    runner = start_runner(database, log_format="json")
    runner.wait_for_log("jobs at once")
    assert runner.stop() == 0
    lines = [json.loads(line) for line in runner.log.splitlines()]
    assert {line["logger"] for line in lines} == {"soniq"}
    assert lines[0].keys() == {"time", "level", "logger", "message"}
    assert lines[-1]["message"] == "stopped; nothing is left running"


def test_run_once_runs_one_job(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    rows(database, "select soniq.enqueue_many('work', array_fill('{}'::jsonb, array[3]))")
    assert start_runner(database, "--run-once").exit_code() == 0
    assert rows(database, "select count(*) from soniq.finished_jobs") == [(1,)]
    assert start_runner(database, "--burst").exit_code() == 0
    assert rows(database, "select count(*) from soniq.finished_jobs") == [(3,)]


def test_the_scheduler_only_ticks(database: str) -> None:
    rows(database, "select soniq.schedule('seconds', every => '1 second')")
    scheduler = subprocess.Popen(
        [SONIQ, "scheduler"],
        env={"SONIQ_DATABASE_URL": database, "SONIQ_TICK_INTERVAL": "0.2"},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: rows(database, "select from soniq.jobs where schedule = 'seconds' limit 1"))
    scheduler.terminate()
    _, said = scheduler.communicate(timeout=10)
    assert scheduler.returncode == 0
    assert "ticking every 0.2 s" in said
    assert "1 scheduled jobs" in said
    assert rows(database, "select from soniq.runners") == []

    once = subprocess.run(
        [SONIQ, "scheduler", "--once"],
        env={"SONIQ_DATABASE_URL": database},
        check=True,
        capture_output=True,
        text=True,
    )
    assert once.stdout in ("nothing was due\n", "1 scheduled jobs\n")
