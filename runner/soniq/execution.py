"""Running handlers: async ones in tasks, the others on a bounded pool of threads, each within its timeout.

A slot is a task, which runs job after job for as long as some wait, so that a quick one costs no task of its own.

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
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from soniq import forking, outcomes
from soniq.blotting import blotted
from soniq.codec import CannotOpen, opened
from soniq.containment import contain
from soniq.errors import BadDeclaration
from soniq.handler import Handler
from soniq.job import ClaimedJob, Job, PermanentFailure, Snooze, seconds_to_interval
from soniq.metering import Meter, status_of
from soniq.middleware import nest
from soniq.outcomes import Failed, Outcome, Released, Snoozed
from soniq.watchdog import Watchdog

log = logging.getLogger("soniq")

AHEAD = 0.05  # seconds
MOST_AHEAD = 1000  # jobs
PACE_WINDOW = 0.02  # seconds; short, so that a runner is at its full pace within three of them
LONGEST_TURN = (
    0.002  # seconds that one slot may keep the event loop with jobs that wait for nothing
)
LONGEST_WAIT = 0.25  # seconds that none of the waiting jobs may start before they are handed back
THREADS_BUSY_FOR = 1.0  # seconds that no thread may become free before this is told
MOST_NAMED = 10  # jobs in one line of the log


@dataclass(frozen=True, slots=True)
class SyncRoom:
    """How it stands with what handlers that are not async need.

    jobs_wait: for THREADS_BUSY_FOR there has been neither a thread nor a slot for one more.
    """

    threads: int
    threads_busy: int
    jobs_wait: bool


@dataclass(slots=True, eq=False)
class Running:
    """A job that is held, at work once it has a task. `ended_by_us` is set before the runner itself ends it.

    timed_out: set before it is cancelled because its deadline, by this machine's clock, is over.
    is_sync: its handler is not async; it may end, by its timeout, before its thread is given back.
    since: when that began, first the holding, then the work.
    """

    job: ClaimedJob
    is_sync: bool
    holds_thread: bool
    since: float
    task: "asyncio.Task[None] | None" = None
    deadline: float = float("inf")
    timed_out: bool = False
    ended_by_us: bool = False


class Pace:
    """How many jobs a second have ended lately, and could have, had there been more.

    The latter keeps a few slow jobs that happen to end together from being taken for many quick ones.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._rate = 0.0
        self._ended = 0
        self._took = 0.0
        self._since = time.monotonic()

    def count(self, seconds: float) -> None:
        """One more job has ended, which took so long."""
        self._ended += 1
        self._took += seconds

    def rate(self) -> float:
        """Jobs a second, measured anew once the last measure is old enough."""
        elapsed = time.monotonic() - self._since
        if elapsed >= PACE_WINDOW:
            self._rate = self._ended / max(elapsed, self._took / self._slots)
            self._ended, self._took = 0, 0.0
            self._since += elapsed
        return self._rate


class Execution:
    """The jobs that are held by this process.

    concurrency: how many jobs run at once, of both kinds. Where there are both, one slot is for async ones alone:
        slow handlers on threads may not keep them from running.
    thread_count: how many of them on threads.
    on_outcome: called in the event loop with each outcome.
    meter: told of each attempt.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        concurrency: int,
        thread_count: int,
        on_outcome: Callable[[Outcome], None],
        meter: Meter | None = None,
    ) -> None:
        self._handlers = handlers
        self._concurrency = concurrency
        self._thread_count = thread_count
        self._busy_threads = 0
        self._threads = ThreadPoolExecutor(thread_count, thread_name_prefix="soniq-handler")
        self._on_outcome = on_outcome
        self._meter = meter
        self._held: dict[tuple[int, int], Running] = {}
        self._waiting: deque[Running] = deque()
        self._last_start = time.monotonic()
        self._slots = 0  # in use
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")
        self._context = contextvars.copy_context()
        self._pace = Pace(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        # What is at work on threads, since when; also what has timed out and does not know it.
        self._on_threads: dict[Future[Any], tuple[Job, float]] = {}
        self._sync_held = 0
        self._sync_jobs_wait = False
        self._watchdog: Watchdog | None = None
        self._contain_no_more: Callable[[], None] = lambda: None
        self._generation = forking.generation()
        self.sync_names = [name for name, handler in handlers.items() if not handler.is_async]
        mixed = 0 < len(self.sync_names) < len(handlers)
        self._slots_for_sync = concurrency - 1 if mixed and concurrency > 1 else concurrency

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
        """How many of them may have a `def` handler: no more than there are free threads, and slots for these."""
        if not self.sync_names:
            return self.room
        room = min(self.room, self._thread_count - self._busy_threads)
        if self._slots_for_sync < self._concurrency:
            room = min(room, self._slots_for_sync - self._sync_held)
        return room

    @property
    def sync_room(self) -> SyncRoom:
        """How it stands with the threads; may be read from any thread."""
        return SyncRoom(self._thread_count, len(self._on_threads), self._sync_jobs_wait)

    def start(self, tasks: asyncio.TaskGroup, jobs: Iterable[ClaimedJob]) -> None:
        """Starts the handlers of claimed jobs, each as soon as a slot is free."""
        if self._watchdog is None:
            self._watch()
        now = time.monotonic()
        if not self._waiting:
            self._last_start = now  # the wait of those that come now begins now
        for job in jobs:
            # A claim that a server had forgotten when it crashed was made again: it is the lease that is held already.
            if (job.id, job.attempt) in self._held:
                continue
            handler = self._handlers.get(job.name)
            is_sync = handler is not None and not handler.is_async
            running = Running(job, is_sync, holds_thread=is_sync, since=now)
            # Counted already now, since the next claim may come before the handler is on its thread.
            self._busy_threads += is_sync
            self._sync_held += is_sync
            self._held[job.id, job.attempt] = running
            self._waiting.append(running)
        self._open_slot(tasks)

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        forking.guard(loop)
        self._contain_no_more = contain(loop, known=Execution._work.__code__)
        self._watchdog = Watchdog(at_work=self._name_task, look=self._look_at_threads)
        self._watchdog.start()

    def _name_task(self, task: "asyncio.Task[object] | None") -> str:
        """On the watchdog's thread: which job a task of the loop belongs to."""
        at_work = [running for running in list(self._held.values()) if running.task]
        for running in at_work:
            if running.task is task:
                return _name(running.job)
        names = [_name(running.job) for running in at_work]
        if not names:
            return "something outside of jobs"
        return f"something else, perhaps a task of {_enumeration(names, 'or')},"

    def _look_at_threads(self) -> None:
        """On the watchdog's thread: tells, once until there is room again, that jobs wait for threads or slots."""
        busy = list(self._on_threads.values())
        # What has timed out keeps its thread, and not its slot.
        in_slots = [(job, since) for job, since in busy if (job.id, job.attempt) in self._held]
        if len(busy) >= self._thread_count:
            self._tell_of_waiting(
                busy,
                f"SONIQ_SYNC_HANDLER_POOL_SIZE is {self._thread_count}: raise it,",
                # Where no slot is free either, async jobs wait as well, and more threads would help nobody.
                in_vain=self._slots >= self._concurrency,
            )
        elif len(in_slots) >= self._slots_for_sync < self._concurrency:
            self._tell_of_waiting(
                in_slots,
                f"SONIQ_CONCURRENCY is {self._concurrency}, of which one is kept for async jobs: raise it,",
            )
        else:
            self._sync_jobs_wait = False

    def _tell_of_waiting(
        self, busy: list[tuple[Job, float]], remedy: str, *, in_vain: bool = False
    ) -> None:
        now = time.monotonic()
        youngest = min(now - since for _, since in busy)
        if self._sync_jobs_wait or youngest < THREADS_BUSY_FOR or in_vain:
            return
        self._sync_jobs_wait = True
        log.warning(
            "jobs with plain def handlers wait: no thread has become free for %.1f s. All %s are busy: %s."
            " Async jobs go on. %s or make slow handlers quicker or async",
            youngest,
            len(busy),
            _enumeration([f"{_name(job)}, for {now - since:.1f} s" for job, since in busy], "and"),
            remedy,
        )

    def _open_slot(self, tasks: asyncio.TaskGroup) -> None:
        if self._waiting and self._slots < self._concurrency:
            self._slots += 1
            # Of its own: what one job leaves in a context is not for another.
            context = self._context.copy()
            self._tasks.add(tasks.create_task(self._work(tasks), context=context))

    async def _work(self, tasks: asyncio.TaskGroup) -> None:
        """One slot: runs job after job until none waits."""
        task = asyncio.current_task()
        assert task is not None
        turn = time.monotonic()
        try:
            while self._waiting:
                running = self._waiting.popleft()
                # The next one goes ahead if this one waits for something.
                self._open_slot(tasks)
                if not running.ended_by_us:
                    await self._run(running, task)
                self._let_go(running)
                if task.cancelling() or _differ(contextvars.copy_context(), self._context):
                    break  # it would do to the next job what was meant for this one
                if time.monotonic() - turn > LONGEST_TURN:
                    await asyncio.sleep(0)
                    turn = time.monotonic()
        finally:
            self._tasks.discard(task)
            self._slots -= 1
        self._open_slot(tasks)

    async def _run(self, running: Running, task: "asyncio.Task[None]") -> None:
        self._last_start = time.monotonic()
        if self._meter:
            self._meter.started(running.job, self._last_start - running.since)
        running.since = self._last_start
        running.task = task
        self._set_deadline(running)
        await self._execute(running)
        self._pace.count(time.monotonic() - running.since)

    def _set_deadline(self, running: Running) -> None:
        seconds = running.job.timeout_seconds
        if seconds:
            running.deadline = running.since + seconds
            # One alarm for all jobs: that of each would cost more than a quick job.
            if running.deadline < self._alarm_at:
                self._set_alarm(running.deadline)

    def _set_alarm(self, when: float) -> None:
        if self._alarm:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(when - time.monotonic(), self._time_out)
        self._alarm_at = when

    def _time_out(self) -> None:
        """Cancels what is past its deadline, and sets the alarm for the next."""
        self._alarm, self._alarm_at = None, float("inf")
        earliest, now = float("inf"), time.monotonic()
        for running in self._held.values():
            if running.task is None or running.timed_out:
                continue
            if running.deadline <= now:
                running.timed_out = True
                running.task.cancel()
            else:
                earliest = min(earliest, running.deadline)
        if earliest < float("inf"):
            self._set_alarm(earliest)

    def _let_go(self, running: Running) -> None:
        self._sync_held -= running.is_sync
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
            self._let_go(running)
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
                    self._count_end(running, "lost")
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
            if running.task:
                self._count_end(running, "released")
            self._on_outcome(Released(running.job))

    async def left_behind(self) -> bool:
        """Whether, after a last moment to end, a handler still runs whose job has ended without it."""
        ending = [task for task in self._tasks if not task.done()]
        if ending:
            await asyncio.wait(ending, timeout=1)
        return self._busy_threads > 0 or not all(task.done() for task in ending)

    def close(self) -> None:
        """Lets the threads end as they become free."""
        if self._watchdog:
            self._watchdog.stop()
            self._contain_no_more()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _execute(self, running: Running) -> None:
        try:
            outcome = await self._outcome_of(running)
        except asyncio.CancelledError:
            if not running.ended_by_us:
                raise
            return
        if forking.generation() != self._generation:
            forking.end_child(RuntimeError() if isinstance(outcome, Failed) else None)
        if isinstance(outcome, Failed) and (handler := self._handlers.get(outcome.job.name)):
            outcome.error = blotted(outcome.error, outcome.job, handler.policy.secret_args)
        if not running.ended_by_us:
            del self._held[running.job.id, running.job.attempt]
            if self._meter:
                self._count_end(running, status_of(outcome))
            self._on_outcome(outcome)

    def _count_end(self, running: Running, status: str) -> None:
        if self._meter:
            self._meter.ended(running.job, status, time.monotonic() - running.since)

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
        try:
            job.args = opened(handler.codec, job.args)
        except CannotOpen as error:
            # Another runner may have the key, and this one get it.
            return outcomes.failed(job, "CannotOpen", str(error), None)
        if job.unreadable:
            problem: str | None = f"its args or headers cannot be read: {job.unreadable}"
        else:
            bound, problem = handler.bind(job.args)
        if problem:
            return outcomes.failed(job, "InvalidArguments", problem, "invalid_arguments")
        try:
            if handler.middleware:
                value = await self._through_middleware(handler, running, bound)
            elif handler.is_async:
                value = await handler.call(job, bound)
            else:
                value = await self._on_thread(handler, running, job, bound)
        except Snooze as snooze:
            return _snoozed(job, snooze)
        except PermanentFailure as error:
            return outcomes.raised(job, error, "permanent_failure")
        except asyncio.CancelledError as error:
            if running.ended_by_us:
                raise
            if not running.timed_out:
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
        except BaseException as error:
            # Also SystemExit and KeyboardInterrupt: a handler ends its job, not the runner.
            if forking.generation() != self._generation:
                forking.end_child(error)
            return outcomes.raised(job, error)
        return outcomes.done(job, value, handler.codec)

    async def _through_middleware(
        self, handler: Handler, running: Running, bound: Mapping[str, Any]
    ) -> Any:
        async def innermost(job: Job) -> Any:
            given, problem = bound, None
            if job is not running.job:  # a middleware passes on another, with other args perhaps
                given, problem = handler.bind(job.args)
            if problem:
                raise BadDeclaration(problem)
            if handler.is_async:
                return await handler.call(job, given)
            return await self._on_thread(handler, running, job, given)

        return await nest(handler.middleware, innermost)(running.job)

    async def _on_thread(
        self, handler: Handler, running: Running, job: Job, bound: Mapping[str, Any]
    ) -> Any:
        if not running.holds_thread:  # a middleware calls the handler a second time
            self._busy_threads += 1
        running.holds_thread = False  # given back by the thread itself, which may outlast the job
        loop = asyncio.get_running_loop()
        call = contextvars.copy_context().run
        future = self._threads.submit(call, _shielded, handler, job, bound)
        self._on_threads[future] = job, time.monotonic()
        future.add_done_callback(
            lambda future: loop.call_soon_threadsafe(self._thread_is_free, future)
        )
        error, value = await asyncio.wrap_future(future)
        if error is not None:
            raise error
        return value

    def _thread_is_free(self, future: "Future[Any]") -> None:
        del self._on_threads[future]
        self._busy_threads -= 1


def _shielded(
    handler: Handler, job: Job, bound: Mapping[str, Any]
) -> tuple[BaseException | None, Any]:
    """Calls a handler; what it raises is returned, since futures treat some exceptions as their own.

    Where the handler has forked, only the parent returns: the child must not report, or take the next job.
    """
    generation = forking.generation()
    try:
        value = handler.call(job, bound)
    except BaseException as error:
        if forking.generation() != generation:
            forking.end_child(error)
        return error, None
    if forking.generation() != generation:
        forking.end_child(None)
    return None, value


def _differ(one: contextvars.Context, other: contextvars.Context) -> bool:
    # Not by comparing them: that asks the values, which may answer anything.
    return len(one) != len(other) or any(one.get(key) is not other[key] for key in other)


def _name(job: Job) -> str:
    return f"job {job.id} ({job.name}), attempt {job.attempt}"


def _enumeration(names: list[str], conjunction: str) -> str:
    more = len(names) - MOST_NAMED
    if more > 0:
        names = [*names[:MOST_NAMED], f"{more} more"]
    return f" {conjunction} ".join(filter(None, ["; ".join(names[:-1]), names[-1]]))


def _snoozed(job: Job, snooze: Snooze) -> Outcome:
    try:
        return Snoozed(job, seconds_to_interval("the delay of Snooze", snooze.delay))
    except Exception as error:
        return outcomes.raised(job, error)
