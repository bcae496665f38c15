"""Middleware: what is around each run, in which order, and what its exceptions are."""

from typing import Any

import pytest
from conftest import StartRunner, WriteJobs, rows
from soniq import Job, Soniq, SoniqError
from test_misbehaving import run

HANDLERS = """
    import asyncio, contextvars, dataclasses, threading
    from soniq import PermanentFailure, Snooze, Soniq
    app = Soniq()
    seen = contextvars.ContextVar("seen")

    @app.middleware
    async def outer(job, call_next):
        steps = [f"outer before {job.name} {job.attempt}"]
        seen.set(steps)
        try:
            return [await call_next(job), *steps, "outer after"]
        except LookupError as error:
            raise ValueError(f"{steps + ['outer on error']}") from error

    @app.job
    async def asynchronous(text: str = "a"):
        seen.get().append(f"handler {text}")
        return text

    @app.middleware
    async def inner(job, call_next):
        seen.get().append("inner before")
        if job.args.get("text") == "skip":
            return "skipped"
        if job.args.get("text") == "refuse":
            raise PermanentFailure("the middleware refuses")
        if job.args.get("text") == "other":
            job = dataclasses.replace(job, args={"text": "changed"})
        if job.args.get("text") == "wrong":
            job = dataclasses.replace(job, args={"text": 1})
        if job.args.get("text") == "twice":
            await call_next(job)
        try:
            return await call_next(job)
        finally:
            seen.get().append("inner after")

    @app.job(max_attempts=1)
    def synchronous(text: str = "s"):
        seen.get().append(f"handler {text} {threading.current_thread().name[:13]}")
        if text == "fail":
            raise KeyError("key")
        return text

    @app.job(max_attempts=2, timeout=0.2, retry_delay=0)
    async def slow():
        await asyncio.sleep(60)

    other = Soniq()

    @other.job
    async def elsewhere():
        return seen.get("nothing around it")
"""


def test_it_nests_around_handlers_of_both_kinds(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database, sync_handler_pool_size=1)
    runner.wait_for_log("jobs at once")

    assert run(database, "asynchronous")["result"] == [
        "a",
        "outer before asynchronous 1",
        "inner before",
        "handler a",
        "inner after",
        "outer after",
    ], "also around a handler that was registered before it"
    assert run(database, "synchronous")["result"] == [
        "s",
        "outer before synchronous 1",
        "inner before",
        "handler s soniq-handler",
        "inner after",
        "outer after",
    ]
    assert run(database, "elsewhere")["result"] == "nothing around it"

    failed = run(database, "synchronous", text="fail")
    assert failed["reason"] == "max_attempts_exceeded"
    assert failed["errors"][0]["type"] == "ValueError"
    assert "'inner after', 'outer on error'" in failed["errors"][0]["message"]
    assert "KeyError: 'key'" in failed["errors"][0]["traceback"], "the cause is kept"

    assert run(database, "synchronous", text="skip")["result"][0] == "skipped"
    assert run(database, "synchronous", text="refuse")["reason"] == "permanent_failure"
    assert run(database, "synchronous", text="other")["result"][0] == "changed"
    wrong = run(database, "synchronous", text="wrong")["errors"][0]
    assert (wrong["type"], "text is 1 (int), not a str" in wrong["message"]) == (
        "BadDeclaration",
        True,
    )
    twice = run(database, "synchronous", text="twice")["result"]
    assert len([step for step in twice if step.startswith("handler twice")]) == 2
    assert run(database, "slow")["errors"][1]["type"] == "Timeout"
    # Whatever happened, the only thread is still there.
    assert run(database, "synchronous")["result"][0] == "s"
    assert rows(database, "select count(*) from soniq.jobs") == [(0,)]
    assert runner.stop() == 0


def test_what_cannot_be_called_is_refused() -> None:
    app = Soniq()
    with pytest.raises(SoniqError, match=r"the middleware .*plain is not async: write async def"):

        @app.middleware  # type: ignore[type-var]
        def plain(job: Job, call_next: Any) -> None:
            pass

    with pytest.raises(SoniqError, match="cannot be called with \\(job, call_next\\): missing"):

        @app.middleware  # type: ignore[type-var]
        async def greedy(job: Job, call_next: Any, more: int) -> None:
            pass
