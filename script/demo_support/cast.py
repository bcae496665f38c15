"""The processes of the example: the warehouse's flaky endpoint, and the runners."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from . import ROOT, children
from .trouble import Trouble

EXAMPLE = ROOT / "examples/orders"
QUEUE = "orders_demo"
PATIENCE = 20.0


class Warehouse:
    """The flaky endpoint, as a process of its own."""

    def __init__(self, address: str) -> None:
        self.address = address

    @classmethod
    @asynccontextmanager
    async def open(cls, home: Path) -> AsyncIterator["Warehouse"]:
        """Starts the endpoint on a free port and stops it at the end."""
        log = home / "warehouse.log"
        process = await children.start(*(sys.executable, EXAMPLE / "flaky_endpoint.py"), log=log)
        async with children.stopping(process):
            while not (address := log.read_text().strip()):
                if process.returncode is not None:
                    raise Trouble("the flaky endpoint ended at its start")
                await asyncio.sleep(0.01)
            yield cls(address)

    async def stats(self) -> dict[str, Any]:
        """What it answered and accepted."""
        return await asyncio.to_thread(self._stats)

    def _stats(self) -> dict[str, Any]:
        connection = HTTPConnection(urlsplit(self.address).netloc, timeout=PATIENCE)
        try:
            connection.request("GET", "/stats")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()


@dataclass(frozen=True)
class Workplace:
    """What the runners of this demo have in common."""

    url: str
    home: Path
    warehouse: str
    impatient: bool

    @property
    def invoices(self) -> Path:
        """Where handlers put invoices."""
        return self.home / "invoices"

    def environment(self, module: str) -> Mapping[str, str]:
        """A runner's settings."""
        settings = {
            "SONIQ_DATABASE_URL": self.url,
            "SONIQ_JOBS_MODULES": module,
            "SONIQ_QUEUES": QUEUE,
            "SONIQ_CONCURRENCY": "40",
            "SONIQ_SYNC_HANDLER_POOL_SIZE": "32",
            "SONIQ_LOG_LEVEL": "WARNING",
            "ORDERS_INVOICES": str(self.invoices),
            "ORDERS_WAREHOUSE": self.warehouse,
        }
        if self.impatient:
            settings |= {"SONIQ_HEARTBEAT_INTERVAL": "0.5", "SONIQ_HEARTBEAT_TIMEOUT": "2"}
        return settings


class Runner:
    """A soniq-runner process with the handlers of one module."""

    def __init__(self, module: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.module = module
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, place: Workplace, module: str) -> "Runner":
        """Starts a runner."""
        log = place.home / f"{module}.log"
        process = await children.start(
            Path(sys.executable).with_name("soniq-runner"),
            log=log,
            environment=place.environment(module),
            folder=EXAMPLE,
        )
        return cls(module, process, log)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    async def wait_until_registered(self, connection: asyncpg.Connection) -> None:
        """Returns once it may claim jobs; before that, its job types are registered."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await self._is_registered(connection):
                    self.must_be_alive()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Trouble(
                f"a runner did not register in {PATIENCE:g} s:\n{children.tail(self._log)}"
            ) from None

    def must_be_alive(self) -> None:
        """Raises Trouble if the process has ended."""
        if self._process.returncode is not None:
            self._complain()

    async def stop(self) -> None:
        """SIGTERM: it finishes what it runs and ends."""
        await children.stop(self._process)

    def must_have_ended_well(self) -> None:
        """Raises Trouble unless the process ended with exit code 0."""
        if self._process.returncode != 0:
            self._complain()

    async def kill(self, connection: asyncpg.Connection) -> int:
        """`kill -9` while it holds jobs; answers with how many it takes down with it."""
        while not (held := await self._held_jobs_once_still(connection)):
            children.send(self._process, signal.SIGCONT)
            await asyncio.sleep(0.01)
        children.send(self._process, signal.SIGKILL)
        await self._process.wait()
        return held

    def _complain(self) -> None:
        raise Trouble(
            f"a runner ended with exit code {self._process.returncode}:\n{children.tail(self._log)}"
        )

    async def _is_registered(self, connection: asyncpg.Connection) -> bool:
        registered: bool = await connection.fetchval(
            "select exists (select from soniq.runners where pid = $1 and queues = array[$2])",
            self.pid,
            QUEUE,
        )
        return registered

    async def _held_jobs_once_still(self, connection: asyncpg.Connection) -> int:
        """Stops the process and counts its jobs, when the server has done what it was told before."""
        children.send(self._process, signal.SIGSTOP)
        before, held = -1, await self._held_jobs(connection)
        while held != before:
            await asyncio.sleep(0.1)
            before, held = held, await self._held_jobs(connection)
        return held

    async def _held_jobs(self, connection: asyncpg.Connection) -> int:
        held: int = await connection.fetchval(
            """
            select pg_catalog.count(*)
            from soniq.jobs as job
            join soniq.runners as runner
              on runner.runner_id = job.runner_id
            where runner.pid = $1
              and runner.queues = array[$2]
              and job.status = 'processing'
            """,
            self.pid,
            QUEUE,
        )
        return held
