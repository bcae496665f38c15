"""Running handlers: async ones as tasks, the others on a bounded pool of threads, each within its timeout.

Jobs are claimed a little ahead, so that quick ones need not wait for the database one handful at a time: no more than
will start within AHEAD at the recent pace. So slow jobs are not kept from other runners, and those that turn out slow
are handed back.
"""

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from soniq import outcomes
from soniq.handler import Handler
from soniq.job import Job, PermanentFailure, Snooze, seconds_to_interval
from soniq.outcomes import Outcome, Released, Snoozed

log = logging.getLogger("soniq")

AHEAD = 0.05  # seconds
MOST_AHEAD = 1000  # jobs
PACE_WINDOW = 0.1  # seconds
LONGEST_WAIT = 0.25  # seconds that none of the waiting jobs may start before they are handed back


@dataclass(slots=True, eq=False)
class Running:
    """A job that is held, at work once it has a task. `ended_by_us` is set before the runner itself ends it."""

    job: Job
    holds_thread: bool
    task: "asyncio.Task[None] | None" = None
    ended_by_us: bool = False


class Pace:
    """How many jobs a second have ended lately."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._ended = 0
        self._since = time.monotonic()

    def count(self) -> None:
        """One more job has ended."""
        self._ended += 1

    def rate(self) -> float:
        """Jobs a second, measured anew once the last measure is old enough."""
        elapsed = time.monotonic() - self._since
        if elapsed >= PACE_WINDOW:
            self._rate = self._ended / elapsed
            self._ended = 0
            self._since += elapsed
        return self._rate


class Execution:
    """The jobs that are held by this process.

    concurrency: how many jobs run at once, of both kinds.
    thread_count: how many of them on threads.
    on_outcome: called in the event loop with each outcome.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        concurrency: int,
        thread_count: int,
        on_outcome: Callable[[Outcome], None],
    ) -> None:
        self._handlers = handlers
        self._concurrency = concurrency
        self._thread_count = thread_count
        self._busy_threads = 0
        self._threads = ThreadPoolExecutor(thread_count, thread_name_prefix="soniq-handler")
        self._on_outcome = on_outcome
        self._held: dict[tuple[int, int], Running] = {}
        self._waiting: deque[Running] = deque()
        self._last_start = time.monotonic()
        self._at_work = 0
        self._pace = Pace()
        self._tasks: set[asyncio.Task[None]] = set()
        self.sync_names = [name for name, handler in handlers.items() if not handler.is_async]

    @property
    def leases(self) -> list[tuple[int, int]]:
        """The (job_id, attempt) pairs held now; may be read from any thread."""
        return list(self._held)

    @property
    def room(self) -> int:
        """How many more jobs to claim: for free slots, and a little ahead; none while half of that is at hand."""
        ahead = min(int(self._pace.rate() * AHEAD), MOST_AHEAD)
        room = self._concurrency + ahead - len(self._held)
        return room if room > ahead // 2 else 0

    @property
    def room_for_sync(self) -> int:
        """How many of them may have a `def` handler: no more than there are free threads."""
        if not self.sync_names:
            return self.room
        return min(self.room, self._thread_count - self._busy_threads)

    def start(self, tasks: asyncio.TaskGroup, jobs: Iterable[Job]) -> None:
        """Starts the handlers of claimed jobs, each as soon as a slot is free."""
        for job in jobs:
            handler = self._handlers.get(job.name)
            running = Running(job, holds_thread=handler is not None and not handler.is_async)
            # Counted already now, since the next claim may come before the handler is on its thread.
            self._busy_threads += running.holds_thread
            self._held[job.id, job.attempt] = running
            self._waiting.append(running)
        self._start_waiting(tasks)

    def _start_waiting(self, tasks: asyncio.TaskGroup) -> None:
        while self._waiting and self._at_work < self._concurrency:
            running = self._waiting.popleft()
            self._last_start = time.monotonic()
            if running.ended_by_us:
                self._give_back_thread(running)
                continue
            self._at_work += 1
            running.task = tasks.create_task(self._execute(running))
            self._tasks.add(running.task)
            running.task.add_done_callback(partial(self._ended, tasks, running))

    def _ended(
        self, tasks: asyncio.TaskGroup, running: Running, task: "asyncio.Task[None]"
    ) -> None:
        self._tasks.discard(task)
        self._give_back_thread(running)
        self._at_work -= 1
        self._pace.count()
        self._start_waiting(tasks)

    def _give_back_thread(self, running: Running) -> None:
        self._busy_threads -= running.holds_thread
        running.holds_thread = False

    @property
    def has_waiting(self) -> bool:
        """Whether jobs are held that have not started."""
        return bool(self._waiting)

    def release_stale(self) -> None:
        """Hands back the jobs that have not started, once none has for too long."""
        if self._waiting and time.monotonic() - self._last_start > LONGEST_WAIT:
            self.release_waiting()

    def release_waiting(self) -> None:
        """Hands back the jobs that have not started."""
        while self._waiting:
            running = self._waiting.popleft()
            self._give_back_thread(running)
            if not running.ended_by_us:
                running.ended_by_us = True
                del self._held[running.job.id, running.job.attempt]
                self._on_outcome(Released(running.job))

    def abandon(self, leases: Iterable[tuple[int, int]]) -> None:
        """Stops work on jobs that are another runner's now; nothing is reported of them."""
        for lease in leases:
            if running := self._held.pop(lease, None):
                log.warning(
                    "job %s (%s), attempt %s: the lease was lost, abandoning it",
                    running.job.id,
                    running.job.name,
                    running.job.attempt,
                )
                running.ended_by_us = True
                if running.task:
                    running.task.cancel()

    async def release_all(self) -> None:
        """Stops every job that still runs, to be handed back to the queue.

        A handler has a second to end; one that does not, or sits on a thread, is left behind.
        """
        self.release_waiting()
        tasks = []
        for running in self._held.values():
            running.ended_by_us = True
            if running.task:
                running.task.cancel()
                tasks.append(running.task)
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        released, self._held = self._held, {}
        for running in released.values():
            self._on_outcome(Released(running.job))

    async def left_behind(self) -> bool:
        """Whether, after a last moment to end, a handler still runs whose job has ended without it."""
        ending = [task for task in self._tasks if not task.done()]
        if ending:
            await asyncio.wait(ending, timeout=1)
        return self._busy_threads > 0 or not all(task.done() for task in ending)

    def close(self) -> None:
        """Lets the threads end as they become free."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _execute(self, running: Running) -> None:
        try:
            outcome = await self._outcome_of(running)
        except asyncio.CancelledError:
            if not running.ended_by_us:
                raise
            return
        if not running.ended_by_us:
            del self._held[running.job.id, running.job.attempt]
            self._on_outcome(outcome)

    async def _outcome_of(self, running: Running) -> Outcome:
        job = running.job
        handler = self._handlers.get(job.name)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return outcomes.failed(
                job,
                "UnknownJob",
                f"no handler for {job.name!r} in this runner's modules (it has: {known})",
                "unknown_job",
            )
        if problem := handler.mismatch(job.args):
            return outcomes.failed(job, "InvalidArguments", problem, "invalid_arguments")
        try:
            async with asyncio.timeout(job.timeout.total_seconds() or None) as limit:
                if handler.is_async:
                    value = await handler.call(job)
                else:
                    value = await self._on_thread(handler, running)
        except Snooze as snooze:
            return _snoozed(job, snooze)
        except PermanentFailure as error:
            return outcomes.raised(job, error, "permanent_failure")
        except TimeoutError as error:
            if not limit.expired():
                return outcomes.raised(job, error)
            if not handler.is_async:
                log.warning(
                    "job %s (%s) timed out after %s; its thread goes on and keeps its slot until it returns",
                    job.id,
                    job.name,
                    job.timeout,
                )
            return outcomes.failed(
                job, "Timeout", f"{handler.where} took longer than {job.timeout}", "timeout"
            )
        except asyncio.CancelledError as error:
            if running.ended_by_us:
                raise
            return outcomes.raised(job, error)
        except BaseException as error:
            # Also SystemExit and KeyboardInterrupt: a handler ends its job, not the runner.
            return outcomes.raised(job, error)
        return outcomes.done(job, value)

    async def _on_thread(self, handler: Handler, running: Running) -> Any:
        running.holds_thread = False  # given back by the thread itself, which may outlast the job
        loop = asyncio.get_running_loop()
        call = contextvars.copy_context().run
        future = self._threads.submit(call, _shielded, handler, running.job)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._thread_is_free))
        error, value = await asyncio.wrap_future(future)
        if error is not None:
            raise error
        return value

    def _thread_is_free(self) -> None:
        self._busy_threads -= 1


def _shielded(handler: Handler, job: Job) -> tuple[BaseException | None, Any]:
    """Calls a handler; what it raises is returned, since futures treat some exceptions as their own."""
    try:
        return None, handler.call(job)
    except BaseException as error:
        return error, None


def _snoozed(job: Job, snooze: Snooze) -> Outcome:
    try:
        return Snoozed(job, seconds_to_interval("the delay of Snooze", snooze.delay))
    except Exception as error:
        return outcomes.raised(job, error)
