"""What has happened to a job, in order, as far as its record tells."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from soniq.dashboard.looking import Row
from soniq.dashboard.wording import duration

Shade = Literal["neutral", "queued", "processing", "failed", "done", "cancelled", "dead_letter"]


@dataclass(frozen=True, slots=True)
class Event:
    """at: when, None where that is not known. error: of an attempt, as soniq.jobs.errors has it."""

    at: datetime | None
    shade: Shade
    title: str
    detail: str | None = None
    error: dict[str, Any] | None = None


def timeline(job: Row) -> list[Event]:
    """From being enqueued to what is next. Snoozes and releases leave no trace but the number of attempts."""
    errors: list[dict[str, Any]] = job.get("errors") or []
    events = [Event(job["enqueued_at"], "neutral", "Enqueued", _origin(job))]
    for error in errors:
        attempt = error.get("attempt")
        started, failed = _time(error.get("started_at")), _time(error.get("failed_at"))
        events.append(Event(started, "processing", f"Attempt {attempt} began", _runner(error)))
        events.append(
            Event(failed, "failed", f"Attempt {attempt} failed", _after(started, failed), error)
        )
    events += _end(job, {error.get("attempt") for error in errors})
    return events


def _end(job: Row, failed: set[int | None]) -> list[Event]:
    events = []
    # The attempt that did not fail; of a login that may not see errors, the last one.
    if (
        job["claimed_at"] is not None
        and job["attempt"] not in failed
        and job["status"] != "dead_letter"
    ):
        runner = f"by runner {job['runner_id']}" if job["runner_id"] is not None else None
        events.append(
            Event(job["claimed_at"], "processing", f"Attempt {job['attempt']} began", runner)
        )
    match job["status"]:
        case "queued":
            waits = "To be retried" if failed else "Due"
            events.append(
                Event(job["scheduled_at"], "queued", waits, f"in the queue {job['queue']}")
            )
        case "processing":
            if job["deadline"] is not None:
                events.append(
                    Event(job["deadline"], "neutral", "Has to be over", "or it is taken back")
                )
        case "done":
            events.append(
                Event(job["ended_at"], "done", "Done", _after(job["claimed_at"], job["ended_at"]))
            )
        case "cancelled":
            events.append(Event(job["ended_at"], "cancelled", "Cancelled"))
        case "dead_letter":
            reason = str(job["reason"]).replace("_", " ")
            events.append(Event(job["ended_at"], "dead_letter", "Given up", reason))
    return events


def _origin(job: Row) -> str | None:
    if job["replay_of"] is not None:
        return f"as a replay of dead letter {job['replay_of']}"
    if job["schedule"] is not None:
        return f"by the schedule {job['schedule']}"
    return None


def _runner(error: dict[str, Any]) -> str | None:
    return f"on {error['runner']}" if error.get("runner") else None


def _after(since: datetime | None, until: datetime | None) -> str | None:
    if since is None or until is None:
        return None
    return f"after {duration(until - since)}"


def _time(text: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
