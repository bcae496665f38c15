"""Jobs that run: what a handler is given, what is kept of it, and how many run at once."""

import asyncio
import json

from conftest import StartRunner, WriteJobs, rows
from soniq import Soniq
from waiting import wait_for

HANDLERS = """
    import asyncio, threading, time
    from soniq import Job, Soniq
    app = Soniq()

    @app.job
    async def greet(name: str, greeting: str = "hello"):
        return {"said": f"{greeting} {name}", "thread": threading.current_thread().name}

    @app.job(name="add up", max_attempts=7)
    def add(job: Job, **numbers: int):
        return {"sum": sum(numbers.values()), "id": job.id, "attempt": job.attempt,
                "due": job.deadline is not None, "thread": threading.current_thread().name}

    @app.job
    async def sleep(seconds: float):
        await asyncio.sleep(seconds)

    @app.job
    def block(seconds: float):
        time.sleep(seconds)
"""


def result_of(database: str, job_id: int) -> object:
    [(result,)] = wait_for(
        lambda: rows(
            database,
            "select result from soniq.finished_jobs where id = %s and status = 'done'",
            job_id,
        ),
        what=f"job {job_id} to be done",
    )
    return result


def enqueue(database: str, job_name: str, /, **args: object) -> int:
    [(job_id,)] = rows(database, "select soniq.enqueue(%s, %s)", job_name, json.dumps(args))
    return int(job_id)


def test_handlers_of_both_kinds_get_their_arguments_and_their_results_are_kept(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database)
    runner.wait_for_log("jobs at once")
    greeted = enqueue(database, "greet", name="Ada")
    added = enqueue(database, "add up", a=2, b=3)
    assert result_of(database, greeted) == {"said": "hello Ada", "thread": "MainThread"}
    answer = result_of(database, added)
    assert isinstance(answer, dict)
    assert answer.pop("thread").startswith("soniq-handler")
    assert answer == {"sum": 5, "id": added, "attempt": 1, "due": True}
    assert rows(database, "select max_attempts from soniq.job_types where job_name = 'add up'") == [
        (7,)
    ]
    assert rows(database, "select max_attempts from soniq.finished_jobs where id = %s", added) == [
        (7,)
    ], "an enqueue from SQL gets the handler's policy"
    assert runner.stop() == 0
    assert rows(database, "select * from soniq.runners") == []


def test_a_handler_called_directly_just_runs() -> None:
    app = Soniq()

    @app.job(name="other name")
    async def double(number: int) -> int:
        return 2 * number

    assert asyncio.run(double(4)) == 8


def test_async_jobs_go_on_while_every_thread_is_busy(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    start_runner(database, concurrency=4, sync_handler_pool_size=1)
    for _ in range(3):
        enqueue(database, "block", seconds=30)
    wait_for(lambda: rows(database, "select from soniq.jobs where status = 'processing'"))
    assert result_of(database, enqueue(database, "greet", name="Ada"))
    assert rows(
        database,
        "select count(*) from soniq.jobs where job_name = 'block' and status = 'processing'",
    ) == [(1,)], "and no job is claimed for which there is no thread"


def processing(database: str, job_name: str) -> int:
    [(count,)] = rows(
        database,
        "select count(*) from soniq.jobs where job_name = %s and status = 'processing'",
        job_name,
    )
    return int(count)


def test_by_default_too_slow_def_jobs_leave_a_slot_to_async_jobs(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    for _ in range(9):
        enqueue(database, "block", seconds=30)
    runner = start_runner(database)
    wait_for(lambda: processing(database, "block") == 3)
    for _ in range(3):
        assert result_of(database, enqueue(database, "greet", name="Ada"))
    assert processing(database, "block") == 3
    told = runner.wait_for_log("jobs with plain def handlers wait: .*").group()
    assert "All 3 are busy: " in told
    assert "SONIQ_CONCURRENCY is 4, of which one is kept for async jobs: raise it" in told


def test_a_thread_that_outlives_its_job_does_not_keep_a_slot(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS.replace("@app.job\n    def block", "@app.job(timeout=0.1)\n    def block"))
    start_runner(database).wait_for_log("jobs at once")
    for _ in range(5):
        enqueue(database, "block", seconds=30)
    timed_out = "select count(distinct id) from soniq.jobs where errors <> '[]'"
    wait_for(lambda: rows(database, timed_out) == [(5,)], what="more timeouts than slots")


def test_def_jobs_have_all_slots_where_there_are_no_others(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        import time
        from soniq import Soniq
        app = Soniq()

        @app.job
        def block(seconds: float):
            time.sleep(seconds)
    """)
    for _ in range(5):
        enqueue(database, "block", seconds=30)
    start_runner(database)
    wait_for(lambda: processing(database, "block") == 4)


def test_one_slot_is_for_both_kinds(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    start_runner(database, concurrency=1)
    enqueue(database, "block", seconds=0)
    wait_for(lambda: rows(database, "select from soniq.finished_jobs"))


def test_no_more_jobs_than_the_concurrency_are_held(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    for _ in range(8):
        enqueue(database, "sleep", seconds=30)
    start_runner(database, concurrency=2)
    start_runner(database, concurrency=3)
    held = "select count(*) from soniq.jobs where status = 'processing' group by runner_id"
    wait_for(lambda: sorted(rows(database, held)) == [(2,), (3,)], what="2 and 3 jobs at work")


def test_slow_jobs_behind_quick_ones_are_not_kept_from_others(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    quick = "select soniq.enqueue_many('sleep', array_fill('{\"seconds\": 0}'::jsonb, array[5000]))"
    slow = "select soniq.enqueue_many('sleep', array_fill('{\"seconds\": 60}'::jsonb, array[500]))"
    rows(database, quick)
    rows(database, slow)
    start_runner(database, concurrency=2)
    start_runner(database, concurrency=3)
    held = "select count(*) from soniq.jobs where status = 'processing' group by runner_id"
    wait_for(
        lambda: sorted(rows(database, held)) == [(2,), (3,)],
        what="what was claimed ahead to be handed back",
    )
    assert rows(database, "select from soniq.jobs where errors <> '[]'") == []


def test_burst_ends_when_nothing_is_left(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    for number in range(300):
        enqueue(database, "greet", name=str(number))
    assert start_runner(database, "--burst", concurrency=10).exit_code(within=30) == 0
    assert rows(database, "select count(*), count(distinct id) from soniq.finished_jobs") == [
        (300, 300)
    ]
