"""The job as a handler sees it, and what a handler may raise to say something other than 'failed'."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from soniq.errors import BadDeclaration


@dataclass(slots=True, eq=False)
class Job:
    """A claimed job. (id, attempt) is its lease; all times are the database's.

    headers are what its producer sent along beside the arguments; {} if nothing.
    A periodic job carries its schedule's name and the time for which it was enqueued, as due_at.
    tenant is whose job it is, None for nobody's in particular.
    """

    id: int
    name: str
    args: dict[str, Any]
    headers: dict[str, Any]
    queue: str
    priority: int
    attempt: int
    max_attempts: int
    scheduled_at: datetime
    claimed_at: datetime
    timeout: timedelta
    deadline: datetime | None
    schedule: str | None
    due_at: datetime | None
    tenant: str | None = None


# Without json.loads()' look for blanks: the server's JSON has none around it.
_decode = json.JSONDecoder().raw_decode


def _given(value: Any) -> Any:
    return value


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class ClaimedJob(Job):
    """A Job made of a row of COLUMNS, each read when it is asked for: to read all took an eighth of a quick job's time.

    Times come as seconds, which are exact to the microsecond from the year 1700 to 2240.
    unreadable: why Python could not read args or headers, which then are empty; None if it could.
    """

    __slots__ = ("_row", "unreadable")
    _row: Sequence[Any]
    unreadable: str | None

    COLUMNS = (
        "claimed.job_id, claimed.job_name, claimed.args, claimed.headers, claimed.queue, claimed.priority,"
        " claimed.attempt, claimed.max_attempts, pg_catalog.date_part('epoch', claimed.scheduled_at),"
        " pg_catalog.date_part('epoch', claimed.claimed_at), pg_catalog.date_part('epoch', claimed.timeout),"
        " pg_catalog.date_part('epoch', claimed.deadline), claimed.schedule,"
        " pg_catalog.date_part('epoch', claimed.due_at), claimed.tenant"
    )
    # Where in a row the others are, and how they are read.
    _LATER: Mapping[str, tuple[int, Callable[[Any], Any]]] = {
        "priority": (5, _given),
        "max_attempts": (7, _given),
        "scheduled_at": (8, _moment),
        "claimed_at": (9, _moment),
        "timeout": (10, lambda seconds: timedelta(seconds=seconds)),
        "deadline": (11, _moment),
        "schedule": (12, _given),
        "due_at": (13, _moment),
        "tenant": (14, _given),
    }

    @classmethod
    def of(cls, row: Sequence[Any]) -> "ClaimedJob":
        """The job of a row of COLUMNS."""
        job = cls.__new__(cls)
        job._row = row
        job.id, job.name, job.queue, job.attempt = row[0], row[1], row[4], row[6]
        job.args, job.headers, job.unreadable = {}, {}, None
        try:
            job.args = _decode(row[2])[0]
            if row[3]:
                job.headers = _decode(row[3])[0]
        except (ValueError, RecursionError) as error:
            # A number or a nesting that PostgreSQL takes and Python does not: the job's failure, not the runner's.
            job.unreadable = str(error)
        return job

    @property
    def timeout_seconds(self) -> float:
        """How long it may take; 0 is no limit."""
        return float(self._row[10])

    def __getattr__(self, name: str) -> Any:
        """Of what has not been set: reads it once."""
        if name not in self._LATER:
            raise AttributeError(name)
        column, read = self._LATER[name]
        value = read(self._row[column])
        setattr(self, name, value)
        return value


class Snooze(Exception):
    """Raised by a handler: run me again after `delay` (seconds or a timedelta), no attempt spent."""

    def __init__(self, delay: float | timedelta) -> None:
        super().__init__(delay)
        self.delay = seconds_to_interval("the delay of Snooze", delay)


class PermanentFailure(Exception):
    """Raised by a handler: trying again is pointless; the job goes to the dead letters at once."""


def seconds_to_interval(what: str, value: float | timedelta) -> timedelta:
    """A duration given in seconds or as a timedelta; a negative or absurd one is refused by name."""
    try:
        interval = value if isinstance(value, timedelta) else timedelta(seconds=value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadDeclaration(
            f"{what} is {value!r}: give a number of seconds or a timedelta"
        ) from error
    if interval < timedelta(0):
        raise BadDeclaration(f"{what} is {value!r}: give 0 or more")
    return interval
