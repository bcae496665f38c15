"""Whoever may log in to the database can take any advisory lock, and so those by which runners wait.

A stranger here is a role that was granted nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from conftest import StartRunner, WriteJobs, rows
from waiting import wait_for

HANDLERS = """
    from soniq import Soniq
    app = Soniq()

    @app.job
    async def quick():
        pass
"""
# sql/wakeup.sql: the first bell, the block that it is in, and that there is any.
PARTS = {"bell": 0, "block": 1024, "whole": 2048}


@contextmanager
def stranger(url: str, part: str, queue: str = "") -> Iterator[int]:
    """The process of a session that has this part of the sign for a queue ("": all) to itself until the block ends."""
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("create role soniq_test_stranger")
        try:
            session.execute("set role soniq_test_stranger")
            session.execute(
                "select pg_advisory_lock(1397686272 + %s, hashtext(%s))", (PARTS[part], queue)
            )
            yield session.info.backend_pid
        finally:
            session.execute("select pg_advisory_unlock_all()")
            session.execute("reset role")
            session.execute("drop role soniq_test_stranger")


def signs(url: str, part: str, *, besides: int = 0) -> list[tuple[int]]:
    """The processes that have this part of the sign."""
    return rows(
        url,
        "select pid from pg_locks where locktype = 'advisory' and classid = 1397686272 + %s"
        " and granted and pid <> %s",
        PARTS[part],
        besides,
    )


def run_one(url: str) -> None:
    [(job_id,)] = rows(url, "select soniq.enqueue('quick')")
    wait_for(lambda: rows(url, "select from soniq.finished_jobs where id = %s", job_id))


@pytest.mark.parametrize("part", PARTS)
def test_a_stranger_who_holds_the_sign_costs_wake_ups_and_no_more(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, part: str
) -> None:
    write_jobs(HANDLERS)
    with stranger(database, part) as pid:
        runner = start_runner(database, poll_interval=0.2)
        for _ in range(3):
            run_one(database)
        runner.wait_for_log(f"process {pid} has the lock")
        assert signs(database, part, besides=pid) == []
    run_one(database)  # found by looking, and the sign goes up after it
    wait_for(lambda: signs(database, part), what="the sign to be up when it is free again")
    assert runner.stop() == 0
    assert sum("has the lock" in line for line in runner.log.splitlines()) == 1


def test_whose_lock_it_is_is_said_once_while_it_lasts_and_again_the_next_time(
    database: str,
) -> None:
    said: list[str] = []
    with psycopg.connect(database, autocommit=True) as waiter:
        waiter.add_notice_handler(
            lambda notice: said.append(f"{notice.severity} {notice.message_hint}")
        )
        waiter.execute("select soniq.take_bell()")
        for times in (1, 2):
            with stranger(database, "whole", "mail") as pid:
                for _ in range(3):
                    waiter.execute("select soniq.wait_for_jobs('{mail,bills}')")
            assert len(said) == times
            assert said[-1].startswith("WARNING Until it lets go")
            assert f"pid in ({pid})" in said[-1]
            waiter.execute("select soniq.wait_for_jobs('{mail,bills}')")
            assert len(signs(database, "whole")) == 2
            waiter.execute("select soniq.stop_waiting()")
    assert len(said) == 2
