"""Claiming: asking the database for jobs whenever there is room, and waiting well when there are none.

It has a connection of its own, so that claims and reports are under way at the same time, and handlers run meanwhile.
The doorbell listens on it between claims.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from soniq.database import persist
from soniq.doorbell import Doorbell
from soniq.execution import LONGEST_WAIT, Execution
from soniq.job import ClaimedJob
from soniq.lookout import Lookout
from soniq.outcomes import Done, Outcome
from soniq.reporting import Reporter

log = logging.getLogger("soniq")
ROLE = "claim"

# A claim that skips jobs reads over all of them, and may be slow where they are many; one that found nothing is not
# made again before so many times as long has passed.
REST_AFTER_SKIPPING = 10
# More outcomes than this that the database does not take: then no more jobs are run for the present.
MOST_UNREPORTED = 5000
UNKNOWN_RUNNER = "SQ011"

# Claims may be committed asynchronously: one lost in a crash is only made again.
CLAIM = (
    f"select {ClaimedJob.COLUMNS}"
    " from pg_catalog.set_config('synchronous_commit', 'off', true)"
    " cross join soniq.claim("
    "runner_id => $1, queues => $2, max_jobs => $3, skip_jobs => $4) as claimed"
)


class Claimer:
    """Claims and starts jobs until it is told to stop, and everything has ended and is reported.

    register: makes this process known on a connection and answers with its runner_id.
    resume: given the former runner_id and the leases known here, does so after a connection broke.
    burst: stop by itself once no job is ready and none runs.
    at_most: stop by itself after so many jobs; None is no limit.
    """

    def __init__(
        self,
        *,
        url: str,
        queues: Sequence[str] | None,
        poll_interval: float,
        burst: bool,
        at_most: int | None,
        register: Callable[[asyncpg.Connection], Awaitable[int]],
        resume: Callable[[asyncpg.Connection, int, list[tuple[int, int]]], Awaitable[int]],
        execution: Execution,
        reporter: Reporter,
        doorbell: Doorbell,
    ) -> None:
        self._url = url
        self._queues = queues
        self._burst = burst
        self._left = at_most
        self._register = register
        self._resume_as = resume
        self._execution = execution
        self._reporter = reporter
        self._doorbell = doorbell
        self._lookout = Lookout(doorbell, poll_interval)
        self._must_resume = False
        self._skip_again_at = 0.0
        self._must_skip_later = False
        self._news = asyncio.Event()
        self._may_be_more = False
        self._may_be_again = False
        self._stopping = False
        self._is_full = False
        self._is_over = False
        self.runner_id: int | None = None

    def ring(self) -> None:
        """Says that a job may be ready, or that there is room for one."""
        self._news.set()

    def look_for_room(self) -> None:
        """Says that a job has ended."""
        if self._is_full and self._room():
            self._news.set()

    def note_reported(self, outcomes: Sequence[Outcome]) -> None:
        """Says that the database has these outcomes: some may be ready to run again, now or soon."""
        self._lookout.reported()
        if self._burst or not all(isinstance(outcome, Done) for outcome in outcomes):
            self._may_be_again = True
        self._news.set()

    def stop(self) -> None:
        """Claims no more; run() returns when the last job has ended and is reported."""
        self._stopping = True
        self._news.set()

    def forget_runner(self, runner_id: int) -> None:
        """The runner was declared dead: be another one before the next claim."""
        if self.runner_id == runner_id:
            self.runner_id = None
            self._news.set()

    @property
    def not_ready(self) -> str | None:
        """Why no jobs are claimed, None if they are; may be read from any thread."""
        if self._stopping:
            return "the runner is stopping"
        if self._must_resume:
            return "the database is away"
        return "the runner is not registered yet" if self.runner_id is None else None

    async def run(self, connection: asyncpg.Connection, tasks: asyncio.TaskGroup) -> None:
        """Claims until stopped, on a new connection whenever the old one breaks."""

        async def claim(connection: asyncpg.Connection) -> None:
            if self._must_resume:
                await self._resume(connection)
            self._doorbell.lend(connection)
            while not self._is_over:
                try:
                    await self._claim_until_over(connection, tasks)
                except asyncpg.PostgresError as error:
                    if error.sqlstate != UNKNOWN_RUNNER:
                        raise
                    self.runner_id = None
            if self.runner_id is not None:
                async with self._doorbell.speaking:
                    await connection.execute(
                        f"select soniq.deregister_runner(runner_id => {self.runner_id})"
                    )

        await persist(connection, self._url, ROLE, claim, self._note_break)

    def _note_break(self) -> None:
        self._must_resume = True

    async def _resume(self, connection: asyncpg.Connection) -> None:
        """Keeps the leases known here; what a claim granted whose answer was lost goes back."""
        if self.runner_id is not None:
            leases = self._execution.leases + self._reporter.leases
            try:
                async with self._doorbell.speaking:
                    self.runner_id = await self._resume_as(connection, self.runner_id, leases)
            except asyncpg.PostgresError as error:
                if error.sqlstate != UNKNOWN_RUNNER:
                    raise
                # Declared dead meanwhile. Under its next id, heartbeats will tell which leases are lost.
                log.warning("runner %s was declared dead; registering anew", self.runner_id)
                self.runner_id = None
        self._must_resume = False

    async def _claim_until_over(
        self, connection: asyncpg.Connection, tasks: asyncio.TaskGroup
    ) -> None:
        loop = asyncio.get_running_loop()
        self._lookout.look_now()
        while True:
            room = self._room()
            jobs: list[ClaimedJob] = []
            if room and (self._burst or self._lookout.should_look):
                self._may_be_again = False
                self._lookout.looking()
                async with self._doorbell.speaking:
                    jobs = await self._claim(connection, room)
                is_late = self._stopping
                self._count(jobs)
                self._execution.start(tasks, jobs)
                if is_late:  # told to stop while the claim was under way
                    self._execution.release_waiting()
                queues = [job.queue for job in jobs]
                await self._lookout.looked(queues, may_be_more=self._may_be_more)
            self._execution.release_stale()

            if jobs:
                continue
            if (self._stopping or self._burst) and not self._has_work:
                await self._lookout.leave_to_others()
                self._is_over = True
                return
            if room:
                skip_at = self._skip_again_at if self._must_skip_later else float("inf")
                await self._wait(min(await self._lookout.rest(), skip_at - loop.time()))
            else:
                await self._lookout.leave_to_others()
                self._is_full = True
                await self._wait(LONGEST_WAIT if self._execution.has_waiting else None)
                self._is_full = False

    @property
    def _has_work(self) -> bool:
        """Whether something runs, is not reported, or may be ready again, as a report has told."""
        return bool(
            self._execution.leases
            or self._reporter.unreported
            or (self._may_be_again and not self._stopping)
        )

    def _room(self) -> int:
        if self._stopping or self._reporter.unreported > MOST_UNREPORTED:
            return 0
        room = self._execution.room
        return room if self._left is None else min(room, self._left)

    def _count(self, jobs: Sequence[ClaimedJob]) -> None:
        if self._left is not None and jobs:
            self._left -= len(jobs)
            if self._left == 0:
                self.stop()

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def _claim(self, connection: asyncpg.Connection, room: int) -> list[ClaimedJob]:
        if self.runner_id is None:
            self.runner_id = await self._register(connection)
        any_kind = min(self._execution.room_for_sync, room)
        rows = []
        if any_kind:
            rows = await connection.fetch(CLAIM, self.runner_id, self._queues, any_kind, None)
        self._may_be_more = len(rows) == any_kind
        if len(rows) == any_kind < room:
            rows += await self._claim_async(connection, room - any_kind)
        return [ClaimedJob.of(row) for row in rows]

    async def _claim_async(self, connection: asyncpg.Connection, room: int) -> list[asyncpg.Record]:
        """What there is for handlers that are async, beyond the others that wait."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._must_skip_later = started < self._skip_again_at
        if self._must_skip_later:
            return []
        rows: list[asyncpg.Record] = await connection.fetch(
            CLAIM, self.runner_id, self._queues, room, self._execution.sync_names
        )
        if not rows:
            took = loop.time() - started
            self._skip_again_at = started + (1 + REST_AFTER_SKIPPING) * took
        return rows
