"""OpenTelemetry: the trace that enqueued a job is the parent of the span that runs it.

    pip install 'soniq[opentelemetry]'

    from soniq.opentelemetry import trace_jobs
    trace_jobs(app)

Producers in other languages do their half in SQL: `soniq.enqueue(..., headers => '{"traceparent": "00-..."}')`.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from soniq.app import Soniq
from soniq.job import Job, Snooze
from soniq.middleware import CallNext


def trace_jobs(app: Soniq, *, tracer_provider: TracerProvider | None = None) -> None:
    """Carries the current trace along with each job that the app enqueues, and gives each run a span in it.

    tracer_provider: where spans go; OpenTelemetry's global one by default, which the program sets up as for
        anything else. Call this before middleware that is to run within the span is registered.

    A span is named 'process JOB_NAME', of the kind CONSUMER, with the attributes of OpenTelemetry's conventions for
    messaging (https://opentelemetry.io/docs/specs/semconv/messaging/) and soniq.attempt. A failed or stopped run
    has the status ERROR and the exception; a snoozed one has not, but soniq.snoozed.
    """
    tracer = trace.get_tracer("soniq", version("soniq"), tracer_provider)

    @app.send_headers
    def current_trace() -> Mapping[str, Any]:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        return headers

    @app.middleware
    async def in_a_span(job: Job, call_next: CallNext) -> Any:
        with tracer.start_as_current_span(
            f"process {job.name}",
            context=propagate.extract(job.headers),
            kind=SpanKind.CONSUMER,
            attributes=_attributes(job),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await call_next(job)
            except Snooze:
                span.set_attribute("soniq.snoozed", True)
                raise
            except BaseException as error:  # also a timeout, which arrives as CancelledError
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise


def _attributes(job: Job) -> Mapping[str, str | int]:
    return {
        "messaging.system": "soniq",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": job.queue,
        "messaging.message.id": str(job.id),
        "soniq.job_name": job.name,
        "soniq.attempt": job.attempt,
    }
