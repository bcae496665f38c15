"""What is counted and served: sinks, /metrics, /healthz and /readyz."""

import asyncio
import contextlib
import json
import random
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import StartRunner, WriteJobs, rows
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from soniq.job import Job
from soniq.metering import Meter
from soniq.metrics import MOST_PAIRS, DatabaseMetrics, PrometheusMetricsSink
from testing.server import Server
from waiting import wait_for

HANDLERS = """
    import asyncio, os, time
    from soniq import PermanentFailure, Snooze, Soniq
    app = Soniq()

    @app.job
    async def fine():
        pass

    @app.job(max_attempts=1)
    def broken():
        raise ValueError("as expected")

    @app.job
    async def hopeless():
        raise PermanentFailure("never")

    @app.job
    async def later():
        raise Snooze(600)

    @app.job(timeout=0.05, max_attempts=1)
    async def slow():
        await asyncio.sleep(60)

    @app.job
    async def until_told(file: str):
        while not os.path.exists(file):
            await asyncio.sleep(0.01)

    @app.job
    def on_a_thread(file: str):
        while not os.path.exists(file):
            time.sleep(0.01)

    @app.job
    async def block_the_loop(file: str):
        while not os.path.exists(file):
            time.sleep(0.01)
"""

# A sink that writes down what it is told, for a runner's module.
RECORDING = """
    import json
    class Recording:
        def __init__(self, file):
            self.file = file
        def job_started(self, job, waited):
            self.write("started", job, waited)
        def job_ended(self, job, status, seconds):
            self.write(status, job, seconds)
        def write(self, what, job, number):
            with open(self.file, "a") as file:
                print(json.dumps([what, job.name, job.attempt, number]), file=file)
"""


def free_port() -> int:
    # Not one of those that the kernel gives to clients: who asks there for a server yet to come may reach itself.
    while True:
        port = random.randrange(10_000, 32_000)
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def is_served(port: int) -> bool:
    try:
        return get(port, "/readyz")[0] == 200
    except OSError:
        return False


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    return samples(text).get((name, frozenset(labels.items())))


def recorded(file: Path) -> list[tuple[str, str, int, float]]:
    if not file.exists():
        return []
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()]


def test_attempts_are_counted_by_how_they_end(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    names = ("fine", "broken", "hopeless", "later", "slow", "nobodys")
    port = free_port()
    start_runner(database, "--metrics-port", str(port))
    wait_for(lambda: is_served(port))
    for name in (*names, "fine"):
        rows(database, "select soniq.enqueue(%s, queue => 'mail')", name)
    wait_for(
        lambda: (
            rows(database, "select from soniq.jobs having count(*) = 1")  # snoozed
            and rows(database, "select from soniq.finished_jobs having count(*) = 2")
        )
    )
    text = wait_for(lambda: get(port, "/metrics")[1])

    for name, status, times in (
        ("fine", "done", 2),
        ("broken", "failed", 1),
        ("hopeless", "permanent_failure", 1),
        ("later", "snoozed", 1),
        ("slow", "timeout", 1),
        ("nobodys", "unknown_job", 1),
    ):
        labels = {"job_name": name, "queue": "mail"}
        assert value(text, "soniq_job_attempts_started_total", **labels) == times
        assert value(text, "soniq_job_attempts_ended_total", status=status, **labels) == times
        assert value(text, "soniq_jobs_in_progress", **labels) == 0
        assert value(text, "soniq_job_duration_seconds_count", **labels) == times
        assert value(text, "soniq_job_wait_seconds_count", **labels) == times
    # Both are seconds: this one slept for its timeout, and waited since before the runner was there.
    slow = {"job_name": "slow", "queue": "mail"}
    assert 0.05 <= (value(text, "soniq_job_duration_seconds_sum", **slow) or 0) < 10
    assert 0 < (value(text, "soniq_job_wait_seconds_sum", **slow) or 0) < 60
    assert value(text, "process_resident_memory_bytes"), "and the process's own are there"


def test_what_the_database_tells_is_served_with_its_meaning(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    rows(database, "select soniq.enqueue('fine', queue => 'later', delay => '1 hour')")
    port = free_port()
    runner = start_runner(database, metrics_port=port)
    wait_for(lambda: is_served(port))
    text = get(port, "/metrics")[1]

    assert value(text, "soniq_queue_jobs", queue="later", state="scheduled") == 1
    assert value(text, "soniq_runners", state="alive") == 1
    assert value(text, "soniq_database_metrics_up") == 1
    assert "# TYPE soniq_jobs_added_total counter" in text
    told = {name for (name,) in rows(database, "select distinct name from soniq.metrics()")}
    assert told <= {name for name, _ in samples(text)}
    [(comment,)] = rows(
        database, "select pg_catalog.obj_description('soniq.metrics()'::regprocedure)"
    )
    for name in told:
        meaning = comment.partition(f"\n{name}: ")[2].partition("\n")[0]
        assert meaning
        assert f"# HELP {name} {meaning}\n" in text
    assert runner.stop() == 0


def test_a_blocked_loop_shows_and_keeps_nobody_from_looking(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    file = write_jobs(HANDLERS).with_name("told")
    port = free_port()
    runner = start_runner(database, metrics_port=port)
    wait_for(lambda: is_served(port))
    assert get(port, "/healthz") == (200, "ok\n")

    arguments = json.dumps({"file": str(file)})
    rows(database, "select soniq.enqueue('block_the_loop', %s)", arguments)
    wait_for(lambda: rows(database, "select from soniq.jobs where status = 'processing'"))
    status, said = wait_for(
        lambda: answer if (answer := get(port, "/healthz"))[0] != 200 else None, within=20
    )
    assert status == 503
    assert "a handler blocks it" in said
    assert (
        value(
            get(port, "/metrics")[1],
            "soniq_jobs_in_progress",
            job_name="block_the_loop",
            queue="default",
        )
        == 1
    )

    file.touch()
    wait_for(lambda: get(port, "/healthz")[0] == 200)
    assert runner.stop() == 0


def test_it_is_counted_that_def_jobs_wait(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    file = write_jobs(HANDLERS).with_name("told")
    port = free_port()
    runner = start_runner(database, metrics_port=port, sync_handler_pool_size=2)
    wait_for(lambda: is_served(port))

    def threads() -> tuple[float | None, ...]:
        text = get(port, "/metrics")[1]
        names = ("soniq_sync_threads", "soniq_sync_threads_busy", "soniq_sync_jobs_waiting")
        return tuple(value(text, name) for name in names)

    assert threads() == (2, 0, 0)
    arguments = json.dumps({"file": str(file)})
    for _ in range(2):
        rows(database, "select soniq.enqueue('on_a_thread', %s)", arguments)
    wait_for(lambda: threads() == (2, 2, 1), what="two busy threads, which is told")
    assert "jobs with plain def handlers wait" in runner.log
    file.touch()
    wait_for(lambda: threads() == (2, 0, 0))
    assert runner.stop() == 0


def test_a_runner_that_stops_is_not_ready(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    file = write_jobs(HANDLERS).with_name("told")
    port = free_port()
    arguments = json.dumps({"file": str(file)})
    rows(database, "select soniq.enqueue('until_told', %s)", arguments)
    runner = start_runner(database, metrics_port=port)
    wait_for(lambda: rows(database, "select from soniq.jobs where status = 'processing'"))
    assert get(port, "/readyz") == (200, "ok\n")
    runner.send(signal.SIGTERM)
    wait_for(lambda: get(port, "/readyz") == (503, "the runner is stopping\n"))
    assert get(port, "/healthz")[0] == 200
    assert get(port, "/metrics")[0] == 200
    file.touch()
    assert runner.exit_code() == 0


def test_without_a_database_a_runner_is_alive_and_not_ready(
    own_server: Server, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    port = free_port()
    runner = start_runner(own_server.url(), metrics_port=port, poll_interval=0.1)
    wait_for(lambda: is_served(port))
    assert value(get(port, "/metrics")[1], "soniq_database_metrics_up") == 1

    own_server.stop()
    wait_for(lambda: get(port, "/readyz") == (503, "the database is away\n"))
    assert get(port, "/healthz")[0] == 200
    text = wait_for(
        lambda: (
            text
            if value(text := get(port, "/metrics")[1], "soniq_database_metrics_up") == 0
            else None
        )
    )
    assert "soniq_queue_jobs" not in text, "old numbers would look like a quiet database"
    assert "process_cpu_seconds_total" in text
    runner.wait_for_log("no metrics from the database")

    own_server.start()
    wait_for(lambda: is_served(port), within=30)
    wait_for(lambda: value(get(port, "/metrics")[1], "soniq_database_metrics_up") == 1, within=30)
    assert runner.log.count("no metrics from the database") == 1


def test_a_sink_is_told_of_every_attempt(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, tmp_path: Path
) -> None:
    write_jobs(RECORDING, name="recording")
    write_jobs(
        HANDLERS.replace("Soniq()", "Soniq(metrics_sink=Recording('told.jsonl'))").replace(
            "import asyncio", "from recording import Recording\n    import asyncio"
        )
    )
    told = tmp_path / "told.jsonl"
    runner = start_runner(database, concurrency=1, shutdown_timeout=0.2, heartbeat_interval=0.1)
    rows(database, "select soniq.enqueue('fine')")
    wait_for(lambda: len(recorded(told)) == 2)
    (what, name, attempt, waited), (ended, _, _, seconds) = recorded(told)
    assert (what, name, attempt, ended) == ("started", "fine", 1, "done")
    assert waited >= 0
    assert seconds >= 0

    # Taken back while it runs; then another that the runner's end interrupts; the one behind it never starts.
    [(lost,)] = rows(database, "select soniq.enqueue('until_told', '{\"file\": \"/never\"}')")
    wait_for(lambda: len(recorded(told)) == 3)
    rows(database, "select soniq.release(%s, 1)", lost)
    rows(database, "select soniq.cancel(%s)", lost)
    wait_for(lambda: recorded(told)[3:])
    rows(database, "select soniq.enqueue('until_told', '{\"file\": \"/never\"}')")
    wait_for(lambda: recorded(told)[4:])
    rows(database, "select soniq.enqueue('fine')")
    assert runner.stop() == 0
    assert [(what, name) for what, name, *_ in recorded(told)[2:]] == [
        ("started", "until_told"),
        ("lost", "until_told"),
        ("started", "until_told"),
        ("released", "until_told"),
    ]


def test_a_sink_that_raises_harms_no_job_and_is_blamed_once(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        from soniq import Soniq

        class Grumpy:
            def job_started(self, job, waited):
                raise OSError("no statsd today")
            def job_ended(self, job, status, seconds):
                raise OSError("nor now")

        app = Soniq(metrics_sink=Grumpy())

        @app.job
        async def fine():
            pass
    """)
    for _ in range(5):
        rows(database, "select soniq.enqueue('fine')")
    runner = start_runner(database, "--burst")
    assert runner.exit_code() == 0
    assert rows(database, "select count(*) from soniq.finished_jobs where status = 'done'") == [
        (5,)
    ]
    assert runner.log.count("raises; the jobs go on") == 1
    assert "no statsd today" in runner.log


def test_apps_share_a_sink_and_two_of_prometheus_are_refused(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    module = """
        from soniq import Soniq
        from soniq.metrics import PrometheusMetricsSink
        from {sink} import sink
        app = Soniq(metrics_sink=sink)

        @app.job
        async def of_{name}():
            pass
    """
    for name in ("one", "two"):
        write_jobs(
            "from soniq.metrics import PrometheusMetricsSink\nsink = PrometheusMetricsSink()",
            name=f"sink_{name}",
        )
        write_jobs(module.format(name=name, sink=f"sink_{name}"), name=f"jobs_{name}")
        rows(database, "select soniq.enqueue(%s)", f"of_{name}")
    write_jobs(module.format(name="two", sink="sink_one"), name="jobs_like_one")

    port = free_port()
    runner = start_runner(database, jobs_modules="jobs_one,jobs_two", metrics_port=port)
    assert runner.exit_code() == 10
    assert "give both apps the same one" in runner.log

    start_runner(database, jobs_modules="jobs_one,jobs_like_one", metrics_port=port)
    wait_for(lambda: rows(database, "select from soniq.finished_jobs having count(*) = 2"))
    text = get(port, "/metrics")[1]
    for name in ("of_one", "of_two"):
        assert (
            value(
                text,
                "soniq_job_attempts_ended_total",
                job_name=name,
                queue="default",
                status="done",
            )
            == 1
        )


def test_a_port_that_is_taken_is_a_wrong_setting(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        runner = start_runner(database, metrics_port=port)
        assert runner.exit_code() == 10
        assert f"SONIQ_METRICS_PORT is {port}" in runner.log
        assert "Address already in use" in runner.log
        assert "give a port that is free" in runner.log


def test_what_is_no_request_for_metrics_is_answered_so(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    port = free_port()
    start_runner(database, metrics_port=port)
    wait_for(lambda: is_served(port))

    def status_of(request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(request)
            answer = b""
            while part := client.recv(65536):
                answer += part
            return answer.partition(b"\r\n")[0]

    assert get(port, "/")[0] == 404
    assert get(port, "/readyz?verbose=1")[0] == 200
    assert status_of(b"POST /metrics HTTP/1.1\r\n\r\n") == b"HTTP/1.1 405 Method Not Allowed"
    assert status_of(b"hello\r\n\r\n") == b"HTTP/1.1 400 Bad Request"
    assert status_of(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000) == b"HTTP/1.1 400 Bad Request"
    assert status_of(b"GET /metrics HT") == b"", "one that never ends is hung up on"


def exposition(metrics: DatabaseMetrics) -> str:
    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry).decode()


REPLACED = """
    create table public.asked (at timestamptz default clock_timestamp());
    create or replace function soniq.metrics()
    returns table (name text, labels jsonb, value double precision)
    language plpgsql
    as $$
    begin
      if not pg_try_advisory_lock(7) then
        raise 'two at a time';
      end if;
      insert into public.asked default values;
      perform pg_sleep(0.2);
      perform pg_advisory_unlock(7);
      return query select 'soniq_dead_rows', jsonb '{}', 7::double precision;
    end;
    $$;
"""


def test_many_scrapes_cost_one_query(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(REPLACED)

    async def scrape() -> str:
        metrics = DatabaseMetrics(database, fresh_for=60)
        await asyncio.gather(*(metrics.refresh() for _ in range(20)))
        await metrics.close()
        return exposition(metrics)

    assert value(asyncio.run(scrape()), "soniq_dead_rows") == 7
    assert rows(database, "select count(*) from public.asked") == [(1,)]


def test_a_database_that_does_not_answer_is_given_up_until_it_does(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "soniq")
    metrics = DatabaseMetrics(database, fresh_for=0, patience=0.5)

    async def scrape(times: int) -> str:
        for _ in range(times):
            await metrics.refresh()
        return exposition(metrics)

    with asyncio.Runner() as loop, psycopg.connect(database) as connection:
        assert value(loop.run(scrape(1)), "soniq_database_metrics_up") == 1
        connection.execute("lock table soniq.jobs in access exclusive mode")
        text = loop.run(scrape(2))
        assert value(text, "soniq_database_metrics_up") == 0
        assert "soniq_dead_rows" not in text
        assert 0.4 < (value(text, "soniq_database_metrics_seconds") or 0) < 5
        # Nothing is left waiting in the database.
        wait_for(
            lambda: rows(
                database,
                "select from pg_stat_activity where application_name = 'soniq-runner metrics'"
                " and state = 'active' having count(*) = 0",
            )
        )
        connection.rollback()
        assert value(loop.run(scrape(2)), "soniq_database_metrics_up") == 1
        loop.run(metrics.close())
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "no metrics from the database: soniq.metrics() did not answer within 0.5 s",
        "the database has metrics again",
    ]


def test_a_role_that_may_not_ask_is_told_so(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows(database, "create role soniq_test_stranger login")
    try:
        metrics = DatabaseMetrics(database.replace("tester@", "soniq_test_stranger@"))

        async def scrape() -> None:
            await metrics.refresh()
            await metrics.close()

        asyncio.run(scrape())
        assert value(exposition(metrics), "soniq_database_metrics_up") == 0
        assert "permission denied" in caplog.text
    finally:
        rows(database, "drop role soniq_test_stranger")


def a_job(name: str, **changed: Any) -> Job:
    now = datetime.now(UTC)
    fields: Mapping[str, Any] = {
        "id": 1,
        "name": name,
        "args": {},
        "headers": {},
        "queue": "default",
        "priority": 100,
        "attempt": 1,
        "max_attempts": 1,
        "scheduled_at": now,
        "claimed_at": now,
        "timeout": timedelta(0),
        "deadline": None,
        "schedule": None,
        "due_at": None,
    }
    return Job(**{**fields, **changed})


def test_invented_names_do_not_become_series_without_end() -> None:
    sink = PrometheusMetricsSink()
    for number in range(MOST_PAIRS + 100):
        sink.job_started(a_job(f"job-{number}"), 0.0)
    for number in range(MOST_PAIRS + 100):
        sink.job_ended(a_job(f"job-{number}"), "done", 0.0)
    text = generate_latest(sink.registry).decode()
    assert text.count("soniq_jobs_in_progress{") == MOST_PAIRS + 1
    assert value(text, "soniq_jobs_in_progress", job_name="job-0", queue="default") == 0
    other = {"job_name": "(other)", "queue": "(other)"}
    assert value(text, "soniq_job_attempts_ended_total", status="done", **other) == 100
    assert value(text, "soniq_jobs_in_progress", **other) == 0


def test_a_wait_is_from_when_the_job_was_due_and_never_negative() -> None:
    class Recording:
        def __init__(self) -> None:
            self.waits: list[float] = []

        def job_started(self, job: Job, waited: float) -> None:
            self.waits.append(waited)

        def job_ended(self, job: Job, status: str, seconds: float) -> None:
            raise AssertionError

    sink = Recording()
    now = datetime.now(UTC)
    for due in (now - timedelta(seconds=90), now + timedelta(seconds=90)):
        Meter([sink]).started(a_job("any", scheduled_at=due, claimed_at=now), held=0.25)
    assert sink.waits == [90.25, 0.25]


def test_a_registry_and_buckets_of_ones_own() -> None:
    registry = CollectorRegistry()
    sink = PrometheusMetricsSink(registry, buckets=(1, 2))
    sink.job_started(a_job("any"), 1.5)
    text = generate_latest(registry).decode()
    labels = {"job_name": "any", "queue": "default"}
    assert value(text, "soniq_job_wait_seconds_bucket", le="1.0", **labels) == 0
    assert value(text, "soniq_job_wait_seconds_bucket", le="2.0", **labels) == 1
    assert "process_" not in text, "who gives a registry has these there, or does not want them"
