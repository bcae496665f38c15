"""What the example is played with: the warehouse's flaky endpoint, and where everything is."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
    """Where the demo has its files, and what its runners have to know."""

    home: Path
    warehouse: str
    impatient: bool

    @property
    def invoices(self) -> Path:
        """Where handlers put invoices."""
        return self.home / "invoices"

    @property
    def environment(self) -> Mapping[str, str]:
        """The runners' settings, besides those that are told as flags."""
        settings = {
            "SONIQ_SYNC_HANDLER_POOL_SIZE": "32",
            "SONIQ_LOG_LEVEL": "WARNING",
            "ORDERS_INVOICES": str(self.invoices),
            "ORDERS_WAREHOUSE": self.warehouse,
        }
        if self.impatient:
            settings |= {"SONIQ_HEARTBEAT_INTERVAL": "0.5", "SONIQ_HEARTBEAT_TIMEOUT": "2"}
        return settings
