"""What became of an attempt, and how the database is told. What follows from it is decided there."""

import json
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg

from soniq.codec import Codec, seal
from soniq.database import CONNECTION_LOST
from soniq.job import Job

# The database cuts to its own, smaller bounds; this one only keeps monsters off the wire.
# Classes of SQLSTATE: rolled back, out of resources, not in the state for it, cancelled, a system error, a bug.
MAY_PASS = ("40", "53", "55", "57", "58", "XX")
LONGEST_TEXT = 100_000
LONGEST_TRACE_LINE = (
    4_000  # so that a huge message, which ends a traceback, leaves something of the rest
)
PACKAGE = str(Path(__file__).parent)


@dataclass(slots=True)
class Done:
    """The handler returned; `result` is JSON text, None for nothing."""

    job: Job
    result: str | None


@dataclass(slots=True)
class Failed:
    """The attempt failed; `reason` is None for an ordinary error."""

    job: Job
    error: str
    reason: str | None


@dataclass(slots=True)
class Snoozed:
    """The handler asked to be run again later."""

    job: Job
    delay: timedelta


@dataclass(slots=True)
class Released:
    """The runner stops and could not finish the job."""

    job: Job


Outcome = Done | Failed | Snoozed | Released


def done(job: Job, value: Any, codec: Codec | None = None) -> Done | Failed:
    """Done with the value, sealed if there is a codec, as its result; failed for good if JSON cannot hold it.

    Running the handler again would do its work twice and return the same.
    """
    if value is None:
        return Done(job, None)
    try:
        result = json.dumps(value, allow_nan=False)
    except BaseException as error:  # a dict of the handler's own class may raise anything
        return failed(job, "InvalidResult", f"the handler's result is not JSON: {_text_of(error)}")
    if codec is not None:
        try:
            result = seal(codec, result)
        except Exception as error:
            return failed(
                job, "InvalidResult", f"the handler's result cannot be sealed: {_text_of(error)}"
            )
    return Done(job, result)


def failed(job: Job, kind: str, message: str, reason: str | None = "permanent_failure") -> Failed:
    """A failure that Soniq itself found; without a reason it is tried again."""
    return Failed(job, _error(kind, message, None), reason)


def raised(job: Job, exception: BaseException, reason: str | None = None) -> Failed:
    """A failure that the handler raised, whatever its exception does when it is looked at."""
    return Failed(
        job, _error(type(exception).__name__, _text_of(exception), _trace_of(exception)), reason
    )


def _text_of(exception: BaseException) -> str:
    try:
        return str(exception)
    except BaseException as error:
        return f"(its message cannot be read: {type(error).__name__})"


def _trace_of(exception: BaseException) -> str:
    frames = exception.__traceback__
    while frames and frames.tb_frame.f_code.co_filename.startswith(PACKAGE):
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(exception), exception, frames)
    except BaseException as error:
        return f"(its traceback cannot be written: {type(error).__name__})"
    return "".join(
        line
        if len(line) <= LONGEST_TRACE_LINE
        else f"{line[:LONGEST_TRACE_LINE]}... ({len(line):,} characters)\n"
        for line in lines
    )


def _error(kind: str, message: str, trace: str | None) -> str:
    return json.dumps(
        {
            "type": kind,
            "message": _storable(message[:LONGEST_TEXT]),
            "traceback": None if trace is None else _storable(trace[-LONGEST_TEXT:]),
        }
    )


def _storable(text: str) -> str:
    """The text with what PostgreSQL cannot store, NUL and lone surrogates, spelled out."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def groups(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Outcomes by kind; each group is one call."""
    by_kind: dict[type[Outcome], list[Outcome]] = {}
    for outcome in outcomes:
        by_kind.setdefault(type(outcome), []).append(outcome)
    return list(by_kind.values())


async def report(
    connection: asyncpg.Connection, group: Sequence[Outcome]
) -> list[str | bool | None]:
    """Tells the database of outcomes of one kind; one answer each, false or None: the lease was lost.

    What the database cannot store, as text with a NUL in it, ends as a permanent failure that says so. Raises what
    may pass, such as a full disk.
    """
    try:
        return await _call(connection, group)
    except CONNECTION_LOST:
        raise
    except asyncpg.PostgresError as error:
        if error.sqlstate[:2] in MAY_PASS:
            raise
        if len(group) > 1:
            return [answer for each in group for answer in await report(connection, [each])]
        told = failed(group[0].job, type(error).__name__, f"could not be reported: {error}")
        return await _call(connection, [told])


async def _call(
    connection: asyncpg.Connection, group: Sequence[Outcome]
) -> list[str | bool | None]:
    job_ids = [outcome.job.id for outcome in group]
    attempts = [outcome.job.attempt for outcome in group]
    match group[0]:
        case Done():
            results = [outcome.result for outcome in group if isinstance(outcome, Done)]
            answers = await connection.fetchval(
                "select soniq.complete(job_ids => $1, attempts => $2, results => $3::jsonb[])",
                job_ids,
                attempts,
                results if any(result is not None for result in results) else None,
            )
        case Failed():
            failures = [outcome for outcome in group if isinstance(outcome, Failed)]
            answers = await connection.fetchval(
                "select soniq.fail("
                "job_ids => $1, attempts => $2, errors => $3::jsonb[], reasons => $4)",
                job_ids,
                attempts,
                [failure.error for failure in failures],
                [failure.reason for failure in failures],
            )
        case Snoozed():
            answers = await connection.fetchval(
                "select pg_catalog.array_agg(soniq.snooze("
                "job_id => given.job_id, attempt => given.attempt, delay => given.delay)"
                " order by given.position)"
                " from unnest($1::bigint[], $2::integer[], $3::interval[])"
                " with ordinality as given (job_id, attempt, delay, position)",
                job_ids,
                attempts,
                [outcome.delay for outcome in group if isinstance(outcome, Snoozed)],
            )
        case Released():
            answers = await connection.fetchval(
                "select pg_catalog.array_agg(soniq.release("
                "job_id => given.job_id, attempt => given.attempt) order by given.position)"
                " from unnest($1::bigint[], $2::integer[])"
                " with ordinality as given (job_id, attempt, position)",
                job_ids,
                attempts,
            )
    return list(answers)
