"""Jobs and transactions: one that is rolled back never existed, and a dedup_key holds among many callers."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
from conftest import rows

CALLERS = 50


def test_a_rolled_back_enqueue_never_existed(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("select soniq.enqueue('x', dedup_key => 'mine')")
        connection.rollback()
    assert rows(database, "select id from soniq.all_jobs") == []
    assert rows(database, "select count(*) from soniq.enqueue('x', dedup_key => 'mine')") == [(1,)]


def test_fifty_callers_with_one_key_get_one_job(database: str) -> None:
    together = Barrier(CALLERS)

    def call(_: int) -> int:
        with psycopg.connect(database) as connection:
            together.wait()
            answer = connection.execute("select soniq.enqueue('x', dedup_key => 'mine')").fetchone()
            assert answer is not None
            return int(answer[0])

    with ThreadPoolExecutor(CALLERS) as threads:
        answers = set(threads.map(call, range(CALLERS)))
    assert len(answers) == 1
    assert rows(database, "select id from soniq.jobs") == [(answers.pop(),)]


def test_claims_at_the_same_time_share_nothing(database: str) -> None:
    rows(database, "select soniq.enqueue_many('x', array_fill('{}'::jsonb, array[3000]))")

    def claim(number: int) -> list[int]:
        with psycopg.connect(database, autocommit=True) as connection:
            [(runner,)] = connection.execute("select soniq.register_runner('test')").fetchall()
            taken: list[int] = []
            while batch := connection.execute(
                "select job_id from soniq.claim(%s, max_jobs => %s)", (runner, 7 + number)
            ).fetchall():
                taken += [job_id for (job_id,) in batch]
            return taken

    with ThreadPoolExecutor(8) as threads:
        taken = [job_id for each in threads.map(claim, range(8)) for job_id in each]
    assert len(taken) == len(set(taken)) == 3000
