"""What a page shows over the last hour, day or week."""

from collections.abc import Sequence
from datetime import timedelta

from starlette.requests import Request

from soniq.dashboard.charts import Chart, Series, bars, lines
from soniq.dashboard.looking import LENGTHS, Row, Span
from soniq.dashboard.refusals import bad_value


def span_of(request: Request) -> Span:
    """How far back a page looks, as its address says; an hour by default. Raises Refusal."""
    match request.query_params.get("span", "hour"):
        case "hour":
            return "hour"
        case "day":
            return "day"
        case "week":
            return "week"
        case other:
            raise bad_value(f"span is {other[:100]!r}", f"Give one of {', '.join(LENGTHS)}.")


def charts(history: Sequence[Row]) -> list[Chart]:
    """What became of jobs, and how long they waited."""
    times = [each["began_at"] for each in history]
    of = _by_step(history)
    return [
        bars(f"Jobs done {of}", times, [Series("done", "done", _column(history, "done"))]),
        bars(
            f"Failures {of}",
            times,
            [
                Series("given up", "dead", _column(history, "dead")),
                Series("to be retried", "failed", _failed_only(history)),
            ],
        ),
        lines(
            "Wait until started",
            times,
            [
                Series("p95", "p95", _seconds(history, "wait_p95")),
                Series("median", "p50", _seconds(history, "wait_p50")),
            ],
        ),
    ]


def queue_charts(history: Sequence[Row]) -> list[Chart]:
    """The same of one queue, and how many jobs were ready in it."""
    times = [each["began_at"] for each in history]
    depth = bars("Ready at most", times, [Series("ready", "ready", _column(history, "most_ready"))])
    return [depth, *charts(history)]


def _by_step(history: Sequence[Row]) -> str:
    step: timedelta = history[0]["span"] if history else timedelta(minutes=1)
    return {60: "a minute", 600: "in ten minutes", 3600: "an hour"}[int(step.total_seconds())]


def _column(history: Sequence[Row], name: str) -> list[float | None]:
    return [each[name] for each in history]


def _failed_only(history: Sequence[Row]) -> list[float | None]:
    return [
        None if each["failed"] is None else max(each["failed"] - each["dead"], 0)
        for each in history
    ]


def _seconds(history: Sequence[Row], name: str) -> list[float | None]:
    return [None if each[name] is None else each[name].total_seconds() for each in history]
