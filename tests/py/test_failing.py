"""Attempts that fail: what becomes of the job, and what is kept of the error."""

from typing import Any

from conftest import StartRunner, WriteJobs, rows
from waiting import wait_for

HANDLERS = """
    import asyncio, sys, time
    from soniq import Job, PermanentFailure, Snooze, Soniq
    app = Soniq()

    @app.job(max_attempts=3, retry_delay=[0, 0.05])
    async def flaky(job: Job):
        if job.attempt < 3:
            raise ValueError(f"attempt {job.attempt}")
        return job.attempt

    @app.job(max_attempts=2, retry_delay=0)
    def hopeless():
        raise RuntimeError("no\\x00 and \\ud800 no")

    @app.job
    async def final():
        raise PermanentFailure("the account is closed")

    @app.job(max_attempts=1)
    async def drowsy(job: Job):
        if job.attempt == 1:
            raise Snooze(0.05)
        return "awake"

    @app.job
    async def picky(number: int):
        return number

    @app.job
    async def strange():
        return {1, 2}

    @app.job(max_attempts=1)
    async def quits():
        sys.exit("I quit")

    @app.job(max_attempts=1, timeout=0.2)
    async def slow():
        await asyncio.sleep(60)

    @app.job(max_attempts=1, timeout=0.2)
    def stuck():
        time.sleep(2)

    @app.job
    async def fine():
        return "fine"
"""


def ended(database: str, job_id: int) -> dict[str, Any]:
    def look() -> tuple[Any, ...] | None:
        [job] = rows(
            database,
            "select status::text, reason, attempt, errors, result from soniq.get_job(%s)",
            job_id,
        )
        return job if job[0] in ("done", "dead_letter") else None

    names = ("status", "reason", "attempt", "errors", "result")
    return dict(zip(names, wait_for(look, what=f"job {job_id} to end"), strict=True))


def test_every_way_to_fail(database: str, write_jobs: WriteJobs, start_runner: StartRunner) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database, concurrency=20)
    runner.wait_for_log("jobs at once")

    def run(name: str, args: str = "{}") -> dict[str, Any]:
        [(job_id,)] = rows(database, "select soniq.enqueue(%s, %s)", name, args)
        return ended(database, job_id)

    flaky = run("flaky")
    assert (flaky["status"], flaky["attempt"], flaky["result"]) == ("done", 3, 3)
    first, second = flaky["errors"]
    assert (first["attempt"], first["type"], first["message"]) == (1, "ValueError", "attempt 1")
    assert second["message"] == "attempt 2"
    assert first["runner"].endswith(f":{runner.pid}")
    assert first["started_at"] <= first["failed_at"] <= second["started_at"]
    assert first["traceback"].endswith("ValueError: attempt 1\n")
    assert "in flaky" in first["traceback"]
    assert "soniq/execution.py" not in first["traceback"], "the handler's frames, not Soniq's"

    hopeless = run("hopeless")
    assert (hopeless["status"], hopeless["reason"]) == ("dead_letter", "max_attempts_exceeded")
    assert [error["message"] for error in hopeless["errors"]] == ["no\\x00 and \\ud800 no"] * 2

    final = run("final")
    assert (final["reason"], final["attempt"]) == ("permanent_failure", 1)
    assert final["errors"][0]["message"] == "the account is closed"

    drowsy = run("drowsy")
    assert (drowsy["status"], drowsy["attempt"], drowsy["errors"]) == ("done", 2, [])

    picky = run("picky", '{"nubmer": 1}')
    assert picky["reason"] == "invalid_arguments"
    assert picky["errors"][0]["message"] == (
        "jobs.picky cannot take these args: missing number; unknown nubmer (it takes number)"
    )

    unknown = run("flakey")
    assert unknown["reason"] == "unknown_job"
    assert (
        "no handler for 'flakey' in this runner's modules (it has: drowsy"
        in (unknown["errors"][0]["message"])
    )

    strange = run("strange")
    assert strange["reason"] == "permanent_failure"
    assert "result is not JSON: Object of type set" in strange["errors"][0]["message"]

    assert run("quits")["errors"][0]["message"] == "I quit"

    slow = run("slow")
    assert (slow["reason"], slow["errors"][0]["type"]) == ("timeout", "Timeout")
    assert slow["errors"][0]["message"] == "jobs.slow took longer than 0:00:00.200000"

    assert run("stuck")["reason"] == "timeout"
    runner.wait_for_log(
        "timed out after .*; its thread goes on and keeps its slot until it returns"
    )

    assert run("fine")["result"] == "fine", "the runner has outlived all of it"
    assert runner.stop() == 0
