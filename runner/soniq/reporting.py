"""Reporting: telling the database what became of jobs, in batches as fast as one call follows another.

It has a connection of its own, so that a completion, which waits until it is on the disk, keeps no claim waiting.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence

import asyncpg

from soniq import outcomes
from soniq.database import connect_patiently, persist
from soniq.outcomes import Failed, Outcome

log = logging.getLogger("soniq")
ROLE = "report"


class Reporter:
    """Keeps every outcome until the database has it.

    on_reported: called with each batch that the database has.
    """

    def __init__(self, url: str, on_reported: Callable[[Sequence[Outcome]], None]) -> None:
        self._url = url
        self._on_reported = on_reported
        self._outcomes: list[Outcome] = []
        self._in_flight: list[Outcome] = []
        self._in_doubt = False
        self._news = asyncio.Event()

    def add(self, outcome: Outcome) -> None:
        """Takes an outcome to report."""
        self._outcomes.append(outcome)
        self._news.set()

    @property
    def leases(self) -> list[tuple[int, int]]:
        """The leases that the database does not know to be over."""
        return [
            (outcome.job.id, outcome.job.attempt) for outcome in self._in_flight + self._outcomes
        ]

    @property
    def unreported(self) -> int:
        """How many outcomes the database has not been told."""
        return len(self._in_flight) + len(self._outcomes)

    async def run(self) -> None:
        """Reports until cancelled, on a new connection whenever the old one breaks."""
        connection = await connect_patiently(self._url, ROLE)
        await persist(connection, self._url, ROLE, self._report_forever, self._doubt)

    def _doubt(self) -> None:
        # What was under way when the connection broke may have arrived.
        self._in_doubt = True

    async def _report_forever(self, connection: asyncpg.Connection) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._outcomes = self._outcomes, []
            await self._report(connection, batch)
            self._in_doubt = False
            self._on_reported(batch)

    async def _report(self, connection: asyncpg.Connection, batch: Sequence[Outcome]) -> None:
        """Reports a batch; what cannot be told now is kept."""
        groups = outcomes.groups(batch)
        try:
            while groups:
                self._in_flight = [outcome for group in groups for outcome in group]
                answers = await outcomes.report(connection, groups[0])
                for outcome, answer in zip(groups.pop(0), answers, strict=True):
                    self._log(outcome, answer)
        finally:
            self._in_flight = []
            self._outcomes[:0] = [outcome for group in groups for outcome in group]
            if self._outcomes:
                self._news.set()

    def _log(self, outcome: Outcome, answer: str | bool | None) -> None:
        job = outcome.job
        if not answer:
            log.warning(
                "job %s (%s), attempt %s: %s, but %s",
                job.id,
                job.name,
                job.attempt,
                type(outcome).__name__.lower(),
                "the database had it from before the connection broke, or the lease was lost"
                if self._in_doubt
                else "the lease was lost: the job was taken back, and may be another runner's by now",
            )
        elif isinstance(outcome, Failed):
            error = json.loads(outcome.error)
            log.warning(
                "job %s (%s), attempt %s of %s: %s: %s; %s",
                job.id,
                job.name,
                job.attempt,
                job.max_attempts,
                error["type"],
                error["message"][:500],
                "queued again" if answer == "queued" else "now a dead letter",
            )
        elif log.isEnabledFor(logging.DEBUG):
            what = type(outcome).__name__.lower()
            log.debug("job %s (%s), attempt %s: %s", job.id, job.name, job.attempt, what)
