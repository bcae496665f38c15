"""Time and numbers out of the ordinary: a clock that is stepped, transactions that end late, huge ids and attempts.

The database's clock is stepped through soniq.clock(), with real runners at work. The server's own goes on as it is.
"""

from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from conftest import StartRunner, WriteJobs, rows
from runner_process import RunnerProcess
from soniq_command import done
from test_docs import blocks
from test_waking import SIGNS
from testing.deployment import deploy_snapshot
from testing.server import throwaway_server
from waiting import wait_for

HANDLERS = """
    import asyncio, os
    from soniq import Job, Snooze, Soniq
    app = Soniq()

    @app.job
    async def quick(job: Job):
        return job.id

    @app.job(retry_delay=0.05)
    async def until_told(file: str, job: Job):
        while not os.path.exists(file):
            await asyncio.sleep(0.01)

    @app.job
    async def sleepy(job: Job):
        if job.attempt < 5:
            raise Snooze(0)
        return job.max_attempts
"""
IMPATIENT = {"heartbeat_interval": 0.2, "tick_interval": 0.1, "poll_interval": 0.2}
BEYOND_DOUBLES = 2**53 + 1
LAST_INTEGER = 2**31 - 1

STEPPED_CLOCK = """
    create table public.clock_step (step interval not null);
    insert into public.clock_step values ('0');
    grant select on public.clock_step to public;
    create or replace function soniq.clock() returns timestamptz language sql volatile parallel safe
    as 'select clock_timestamp() + step from public.clock_step';
"""


def step_to(url: str, offset: str) -> None:
    """Sets the database's clock so far off the server's."""
    rows(url, "update public.clock_step set step = %s::interval", offset)


def enqueue(url: str, jobs: int) -> list[int]:
    return [
        job_id
        for (job_id,) in rows(
            url, "select soniq.enqueue_many('quick', array_fill('{}'::jsonb, array[%s]))", jobs
        )
    ]


def long_job(url: str, told: Path) -> int:
    """One that runs until the file is there."""
    [(job_id,)] = rows(
        url, "select soniq.enqueue('until_told', jsonb_build_object('file', %s::text))", str(told)
    )
    wait_for(lambda: rows(url, "select from soniq.jobs where id = %s and attempt = 1", job_id))
    return int(job_id)


def wait_until_done(url: str, ids: list[int], runner: RunnerProcess) -> None:
    """Waits until all of them are done, each of them once."""

    def ended() -> list[tuple[Any, ...]] | None:
        found = rows(
            url,
            "select id, status::text from soniq.finished_jobs where id = any (%s) order by id",
            ids,
        )
        return found if len(found) >= len(ids) else None

    def told() -> str:
        return f"all jobs to be done:\n{rows(url, 'select * from soniq.jobs')}\n{runner.log}"

    assert wait_for(ended, what=told) == [(job_id, "done") for job_id in sorted(ids)]
    assert rows(url, "select from soniq.dead_letter_jobs") == []


def finished(url: str, columns: LiteralString, job_id: int) -> tuple[Any, ...]:
    """What is kept of a finished job.

    A reader that comes while its row moves to a partition just made may miss it, and looks again.
    """
    query: LiteralString = f"select {columns} from soniq.finished_jobs where id = %s"
    [found] = wait_for(lambda: rows(url, query, job_id))
    return found


def test_stepped_forwards_by_a_day_jobs_run_again_at_most_and_schedules_fire_once(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    rows(database, STEPPED_CLOCK)
    rows(
        database,
        "select soniq.schedule('one', job_name => 'quick', every => '20 hours', missed_runs => 'run_once')",
    )
    told = write_jobs(HANDLERS).with_name("told")
    runners = [start_runner(database, **IMPATIENT) for _ in range(2)]
    ids = [long_job(database, told), *enqueue(database, 200)]
    step_to(database, "1 day")
    ids += enqueue(database, 200)
    wait_for(lambda: rows(database, "select from soniq.all_jobs where schedule = 'one'"))
    # Its deadline is long over, and so may be its runner.
    wait_for(lambda: rows(database, "select from soniq.jobs where id = %s and attempt = 2", ids[0]))
    told.touch()
    wait_until_done(database, ids, runners[0])
    attempts, reasons = finished(
        database, "attempt, jsonb_path_query_array(errors, '$[*].reason')", ids[0]
    )
    assert attempts == len(reasons) + 1
    assert set(reasons) <= {"runner_lost", "timeout"}, (
        "each attempt beyond the first has its reason"
    )

    # And back, and there again: what has fired does not fire again.
    for offset in ("0", "1 day"):
        step_to(database, offset)
        wait_until_done(database, enqueue(database, 10), runners[0])
    assert rows(database, "select count(*) from soniq.all_jobs where schedule = 'one'") == [(1,)]
    assert [runner.stop() for runner in runners] == [0, 0]


def test_stepped_back_by_a_day_claims_and_upkeep_go_on(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    rows(database, STEPPED_CLOCK)
    step_to(database, "1 day")
    told = write_jobs(HANDLERS).with_name("told")
    runner = start_runner(database, queues="default", **IMPATIENT)
    running = long_job(database, told)
    rows(database, "select soniq.pause_queue('default')")
    waiting = enqueue(database, 20)
    [(later,)] = rows(database, "select soniq.enqueue('quick', delay => '1 hour')")
    # One that dies just then, and one whose chores have all been done just now.
    [(stranded,)] = rows(database, "select soniq.enqueue('quick', queue => 'other')")
    rows(
        database,
        "select soniq.claim(soniq.register_runner('gone', heartbeat_timeout => '1 second'), '{other}')",
    )
    rows(database, "update soniq.chores set due_at = soniq.clock() + interval '1 minute'")
    step_to(database, "0")
    rows(database, "select soniq.resume_queue('default')")

    # Whoever lives goes on, and what is new runs at once.
    wait_until_done(database, enqueue(database, 20), runner)
    told.touch()
    wait_until_done(database, [running], runner)
    assert finished(database, "attempt", running) == (1,)

    # Whoever has died is noticed when it should be, and upkeep is not put off until tomorrow.
    wait_for(
        lambda: rows(
            database,
            "select from soniq.jobs where id = %s and status = 'queued' and attempt = 1",
            stranded,
        ),
        what="the dead runner's job to be taken back",
    )
    wait_for(
        lambda: not rows(database, "select from soniq.finished_jobs_default"),
        what="the partition of the day to be made",
    )

    # What was ready then waits for its time to come again, unless it is told otherwise.
    assert rows(database, "select from soniq.finished_jobs where id = any (%s)", waiting) == []
    [statement] = [block for block in blocks("postgresql.md", "sql") if "soniq.retry" in block]
    told_to_run = rows(database, statement)
    assert len(told_to_run) == len(waiting)
    wait_until_done(database, waiting, runner)
    assert rows(database, "select status::text from soniq.get_job(%s)", later) == [("queued",)]
    assert runner.stop() == 0


def test_a_transaction_that_ends_an_hour_later_has_its_job_run(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    rows(database, STEPPED_CLOCK)
    write_jobs(HANDLERS)
    runner = start_runner(database, **IMPATIENT)
    with psycopg.connect(database) as slow:
        [(first,)] = slow.execute("select soniq.enqueue('quick')").fetchall()
        for _ in range(4):
            wait_until_done(database, enqueue(database, 500), runner)
            rows(database, "update public.clock_step set step = step + interval '15 minutes'")
        slow.commit()
    wait_until_done(database, [first], runner)
    assert runner.stop() == 0


def test_a_prepared_transaction_that_is_committed_after_a_restart_has_its_job_run(
    write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    with throwaway_server({"max_prepared_transactions": "2"}) as server:
        deploy_snapshot(server, "postgres")
        url = server.url()
        runner = start_runner(url, poll_interval=0.2)
        wait_for(lambda: rows(url, SIGNS))
        with psycopg.connect(url) as connection:
            # PostgreSQL does not prepare what notifies, and a runner waits to be notified.
            connection.execute("select soniq.enqueue('quick')")
            with pytest.raises(psycopg.errors.FeatureNotSupported, match="NOTIFY"):
                connection.execute("prepare transaction 'refused'")
            connection.rollback()
            [(prepared,)] = connection.execute(
                "select soniq.enqueue('quick', delay => '1 millisecond')"
            ).fetchall()
            connection.execute("prepare transaction 'kept'")
        server.restart()
        after = enqueue(url, 100)
        wait_until_done(url, after, runner)
        assert rows(url, "select from soniq.get_job(%s)", prepared) == []
        rows(url, "commit prepared 'kept'")
        wait_until_done(url, [prepared], runner)
        assert runner.stop() == 0


def test_attempts_grow_beyond_a_thousand_and_are_refused_at_the_end_of_integers(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database, **IMPATIENT)
    [(sleepy,)] = rows(database, "select soniq.enqueue('sleepy', max_attempts => 1000)")
    wait_until_done(database, [sleepy], runner)
    assert finished(database, "result", sleepy) == (1004,)
    assert runner.stop() == 0

    ended = enqueue(database, 2)
    rows(database, "update soniq.jobs set attempt = %s - 1, max_attempts = %s", *2 * [LAST_INTEGER])
    [(runner_id,)] = rows(database, "select soniq.register_runner('by hand')")
    rows(database, "select soniq.claim(%s, max_jobs => 2)", runner_id)
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        rows(database, "select soniq.snooze(%s, %s, '0')", ended[0], LAST_INTEGER)
    assert rows(database, "select soniq.complete(%s, %s)", ended[0], LAST_INTEGER) == [(True,)]
    assert rows(database, "select soniq.fail(%s, %s, '{}')", ended[1], LAST_INTEGER) == [
        ("dead_letter",)
    ]


def test_ids_that_no_double_holds_are_told_exactly(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    rows(database, "alter table soniq.jobs alter id restart with 9007199254740993")
    rows(database, "alter table soniq.runners alter runner_id restart with 9007199254740993")
    write_jobs(HANDLERS)
    runner = start_runner(database, log_format="json", **IMPATIENT)
    [job_id, second] = enqueue(database, 2)
    assert job_id == BEYOND_DOUBLES
    wait_until_done(database, [job_id, second], runner)
    shown = done(database, "jobs", "show", job_id, "--json").json
    assert (shown["id"], shown["result"], shown["runner_id"]) == 3 * (BEYOND_DOUBLES,)
    assert str(job_id) in done(database, "jobs", "show", job_id).out
    listed = done(database, "jobs", "list", "--json").json
    assert {job["id"] for job in listed} == {job_id, second}
    assert finished(database, "result::text", job_id) == (str(job_id),)
    assert f"{BEYOND_DOUBLES}" in runner.log
    assert "9007199254740992" not in runner.log
    assert runner.stop() == 0
