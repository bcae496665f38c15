"""Running handlers: async ones as tasks, the others on a bounded pool of threads, each within its timeout."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from soniq import outcomes
from soniq.handler import Handler
from soniq.job import Job, PermanentFailure, Snooze, seconds_to_interval
from soniq.outcomes import Outcome, Released, Snoozed

log = logging.getLogger("soniq")


@dataclass(slots=True, eq=False)
class Running:
    """A job that a handler works on. `ended_by_us` is set before the runner itself cancels the task."""

    job: Job
    task: "asyncio.Task[None] | None" = None
    ended_by_us: bool = False


class Execution:
    """The jobs that run in this process.

    concurrency: how many jobs at once, of both kinds.
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
        self._running: dict[tuple[int, int], Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.sync_names = [name for name, handler in handlers.items() if not handler.is_async]

    @property
    def leases(self) -> list[tuple[int, int]]:
        """The (job_id, attempt) pairs at work now; may be read from any thread."""
        return list(self._running)

    @property
    def room(self) -> int:
        """How many more jobs may start."""
        return self._concurrency - len(self._running)

    @property
    def room_for_sync(self) -> int:
        """How many of them may have a `def` handler."""
        return (
            min(self.room, self._thread_count - self._busy_threads)
            if self.sync_names
            else self.room
        )

    def start(self, tasks: asyncio.TaskGroup, jobs: Iterable[Job]) -> None:
        """Starts the handlers of claimed jobs."""
        for job in jobs:
            running = Running(job)
            self._running[job.id, job.attempt] = running
            running.task = tasks.create_task(self._execute(running))
            self._tasks.add(running.task)
            running.task.add_done_callback(self._tasks.discard)

    def abandon(self, leases: Iterable[tuple[int, int]]) -> None:
        """Stops work on jobs that are another runner's now; nothing is reported of them."""
        for lease in leases:
            if running := self._running.pop(lease, None):
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
        tasks = []
        for running in self._running.values():
            running.ended_by_us = True
            if running.task:
                running.task.cancel()
                tasks.append(running.task)
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        released, self._running = self._running, {}
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
            del self._running[running.job.id, running.job.attempt]
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
                    value = await self._on_thread(handler, job)
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

    async def _on_thread(self, handler: Handler, job: Job) -> Any:
        self._busy_threads += 1
        loop = asyncio.get_running_loop()
        call = contextvars.copy_context().run
        future = self._threads.submit(call, _shielded, handler, job)
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
