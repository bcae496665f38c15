#!/usr/bin/env python3
"""The warehouse's order intake: an HTTP endpoint as flaky as real ones, made up by the example.

    POST /orders/ID   201 with a receipt, or 429 with Retry-After, 413, 500, or 201 too late
    GET /stats        what it answered and accepted so far

What an order meets depends on the seed, the order and how often it was posted, so each run is like
the last. An order is accepted once for each Idempotency-Key, however often it comes.
"""

import argparse
import hashlib
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGEST_BODY = 100_000
FLAKY_ATTEMPTS = 2  # from the third on, every attempt is answered well
BUSY, BROKEN, LATE = 0.04, 0.04, 0.004  # the share of each mood among the first attempts
LATENESS = 1.5
RETRY_AFTER = 1


def mood(seed: int, order_id: str, attempt: int) -> str:
    """How the endpoint will take this attempt: 'well', 'busy', 'broken' or 'late'."""
    digest = hashlib.sha256(f"{seed}:{order_id}:{attempt}".encode()).digest()
    draw = int.from_bytes(digest[:8]) / 2**64
    if attempt > FLAKY_ATTEMPTS or draw >= BUSY + BROKEN + LATE:
        return "well"
    if draw < BUSY:
        return "busy"
    return "broken" if draw < BUSY + BROKEN else "late"


@dataclass
class Intake:
    """What the warehouse remembers, for all its request threads."""

    seed: int
    attempts: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, order_id: str, key: str, size: int) -> str:
        """What becomes of one POST: a mood, or 'too large'."""
        with self._lock:
            self.attempts[order_id] += 1
            fits = size <= LARGEST_BODY
            answer = mood(self.seed, order_id, self.attempts[order_id]) if fits else "too large"
            self.answers[answer] += 1
            if answer in ("well", "late"):
                self.accepted[key] += 1
            return answer

    def stats(self) -> dict[str, Any]:
        with self._lock:
            return {
                "calls": self.attempts.total(),
                "answers": dict(self.answers),
                "accepted": len(self.accepted),
                "repeats": self.accepted.total() - len(self.accepted),
            }


class Warehouse(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, intake: Intake) -> None:
        super().__init__(("127.0.0.1", port), Request)
        self.intake = intake

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up before its late reply is no news."""


class Request(BaseHTTPRequestHandler):
    server: Warehouse
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        order_id = self.path.removeprefix("/orders/")
        key = self.headers.get("Idempotency-Key")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not order_id.isdecimal() or not key:
            self.reply(400, {"error": "POST /orders/ID with an Idempotency-Key"})
            return
        match self.server.intake.take(order_id, key, len(body)):
            case "busy":
                self.reply(429, {"error": "too busy"}, {"Retry-After": str(RETRY_AFTER)})
            case "broken":
                self.reply(500, {"error": "the conveyor belt is stuck"})
            case "too large":
                self.reply(413, {"error": f"{len(body)} bytes, {LARGEST_BODY} are allowed"})
            case "late":
                time.sleep(LATENESS)
                self.reply(201, {"receipt": f"W{order_id}"})
            case _:
                self.reply(201, {"receipt": f"W{order_id}"})

    def do_GET(self) -> None:
        if self.path == "/stats":
            self.reply(200, self.server.intake.stats())
        else:
            self.reply(404, {"error": "there are POST /orders/ID and GET /stats"})

    def reply(
        self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silent: /stats tells what happened."""


def main() -> None:
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes any free one")
    parser.add_argument(
        "--seed", type=int, default=1, help="another seed, other moods (%(default)s)"
    )
    chosen = parser.parse_args()
    warehouse = Warehouse(chosen.port, Intake(chosen.seed))
    print(f"http://127.0.0.1:{warehouse.server_port}", flush=True)
    try:
        warehouse.serve_forever()
    except KeyboardInterrupt:
        warehouse.server_close()


if __name__ == "__main__":
    main()
