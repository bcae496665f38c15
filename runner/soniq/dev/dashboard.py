"""The dashboard beside the runner: on a port of this machine, to look and to act, with a key made for this run."""

import asyncio
import os
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from soniq.dev.child import Command, of_soniq
from soniq.dev.ports import HOST, free_port
from soniq.embedded import dying_with_parent
from soniq.errors import SoniqError

PORT = 8787
ANSWERS_WITHIN = 5.0  # seconds
# There is no such number of a job, which only who has the key is told, and without the database.
PROBE = "/api/jobs/0"


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Where it is to be, and the key to it."""

    port: int
    key: str

    @classmethod
    def planned(cls, port: int | None) -> "Dashboard":
        """On this port, else on 8787 or the next that is free. Raises SoniqError where the given one is taken."""
        free = free_port(port or PORT)
        if port is not None and free != port:
            raise SoniqError(f"the port {port} is taken on {HOST}: give another one, --port {free}")
        return cls(free, os.environ.get("SONIQ_DASHBOARD_API_KEY") or secrets.token_urlsafe(12))

    @property
    def address(self) -> str:
        """What to give a browser."""
        return f"http://{HOST}:{self.port}/"

    def command(self, environment: Mapping[str, str]) -> Command:
        """What starts it."""
        return Command(
            "dashboard",
            [*dying_with_parent(signal.SIGKILL), *of_soniq("dashboard")],
            {
                **environment,
                "SONIQ_DASHBOARD_HOST": HOST,
                "SONIQ_DASHBOARD_PORT": str(self.port),
                "SONIQ_DASHBOARD_WRITE": "true",
                "SONIQ_DASHBOARD_API_KEY": self.key,
            },
        )

    async def answers(self) -> None:
        """Returns once it lets in who has the key. Another project's, which may be on the port, has another key."""
        while True:
            if await self._lets_in():
                return
            await asyncio.sleep(0.05)

    async def _lets_in(self) -> bool:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                reader, writer = await asyncio.open_connection(HOST, self.port)
                try:
                    writer.write(
                        f"GET {PROBE} HTTP/1.0\r\nAuthorization: Bearer {self.key}\r\n\r\n".encode()
                    )
                    return b" 422 " in await reader.readline()
                finally:
                    writer.close()
        except OSError:
            return False
