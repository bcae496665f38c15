"""OpenTelemetry: a trace goes on from the enqueue, in Python or in SQL, to the run on a runner of another process."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import StartRunner, WriteJobs, rows
from opentelemetry.sdk.trace import TracerProvider
from soniq import Soniq, SoniqError
from soniq.opentelemetry import trace_jobs
from test_misbehaving import ended

HANDLERS = """
    import asyncio
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, ConsoleSpanExporter
    from soniq import Job, Snooze, Soniq
    from soniq.opentelemetry import trace_jobs

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(
        out=open(SPANS, "a", buffering=1),
        formatter=lambda span: span.to_json(indent=None) + "\\n",
    )))
    trace.set_tracer_provider(provider)

    app = Soniq()
    trace_jobs(app)

    @app.job
    def on_a_thread():
        return trace.get_current_span().get_span_context().span_id

    @app.job(max_attempts=2, retry_delay=0)
    async def fails():
        raise LookupError("no such order")

    @app.job(timeout=0.1, max_attempts=1)
    async def slow():
        await asyncio.sleep(60)

    @app.job
    async def snoozes(job: Job):
        if job.attempt == 1:
            raise Snooze(0)
"""

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def test_a_run_is_a_span_in_the_trace_that_enqueued_it(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, tmp_path: Path
) -> None:
    written = tmp_path / "spans.jsonl"
    write_jobs(HANDLERS.replace("SPANS", repr(str(written))))
    runner = start_runner(database, poll_interval=0.2)
    runner.wait_for_log("jobs at once")

    def spans_of(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        [(job_id,)] = rows(
            database,
            "select soniq.enqueue(%s, headers => jsonb_build_object('traceparent', %s::text))",
            name,
            f"00-{TRACE}-{PARENT}-01",
        )
        job = ended(database, job_id)
        spans = [json.loads(line) for line in written.read_text().splitlines()]
        spans = [
            span for span in spans if span["attributes"]["messaging.message.id"] == str(job_id)
        ]
        for span in spans:
            assert span["name"] == f"process {name}"
            assert span["kind"] == "SpanKind.CONSUMER"
            assert (span["context"]["trace_id"], span["parent_id"]) == (f"0x{TRACE}", f"0x{PARENT}")
        return job, spans

    job, [span] = spans_of("on_a_thread")
    assert span["context"]["span_id"] == f"0x{job['result']:016x}", "the handler is in the span"
    assert span["attributes"] == {
        "messaging.system": "soniq",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": span["attributes"]["messaging.message.id"],
        "soniq.job_name": "on_a_thread",
        "soniq.attempt": 1,
    }
    assert span["status"]["status_code"] == "UNSET"

    _, attempts = spans_of("fails")
    assert [span["attributes"]["soniq.attempt"] for span in attempts] == [1, 2]
    for span in attempts:
        assert span["status"] == {"status_code": "ERROR", "description": "LookupError"}
        assert span["events"][0]["attributes"]["exception.message"] == "no such order"

    job, [span] = spans_of("slow")
    assert (job["reason"], span["status"]["status_code"]) == ("timeout", "ERROR")

    _, [snoozed, done] = spans_of("snoozes")
    assert snoozed["attributes"]["soniq.snoozed"] is True
    assert (snoozed["status"]["status_code"], done["status"]["status_code"]) == ("UNSET", "UNSET")
    assert runner.stop() == 0


async def headers_of(app: Soniq, database: str, **options: Any) -> Any:
    job_id = await app.enqueue("traced", **options)
    await app.close()
    return rows(database, "select headers from soniq.jobs where id = %s", job_id)[0][0]


def test_an_enqueue_sends_the_current_trace(database: str) -> None:
    app = Soniq(database_url=database)
    assert asyncio.run(headers_of(app, database)) is None, "nothing is sent unless asked for"
    trace_jobs(app)
    assert asyncio.run(headers_of(app, database)) is None, "and nothing where nothing is traced"
    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        context = span.get_span_context()
        sent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        assert asyncio.run(headers_of(app, database)) == {"traceparent": sent}
        job_id = app.enqueue_sync("traced", headers={"tenant": 7})
    [(headers,)] = rows(database, "select headers from soniq.jobs where id = %s", job_id)
    assert headers == {"tenant": 7, "traceparent": sent}


def test_headers_given_win_over_those_of_senders_and_reach_the_handler(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        from soniq import Job, Soniq
        app = Soniq()

        @app.job
        async def echo(job: Job):
            return job.headers
    """)
    start_runner(database, poll_interval=0.2).wait_for_log("jobs at once")
    app = Soniq(database_url=database)
    app.send_headers(lambda: {"tenant": 1, "user": "ada"})
    app.send_headers(lambda: {"user": "bob"})
    assert ended(database, app.enqueue_sync("echo"))["result"] == {"tenant": 1, "user": "bob"}
    job_id = app.enqueue_sync("echo", headers={"tenant": 2})
    assert ended(database, job_id)["result"] == {"tenant": 2, "user": "bob"}
    assert ended(database, rows(database, "select soniq.enqueue('echo')")[0][0])["result"] == {}


def test_headers_that_are_no_mapping_are_refused() -> None:
    app = Soniq(database_url="postgresql://nowhere.invalid/")
    with pytest.raises(SoniqError, match=r"headers of traced are a list: give a mapping"):
        app.enqueue_sync("traced", headers=["traceparent"])  # type: ignore[arg-type]
    with pytest.raises(SoniqError, match=r"headers of traced are not JSON"):
        app.enqueue_sync("traced", headers={"traceparent": object()})
