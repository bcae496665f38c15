"""What something costs the server: WAL, commits, CPU time."""

import time
from dataclasses import dataclass

import psycopg

from . import cpu
from .site import Database

AGREE_AFTER = (
    0.5  # seconds; before PostgreSQL 15, statistics go through a file that is written as often
)

READING = """
select
  pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0'),
  (
    select database_stats.xact_commit
    from pg_catalog.pg_stat_database as database_stats
    where database_stats.datname = %(database)s
  ),
  (
    select count(*)
    from pg_catalog.pg_stat_activity as activity
    where activity.datname = %(database)s
  )
"""


@dataclass(frozen=True)
class Spent:
    """Bytes of WAL, transactions that were committed, seconds of CPU time of all processes of the server."""

    wal_bytes: int
    commits: int
    cpu_seconds: float


class Meter:
    """What the block costs, from a checkpoint until the last session has left the database: `spent`, afterwards.

    So connecting is part of it. A session tells its commits a second late, and at its end at the latest.
    """

    spent = Spent(0, 0, 0)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None:
        """Nobody may be connected for long."""
        self._database.execute("checkpoint")
        self._before = self._read()

    def __exit__(self, failure: type[BaseException] | None, *about: object) -> None:
        """Waits, unless the block has failed."""
        if failure is None:
            after, before = self._read(), self._before
            self.spent = Spent(
                after.wal_bytes - before.wal_bytes,
                after.commits - before.commits,
                after.cpu_seconds - before.cpu_seconds,
            )

    def _read(self) -> Spent:
        """What has been spent ever, once nobody is connected and the statistics have come to rest."""
        # Not a session of that database, whose commits are counted.
        with psycopg.connect(self._database.server.url(), autocommit=True) as eye:
            commits = -1
            while True:
                row = eye.execute(READING, {"database": self._database.name}).fetchone()
                assert row is not None
                if row[2] == 0 and row[1] == commits:
                    used = cpu.used_by_server(self._database.server.pid)
                    return Spent(int(row[0]), commits, used)
                commits = row[1]
                time.sleep(AGREE_AFTER)
