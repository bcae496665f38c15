"""How an idle runner learns of a job: by NOTIFY at once, by looking again if need be."""

import pytest
from conftest import StartRunner, WriteJobs, rows
from runner_process import RunnerProcess
from waiting import wait_for

HANDLERS = """
    from soniq import Soniq
    app = Soniq()

    @app.job
    async def quick():
        pass

    @app.job
    async def lead():
        return await app.enqueue(quick, delay=0.5)
"""
# Part 2048 of sql/wakeup.sql's locks: one for each runner and queue.
SIGNS = "select pid from pg_locks where locktype = 'advisory' and classid = 1397686272 + 2048"


def idle_runner(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, **settings: object
) -> RunnerProcess:
    """A runner that would not look again for ten minutes."""
    write_jobs(HANDLERS)
    runner = start_runner(database, **{"poll_interval": 600, **settings})
    wait_for(lambda: rows(database, SIGNS), what="the runner's waiting sign")
    return runner


def is_done(database: str, job_id: int) -> bool:
    return bool(rows(database, "select from soniq.finished_jobs where id = %s", job_id))


def test_an_enqueue_wakes_an_idle_runner(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    idle_runner(database, write_jobs, start_runner)
    for _ in range(20):
        [(job_id,)] = rows(database, "select soniq.enqueue('quick')")
        wait_for(lambda job_id=job_id: is_done(database, job_id))  # type: ignore[misc]


def test_a_job_for_later_is_run_when_it_is_due(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    [(job_id,)] = rows(database, "select soniq.enqueue('quick', delay => '1 second')")
    start_runner(database, poll_interval=600)
    wait_for(lambda: is_done(database, job_id))
    assert rows(database, "select from soniq.finished_jobs where claimed_at < scheduled_at") == []


def test_what_a_handler_enqueues_for_later_is_run_when_it_is_due(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    idle_runner(database, write_jobs, start_runner)
    [(lead,)] = rows(database, "select soniq.enqueue('lead')")
    wait_for(lambda: is_done(database, lead))
    [(follower,)] = rows(
        database, "select result::bigint from soniq.finished_jobs where id = %s", lead
    )
    wait_for(lambda: is_done(database, follower))


def test_only_the_queues_that_it_serves(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    idle_runner(database, write_jobs, start_runner, queues="mail,bills")
    [(other,)] = rows(database, "select soniq.enqueue('quick', queue => 'other')")
    [(mail,)] = rows(database, "select soniq.enqueue('quick', queue => 'mail')")
    wait_for(lambda: is_done(database, mail))
    assert not is_done(database, other)


@pytest.mark.parametrize(
    ("role", "elsewhere", "told"),
    [
        ("claim", False, "connected again, to claim"),
        ("listen", True, "the listening connection was lost; polling until it is back"),
    ],
)
def test_the_listening_connection_is_made_anew(
    database: str,
    write_jobs: WriteJobs,
    start_runner: StartRunner,
    role: str,
    elsewhere: bool,
    told: str,
) -> None:
    runner = idle_runner(
        database, write_jobs, start_runner, **({"listen_url": database} if elsewhere else {})
    )
    ended = rows(
        database,
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
        f"soniq-runner {role}",
    )
    assert ended == [(True,)]
    runner.wait_for_log(told)
    wait_for(lambda: rows(database, SIGNS), what="the sign to be up again")
    [(job_id,)] = rows(database, "select soniq.enqueue('quick')")
    wait_for(lambda: is_done(database, job_id))


def test_without_a_notification_the_runner_polls(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    runner = idle_runner(database, write_jobs, start_runner, poll_interval=0.5)
    runner.wait_for_log("jobs at once")
    rows(database, "alter function soniq._wake rename to _wake_no_more")
    rows(
        database,
        "create function soniq._wake(queue text, jobs integer default 1, may_be_more boolean default false)"
        " returns void language sql as 'select null::void'",
    )
    [(job_id,)] = rows(database, "select soniq.enqueue('quick')")
    wait_for(lambda: is_done(database, job_id))
