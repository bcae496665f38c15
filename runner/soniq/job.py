"""The job as a handler sees it, and what a handler may raise to say something other than 'failed'."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from soniq.errors import BadDeclaration


@dataclass(slots=True, eq=False)
class Job:
    """A claimed job. (id, attempt) is its lease; all times are the database's.

    headers are what its producer sent along beside the arguments; {} if nothing.
    A periodic job carries its schedule's name and the time for which it was enqueued, as due_at.
    unreadable: why Python could not read args or headers. No handler sees such a job.
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
    unreadable: str | None = None


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
