"""Retention with others at work: partitions are made and dropped, and no claim, completion or tick waits for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from conftest import rows

PAST = "soniq.finished_jobs_20010101"


@contextmanager
def transaction(url: str) -> Iterator[psycopg.Connection[Any]]:
    """One that is left open until the end, and then rolled back. Waiting for a lock is an error in it."""
    with psycopg.connect(url) as connection:
        connection.execute("set lock_timeout = '1ms'")
        connection.commit()
        yield connection
        connection.rollback()


def make_past_day(url: str) -> None:
    """A partition whose day is over, with a job in it."""
    rows(url, "select soniq._make_partition(date '2001-01-01')")
    rows(
        url,
        "insert into soniq.finished_jobs (id, job_name, queue, priority, status, args, scheduled_at,"
        " enqueued_at, attempt, max_attempts, timeout, errors, finished_at, keep_until)"
        " select 0, 'old', 'old', 0, 'done', '{}', old.at, old.at, 1, 1, '0', '[]', old.at, old.at"
        " from (values (timestamptz '2001-01-01 12:00+00')) as old (at)",
    )


def tick(url: str) -> tuple[int, int]:
    """Ticks with partitions to be looked after; answers how many were made and dropped."""
    rows(url, "update soniq.chores set due_at = '-infinity'")
    [answer] = rows(url, "select partitions_made, partitions_dropped from soniq.tick()")
    return answer


def partitions(url: str) -> set[str]:
    return {
        name
        for (name,) in rows(
            url,
            "select inhrelid::regclass::text from pg_inherits"
            " where inhparent = 'soniq.finished_jobs'::regclass",
        )
    }


def claimed_job(url: str) -> int:
    [(job_id,)] = rows(url, "select soniq.enqueue('work')")
    rows(url, "select from soniq.claim((select soniq.register_runner('host')), max_jobs => 100)")
    return int(job_id)


def test_a_day_that_is_over_is_dropped(database: str) -> None:
    make_past_day(database)
    assert tick(database) == (3, 1)
    assert PAST not in partitions(database)
    assert tick(database) == (0, 0)


def test_a_completion_under_way_puts_off_the_drop_but_not_the_emptying(database: str) -> None:
    tick(database)
    make_past_day(database)
    job_id = claimed_job(database)
    with transaction(database) as completing:
        completing.execute("select soniq.complete(%s, 1)", [job_id])
        assert tick(database) == (0, 0)
        assert rows(database, "select from soniq.get_job(0)") == []
        assert PAST in partitions(database)
    assert tick(database) == (0, 1)


def test_a_reader_of_everything_puts_off_both_and_nobody_waits(database: str) -> None:
    make_past_day(database)
    with transaction(database) as reading:
        reading.execute("set transaction isolation level repeatable read")
        reading.execute("select from soniq.all_jobs").fetchall()
        assert tick(database) == (0, 0)
        assert rows(database, "select id from soniq.finished_jobs") == [(0,)]
        job_id = claimed_job(database)
        assert rows(database, "select soniq.complete(%s, 1)", job_id) == [(True,)]
        assert reading.execute("select id from soniq.finished_jobs").fetchall() == [(0,)]
    assert tick(database) == (3, 1)
    assert rows(database, "select id from soniq.finished_jobs") == [(job_id,)]


def test_completions_do_not_wait_for_partitions_that_are_being_made(database: str) -> None:
    tick(database)
    before = partitions(database)
    with transaction(database) as working, psycopg.connect(database) as changing:
        changing.execute("update soniq.settings set retention = '30 days'")
        # It has not committed, and holds its locks.
        [(job_id,)] = working.execute("select soniq.enqueue('work')").fetchall()
        working.execute("select from soniq.claim(soniq.register_runner('host'))")
        assert working.execute("select soniq.complete(%s, 1)", [job_id]).fetchall() == [(True,)]
        working.commit()
        changing.commit()
    assert len(partitions(database) - before) == 3
    assert rows(database, "select status::text from soniq.get_job(%s)", job_id) == [("done",)]


def test_a_runner_that_starts_finds_its_days_made(database: str) -> None:
    job_id = claimed_job(database)
    assert rows(database, "select soniq.complete(%s, 1)", job_id) == [(True,)]
    [(where,)] = rows(
        database,
        "select tableoid::regclass::text from soniq.finished_jobs where id = %s",
        job_id,
    )
    assert where in partitions(database) - {"soniq.finished_jobs_default"}
