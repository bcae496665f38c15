"""Where settings come from, which wins, and what is said of those that are wrong or unknown."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import StartRunner, WriteJobs, rows
from soniq.settings import SETTINGS, Setting
from soniq_command import done, soniq
from waiting import wait_for

SONIQ = Path(sys.executable).with_name("soniq")
# Nothing else of the environment: it may have settings of its own.
PATHS = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
GOOD = """
    from soniq import Soniq
    app = Soniq()

    @app.job
    async def work():
        pass
"""


def config(folder: Path, *flags: str, **environment: str) -> tuple[int, str, str]:
    """`soniq config` in a folder: exit code, stdout, stderr."""
    finished = subprocess.run(
        [SONIQ, "config", *flags],
        cwd=folder,
        env={**PATHS, **{f"SONIQ_{name.upper()}": value for name, value in environment.items()}},
        check=False,
        capture_output=True,
        text=True,
    )
    return finished.returncode, finished.stdout, finished.stderr


def refused(folder: Path, *command: str, **environment: str) -> str:
    """A command in a folder that ends with 10: what it says."""
    finished = subprocess.run(
        [SONIQ, *command],
        cwd=folder,
        env={**PATHS, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 10, finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stderr


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


# For each setting a value of the environment, which loses, and one of a flag.
VALUES = {
    "database_url": ("postgresql://env/x", "postgresql://flag/x"),
    "listen_url": ("postgresql://env/x", "postgresql://flag/x"),
    "jobs_modules": ("theirs", "mine"),
    "queues": ("mail", "bills"),
    "prune_schedules": ("true", "false"),
    "unknown_jobs": ("warn", "refuse"),
    "log_level": ("ERROR", "DEBUG"),
    "log_format": ("json", "text"),
    "dashboard_host": ("127.0.0.2", "::1"),
    "dashboard_write": ("true", "false"),
    "dashboard_api_key": ("sixteen-characters", "seventeen-of-them"),
    "dashboard_trusted_header": ("X-User", "X-Forwarded-User"),
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_flag_wins_over_the_environment(setting: Setting, tmp_path: Path) -> None:
    env, flag = VALUES.get(setting.name, ("11", "22"))
    flags = [setting.flag, flag] if flag != "false" else [f"--no-{setting.flag[2:]}"]
    needed = {"database_url": "postgresql://host/shop", "jobs_modules": "jobs"}
    code, printed, _ = config(tmp_path, "--json", *flags, **{**needed, setting.name: env})
    [found] = [each for each in json.loads(printed) if each["name"] == setting.variable]
    shown = (
        {env: env, flag: flag} if setting.name != "dashboard_api_key" else {env: "***", flag: "***"}
    )
    assert (found["value"], found["source"], found["problem"]) == (shown[flag], setting.flag, None)
    assert code == 0
    code, printed, _ = config(tmp_path, "--json", **{**needed, setting.name: env})
    [found] = [each for each in json.loads(printed) if each["name"] == setting.variable]
    assert (found["value"], found["source"]) == (shown[env], setting.variable)
    whose = "dashboard" if setting.name.startswith("dashboard_") else "worker"
    told = subprocess.run([SONIQ, whose, "--help"], check=True, capture_output=True, text=True)
    assert f"  {setting.flag} " in told.stdout, f"{whose} has it, too"


def test_a_runner_may_be_told_everything_by_flags(
    database: str, write_jobs: WriteJobs, tmp_path: Path
) -> None:
    write_jobs(GOOD.replace("pass", "await app.enqueue('more')"))
    rows(database, "select soniq.enqueue('work', queue => 'mail')")
    rows(database, "select soniq.enqueue('work', queue => 'bills')")
    flags = ["--database-url", database, "--jobs-modules", "jobs", "--queues", "mail"]
    finished = subprocess.run(
        [SONIQ, "worker", "--burst", *flags],
        cwd=tmp_path,
        env=PATHS,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    assert rows(database, "select queue from soniq.finished_jobs") == [("mail",)]
    assert rows(database, "select job_name, queue from soniq.jobs order by id") == [
        ("work", "bills"),
        ("more", "default"),
    ], "the app's own connections go to the same database"


def test_what_is_wrong_with_a_flag_names_it(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    runner = start_runner(database, "--tick-interval", "0", concurrency=3)
    assert runner.exit_code() == 10
    assert (
        "SONIQ_TICK_INTERVAL (from --tick-interval) is '0': give a number of seconds above 0"
        in runner.log
    )


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


@pytest.mark.parametrize(
    "command", [["worker"], ["scheduler"], ["scheduler", "--once"], ["setup"], ["status"]]
)
def test_a_misspelt_name_is_told_of_where_another_is_missing(
    tmp_path: Path, command: list[str]
) -> None:
    said = refused(tmp_path, *command, SONIQ_DATABSE_URL="postgresql://host/shop")
    assert "SONIQ_DATABASE_URL is not set: give the database's address" in said
    assert (
        said.count("SONIQ_DATABSE_URL is not a setting of Soniq; did you mean SONIQ_DATABASE_URL?")
        == 1
    )


@pytest.mark.parametrize("command", [["scheduler", "--once"], ["status"], ["queues", "list"]])
def test_a_misspelt_name_is_told_of_where_nothing_is_wrong(
    database: str, command: list[str]
) -> None:
    finished = subprocess.run(
        [SONIQ, *command],
        env={**PATHS, "SONIQ_DATABASE_URL": database, "SONIQ_TICK_INTERVALL": "2"},
        check=True,
        capture_output=True,
        text=True,
    )
    line = "SONIQ_TICK_INTERVALL is not a setting of Soniq; did you mean SONIQ_TICK_INTERVAL?"
    assert finished.stderr.count(line) == 1
    assert line not in finished.stdout


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "soniq.toml").write_text("concurency = 4\npoll_interval = 0\n")
    said = refused(
        tmp_path,
        "worker",
        SONIQ_DATABASE_URL="mysql://x/y",
        SONIQ_HEARTBEAT_INTERVAL="300",
        SONIQ_POOL_MIN_SIZE="30",
        SONIQ_CONCURRENCY="50",
    )
    for part in (
        "soniq.toml: concurency is not a setting of Soniq; did you mean concurrency?",
        "SONIQ_POLL_INTERVAL (from soniq.toml) is '0': give a number of seconds above 0",
        "SONIQ_DATABASE_URL is 'mysql://x/y': give the database's address",
        "SONIQ_JOBS_MODULES is not set",
        "SONIQ_HEARTBEAT_TIMEOUT is 300: give more than SONIQ_HEARTBEAT_INTERVAL, which is 300",
        "SONIQ_POOL_MIN_SIZE is 30: give no more than SONIQ_POOL_MAX_SIZE, which is 20",
        "Connection pool too small: SONIQ_POOL_MAX_SIZE is 20",
    ):
        assert part in said


def test_a_file_that_cannot_be_read_does_not_hide_the_rest(tmp_path: Path) -> None:
    (tmp_path / "soniq.toml").write_text("concurrency = = 4\n")
    said = refused(tmp_path, "worker", SONIQ_POLL_INTERVAL="often")
    assert "soniq.toml cannot be read: " in said
    assert "SONIQ_POLL_INTERVAL is 'often'" in said
    assert "SONIQ_DATABASE_URL is not set" not in said, "it may be in the file"


def test_modules_that_are_wrong_do_not_hide_a_pool_that_is_too_small(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("x = 1", name="empty")
    runner = start_runner(database, jobs_modules="nowhere,empty", concurrency=50, pool_max_size=20)
    assert runner.exit_code() == 11
    assert "cannot import 'nowhere'" in runner.log
    assert "module 'empty' has no jobs" in runner.log
    assert "SONIQ_CONCURRENCY + SONIQ_POOL_HEADROOM is 50 + 2 = 52" in runner.log


def test_a_pool_that_is_sized_in_code_may_be_small(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD.replace("Soniq()", "Soniq(pool_max_size=1)"))
    runner = start_runner(database, concurrency=50, pool_max_size=20)
    runner.wait_for_log("50 jobs at once")


def test_the_headroom_of_a_pool_may_be_chosen(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    runner = start_runner(database, concurrency=16, pool_max_size=20, pool_headroom=5)
    assert runner.exit_code() == 10
    assert "SONIQ_CONCURRENCY + SONIQ_POOL_HEADROOM is 16 + 5 = 21" in runner.log
    start_runner(database, concurrency=20, pool_max_size=20, pool_headroom=0).wait_for_log(
        "20 jobs"
    )


def test_a_pool_keeps_the_connections_that_it_is_told_to(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(
        GOOD.replace(
            "pass",
            """
        async with app.connection() as connection:
            return await connection.fetchval(
                "select count(*) from pg_stat_activity where application_name = 'the pool'"
            )
            """,
        )
    )
    for least in (1, 5):
        # The runner's own connections have names of their own.
        url = f"{database}&application_name=the%20pool"
        runner = start_runner(url, pool_min_size=least)
        runner.wait_for_log("jobs at once")
        [(job_id,)] = rows(database, "select soniq.enqueue('work')")
        found = "select result from soniq.finished_jobs where id = %s"
        assert wait_for(lambda: rows(database, found, job_id)) == [(least,)]  # noqa: B023
        assert runner.stop() == 0


@pytest.mark.parametrize(("setting", "timed_out"), [("0.2", True), ("0", False)])
def test_a_timeout_for_handlers_that_set_none(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, setting: str, timed_out: bool
) -> None:
    write_jobs(
        """
        import asyncio
        from soniq import Soniq
        app = Soniq()

        @app.job(max_attempts=1)
        async def work():
            await asyncio.sleep(1)
        """
    )
    # Otherwise what no limit does could not be told from five minutes.
    rows(database, "update soniq.settings set default_timeout = interval '0.2 s'")
    start_runner(database, job_timeout=setting).wait_for_log("jobs at once")
    rows(database, "select soniq.enqueue('work')")
    ended = "select status::text from soniq.finished_jobs union all select reason from soniq.dead_letter_jobs"
    assert wait_for(lambda: rows(database, ended)) == [("timeout" if timed_out else "done",)]


def test_no_finished_job_is_kept_where_none_shall_be(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, tmp_path: Path
) -> None:
    write_jobs(GOOD.replace("pass", "open('ran', 'w').close()"))
    runner = start_runner(database, retention=0)
    runner.wait_for_log("jobs at once")
    rows(database, "select soniq.enqueue('work')")
    wait_for((tmp_path / "ran").exists)
    wait_for(lambda: rows(database, "select from soniq.jobs") == [])
    assert rows(database, "select from soniq.finished_jobs") == []


def test_queues_may_be_chosen_by_a_flag(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    for queue in ("mail", "bills", "other"):
        rows(database, "select soniq.enqueue('work', queue => %s)", queue)
    assert start_runner(database, "--burst", "--queues", "mail, bills").exit_code() == 0
    assert rows(database, "select queue from soniq.jobs") == [("other",)]


def test_a_log_level_keeps_what_is_below_it(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD.replace("pass", "1 / 0"))
    rows(database, "select soniq.enqueue('work')")
    runner = start_runner(database, "--burst", log_level="warning")
    assert runner.exit_code() == 0
    assert "WARNING soniq: job 1 (work), attempt 1 of 10: ZeroDivisionError" in runner.log
    assert "INFO" not in runner.log
    rows(database, "select soniq.enqueue('work')")
    runner = start_runner(database, "--burst", log_level="error", concurency=3)
    assert runner.exit_code() == 0
    assert runner.log == ""
    assert rows(database, "select count(*) from soniq.jobs where errors <> '[]'") == [(2,)]


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
        env={**PATHS, "SONIQ_DATABASE_URL": database, "SONIQ_TICK_INTERVAL": "0.2"},
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
        env={**PATHS, "SONIQ_DATABASE_URL": database},
        check=True,
        capture_output=True,
        text=True,
    )
    assert once.stdout in ("nothing was due\n", "1 scheduled jobs\n")


def test_a_tick_may_be_told_in_json(database: str) -> None:
    rows(database, "select soniq.schedule('seconds', every => '1 second')")
    wait_for(lambda: rows(database, "select from soniq.schedules where next_run_at < now()"))
    ticked = done(database, "scheduler", "--once", "--json").json
    [(count,)] = rows(database, "select count(*) from soniq.jobs")
    assert ticked["scheduled_jobs"] == count > 0
    assert ticked["lost_runners"] == 0
    assert "--json goes with --once" in soniq(database, "scheduler", "--json").err
