"""/metrics, /healthz and /readyz, on a thread, an event loop and a socket of their own.

A handler that blocks the runner's event loop must not keep anyone from learning of it: so /healthz is answered from
here, and what it answers is whether that other loop still turns.
"""

import asyncio
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from soniq.errors import BadSettings
from soniq.execution import SyncRoom
from soniq.metering import MetricsSink
from soniq.metrics import DatabaseMetrics, PrometheusMetricsSink, gauge

log = logging.getLogger("soniq")

PATIENCE = 3.0  # seconds within which the runner's loop has to answer, and a client has to ask
LONGEST_HEAD = 16 * 1024  # bytes
NO_IPV6 = (None, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
TEXT = "text/plain; charset=utf-8"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


def bind(port: int) -> socket.socket:
    """A socket that listens on all addresses. Raises BadSettings where the port cannot be had."""
    try:
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) not in NO_IPV6:
                raise
            return socket.create_server(("", port))
    except OSError as error:
        raise BadSettings(
            f"SONIQ_METRICS_PORT is {port}, where this machine lets nobody listen:"
            f" {error.strerror or error}; give a port that is free"
        ) from error


def _sink_to_serve(sinks: Sequence[MetricsSink]) -> PrometheusMetricsSink:
    """The one of Prometheus among them, else a new one. Raises BadSettings if there are two."""
    found = [sink for sink in sinks if isinstance(sink, PrometheusMetricsSink)]
    if len(found) > 1:
        raise BadSettings(
            "two apps have a PrometheusMetricsSink each, and every sink counts all jobs of the runner:"
            " give both apps the same one, metrics_sink=..."
        )
    return found[0] if found else PrometheusMetricsSink()


class Pulse:
    """Whether an event loop turns, asked from another."""

    def __init__(self, watched: asyncio.AbstractEventLoop) -> None:
        self._watched = watched
        self._answer: asyncio.Future[None] | None = None
        self._asked_at = 0.0

    async def stuck_for(self) -> float:
        """For how many seconds it has not answered; 0 if it does within PATIENCE."""
        answer = self._answer
        if answer is None or answer.done():  # else one question is enough, however many ask
            here = asyncio.get_running_loop()
            answer = self._answer = here.create_future()
            self._asked_at = time.monotonic()
            self._watched.call_soon_threadsafe(_pass_back, here, answer)
        await asyncio.wait([answer], timeout=PATIENCE)
        return 0.0 if answer.done() else time.monotonic() - self._asked_at


def _pass_back(asker: asyncio.AbstractEventLoop, answer: "asyncio.Future[None]") -> None:
    with suppress(RuntimeError):  # the asker has ended
        asker.call_soon_threadsafe(answer.set_result, None)


class SyncMetrics:
    """How it stands with the threads of a runner, for a registry."""

    def __init__(self, look: Callable[[], SyncRoom]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        room = self._look()
        yield gauge(
            "soniq_sync_threads", "Threads for handlers that are not async.", float(room.threads)
        )
        yield gauge(
            "soniq_sync_threads_busy",
            "Those at work, also for jobs that have timed out.",
            float(room.threads_busy),
        )
        yield gauge(
            "soniq_sync_jobs_waiting",
            "1 while no thread or slot becomes free for handlers that are not async, as the log says.",
            float(room.jobs_wait),
        )


class MetricsServer(threading.Thread):
    """Answers HTTP requests, from start_watching() until stop().

    port: where; the socket is there at once.
    url: the database, whose soniq.metrics() is served after what `sink` has counted.
    sinks: those of the apps. `sink` is the one of Prometheus among them, or one that is made here.

    Raises BadSettings for a port that cannot be had, and for two sinks of Prometheus.
    """

    def __init__(self, port: int, url: str, sinks: Sequence[MetricsSink]) -> None:
        super().__init__(name="soniq-metrics", daemon=True)
        self.sink = _sink_to_serve(sinks)
        self._listener = bind(port)
        self._database = DatabaseMetrics(url)
        self._collected = CollectorRegistry()
        self._collected.register(self._database)
        self._pulse: Pulse | None = None
        self._not_ready: Callable[[], str | None] = lambda: None
        self._loop = asyncio.new_event_loop()
        self._main: asyncio.Task[None] | None = None

    def start_watching(
        self,
        loop: asyncio.AbstractEventLoop,
        not_ready: Callable[[], str | None],
        sync_room: Callable[[], SyncRoom],
    ) -> None:
        """Begins to answer. Both are called on this thread.

        not_ready: why the runner takes no jobs, None if it does. sync_room: how it stands with its threads.
        """
        self._collected.register(SyncMetrics(sync_room))
        self._pulse = Pulse(loop)
        self._not_ready = not_ready
        self.start()

    def run(self) -> None:
        """The thread's life."""
        with suppress(asyncio.CancelledError):
            self._main = self._loop.create_task(self._serve())
            self._loop.run_until_complete(self._main)
        self._loop.close()

    def stop(self) -> None:
        """Ends the thread; may be called from any other."""
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(lambda: self._main and self._main.cancel())
        self.join(timeout=5)
        self._listener.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(
            self._converse, sock=self._listener, limit=LONGEST_HEAD, start_serving=False
        )
        log.info(
            "/metrics, /healthz and /readyz are served at port %s",
            self._listener.getsockname()[1],
        )
        try:
            await server.serve_forever()
        finally:
            await self._database.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        try:
            try:
                async with asyncio.timeout(PATIENCE):
                    head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, TimeoutError):
                return
            except asyncio.LimitOverrunError:
                head = b""
            method, path = _request(head)
            status, kind, body = await self._respond(method, path)
            writer.write(
                f"HTTP/1.1 {status} {REASONS[status]}\r\n"
                f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
            )
            if method != "HEAD":
                writer.write(body)
            async with asyncio.timeout(PATIENCE):
                await writer.drain()
        except OSError:  # the client has gone
            pass
        except Exception:
            log.exception("a request to the metrics port failed")
        finally:
            writer.close()

    async def _respond(self, method: str, path: str) -> tuple[int, str, bytes]:
        if not path:
            return 400, TEXT, b"not an HTTP request\n"
        if method not in ("GET", "HEAD"):
            return 405, TEXT, b"only GET and HEAD\n"
        match path:
            case "/metrics":
                await self._database.refresh()
                exposition = generate_latest(self.sink.registry)
                return 200, METRICS, exposition + generate_latest(self._collected)
            case "/healthz":
                stuck_for = await self._pulse.stuck_for() if self._pulse else 0.0
                problem = (
                    f"the event loop has not turned for {stuck_for:.0f} s: a handler blocks it"
                    if stuck_for
                    else None
                )
                return _verdict(problem)
            case "/readyz":
                return _verdict(self._not_ready())
            case _:
                return 404, TEXT, b"there are /metrics, /healthz and /readyz\n"


def _request(head: bytes) -> tuple[str, str]:
    """Method and path, without the query; no path if it is no request."""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return "", ""
    return words[0], words[1].partition("?")[0]


def _verdict(problem: str | None) -> tuple[int, str, bytes]:
    return (200, TEXT, b"ok\n") if problem is None else (503, TEXT, f"{problem}\n".encode())
