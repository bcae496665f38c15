"""Who is woken: one runner for each job, and another when that one cannot take it, or not all there is.

A session that waits as a runner does stands for the others. It puts up its sign when the runner under test has been
notified already, by a transaction that has yet to commit, so that it can only have been woken by the runner.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from conftest import StartRunner, WriteJobs, rows
from runner_process import RunnerProcess
from waiting import wait_for

HANDLERS = """
    import asyncio, time
    from soniq import Job, Soniq
    app = Soniq()

    @app.job
    async def quick():
        pass

    @app.job
    async def slow():
        await asyncio.sleep(600)

    @app.job
    def blocking():
        time.sleep(600)

    @app.job(retry_delay=0.5)
    async def fails_once(job: Job):
        if job.attempt == 1:
            raise RuntimeError
"""
# Part 2048 of sql/wakeup.sql's locks: one for each runner and queue.
SIGNS = "select pid from pg_locks where locktype = 'advisory' and classid = 1397686272 + 2048"
NEVER = 600


class Waiter:
    """A session that waits for all queues."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        [bell] = self._answer("select soniq.take_bell()")
        self.connection.execute(f"listen soniq_bell_{bell}".encode())
        self._answer("select soniq.wait_for_jobs()")
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        """What has been announced to it so far."""
        self._heard += [notify.payload for notify in self.connection.notifies(timeout=0)]
        return self._heard

    def _answer(self, query: str) -> tuple[int | None]:
        row = self.connection.execute(query.encode()).fetchone()
        assert row is not None
        return (row[0],)


@contextmanager
def waiter(url: str) -> Iterator[Waiter]:
    """A session that waits until the end of the block."""
    it = Waiter(url)
    with it.connection:
        yield it


def waiting_runner(
    database: str,
    write_jobs: WriteJobs,
    start_runner: StartRunner,
    *busy_with: str,
    **settings: object,
) -> RunnerProcess:
    """A runner that would not look again for ten minutes, with these jobs at work."""
    write_jobs(HANDLERS)
    for job in busy_with:
        rows(database, "select soniq.enqueue(%s)", job)
    runner = start_runner(database, **{"poll_interval": NEVER, "shutdown_timeout": 5, **settings})
    wait_for(lambda: rows(database, SIGNS), what="the runner's waiting sign")
    wait_for(lambda: processing(database) == len(busy_with), what="its jobs to be claimed")
    return runner


def processing(database: str) -> int:
    return len(rows(database, "select from soniq.jobs where status = 'processing'"))


def done(database: str) -> int:
    return len(rows(database, "select from soniq.finished_jobs"))


def test_who_gets_as_many_jobs_as_it_asked_for_wakes_another(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    waiting_runner(database, write_jobs, start_runner, concurrency=1)
    with psycopg.connect(database) as producer:
        producer.execute("select soniq.enqueue('slow'), soniq.enqueue('slow')")
        with waiter(database) as other:
            producer.commit()
            wait_for(lambda: other.heard, what="the other to be woken")
            assert other.heard == ["more default"]
    assert processing(database) == 1


def test_who_gets_fewer_does_not(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    waiting_runner(database, write_jobs, start_runner, concurrency=4)
    with psycopg.connect(database) as producer:
        producer.execute("select soniq.enqueue_many('quick', array_fill('{}'::jsonb, array[2]))")
        with waiter(database) as other:
            producer.commit()
            wait_for(lambda: done(database) == 2)
            assert other.heard == []


def test_who_hears_of_a_job_and_has_no_room_wakes_another(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    waiting_runner(database, write_jobs, start_runner, concurrency=1)
    with psycopg.connect(database) as producer:
        producer.execute("select soniq.enqueue('slow', queue => 'mail')")
        rows(database, "select soniq.enqueue('slow')")
        wait_for(lambda: processing(database) == 1)
        with waiter(database) as other:
            producer.commit()
            wait_for(lambda: other.heard, what="the other to be woken")
            assert other.heard == ["more mail"]


def test_who_hears_of_a_job_that_it_has_no_thread_for_wakes_another(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    runner = waiting_runner(
        database, write_jobs, start_runner, "blocking", sync_handler_pool_size=1, concurrency=4
    )
    with psycopg.connect(database) as producer:
        producer.execute("select soniq.enqueue('blocking')")
        with waiter(database) as other:
            producer.commit()
            wait_for(lambda: other.heard, what="the other to be woken")
    # It still hears of what it can take.
    wait_for(lambda: rows(database, SIGNS), what="its sign to be up again")
    rows(database, "select soniq.enqueue('quick')")
    wait_for(lambda: done(database) == 1)
    runner.kill()


def test_who_is_stopping_wakes_another(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    runner = waiting_runner(database, write_jobs, start_runner, "slow", concurrency=4)
    with psycopg.connect(database) as producer:
        producer.execute("select soniq.enqueue('quick')")
        runner.send(signal.SIGTERM)
        wait_for(lambda: not rows(database, SIGNS), what="the runner's sign to come down")
        with waiter(database) as other:
            producer.commit()
            wait_for(lambda: other.heard, what="the other to be woken")


def test_what_one_was_woken_for_that_died_is_found_by_looking_again(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    with psycopg.connect(database) as producer, waiter(database) as other:
        producer.execute("select soniq.enqueue('quick')")
        other.connection.close()
        waiting_runner(database, write_jobs, start_runner, poll_interval=0.5)
        producer.commit()
        wait_for(lambda: done(database) == 1)


def test_a_retry_is_on_time_though_the_sign_stays_up(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    waiting_runner(database, write_jobs, start_runner)
    rows(database, "select soniq.enqueue('fails_once')")
    wait_for(lambda: done(database) == 1)


def test_each_finds_the_jobs_of_its_own_queues(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    waiting_runner(database, write_jobs, start_runner, queues="mail,bills")
    start_runner(database, poll_interval=NEVER, queues="bills,reports")
    start_runner(database, poll_interval=NEVER, queues="other")
    wait_for(lambda: len(rows(database, SIGNS)) == 5, what="a sign for each queue of each runner")
    for number in range(1, 21):
        for queue in ("mail", "bills", "reports"):
            rows(database, "select soniq.enqueue('quick', queue => %s)", queue)
        wait_for(lambda number=number: done(database) == 3 * number)  # type: ignore[misc]


def test_a_trickle_of_jobs_takes_two_claims_each_at_most(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    name = rows(database, "select current_database()")[0][0]
    rows(database, f"alter database {name} set track_functions = 'pl'")
    runner = waiting_runner(database, write_jobs, start_runner)
    for number in range(1, 51):
        time.sleep(0.05)  # that is what makes it a trickle
        rows(database, "select soniq.enqueue('quick')")
        wait_for(lambda number=number: done(database) == number)  # type: ignore[misc]
    assert runner.stop() == 0
    [(claims,)] = rows(
        database, "select calls from pg_stat_user_functions where funcname = 'claim'"
    )
    # Fewer than 20 when it began to wait, at intervals that double.
    assert claims <= 50 * 2 + 20
