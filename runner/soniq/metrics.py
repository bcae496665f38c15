"""Metrics for Prometheus: of the attempts that this process makes, and of the whole system, from the database.

from soniq import Soniq
from soniq.metrics import PrometheusMetricsSink

app = Soniq(metrics_sink=PrometheusMetricsSink())
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence

import asyncpg
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import Metric

from soniq.database import CANNOT_CONNECT, close, connect, describe
from soniq.errors import SoniqError
from soniq.job import Job
from soniq.metering import MetricsSink

log = logging.getLogger("soniq")

__all__ = ["DatabaseMetrics", "MetricsSink", "PrometheusMetricsSink"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
# Anyone who may enqueue may invent job names and queues, and Prometheus keeps each for as long as it keeps anything.
MOST_PAIRS = 500
OTHER = ("(other)", "(other)")


class _Series:
    """The series of one job name and queue. Looking them up by labels each time would take longer than counting."""

    def __init__(self, sink: "PrometheusMetricsSink", job_name: str, queue: str) -> None:
        self.started = sink.started.labels(job_name, queue)
        self.in_progress = sink.in_progress.labels(job_name, queue)
        self.wait = sink.wait.labels(job_name, queue)
        self.duration = sink.duration.labels(job_name, queue)
        self.ended: dict[str, Counter] = {}


class PrometheusMetricsSink:
    """Counts attempts in series with the labels job_name and queue.

    registry: where the series are; one of its own by default, which has the process's own metrics too.
    buckets: the bounds of both histograms, in seconds.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, buckets: Sequence[float] = BUCKETS
    ) -> None:
        if registry is None:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
        self.registry = registry
        labels = ("job_name", "queue")
        self.started = Counter(
            "soniq_job_attempts_started", "Attempts begun.", labels, registry=registry
        )
        self.ended = Counter(
            "soniq_job_attempts_ended",
            "Attempts ended, by how: done, snoozed, failed, timeout, permanent_failure, unknown_job,"
            " invalid_arguments, released or lost.",
            (*labels, "status"),
            registry=registry,
        )
        self.in_progress = Gauge(
            "soniq_jobs_in_progress", "Attempts begun and not ended.", labels, registry=registry
        )
        self.wait = Histogram(
            "soniq_job_wait_seconds",
            "From the time at which a job was due to the begin of its attempt.",
            labels,
            registry=registry,
            buckets=buckets,
        )
        self.duration = Histogram(
            "soniq_job_duration_seconds",
            "From the begin of an attempt to its end, however it ended.",
            labels,
            registry=registry,
            buckets=buckets,
        )
        self._series: dict[tuple[str, str], _Series] = {}

    def job_started(self, job: Job, waited: float) -> None:
        """Counts an attempt that begins."""
        series = self._of(job)
        series.started.inc()
        series.in_progress.inc()
        series.wait.observe(waited)

    def job_ended(self, job: Job, status: str, seconds: float) -> None:
        """Counts one that has ended."""
        series = self._of(job)
        ended = series.ended.get(status)
        if ended is None:
            ended = series.ended[status] = self.ended.labels(*self._labels(job), status)
        ended.inc()
        series.in_progress.dec()
        series.duration.observe(seconds)

    def _of(self, job: Job) -> _Series:
        series = self._series.get((job.name, job.queue))
        if series is None:
            labels = self._labels(job)
            series = self._series.get(labels)
            if series is None:
                series = self._series[labels] = _Series(self, *labels)
        return series

    def _labels(self, job: Job) -> tuple[str, str]:
        pair = (job.name, job.queue)
        return pair if pair in self._series or len(self._series) < MOST_PAIRS else OTHER


class DatabaseMetrics:
    """What soniq.metrics() answers, for a registry: the same whichever runner is asked.

    However many scrape, there is one query at a time, and a new one only after `fresh_for` seconds. Scrapes meanwhile
    are given the last answer. One that takes longer than `patience` is given up.
    """

    def __init__(self, url: str, *, fresh_for: float = 5.0, patience: float = 5.0) -> None:
        self._url = url
        self._fresh_for = fresh_for
        self._patience = patience
        self._connection: asyncpg.Connection | None = None
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._took = 0.0
        self._failed = False
        self._families: list[Metric] = []
        self._meanings: Mapping[str, str] = {}

    async def refresh(self) -> None:
        """Asks the database, unless it has just been asked. What goes wrong is logged, once."""
        async with self._asking:
            started = time.monotonic()
            if started - self._asked_at < self._fresh_for:
                return
            try:
                async with asyncio.timeout(self._patience):
                    self._families = await self._ask()
            except (*CANNOT_CONNECT, SoniqError) as error:
                self._families = []
                if not self._failed:
                    log.warning("no metrics from the database: %s", _told(error, self._patience))
                self._failed = True
                await self.close()
            else:
                if self._failed:
                    log.info("the database has metrics again")
                self._failed = False
            finally:
                self._asked_at = time.monotonic()
                self._took = self._asked_at - started

    async def _ask(self) -> list[Metric]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url, "metrics")
            self._meanings = _meanings(
                await self._connection.fetchval(
                    "select pg_catalog.obj_description('soniq.metrics()'::regprocedure, 'pg_proc')"
                )
            )
        rows = await self._connection.fetch("select name, labels, value from soniq.metrics()")
        families: dict[str, Metric] = {}
        for name, labels, value in rows:
            if name not in families:
                kind = "counter" if name.endswith("_total") else "gauge"
                families[name] = Metric(
                    name.removesuffix("_total"), self._meanings.get(name, name), kind
                )
            families[name].add_sample(
                name, {key: str(label) for key, label in json.loads(labels).items()}, value
            )
        return list(families.values())

    def collect(self) -> Iterator[Metric]:
        """The last answer, and how it came about."""
        yield from self._families
        yield gauge(
            "soniq_database_metrics_up",
            "1 if soniq.metrics() could be asked; 0 if not, and then what it tells is missing.",
            0.0 if self._failed else 1.0,
        )
        yield gauge(
            "soniq_database_metrics_seconds", "How long asking it took, or failing to.", self._took
        )

    async def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await close(connection)


def _told(error: BaseException, patience: float) -> str:
    if isinstance(error, TimeoutError):
        return f"soniq.metrics() did not answer within {patience:g} s"
    return describe(error)


def gauge(name: str, meaning: str, value: float) -> Metric:
    """A gauge without labels."""
    metric = Metric(name, meaning, "gauge")
    metric.add_sample(name, {}, value)
    return metric


def _meanings(comment: str | None) -> dict[str, str]:
    """What each metric means, out of the comment of the function that tells them."""
    return dict(re.findall(r"^(soniq_\w+): (.+)$", comment or "", re.MULTILINE))
