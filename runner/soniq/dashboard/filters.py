"""What a list is to show: filters as they stand in an address, read and written back."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from soniq.dashboard.refusals import bad_value

STATUSES = ("queued", "processing", "done", "cancelled", "dead_letter")
LARGEST_ID = 2**63 - 1
LONGEST_TEXT = 200
# What an error did not tell is empty, and can be asked for.
MAY_BE_EMPTY = {"error_type", "error_pattern"}
# Within what Python can reckon with, so that a while can be added to a time, or taken off.
FIRST_YEAR, LAST_YEAR = 2, 9998
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class _Filter:
    """What all filters have: a way from an address, and back."""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Self:
        """Out of an address' query; what is empty mostly counts as left out. Raises Refusal for what cannot be read."""
        values: dict[str, Any] = {}
        for name in (each.name for each in fields(cls)):
            text = given.get(name, "")
            if not text.strip() and not (name in given and name in MAY_BE_EMPTY):
                continue
            # A text is taken as it is: the pattern of an error may end in a line's end.
            values[name] = (
                _READERS[name](name, text.strip()) if name in _READERS else _text(name, text)
            )
        return cls(**values)

    def query(self, **changes: object) -> dict[str, str]:
        """The same, with some changed, as an address' query has it."""
        changed = replace(self, **changes)
        values = {each.name: getattr(changed, each.name) for each in fields(changed)}
        return {
            name: _written(value) for name, value in values.items() if value not in (None, False)
        }

    @property
    def is_narrow(self) -> bool:
        """Whether anything but the place in the list is asked for."""
        return bool(self.query(before=None))

    @property
    def drains(self) -> bool:
        """Whether what matches soon matches no more, so that it is of use only as it is now."""
        return False


@dataclass(frozen=True, slots=True)
class JobFilter(_Filter):
    """Which jobs. `since` and `until` are about when they were enqueued; `text` is found in their args, in any case.

    before: only those with a lower id, which is the next page.
    """

    status: str | None = None
    queue: str | None = None
    name: str | None = None
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    before: int | None = None

    @property
    def drains(self) -> bool:
        """Whether what matches soon matches no more, so that it is of use only as it is now."""
        return self.status in ("queued", "processing")


@dataclass(frozen=True, slots=True)
class LetterFilter(_Filter):
    """Which dead letters. `since` and `until` are about when they died; `waiting`: only those not replayed.

    error_type, error_pattern: of their last error, as soniq.dead_letter_groups has them.
    before: only those with a lower id, which is the next page.
    """

    name: str | None = None
    queue: str | None = None
    error_type: str | None = None
    error_pattern: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    waiting: bool = False
    before: int | None = None


def moment(name: str, text: str) -> datetime:
    """A time, in UTC unless it says, or how long ago, as in 90s, 15m, 2h, 7d. Raises Refusal."""
    try:
        if text[:-1].isdecimal() and text[-1] in UNITS and len(text) < 8:
            return in_utc(datetime.now(UTC) - timedelta(**{UNITS[text[-1]]: int(text[:-1])}))
        return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise bad_value(
            f"{name} is {text[:LONGEST_TEXT]!r}",
            "Give a time, as in 2026-11-25T08:00 (UTC unless it says), of the years"
            f" {FIRST_YEAR} to {LAST_YEAR}, or how long ago, as in 15m, 2h or 7d.",
        ) from None


def in_utc(time: datetime) -> datetime:
    """A time as it is in UTC, which is meant unless it says. Raises ValueError for years beyond these."""
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise ValueError(f"give a time of the years {FIRST_YEAR} to {LAST_YEAR}")
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def job_id(name: str, text: str) -> int:
    """An id. Raises Refusal."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and 0 < int(text) <= LARGEST_ID):
        raise bad_value(
            f"{name} is {text[:LONGEST_TEXT]!r}",
            f"Give an id: a whole number from 1 to {LARGEST_ID}.",
        )
    return int(text)


def _status(name: str, text: str) -> str:
    if text not in STATUSES:
        raise bad_value(f"{name} is {text[:LONGEST_TEXT]!r}", f"Give one of {', '.join(STATUSES)}.")
    return text


def _flag(name: str, text: str) -> bool:
    return text.lower() in ("true", "yes", "1", "on")


def _text(name: str, text: str) -> str:
    # What no text in the database can be: a NUL, and what is no UTF-8.
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise bad_value(f"{name} has a character that no text in the database has", "Leave it out.")
    if len(text) > 5 * LONGEST_TEXT:
        raise bad_value(f"{name} has {len(text)} characters", f"Give at most {5 * LONGEST_TEXT}.")
    return text


def _written(value: object) -> str:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case True:
            return "true"
        case _:
            return str(value)


_READERS = {
    "status": _status,
    "since": moment,
    "until": moment,
    "before": job_id,
    "waiting": _flag,
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters something is to be done to: those with these ids, or all that match the rest.

    before: only what died before; there always is one, since what dies after somebody has looked is not of their
    choosing. only_waiting: of these those not replayed, which a replay without ids is about anyway.
    """

    before: datetime
    ids: tuple[int, ...] | None = None
    name: str | None = None
    queue: str | None = None
    since: datetime | None = None
    error_type: str | None = None
    error_pattern: str | None = None
    only_waiting: bool = False

    def __str__(self) -> str:
        """For the log: what was given."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return ", ".join(
            f"{name} {_written(value) if name in ('before', 'since') else repr(value)}"
            for name, value in given.items()
            if value not in (None, False)
        )

    @property
    def parameters(self) -> tuple[Any, ...]:
        """As soniq.replay_dead_letters() and delete_dead_letters() take them, ids to error_pattern."""
        ids = list(self.ids) if self.ids is not None else None
        return (
            ids,
            self.name,
            self.queue,
            self.since,
            self.before,
            self.error_type,
            self.error_pattern,
        )
