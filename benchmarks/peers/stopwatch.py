"""Taking the time of one system: its program is started, told, and heard; its calls are checked.

A drain lasts from the first call of the handler, by the worker's clock, until the database has no job left that is not
finished, by ours (the two clocks are one, CLOCK_MONOTONIC). We look every 2 ms, and only after the last call. So
neither the start of a worker nor its end is counted, and every completion is.
"""

import json
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from testing.commands import ROOT, run
from testing.outcome import CheckFailed
from testing.server import dying_with_parent

from ..site import DATABASE, Database, Site
from .systems import Peer

PATIENCE = 240.0  # seconds
LOOK = 0.002  # seconds between two looks at the database
ENQUEUED = 1_000
WARM_UP, COUNTED, GAP = 50, 300, 0.02  # jobs, jobs, and seconds between two

Calls = list[tuple[int, float]]


def drain(site: Site, peer: Peer, jobs: int, concurrency: int) -> float:
    """Jobs a second."""
    jobs = min(jobs, peer.jobs)
    with site.database() as database:
        _prepare(database, peer, jobs)
        with (
            psycopg.connect(database.url, autocommit=True) as connection,
            _worker(database, peer, concurrency, jobs) as worker,
        ):
            worker.wait_for("first")
            worker.wait_for("last")
            while _is_left(connection, peer):
                time.sleep(LOOK)
            ended = time.clock_gettime(time.CLOCK_MONOTONIC)
            calls = worker.calls()
    _check(peer, calls, jobs)
    return jobs / (ended - min(at for _, at in calls))


def enqueue(site: Site, peer: Peer) -> float:
    """Jobs a second from one client, each committed before the next."""
    with site.database() as database:
        _prepare(database, peer, 0)
        told = json.loads(_run(database, peer, "produce", 1, ENQUEUED, 0))
    return float(ENQUEUED / (told["committed"][-1] - told["began"]))


@dataclass(eq=False)
class Latency:
    """From the commit of an enqueue, as its client sees it, to the start of the handler, on an idle system; in ms.

    Where the handler is quicker than the answer to the client, it is negative.
    """

    peer: Peer
    concurrency: int
    _taken: list[float] = field(default_factory=list)

    def p50(self, site: Site) -> float:
        """Measures anew."""
        self._taken = self._take(site)
        return statistics.median(self._taken)

    def p99(self, site: Site) -> float:
        """Of what p50() measured last."""
        return statistics.quantiles(self._taken, n=100, method="inclusive")[-1]

    def _take(self, site: Site) -> list[float]:
        jobs = 1 + WARM_UP + COUNTED
        with site.database() as database:
            _prepare(database, self.peer, 1)
            with _worker(database, self.peer, self.concurrency, jobs) as worker:
                worker.wait_for("first")
                told = _run(database, self.peer, "produce", 2, jobs - 1, GAP)
                worker.wait_for("last")
                calls = worker.calls()
        _check(self.peer, calls, jobs)
        started = [at for _, at in sorted(calls)][1:]
        committed = json.loads(told)["committed"]
        taken = [1000 * (at - since) for since, at in zip(committed, started, strict=True)]
        return taken[WARM_UP:]


@dataclass
class _Worker:
    peer: Peer
    process: "subprocess.Popen[str]"

    def wait_for(self, word: str) -> None:
        """Raises CheckFailed if the worker says something else, or nothing for too long."""
        said = self._line()
        if said != word:
            raise CheckFailed(f"{self.peer.name}: the worker said {said[:200]!r}, not {word}")

    def calls(self) -> Calls:
        """Ends the worker."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return [(number, at) for number, at in json.loads(self._line())]

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")


@contextmanager
def _worker(database: Database, peer: Peer, concurrency: int, calls: int) -> Iterator[_Worker]:
    command = peer.environment.command(peer.program)
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [*dying_with_parent(signal.SIGKILL), *command, "work", str(concurrency), str(calls)],
            cwd=ROOT,
            env=_variables(database, peer),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            start_new_session=True,
        ) as process,
    ):
        giving_up = threading.Timer(PATIENCE, process.kill)
        giving_up.start()
        try:
            yield _Worker(peer, process)
        except CheckFailed as failure:
            log.seek(0)
            raise CheckFailed(f"{failure}\n{log.read()[-4000:]}") from failure
        finally:
            giving_up.cancel()
            process.kill()


def _prepare(database: Database, peer: Peer, jobs: int) -> None:
    """Not durably, for some systems' schemas are made by hundreds of commits; what is measured is durable again."""
    database.execute(f"alter database {DATABASE} set synchronous_commit = off")
    _run(database, peer, "prepare", jobs)
    database.execute(f"alter database {DATABASE} reset synchronous_commit")
    database.settle()


def _run(database: Database, peer: Peer, *arguments: object) -> str:
    """The last line that a program writes."""
    command = peer.environment.command(peer.program)
    output = run(*command, *map(str, arguments), environment=_variables(database, peer))
    return output.rstrip("\n").rpartition("\n")[-1]


def _variables(database: Database, peer: Peer) -> dict[str, str]:
    return {
        **peer.environment.variables(database.variables),
        "DATABASE_URL": database.url,
        "PEER_VARIANT": peer.variant,
    }


def _is_left(connection: psycopg.Connection, peer: Peer) -> bool:
    row = connection.execute(peer.unfinished.encode()).fetchone()
    assert row is not None
    return bool(row[0])


def _check(peer: Peer, calls: Calls, jobs: int) -> None:
    if sorted(number for number, _ in calls) != list(range(1, jobs + 1)):
        raise CheckFailed(f"{peer.name}: the handler was not called exactly once for each job")
