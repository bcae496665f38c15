"""A steady load of everything that jobs do, and whether each of them ended, and ended once.

Apart from the soak that measures by it, since a test runs it too, in a short form and without figures.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
from runner_process import RunnerProcess
from testing.outcome import CheckFailed
from waiting import wait_for

from .pgbench import steady_load
from .series import every_second
from .site import Database

RUNNERS, CONCURRENCY = 2, 10
RATE = 150  # transactions a second, which make about twice as many jobs
SCRIPTS = {
    "soak_now.sql": 9,
    "soak_thread.sql": 2,
    "soak_many.sql": 1,
    "soak_later.sql": 2,
    "soak_cancel.sql": 1,
    "soak_keyed.sql": 2,
    "soak_retried.sql": 1,
    "soak_snoozed.sql": 1,
    "soak_given_up.sql": 1,
}
LAST_END = 60.0  # seconds within which all ends after the last enqueue

LOST = """
select count(*)
from plain.enqueued
left join ended
  on ended.id = enqueued.id
where ended.id is null
"""
TWICE = "select count(*) - count(distinct ended.id) from ended"
UNASKED = """
select count(*)
from ended
left join plain.enqueued
  on enqueued.id = ended.id
where enqueued.id is null
  and ended.schedule is null
"""
ENDED = """
with ended as (
  select id, schedule
  from soniq.finished_jobs
  union all
  select id, schedule
  from soniq.dead_letter_jobs
)
"""
KINDS = """
select
  (select count(*) from soniq.finished_jobs where status = 'done' and schedule is null),
  (select count(*) from soniq.finished_jobs where schedule is not null),
  (select count(*) from soniq.finished_jobs where status = 'cancelled'),
  (select count(*) from soniq.finished_jobs where attempt > 1),
  (select count(*) from soniq.dead_letter_jobs)
"""


@dataclass(frozen=True)
class Ends:
    """How many jobs ended in which way; `again`: those done at a later attempt."""

    done: int
    scheduled: int
    cancelled: int
    again: int
    given_up: int


@dataclass(frozen=True)
class Load:
    """What became of it: each attempt as (started, waited), in seconds since the beginning, and how the jobs ended."""

    attempts: Sequence[tuple[float, float]]
    ends: Ends


def run_mixed_load(
    database: Database, seconds: int, look: Callable[[psycopg.Connection, float], None]
) -> Load:
    """Keeps it up for so long, lets every job end, and checks that each did so once. `look` is called each second."""
    with tempfile.TemporaryDirectory(prefix="soniq-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        eye = stack.enter_context(psycopg.connect(database.url, autocommit=True))
        database.run("soak_tables.sql")
        runners = []
        for number in range(RUNNERS):
            runners.append(_runner(database, folder, number))
            stack.callback(runners[-1].kill)
        for runner in runners:
            runner.wait_for_log("jobs at once")
        with steady_load(database, SCRIPTS, rate=RATE, clients=8):
            began = time.time()
            for second in every_second(seconds, began):
                look(eye, second)
        eye.execute("select soniq.unschedule(name) from soniq.schedules")
        wait_for(
            lambda: eye.execute("select from soniq.jobs limit 1").fetchone() is None,
            within=LAST_END,
            what="the last job to end",
        )
        for runner in runners:
            if code := runner.stop():
                raise CheckFailed(f"a runner ended with exit code {code}:\n{runner.log}")
        lines = [
            line.split()
            for number in range(RUNNERS)
            for line in (folder / f"ran-{number}").read_text().splitlines()
        ]
        ends = _checked_ends(eye, [int(job_id) for _, _, job_id in lines if job_id != "0"])
    return Load(
        [(float(started) - began, float(started) - float(due)) for due, started, _ in lines], ends
    )


def _runner(database: Database, folder: Path, number: int) -> RunnerProcess:
    return RunnerProcess(
        database.url,
        Path(__file__).parent,
        folder / f"log-{number}",
        jobs_modules="mixed",
        concurrency=CONCURRENCY,
        bench_ran=folder / f"ran-{number}",
    )


def _checked_ends(connection: psycopg.Connection, ended_well: Sequence[int]) -> Ends:
    for what, query in (("lost", LOST), ("ended twice", TWICE), ("never enqueued", UNASKED)):
        row = connection.execute((ENDED + query).encode()).fetchone()
        if row is None or row[0]:
            raise CheckFailed(f"of the jobs, {row and row[0]} were {what}")
    row = connection.execute(KINDS).fetchone()
    assert row is not None
    ends = Ends(*row)
    if not len(ended_well) == len(set(ended_well)) == ends.done + ends.scheduled:
        raise CheckFailed(
            f"{len(set(ended_well))} jobs ended well in their handlers, {len(ended_well)} times altogether,"
            f" and {ends.done + ends.scheduled} are kept as done"
        )
    return ends
