"""tick() from many sessions at once: each run becomes one job, and a sweep takes back only what it read."""

import functools
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from conftest import rows
from testing.server import dying_with_parent
from waiting import wait_for

TICKERS = 20
FIRES = 500
START = datetime(2030, 1, 1, 12, tzinfo=UTC)

DRIVEN_CLOCK = """
    create table driven_clock (now_at timestamptz not null);
    insert into driven_clock values ('2030-01-01 12:00+00');
    grant select on driven_clock to public;
    create or replace function soniq.clock() returns timestamptz language sql volatile parallel safe
    as 'select now_at from public.driven_clock';
"""


class Ticker:
    """A psql that does nothing but tick, as fast as it can."""

    def __init__(self, url: str) -> None:
        endless = subprocess.Popen(
            [*dying_with_parent(signal.SIGKILL), "yes", "select soniq.tick();"],
            stdout=subprocess.PIPE,
        )
        self._psql = subprocess.Popen(
            [*dying_with_parent(signal.SIGKILL), "psql", "-XqAt", "--output=/dev/null", url],
            stdin=endless.stdout,
            env={**os.environ, "PGAPPNAME": "ticker"},
        )
        assert endless.stdout is not None
        endless.stdout.close()  # psql alone holds it, so `yes` ends with psql
        self._endless = endless

    def kill(self) -> None:
        """`kill -9`, in the middle of whatever it does."""
        self._psql.kill()
        self._psql.wait()
        self._endless.wait()


@contextmanager
def tickers(url: str, count: int) -> Iterator[list[Ticker]]:
    """So many of them, to be killed and replaced at will."""
    running: list[Ticker] = []
    with ExitStack() as stack:

        @stack.callback
        def kill_all() -> None:
            for ticker in running:
                ticker.kill()

        running.extend(Ticker(url) for _ in range(count))
        yield running


def due_times(url: str, schedule: str) -> list[datetime]:
    return [
        due_at
        for (due_at,) in rows(
            url, "select due_at from soniq.jobs where schedule = %s order by due_at", schedule
        )
    ]


def all_is_enqueued(driver: psycopg.Connection[Any], now: datetime) -> bool:
    """Whether somebody has ticked since the clock was set to `now`."""
    due = driver.execute("select from soniq.schedules where next_run_at <= %s", [now])
    return not due.fetchall()


def test_twenty_sessions_tick_while_the_clock_is_driven_across_500_runs(database: str) -> None:
    rows(database, DRIVEN_CLOCK)
    rows(
        database,
        "select soniq.schedule('ten seconds', cron => '*/10 * * * * *'),"
        " soniq.schedule('minutes', cron => '* * * * *', missed_runs => 'run_all'),"
        " soniq.schedule('interval', every => '75 seconds', missed_runs => 'run_once')",
    )
    dice = random.Random(7)
    now, finish = START, START + timedelta(seconds=10 * FIRES)
    with (
        tickers(database, TICKERS) as running,
        psycopg.connect(database, autocommit=True) as driver,
    ):
        wait_for(
            lambda: driver.execute(
                "select from pg_stat_activity where application_name = 'ticker' offset %s",
                [TICKERS - 1],
            ).fetchall()
        )
        while now < finish:
            # Never more than the schedules' tolerance, beyond which a run would rightly be skipped.
            now = min(now + timedelta(seconds=dice.randint(1, 59)), finish)
            driver.execute("update driven_clock set now_at = %s", [now])
            if dice.random() < 0.3:
                victim = dice.randrange(TICKERS)
                running[victim].kill()
                running[victim] = Ticker(database)
            wait_for(functools.partial(all_is_enqueued, driver, now))
    assert due_times(database, "ten seconds") == [
        START + timedelta(seconds=10 * n) for n in range(1, FIRES + 1)
    ]
    assert due_times(database, "minutes") == [
        START + timedelta(minutes=n) for n in range(1, FIRES // 6 + 1)
    ]
    assert due_times(database, "interval") == [
        START + timedelta(seconds=75 * n) for n in range(1, FIRES * 10 // 75 + 1)
    ]


def test_what_was_missed_is_made_up_for_once_by_twenty_sessions(database: str) -> None:
    rows(database, DRIVEN_CLOCK)
    rows(
        database,
        "select soniq.schedule('made up for', cron => '* * * * *', missed_runs => 'run_all',"
        " max_missed_runs => 1000)",
    )
    rows(database, "update driven_clock set now_at = now_at + interval '500 minutes'")
    with tickers(database, TICKERS):
        wait_for(
            lambda: rows(database, "select from soniq.schedules where next_run_at > soniq.clock()")
        )
    assert due_times(database, "made up for") == [
        START + timedelta(minutes=n) for n in range(1, FIRES + 1)
    ]


def lose_a_runner(database: str) -> tuple[int, int]:
    """A runner that is overdue to be declared dead, and the job that it holds: their ids."""
    [(runner_id,)] = rows(
        database, "select soniq.register_runner('lost', heartbeat_timeout => '1 hour')"
    )
    [(job_id,)] = rows(database, "select soniq.enqueue('work', timeout => '0')")
    rows(database, "select from soniq.claim(%s)", runner_id)
    rows(
        database,
        "update soniq.runners set last_heartbeat_at = now() - interval '2 hours' where runner_id = %s",
        runner_id,
    )
    return runner_id, job_id


def job(database: str, job_id: int) -> tuple[str, int, int | None]:
    [found] = rows(
        database, "select status::text, attempt, runner_id from soniq.get_job(%s)", job_id
    )
    return found


def test_a_sweep_leaves_alone_what_is_being_completed(database: str) -> None:
    _, job_id = lose_a_runner(database)
    with psycopg.connect(database) as late:
        late.execute("select soniq.complete(%s, 1)", [job_id])
        assert rows(database, "select jobs_of_lost_runners from soniq.tick()") == [(0,)]
        late.commit()
    assert job(database, job_id)[0] == "done"
    assert rows(database, "select jobs_of_lost_runners from soniq.tick()") == [(0,)]
    assert job(database, job_id)[0] == "done"
    assert rows(database, "select from soniq.runners") == []


def test_a_sweep_that_waits_for_nobody_takes_no_job_that_was_claimed_again(database: str) -> None:
    _, job_id = lose_a_runner(database)
    [(other,)] = rows(database, "select soniq.register_runner('other')")
    with psycopg.connect(database) as meanwhile:
        meanwhile.execute("select soniq.release(%s, 1)", [job_id])
        meanwhile.execute("select soniq.claim(%s)", [other])
        assert rows(database, "select jobs_of_lost_runners from soniq.tick()") == [(0,)]
        meanwhile.commit()
    assert rows(database, "select jobs_of_lost_runners from soniq.tick()") == [(0,)]
    assert job(database, job_id) == ("processing", 2, other)


def test_a_claim_under_way_keeps_its_runner_from_being_declared_dead(database: str) -> None:
    runner_id, _ = lose_a_runner(database)
    rows(database, "select soniq.enqueue('work', timeout => '0')")
    with psycopg.connect(database) as claiming:
        claiming.execute("select from soniq.claim(%s)", [runner_id])
        assert rows(database, "select lost_runners from soniq.tick()") == [(0,)]
        claiming.commit()
    assert rows(database, "select lost_runners, jobs_of_lost_runners from soniq.tick()") == [(1, 2)]
