"""Args and results that the database keeps and cannot read."""

import asyncio
from base64 import b64decode
from typing import Any

from conftest import StartRunner, WriteJobs, rows
from cryptography.fernet import Fernet, MultiFernet
from soniq import Soniq
from waiting import wait_for

HANDLERS = """
    from cryptography.fernet import Fernet, MultiFernet
    from soniq import Soniq
    app = Soniq(codec={codec})

    @app.job(retry_delay=0.1)
    async def charge(card: str):
        return {{"charged": card}}
"""
CARD = "4111-1111-1111-1111"
OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


def keys(*given: bytes) -> str:
    return f"MultiFernet([Fernet(key) for key in {given!r}])"


def enqueue(url: str, *given: bytes) -> int:
    async def work() -> int:
        app = Soniq(url, codec=MultiFernet([Fernet(key) for key in given]))
        job_id = await app.enqueue("charge", {"card": CARD})
        await app.close()
        return job_id

    return asyncio.run(work())


def kept(url: str) -> str:
    return str(rows(url, "select args, result, errors from soniq.all_jobs"))


def opened(result: dict[str, Any], key: bytes) -> bytes:
    return Fernet(key).decrypt(b64decode(result["$sealed"]))


def test_the_database_never_sees_what_handlers_do(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS.format(codec=keys(OLD)))
    enqueue(database, OLD)
    assert CARD not in kept(database)
    runner = start_runner(database, "--burst")
    assert runner.exit_code() == 0
    [(args, result)] = rows(database, "select args, result from soniq.finished_jobs")
    assert args.keys() == result.keys() == {"$sealed"}
    assert CARD not in kept(database) + runner.log
    assert opened(result, OLD) == b'{"charged": "%s"}' % CARD.encode()


def test_keys_are_rotated(database: str, write_jobs: WriteJobs, start_runner: StartRunner) -> None:
    enqueue(database, OLD)
    enqueue(database, NEW, OLD)
    write_jobs(HANDLERS.format(codec=keys(NEW, OLD)))
    assert start_runner(database, "--burst").exit_code() == 0
    results = [result for (result,) in rows(database, "select result from soniq.finished_jobs")]
    assert len(results) == 2
    for result in results:
        opened(result, NEW)


def test_without_the_key_a_job_is_tried_again(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    job_id = enqueue(database, NEW)
    message = "select errors -> -1 ->> 'message' from soniq.jobs where errors <> '[]'"
    for codec, told in (
        (keys(OLD), "codec cannot open them (InvalidToken): give Soniq(codec=...) the key"),
        ("None", "this app has no key: give Soniq(codec=...)"),
    ):
        write_jobs(HANDLERS.format(codec=codec))
        runner = start_runner(database, poll_interval=0.1)
        wait_for(lambda: told in str(rows(database, message)))  # noqa: B023
        assert runner.stop() == 0
    write_jobs(HANDLERS.format(codec=keys(NEW)))
    start_runner(database, poll_interval=0.1)
    wait_for(lambda: rows(database, "select from soniq.finished_jobs where id = %s", job_id))
    assert CARD not in kept(database)


def test_what_is_not_sealed_is_taken_as_it_is(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    rows(database, """select soniq.enqueue('charge', '{"card": "x"}')""")
    write_jobs(HANDLERS.format(codec=keys(NEW)))
    assert start_runner(database, "--burst").exit_code() == 0
    assert rows(database, "select status::text from soniq.finished_jobs") == [("done",)]
