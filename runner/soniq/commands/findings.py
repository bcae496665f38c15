"""What `soniq doctor` finds."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import asyncpg

Level = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is, and what to do about it."""

    level: Level
    what: str
    says: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at: a database, over a connection like a runner's."""

    url: str
    listen_url: str | None
    pool_max_size: int
    metrics_port: int | None
    connection: asyncpg.Connection


Check = Callable[[Patient], AsyncIterator[Finding]]
MINUTES = timedelta(minutes=5)
HOUR = timedelta(hours=1)
# A runner's own: to claim and listen, to report, to beat and tick. Its pools come on top, one where it listens at
# another address, and one to serve metrics.
CONNECTIONS_OF_A_RUNNER = 3
