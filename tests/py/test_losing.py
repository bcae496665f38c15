"""Runners that are frozen, killed or cut off: nothing is lost, and a stale lease is refused."""

import signal
import time

import pytest
from conftest import StartRunner, WriteJobs, rows
from testing.server import Server
from waiting import wait_for

HANDLERS = """
    import asyncio, os, time
    from soniq import Job, Soniq
    app = Soniq()

    @app.job
    async def until_told(file: str, job: Job):
        with open(f"started-{job.id}-{job.attempt}", "w"):
            pass
        while not os.path.exists(file):
            await asyncio.sleep(0.01)
        return os.getpid()

    @app.job(timeout=0)
    async def quick():
        await asyncio.sleep(0.001)

    @app.job
    def hog(seconds: float):
        # Holds the interpreter's lock in long calls, on the event loop's thread or off it.
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            sum(range(3_000_000))

    @app.job
    async def hog_the_loop(seconds: float):
        time.sleep(seconds)
"""
IMPATIENT = {"heartbeat_interval": 0.1, "heartbeat_timeout": 1, "tick_interval": 0.1}


def test_a_frozen_runner_cannot_complete_what_another_was_given(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    file = write_jobs(HANDLERS).with_name("told")
    frozen = start_runner(database, **IMPATIENT)
    [(job_id,)] = rows(
        database,
        "select soniq.enqueue('until_told', jsonb_build_object('file', %s::text))",
        str(file),
    )
    wait_for(file.with_name(f"started-{job_id}-1").exists)
    frozen.send(signal.SIGSTOP)
    other = start_runner(database, **IMPATIENT)
    wait_for(file.with_name(f"started-{job_id}-2").exists, what="the other runner to get the job")
    assert rows(
        database, "select attempt, errors -> 0 ->> 'reason' from soniq.jobs where id = %s", job_id
    ) == [(2, "runner_lost")]

    # Both handlers end in the same instant: the frozen one's has its outcome ready when it thaws.
    file.touch()
    wait_for(lambda: rows(database, "select from soniq.finished_jobs where id = %s", job_id))
    frozen.send(signal.SIGCONT)
    frozen.wait_for_log(f"job {job_id} .*attempt 1: .*the lease was lost")
    frozen.wait_for_log("runner \\d+ was declared dead; registering anew")
    assert rows(
        database,
        "select status::text, attempt, result from soniq.finished_jobs where id = %s",
        job_id,
    ) == [("done", 2, other.pid)]
    assert other.stop() == 0
    [(next_job,)] = rows(database, "select soniq.enqueue('quick')")
    wait_for(lambda: rows(database, "select from soniq.finished_jobs where id = %s", next_job))
    assert frozen.stop() == 0, "it goes on under a new id"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_fifty_jobs_in_flight_are_done_by_the_other_runner_soon(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, how: signal.Signals
) -> None:
    file = write_jobs(HANDLERS).with_name("told")
    settings = {"concurrency": 50, "heartbeat_interval": 0.5, "tick_interval": 0.5}
    victim = start_runner(database, heartbeat_timeout=3, **settings)
    enqueue = (
        "select soniq.enqueue_many('until_told', array_fill("
        "jsonb_build_object('file', %s::text), array[%s]))"
    )
    in_flight = {job_id for (job_id,) in rows(database, enqueue, str(file), 50)}
    started = [file.with_name(f"started-{job_id}-1") for job_id in in_flight]
    wait_for(lambda: all(path.exists() for path in started))
    other = start_runner(database, heartbeat_timeout=3, **settings)
    other.wait_for_log("jobs at once")
    waiting = {job_id for (job_id,) in rows(database, enqueue, str(file), 30)}

    victim.send(how)
    lost_at = time.monotonic()
    file.touch()
    wait_for(lambda: not rows(database, "select from soniq.jobs limit 1"))
    took = time.monotonic() - lost_at
    done = dict(rows(database, "select id, attempt from soniq.finished_jobs where status = 'done'"))
    assert done == dict.fromkeys(in_flight, 2) | dict.fromkeys(waiting, 1), "only those ran twice"
    assert took < 3 + 2
    if how is signal.SIGSTOP:
        victim.send(signal.SIGCONT)
        wait_for(lambda: victim.log.count("the lease was lost") == 50)
        assert victim.stop() == 0
        assert rows(
            database, "select distinct result from soniq.finished_jobs where status = 'done'"
        ) == [(other.pid,)]


def test_a_runner_killed_in_mid_work_loses_nothing(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    victim = start_runner(database, concurrency=20, **IMPATIENT)
    victim.wait_for_log("jobs at once")
    rows(database, "select soniq.enqueue_many('quick', array_fill('{}'::jsonb, array[3000]))")
    wait_for(lambda: rows(database, "select from soniq.finished_jobs limit 1"))
    victim.kill()
    start_runner(database, concurrency=20, **IMPATIENT)
    wait_for(lambda: not rows(database, "select from soniq.jobs limit 1"), within=30)
    assert rows(
        database,
        "select count(*), count(distinct id) from soniq.finished_jobs where status = 'done'",
    ) == [(3000, 3000)]
    assert (
        rows(
            database,
            "select from soniq.finished_jobs where attempt > 1 and errors -> 0 ->> 'reason' <> 'runner_lost'",
        )
        == []
    )


def test_a_handler_that_blocks_the_loop_does_not_look_dead(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    start_runner(database, **IMPATIENT)
    start_runner(database, **IMPATIENT)
    rows(database, "select soniq.enqueue('hog_the_loop', '{\"seconds\": 3}')")
    rows(database, "select soniq.enqueue('hog', '{\"seconds\": 3}')")
    wait_for(
        lambda: rows(database, "select count(*) from soniq.finished_jobs") == [(2,)], within=20
    )
    assert rows(database, "select attempt, errors from soniq.finished_jobs") == [(1, []), (1, [])]


def test_a_server_that_restarts_is_survived(
    own_server: Server, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    database = own_server.url()
    write_jobs(HANDLERS)
    runner = start_runner(database, concurrency=10, poll_interval=1)
    runner.wait_for_log("jobs at once")
    jobs = 0
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGQUIT):
        rows(database, "select soniq.enqueue_many('quick', array_fill('{}'::jsonb, array[2000]))")
        jobs += 2000
        wait_for(
            lambda: rows(database, "select from soniq.jobs where status = 'processing' limit 1")
        )
        own_server.restart(how)
    wait_for(lambda: not rows(database, "select from soniq.jobs limit 1"), within=60)
    assert rows(
        database,
        "select count(*), count(distinct id) from soniq.finished_jobs where status = 'done'",
    ) == [(jobs, jobs)]
    assert rows(database, "select from soniq.dead_letter_jobs") == []
    assert "goes on as runner" in runner.log
    assert runner.stop() == 0


def test_what_a_lost_claim_had_granted_is_handed_back(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database, poll_interval=600)
    runner.wait_for_log("jobs at once")
    [(runner_id,)] = rows(database, "select runner_id from soniq.runners")
    # As after a claim of which the runner has not heard: without a timeout, nothing else would free the job.
    [(job_id,)] = rows(
        database, "select soniq.enqueue('quick', queue => 'elsewhere', delay => '1 hour')"
    )
    rows(
        database,
        "update soniq.jobs set status = 'processing', attempt = 1, runner_id = %s, claimed_at = now(),"
        " scheduled_at = now() where id = %s",
        runner_id,
        job_id,
    )
    rows(
        database,
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'soniq-runner claim'",
    )
    wait_for(lambda: rows(database, "select from soniq.finished_jobs where id = %s", job_id))
    assert rows(
        database,
        "select attempt, max_attempts, errors from soniq.finished_jobs where id = %s",
        job_id,
    ) == [(2, 11, [])]


def test_a_claim_that_the_server_forgot_is_the_same_lease_again(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    told = write_jobs(HANDLERS).with_name("told")
    runner = start_runner(
        database, poll_interval=0.1, heartbeat_interval=100, heartbeat_timeout=600
    )
    [(job_id,)] = rows(
        database,
        "select soniq.enqueue('until_told', jsonb_build_object('file', %s::text))",
        str(told),
    )
    started = told.with_name(f"started-{job_id}-1")
    wait_for(started.exists)
    started.unlink()
    # As after a crash: claims are committed asynchronously.
    rows(
        database,
        "update soniq.jobs set status = 'queued', attempt = 0, runner_id = null, claimed_at = null, deadline = null",
    )
    wait_for(lambda: rows(database, "select from soniq.jobs where attempt = 1"))
    told.touch()
    wait_for(lambda: rows(database, "select from soniq.finished_jobs where id = %s", job_id))
    [(quick,)] = rows(database, "select soniq.enqueue('quick')")
    wait_for(lambda: rows(database, "select from soniq.finished_jobs where id = %s", quick))
    assert runner.stop() == 0
    assert not started.exists()
