"""What keeps a runner from starting: each with its exit code, and a message that says the remedy."""

import pytest
from conftest import StartRunner, WriteJobs, rows
from testing.server import Server

GOOD = """
    from soniq import Soniq
    app = Soniq()

    @app.job
    async def work():
        pass
"""


def refusal(start_runner: StartRunner, url: str, code: int, **settings: object) -> str:
    runner = start_runner(url, **settings)
    assert runner.exit_code() == code, runner.log
    assert "Traceback" not in runner.log
    return runner.log


def test_all_bad_settings_are_told_at_once(database: str, start_runner: StartRunner) -> None:
    said = refusal(
        start_runner, "mysql://x/y", 10, jobs_modules="", concurrency="many", poll_interval=-1
    )
    assert "SONIQ_DATABASE_URL is 'mysql://x/y': give the database's address" in said
    assert "SONIQ_JOBS_MODULES is not set: give the modules with your handlers" in said
    assert "SONIQ_CONCURRENCY is 'many': give a whole number, 1 or more" in said
    assert "SONIQ_POLL_INTERVAL is '-1': give a number of seconds above 0" in said


def test_a_heartbeat_timeout_below_its_interval(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    said = refusal(start_runner, database, 10, heartbeat_interval=5, heartbeat_timeout=5)
    assert "SONIQ_HEARTBEAT_TIMEOUT is 5: give more than SONIQ_HEARTBEAT_INTERVAL" in said


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        (None, 11, "cannot import 'jobs', named by SONIQ_JOBS_MODULES: ModuleNotFoundError"),
        ("import nowhere_to_be_found", 11, "No module named 'nowhere_to_be_found'"),
        ("1 / 0", 11, "ZeroDivisionError: division by zero"),
        ("x = 1", 12, "module 'jobs' has no jobs: define app = Soniq() in it"),
        ("from soniq import Soniq\napp = Soniq()", 12, "module 'jobs' has no jobs"),
        (
            GOOD + "\n    @app.job(name='work')\n    async def more():\n        pass\n",
            13,
            "two handlers have the job name 'work': jobs.work and jobs.more; give one of them another",
        ),
    ],
)
def test_modules(
    database: str,
    write_jobs: WriteJobs,
    start_runner: StartRunner,
    source: str | None,
    code: int,
    message: str,
) -> None:
    if source is not None:
        write_jobs(source)
    assert message in refusal(start_runner, database, code)
    assert rows(database, "select from soniq.runners") == []


def test_two_modules_with_one_job_name(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    write_jobs(GOOD, name="more")
    said = refusal(start_runner, database, 13, jobs_modules="jobs,more")
    assert "two handlers have the job name 'work': jobs.work and more.work" in said


def test_a_policy_that_the_database_refuses_names_the_handler(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD.replace("@app.job", "@app.job(priority=1001)"))
    said = refusal(start_runner, database, 10)
    assert "the job 'work' (jobs.work) cannot be registered: priority 1001 is out of range" in said
    assert rows(database, "select from soniq.job_types") == []


def test_a_database_that_is_not_there(write_jobs: WriteJobs, start_runner: StartRunner) -> None:
    write_jobs(GOOD)
    said = refusal(start_runner, "postgresql://me:secret@127.0.0.1:1/nothing", 14)
    assert "cannot reach the database at postgresql://me:***@127.0.0.1:1/nothing" in said
    assert "check SONIQ_DATABASE_URL" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sec/ret@127.0.0.1:1/x",
        "postgresql://me:sec?ret@127.0.0.1:1/x",
        "postgresql://me:sec#ret@127.0.0.1:port/x",
        "postgresql://127.0.0.1:1/x?user=me&password=secret",
    ],
)
def test_no_part_of_a_password_is_ever_shown(
    write_jobs: WriteJobs, start_runner: StartRunner, url: str
) -> None:
    write_jobs(GOOD)
    said = refusal(start_runner, url, 14)
    assert "the database" in said
    assert "sec" not in said
    assert "ret@" not in said


def test_a_schema_that_is_not_deployed(
    own_server: Server, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    rows(own_server.url(), "drop schema soniq cascade")
    own_server.create_database("another")
    said = refusal(start_runner, own_server.url(), 15)
    url = own_server.url()
    assert f"run: soniq setup, with SONIQ_DATABASE_URL={url}, or, in a checkout," in said
    assert f"sqitch deploy db:{url}. If it was set up already" in said
    assert "another database, which this server does not have or does not show" in said


def test_a_schema_that_is_in_another_database(
    database: str, empty_database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    with_password = [url.replace("tester@", "tester:secret@") for url in (empty_database, database)]
    said = refusal(start_runner, with_password[0], 15)
    theirs, ours = (url.replace("tester@", "tester:***@") for url in (empty_database, database))
    assert f"SONIQ_DATABASE_URL is {theirs}, and this server has the schema in " in said
    assert ours in said
    assert "set SONIQ_DATABASE_URL to that, or run soniq setup" in said
    assert "secret" not in said


def test_a_schema_that_this_user_may_not_use(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(GOOD)
    rows(database, "drop role if exists may_nothing")
    rows(database, "create role may_nothing login")
    said = refusal(start_runner, database.replace("tester@", "may_nothing@"), 15)
    assert "permission denied for schema soniq" in said
    assert "grant this user soniq_runner" in said
    assert "soniq setup" not in said
    rows(database, "drop role may_nothing")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("0.0.9", "is of version 0.0.9, too old for this runner"),
        ("999.0.0", "is of version 999.0.0, too new for this runner"),
    ],
)
def test_a_schema_of_another_version(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, version: str, message: str
) -> None:
    write_jobs(GOOD)
    create = (
        f"create or replace function soniq.version() returns text language sql return '{version}'"
    )
    rows(database, create)
    said = refusal(start_runner, database, 16)
    assert message in said
    assert ("run: soniq setup, with SONIQ_DATABASE_URL=postgresql://" in said) is (
        version == "0.0.9"
    )


def test_an_unknown_option(database: str, write_jobs: WriteJobs, start_runner: StartRunner) -> None:
    write_jobs(GOOD)
    runner = start_runner(database, "--fast")
    assert runner.exit_code() == 2
    assert "No such option" in runner.log
