"""Handlers that misbehave: each has an outcome of its own, and the runner goes on."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import StartRunner, WriteJobs, rows
from runner_process import RunnerProcess
from waiting import wait_for

HANDLERS = """
    import asyncio, os, sys, time
    from soniq import Job, Soniq
    app = Soniq()


    class Unspeakable(Exception):
        def __str__(self):
            raise SystemExit("not even that")


    class Unreadable(dict):
        def items(self):
            raise KeyboardInterrupt

    def misbehave(how):
        match how:
            case "exit":
                sys.exit(3)
            case "interrupt":
                raise KeyboardInterrupt("Ctrl-C")
            case "cancel":
                raise asyncio.CancelledError("of its own")
            case "generator":
                raise GeneratorExit("leaving")
            case "stop":
                raise StopIteration("no more")
            case "unspeakable":
                raise Unspeakable
            case "huge":
                raise ValueError("x" * 50_000_000)
            case "set":
                return {1, 2}
            case "nan":
                return float("nan")
            case "unreadable":
                return Unreadable(a=1)
            case "nested":
                result = []
                for _ in range(100_000):
                    result = [result]
                return result
            case "surrogate":
                return "\\ud800"
            case "recursion":
                return misbehave("recursion")
            case "stdout":
                sys.stdout.close()
                os.close(1)
                return "closed"
            case "print":
                print("to nobody")

    @app.job(max_attempts=1)
    async def asynchronous(how: str):
        return misbehave(how)

    @app.job(max_attempts=1)
    def synchronous(how: str):
        return misbehave(how)

    @app.job(max_attempts=1)
    async def in_a_task(how: str):
        async def task():
            await asyncio.sleep(0)
            return misbehave(how)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(60))
            tasks.create_task(task())

    @app.job
    async def fine():
        return "fine"
"""


def run(database: str, name: str, **args: object) -> dict[str, Any]:
    [(job_id,)] = rows(database, "select soniq.enqueue(%s, %s)", name, json.dumps(args))
    return ended(database, job_id)


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


@pytest.mark.parametrize("kind", ["asynchronous", "synchronous"])
def test_whatever_a_handler_raises_or_returns_is_kept_and_the_runner_goes_on(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, kind: str
) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database, poll_interval=0.2)
    runner.wait_for_log("jobs at once")

    def error_of(how: str) -> tuple[str, str, str]:
        job = run(database, kind, how=how)
        assert job["status"] == "dead_letter", job
        [error] = job["errors"]
        return job["reason"], error["type"], error["message"]

    spent = "max_attempts_exceeded"
    assert error_of("exit") == (spent, "SystemExit", "3")
    assert error_of("interrupt") == (spent, "KeyboardInterrupt", "Ctrl-C")
    assert error_of("cancel") == (spent, "CancelledError", "of its own")
    assert error_of("generator") == (spent, "GeneratorExit", "leaving")
    # A coroutine cannot raise this one: Python makes another of it.
    assert error_of("stop") == (spent, "RuntimeError", "coroutine raised StopIteration")
    unspeakable = (spent, "Unspeakable", "(its message cannot be read: SystemExit)")
    assert error_of("unspeakable") == unspeakable
    assert error_of("recursion")[1] == "RecursionError"

    reason, name, message = error_of("huge")
    assert (reason, name) == (spent, "ValueError")
    assert message == "x" * 4000

    refused = ("permanent_failure", "InvalidResult")
    assert error_of("set")[:2] == refused
    assert error_of("nan")[:2] == refused
    assert error_of("unreadable")[:2] == refused
    assert error_of("nested")[:2] == refused
    assert error_of("surrogate")[0] == "permanent_failure"

    assert run(database, kind, how="stdout")["result"] == "closed"
    assert run(database, kind, how="print")["status"] == "dead_letter"

    assert run(database, "fine")["result"] == "fine", "the runner has outlived all of it"
    assert runner.process.poll() is None
    assert runner.stop() == 0


def test_a_task_of_a_handlers_ends_the_job_and_not_the_runner(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database)
    runner.wait_for_log("jobs at once")
    for how, told in (("exit", "SystemExit: 3"), ("interrupt", "KeyboardInterrupt: Ctrl-C")):
        [error] = run(database, "in_a_task", how=how)["errors"]
        assert error["type"] == "ExceptionGroup"
        assert f"TaskExit: a task raised {told}" in error["traceback"]
    assert run(database, "fine")["result"] == "fine"
    assert runner.stop() == 0


def test_a_huge_message_leaves_the_frames_in_the_traceback(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    start_runner(database).wait_for_log("jobs at once")
    [error] = run(database, "synchronous", how="huge")["errors"]
    assert "in misbehave" in error["traceback"]
    assert error["traceback"].endswith("... (50,000,013 characters)\n")


def test_what_python_cannot_read_fails_the_job_and_not_the_runner(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database, poll_interval=0.2)
    runner.wait_for_log("jobs at once")
    deep = '{"how": ' + "[" * 3000 + "]" * 3000 + "}"
    for args, headers in (('{"how": ' + "9" * 5000 + "}", "{}"), (deep, "{}"), ("{}", deep)):
        [(job_id,)] = rows(
            database, "select soniq.enqueue('fine', %s, headers => %s)", args, headers
        )
        job = ended(database, job_id)
        assert job["reason"] == "invalid_arguments"
        [error] = job["errors"]
        assert error["message"].startswith("its args or headers cannot be read: ")
    assert run(database, "fine")["result"] == "fine"
    assert runner.stop() == 0


FORKING = """
    import os, socket, sys, time
    from soniq import Soniq
    app = Soniq()

    def fork(kind, file):
        child = os.fork()
        if child:
            return child
        with open(file, "w") as mine:
            mine.write(str(os.getpid()))
        while os.path.exists(file):
            time.sleep(0.01)
        with open(file + ".gone", "w") as mine:
            mine.write(str(os.getpid()))
        if kind == "raises":
            raise RuntimeError("in the child")

    @app.job
    def synchronous(kind: str, file: str):
        return fork(kind, file)

    @app.job
    async def asynchronous(kind: str, file: str):
        return fork(kind, file)

    @app.job
    async def awaits(file: str):
        import asyncio
        child = os.fork()
        if not child:
            with open(file, "w") as mine:
                mine.write("child")
            await asyncio.sleep(0)
            with open(file + ".gone", "w") as mine:
                mine.write("it went on")
        return child

    @app.job
    def fine():
        return os.getpid()
"""


def sockets_of(pid: int) -> set[str]:
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(descriptor))
    return {link for link in links if link.startswith("socket:")}


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # nobody waits for it: it was the handler's business


@pytest.mark.parametrize("kind", ["returns", "raises"])
@pytest.mark.parametrize("name", ["synchronous", "asynchronous"])
def test_a_child_that_a_handler_forks_neither_reports_nor_claims(
    database: str,
    write_jobs: WriteJobs,
    start_runner: StartRunner,
    tmp_path: Path,
    name: str,
    kind: str,
) -> None:
    write_jobs(FORKING)
    runner = start_runner(database, poll_interval=0.2)
    file = tmp_path / "child"
    job = run(database, name, kind=kind, file=str(file))
    child = job["result"]
    assert isinstance(child, int), job
    wait_for(file.exists)
    connections = rows(
        database,
        "select count(*) from pg_stat_activity where application_name like 'soniq-runner%%'",
    )
    file.unlink()
    wait_for(lambda: is_gone(child), what="the child to end")
    assert run(database, "fine")["result"] == runner.pid
    assert (
        rows(
            database,
            "select count(*) from pg_stat_activity where application_name like 'soniq-runner%%'",
        )
        == connections
    )
    assert "the lease was lost" not in runner.log
    assert runner.stop() == 0


def test_a_child_forked_in_an_async_handler_cannot_go_on_with_the_loop(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, tmp_path: Path
) -> None:
    write_jobs(FORKING)
    runner = start_runner(database, poll_interval=0.2)
    file = tmp_path / "child"
    child = run(database, "awaits", file=str(file))["result"]
    wait_for(lambda: is_gone(child), what="the child to end")
    assert file.read_text() == "child"
    assert not (tmp_path / "child.gone").exists()
    assert run(database, "fine")["result"] == runner.pid


def test_a_child_does_not_keep_the_runners_conversation_open(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, tmp_path: Path
) -> None:
    write_jobs(FORKING)
    runner = start_runner(database, poll_interval=0.2)
    file = tmp_path / "child"
    child = run(database, "synchronous", kind="returns", file=str(file))["result"]
    wait_for(file.exists)
    try:
        # What is left is the heartbeat's, whose loop is on a thread of its own.
        assert len(sockets_of(child)) < len(sockets_of(runner.pid))
        runner.kill()
        wait_for(
            lambda: (
                rows(
                    database,
                    "select from pg_stat_activity where application_name in"
                    " ('soniq-runner claim', 'soniq-runner report')",
                )
                == []
            ),
            what="the server to see that the runner is gone, though its child lives",
        )
        assert not is_gone(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_jobs_that_wait_for_threads_are_told_of_once(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        import time
        from soniq import Soniq
        app = Soniq()

        @app.job
        def slow(seconds: float):
            time.sleep(seconds)

        @app.job
        async def quick():
            return "quick"
    """)
    runner = start_runner(database, concurrency=4, sync_handler_pool_size=2)
    ids = [
        rows(database, "select soniq.enqueue('slow', '{\"seconds\": 3}')")[0][0] for _ in range(3)
    ]
    runner.wait_for_log(
        r"jobs with plain def handlers wait: .* All 2 are busy: job \d+ \(slow\), attempt 1, for .* s"
        r" and job \d+ \(slow\), .* SONIQ_SYNC_HANDLER_POOL_SIZE is 2"
    )
    assert run(database, "quick")["result"] == "quick"
    for job_id in ids:
        ended(database, job_id)
    assert runner.log.count("SONIQ_SYNC_HANDLER_POOL_SIZE") == 1


def wait_for_block(runner: RunnerProcess) -> str:
    return runner.wait_for_log(r"the event loop has not answered .*(\n.*)+?time.sleep.*\n").group()


def test_a_handler_that_blocks_the_event_loop_is_named_with_its_stack(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        import asyncio, time
        from soniq import Soniq
        app = Soniq()

        def deep_down(seconds):
            time.sleep(seconds)

        @app.job
        async def blocks(seconds: float):
            deep_down(seconds)

        @app.job
        async def blocks_in_a_task(seconds: float):
            async def of_its_own():
                deep_down(seconds)
            await asyncio.gather(of_its_own())

        @app.job
        async def awaits():
            await asyncio.sleep(2)
    """)
    runner = start_runner(database, log_level="INFO")
    run(database, "awaits")
    assert "event loop" not in runner.log
    run(database, "blocks", seconds=3)
    told = wait_for_block(runner)
    assert "job 2 (blocks), attempt 1 blocks it" in told
    assert "in deep_down" in told
    assert "soniq/execution.py" not in told
    runner.wait_for_log("the event loop answers again")
    assert runner.log.count("the event loop has not answered") == 1, "once, however long it takes"
    run(database, "blocks_in_a_task", seconds=2)
    runner.wait_for_log(r"perhaps a task of job 3 \(blocks_in_a_task\), attempt 1, blocks it")


def test_a_runner_that_was_stopped_for_a_while_blames_nobody(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database)
    run(database, "fine")
    runner.send(signal.SIGSTOP)
    time.sleep(2)
    runner.send(signal.SIGCONT)
    run(database, "fine")
    assert "event loop" not in runner.log
