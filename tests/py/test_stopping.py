"""Stopping a runner: it drains, or hands back what it cannot finish, and always ends."""

import signal

import pytest
from conftest import StartRunner, WriteJobs, rows
from runner_process import RunnerProcess
from testing.server import Server
from waiting import wait_for

HANDLERS = """
    import asyncio, os, time
    from soniq import Soniq
    app = Soniq()

    @app.job
    async def until_told(file: str):
        while not os.path.exists(file):
            await asyncio.sleep(0.01)

    @app.job
    def block():
        time.sleep(60)

    @app.job
    async def refuse():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
"""


def with_a_job_at_work(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, call: str, **settings: object
) -> RunnerProcess:
    write_jobs(HANDLERS)
    rows(database, f"select soniq.enqueue({call})")
    runner = start_runner(database, **settings)
    wait_for(lambda: rows(database, "select from soniq.jobs where status = 'processing'"))
    return runner


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_jobs_end_and_claims_no_more(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, number: signal.Signals
) -> None:
    module = write_jobs(HANDLERS)
    file = module.with_name("told")
    runner = with_a_job_at_work(
        database, write_jobs, start_runner, f"'until_told', '{{\"file\": \"{file}\"}}'"
    )
    runner.send(number)
    runner.wait_for_log(f"{number.name}: claiming no more, finishing 1 jobs")
    rows(database, "select soniq.enqueue('until_told', '{\"file\": \"/\"}')")
    file.touch()
    assert runner.exit_code() == 0
    assert rows(database, "select count(*) from soniq.finished_jobs") == [(1,)]
    # A claim that was under way may have brought it: then it was handed back.
    spent = "select status::text, attempt - (max_attempts - 10) from soniq.jobs"
    assert rows(database, spent) == [("queued", 0)]


@pytest.mark.parametrize("call", ["'until_told', '{\"file\": \"/never\"}'", "'block'"])
def test_at_the_shutdown_timeout_jobs_are_released(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, call: str
) -> None:
    runner = with_a_job_at_work(database, write_jobs, start_runner, call, shutdown_timeout=0.2)
    assert runner.stop() == 0
    assert "the shutdown timeout: releasing 1 jobs" in runner.log
    assert rows(
        database,
        "select status::text, attempt, max_attempts, jsonb_array_length(errors) from soniq.jobs",
    ) == [("queued", 1, 11, 0)], "no attempt is spent"
    assert rows(database, "select from soniq.runners") == []


def test_a_second_signal_releases_at_once(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    runner = with_a_job_at_work(
        database,
        write_jobs,
        start_runner,
        "'until_told', '{\"file\": \"/never\"}'",
        shutdown_timeout=600,
    )
    runner.send(signal.SIGTERM)
    runner.wait_for_log("claiming no more")
    runner.send(signal.SIGINT)
    assert runner.exit_code() == 0
    assert rows(database, "select status::text from soniq.jobs") == [("queued",)]


def test_an_idle_runner_ends_at_once(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database, poll_interval=600)
    runner.wait_for_log("jobs at once")
    assert runner.stop() == 0


def test_without_its_database_it_ends_too_whatever_its_handlers_do(
    own_server: Server, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    runner = with_a_job_at_work(
        own_server.url(), write_jobs, start_runner, "'refuse'", shutdown_timeout=0.2
    )
    own_server.stop(signal.SIGQUIT)
    assert runner.stop() == 1
    assert "1 outcomes could not be reported; these jobs will be taken back" in runner.log
    assert "a handler did not end when its job did; leaving it behind" in runner.log
