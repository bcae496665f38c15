"""The one conversation with the database: what is next, what is done.

A single task speaks on the connection, first to claim and then to report, so that handlers of the jobs just claimed run
while the outcomes of those before are on their way.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from soniq import outcomes
from soniq.database import CONNECTION_LOST, close, connect_patiently, describe
from soniq.doorbell import Doorbell
from soniq.execution import LONGEST_WAIT, Execution
from soniq.job import Job
from soniq.lookout import Lookout
from soniq.outcomes import Failed, Outcome

log = logging.getLogger("soniq")

# A claim that skips jobs reads over all of them, and may be slow where they are many; one that found nothing is not
# made again before so many times as long has passed.
REST_AFTER_SKIPPING = 10
UNKNOWN_RUNNER = "SQ011"

# Claims may be committed asynchronously: one lost in a crash is only made again.
CLAIM = (
    "select claimed.job_id, claimed.job_name, claimed.args, claimed.headers, claimed.queue, claimed.priority,"
    " claimed.attempt, claimed.max_attempts, claimed.scheduled_at, claimed.claimed_at,"
    " claimed.timeout, claimed.deadline, claimed.schedule, claimed.due_at"
    " from pg_catalog.set_config('synchronous_commit', 'off', true)"
    " cross join soniq.claim("
    "runner_id => $1, queues => $2, max_jobs => $3, skip_jobs => $4) as claimed"
)


class Exchange:
    """Claims, starts and reports until it is told to stop and nothing is left to report.

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
    ) -> None:
        self._url = url
        self._queues = queues
        self._poll_interval = poll_interval
        self._burst = burst
        self._left = at_most
        self._register = register
        self._resume_as = resume
        self._must_resume = False
        self._outcomes: list[Outcome] = []
        self._in_doubt = False
        self._skip_again_at = 0.0
        self._must_skip_later = False
        self._news = asyncio.Event()
        self._may_be_more = False
        self._stopping = False
        self.runner_id: int | None = None

    def add(self, outcome: Outcome) -> None:
        """Takes an outcome to report."""
        self._outcomes.append(outcome)
        self._news.set()

    def ring(self) -> None:
        """Says that a job may be ready, or that there is room for one."""
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

    @property
    def unreported(self) -> int:
        """How many outcomes the database has not been told."""
        return len(self._outcomes)

    async def run(
        self,
        connection: asyncpg.Connection,
        tasks: asyncio.TaskGroup,
        execution: Execution,
        doorbell: Doorbell,
    ) -> None:
        """Converses until stopped, on a new connection whenever the old one breaks."""
        lookout = Lookout(doorbell, self._poll_interval)
        while True:
            try:
                if self._must_resume:
                    await self._resume(connection, execution)
                await self._converse(connection, tasks, execution, lookout)
                if self.runner_id is not None:
                    await connection.execute(
                        f"select soniq.deregister_runner(runner_id => {self.runner_id})"
                    )
                await close(connection)
                return
            except CONNECTION_LOST as error:
                log.warning(
                    "the database is away (%s): running handlers go on, their outcomes are kept",
                    describe(error),
                )
                self._in_doubt = self._must_resume = True
                await close(connection)
                connection = await connect_patiently(self._url, "exchange", again=True)
                log.info("connected again; %s outcomes to report", self.unreported)
            except asyncpg.PostgresError as error:
                if error.sqlstate == UNKNOWN_RUNNER:
                    self.runner_id = None
                    continue
                log.error("the database refuses: %s; trying again", describe(error))
                await asyncio.sleep(1)

    async def _resume(self, connection: asyncpg.Connection, execution: Execution) -> None:
        """Keeps the leases known here; what a claim granted whose answer was lost goes back."""
        if self.runner_id is not None:
            unreported = [(outcome.job.id, outcome.job.attempt) for outcome in self._outcomes]
            self.runner_id = await self._resume_as(
                connection, self.runner_id, execution.leases + unreported
            )
        self._must_resume = False

    async def _converse(
        self,
        connection: asyncpg.Connection,
        tasks: asyncio.TaskGroup,
        execution: Execution,
        lookout: Lookout,
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            room = self._room(execution)
            jobs: list[Job] = []
            if room and (lookout.should_look or self._burst):
                lookout.looking()
                jobs = await self._claim(connection, execution, room)
                self._count(jobs)
                execution.start(tasks, jobs)
                await lookout.looked([job.queue for job in jobs], may_be_more=self._may_be_more)
            execution.release_stale()
            reported = await self._report(connection)

            if reported:
                lookout.reported()
            elif jobs:
                pass
            elif (self._stopping or self._burst) and not execution.leases and not self._outcomes:
                await lookout.leave_to_others()
                return
            elif room:
                skip_at = self._skip_again_at if self._must_skip_later else float("inf")
                await self._wait(min(await lookout.rest(), skip_at - loop.time()))
            else:
                await lookout.leave_to_others()
                await self._wait(LONGEST_WAIT if execution.has_waiting else None)

    def _room(self, execution: Execution) -> int:
        if self._stopping:
            return 0
        return execution.room if self._left is None else min(execution.room, self._left)

    def _count(self, jobs: Sequence[Job]) -> None:
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

    async def _claim(
        self, connection: asyncpg.Connection, execution: Execution, room: int
    ) -> list[Job]:
        if self.runner_id is None:
            self.runner_id = await self._register(connection)
        any_kind = min(execution.room_for_sync, room)
        rows = []
        if any_kind:
            rows = await connection.fetch(CLAIM, self.runner_id, self._queues, any_kind, None)
        self._may_be_more = len(rows) == any_kind
        if len(rows) == any_kind < room:
            rows += await self._claim_async(connection, execution, room - any_kind)
        return [
            Job(job_id, name, json.loads(args), json.loads(headers or "{}"), *rest)
            for job_id, name, args, headers, *rest in rows
        ]

    async def _claim_async(
        self, connection: asyncpg.Connection, execution: Execution, room: int
    ) -> list[asyncpg.Record]:
        """What there is for handlers that are async, beyond the others that wait."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._must_skip_later = started < self._skip_again_at
        if self._must_skip_later:
            return []
        rows: list[asyncpg.Record] = await connection.fetch(
            CLAIM, self.runner_id, self._queues, room, execution.sync_names
        )
        if not rows:
            took = loop.time() - started
            self._skip_again_at = started + (1 + REST_AFTER_SKIPPING) * took
        return rows

    async def _report(self, connection: asyncpg.Connection) -> int:
        """Reports what has ended and answers how many that were; what cannot be told now is kept."""
        batch, self._outcomes = self._outcomes, []
        groups = outcomes.groups(batch)
        try:
            while groups:
                answers = await outcomes.report(connection, groups[0])
                for outcome, answer in zip(groups.pop(0), answers, strict=True):
                    self._log(outcome, answer)
        finally:
            self._outcomes[:0] = [outcome for group in groups for outcome in group]
        self._in_doubt = self._in_doubt and not batch
        return len(batch)

    def _log(self, outcome: Outcome, answer: str | bool | None) -> None:
        job = outcome.job
        what = type(outcome).__name__.lower()
        if not answer:
            log.warning(
                "job %s (%s), attempt %s: %s, but %s",
                job.id,
                job.name,
                job.attempt,
                what,
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
        else:
            log.debug("job %s (%s), attempt %s: %s", job.id, job.name, job.attempt, what)
