"""Producers: programs that enqueue in transactions of their own, and note what the database has acknowledged.

A commit of which the answer never came is neither noted nor repeated: it may have happened or not, and the checker
holds the database to either both the job and the row about it, or neither.
"""

import random
import threading
import time
from pathlib import Path

import psycopg

from chaos.ledger import Notebook

# How often each kind comes, in a hundred.
KINDS = {
    "plain": 60,
    "slow": 6,
    "threaded": 6,
    "fails_once": 6,
    "gives_up": 2,
    "snoozes_once": 6,
    "recorded": 6,
    "posted": 6,
    "cancelled": 2,
}
ENQUEUE = """
    with job as (
      select soniq.enqueue(%(kind)s, queue => %(queue)s, priority => %(priority)s) as id
    )
    insert into chaos.enqueued (job_id, kind)
    select job.id, %(kind)s
    from job
    returning job_id
"""
# Enqueued for later and cancelled by the same transaction's successor.
ENQUEUE_FOR_LATER = """
    with job as (
      select soniq.enqueue('plain', delay => '1 day') as id
    )
    insert into chaos.enqueued (job_id, kind)
    select job.id, 'cancelled'
    from job
    returning job_id
"""
ENQUEUE_MANY = """
    insert into chaos.enqueued (job_id, kind)
    select job.id, 'plain'
    from soniq.enqueue_many('plain', array_fill('{}'::jsonb, array[%s])) as job (id)
    returning job_id
"""


def enqueue_many(url: str, notes: Path, jobs: int) -> None:
    """Enqueues so many plain jobs in one transaction."""
    with psycopg.connect(url) as connection:
        ids = [job_id for (job_id,) in connection.execute(ENQUEUE_MANY, [jobs]).fetchall()]
    notebook = Notebook(notes, "acknowledged")
    for job_id in ids:
        notebook.write(job_id)


class Producer(threading.Thread):
    """Enqueues about so many jobs a second until it is stopped, whatever happens to its connection."""

    def __init__(self, url: str, notes: Path, rate: float, seed: int) -> None:
        """Starts at start()."""
        super().__init__(daemon=True)
        self._url = url
        self._notebook = Notebook(notes, "acknowledged")
        self._pause = 1 / rate
        self._random = random.Random(seed)
        self._stopped = threading.Event()
        self._to_cancel: list[int] = []
        self.acknowledged = 0

    def run(self) -> None:
        """Goes on until stop()."""
        while not self._stopped.is_set():
            try:
                # A server that vanished in silence is missed after two seconds.
                with psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=2,
                    options="-c statement_timeout=10s",
                ) as connection:
                    self._produce(connection)
            except psycopg.Error:
                self._stopped.wait(0.05)

    def _produce(self, connection: psycopg.Connection) -> None:
        due = time.monotonic()
        while not self._stopped.is_set():
            self._enqueue(connection, self._random.choices(list(KINDS), list(KINDS.values()))[0])
            due = max(due + self._pause, time.monotonic() - 1)
            self._stopped.wait(due - time.monotonic())

    def _enqueue(self, connection: psycopg.Connection, kind: str) -> None:
        if kind == "cancelled":
            cursor = connection.execute(ENQUEUE_FOR_LATER)
        else:
            cursor = connection.execute(
                ENQUEUE,
                {
                    "kind": kind,
                    "queue": self._random.choice(("default", "mail", "bills")),
                    "priority": self._random.choice((10, 100, 500)),
                },
            )
        row = cursor.fetchone()
        assert row is not None
        self._notebook.write(row[0])
        self.acknowledged += 1
        if kind == "cancelled":
            self._to_cancel.append(row[0])
        while self._to_cancel:
            connection.execute("select soniq.cancel(%s)", [self._to_cancel[-1]])
            self._to_cancel.pop()

    def stop(self) -> None:
        """Returns when it has stopped, with all cancelled that was to be."""
        self._stopped.set()
        self.join()
        if self._to_cancel:
            with psycopg.connect(self._url, autocommit=True) as connection:
                for job_id in self._to_cancel:
                    connection.execute("select soniq.cancel(%s)", [job_id])
