"""Telling of every attempt, for those who count: what a sink is, and that none can harm a job.

What Prometheus needs is in soniq.metrics, which takes long to import and is only imported where it is used.
"""

import logging
from collections.abc import Iterable
from typing import Protocol

from soniq.job import Job
from soniq.outcomes import Failed, Outcome

log = logging.getLogger("soniq")


class MetricsSink(Protocol):
    """What Soniq(metrics_sink=...) takes; any object with these two methods is one.

    A runner tells every sink of its apps of all attempts that it makes, in its event loop: so a method has to be quick
    and must not block. What it raises is logged once, and does the job no harm.
    """

    def job_started(self, job: Job, waited: float) -> None:
        """An attempt begins; the job was due `waited` seconds ago."""

    def job_ended(self, job: Job, status: str, seconds: float) -> None:
        """It has ended after so many seconds. Each that began ends once.

        status: done, snoozed; failed (an error, which may be tried again), timeout; permanent_failure, unknown_job,
        invalid_arguments (dead letters at once); released (the runner stops), lost (the lease is another's).
        """


def distinct(sinks: Iterable[MetricsSink | None]) -> list[MetricsSink]:
    """Each sink once, however many apps have it."""
    return list({id(sink): sink for sink in sinks if sink is not None}.values())


class Meter:
    """Tells sinks. One that raises is logged once and still told: it may only dislike some job."""

    def __init__(self, sinks: Iterable[MetricsSink]) -> None:
        self._sinks = tuple(sinks)
        self._blamed: set[int] = set()

    def started(self, job: Job, held: float) -> None:
        """An attempt begins, `held` seconds after its job was claimed."""
        # The database's clock for as long as the job was there, this machine's for the rest: they may differ.
        waited = max((job.claimed_at - job.scheduled_at).total_seconds(), 0.0) + held
        for sink in self._sinks:
            try:
                sink.job_started(job, waited)
            except Exception:
                self._blame(sink)

    def ended(self, job: Job, status: str, seconds: float) -> None:
        """It has ended after so many seconds."""
        for sink in self._sinks:
            try:
                sink.job_ended(job, status, seconds)
            except Exception:
                self._blame(sink)

    def _blame(self, sink: MetricsSink) -> None:
        if id(sink) not in self._blamed:
            self._blamed.add(id(sink))
            log.exception("the metrics sink %r raises; the jobs go on, and this is said once", sink)


def status_of(outcome: Outcome) -> str:
    """An outcome as sinks are told it."""
    if isinstance(outcome, Failed):
        return outcome.reason or "failed"
    return type(outcome).__name__.lower()
