"""`Soniq`: the object that handlers are registered on and that Python producers enqueue with."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar, overload

import asyncpg

from soniq.errors import BadDeclaration, BadSettings, DuplicateJob
from soniq.handler import Handler, Policy, make_policy
from soniq.producer import EnqueueCall
from soniq.schedule import Schedule, make_schedule

P = ParamSpec("P")
R = TypeVar("R")
DEFAULT_POOL_SIZE = 20


class Soniq:
    """A set of handlers, and a way to enqueue.

    database_url: where the app's own connections go, postgresql://...; SONIQ_DATABASE_URL by default.
    pool_max_size: how many connections of its own the app opens at the most; none before the first is
        asked for. In a runner, SONIQ_POOL_MAX_SIZE by default; 20 elsewhere.
    """

    def __init__(
        self, database_url: str | None = None, *, pool_max_size: int | None = None
    ) -> None:
        self.handlers: dict[str, Handler] = {}
        self._schedules: list[Schedule] = []
        self._implied: set[Callable[..., Any]] = set()
        self._database_url = database_url
        self._pool_sizes = (0, DEFAULT_POOL_SIZE if pool_max_size is None else pool_max_size)
        self.pool_is_sized_in_code = pool_max_size is not None
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    @overload
    def job(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def job(
        self,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        timeout: float | timedelta | None = None,
        retry_delay: float | timedelta | Iterable[float | timedelta] | None = None,
        backoff: str | None = None,
        max_retry_delay: float | timedelta | None = None,
        retention: float | timedelta | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def job(
        self,
        function: Callable[P, R] | None = None,
        /,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        timeout: float | timedelta | None = None,
        retry_delay: float | timedelta | Iterable[float | timedelta] | None = None,
        backoff: str | None = None,
        max_retry_delay: float | timedelta | None = None,
        retention: float | timedelta | None = None,
    ) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
        """Registers a function as the handler of a job name; the function itself stays as it is.

        name: the job name; the function's own name by default.
        queue, priority (0 first to 1000 last), max_attempts: defaults for jobs of this name.
        timeout: seconds or a timedelta for one attempt; 0 is no limit.
        retry_delay: seconds or a timedelta before each retry, or a list of them, the last of which
            repeats.
        backoff: "fixed" takes retry_delay as it is, "exponential" doubles it at each failure.
        max_retry_delay: the longest exponential wait.
        retention: seconds or a timedelta for which finished jobs are kept; 0 keeps none.

        The values are checked by the database when a runner registers them. Raises DuplicateJob if the name
        is taken, and BadDeclaration for a function that cannot be called by names.
        """
        policy = make_policy(
            queue=queue,
            priority=priority,
            max_attempts=max_attempts,
            timeout=timeout,
            retry_delay=retry_delay,
            backoff=backoff,
            max_retry_delay=max_retry_delay,
            retention=retention,
        )

        def register(function: Callable[P, R]) -> Callable[P, R]:
            if function in self._implied:  # @app.periodic() was nearer to the function
                self._implied.remove(function)
                del self.handlers[self._name_of(function)]
            self._add(Handler(function, name or function.__name__, policy))
            return function

        return register if function is None else register(function)

    def periodic(
        self,
        *,
        cron: str | None = None,
        every: float | timedelta | None = None,
        timezone: str | None = None,
        name: str | None = None,
        args: Mapping[str, Any] | None = None,
        missed_runs: str | None = None,
        max_missed_runs: int | None = None,
        allow_overlap: bool | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Runs a job periodically. It may stand above or below @app.job(...), or without it.

        cron: when, as in "0 3 * * *", or "@daily"; or every: seconds or a timedelta between runs.
        timezone: an IANA name, in whose local time cron is read; UTC by default.
        name: the schedule's name; the job's name by default. One function may have several schedules.
        args: the handler's arguments.
        missed_runs: what becomes of runs missed while everything was down: "skip" (the default), "run_once"
            or "run_all", which makes up for max_missed_runs of them at the most.
        allow_overlap: False to enqueue nothing while the last job is still queued or processing.

        A runner registers the schedule when it starts; the newest registration wins. A handler that takes
        `job: Job` finds in job.due_at the time for which it was enqueued.

        The values are checked by the database. Raises BadDeclaration for neither or both of cron and every.
        """

        def register(function: Callable[P, R]) -> Callable[P, R]:
            if all(handler.function is not function for handler in self.handlers.values()):
                self._add(Handler(function, function.__name__, Policy()))
                self._implied.add(function)
            self._schedules.append(
                make_schedule(
                    function,
                    name=name,
                    cron=cron,
                    every=every,
                    timezone=timezone,
                    args=args,
                    missed_runs=missed_runs,
                    max_missed_runs=max_missed_runs,
                    allow_overlap=allow_overlap,
                )
            )
            return function

        return register

    @property
    def schedules(self) -> dict[str, tuple[str, Schedule]]:
        """The periodic jobs by schedule name, each with its job's name. Raises DuplicateJob."""
        named: dict[str, tuple[str, Schedule]] = {}
        for schedule in self._schedules:
            job_name = self._name_of(schedule.function)
            name = schedule.name or job_name
            if name in named:
                raise DuplicateJob(two_schedules(name, named[name][1], schedule))
            named[name] = (job_name, schedule)
        return named

    def _add(self, handler: Handler) -> None:
        if taken := self.handlers.get(handler.name):
            raise DuplicateJob(two_handlers(taken, handler))
        self.handlers[handler.name] = handler

    async def enqueue(
        self,
        job: str | Callable[..., Any],
        args: Mapping[str, Any] | None = None,
        *,
        connection: Any = None,
        queue: str | None = None,
        priority: int | None = None,
        scheduled_at: datetime | None = None,
        delay: float | timedelta | None = None,
        max_attempts: int | None = None,
        timeout: float | timedelta | None = None,
        dedup_key: str | None = None,
    ) -> int:
        """Adds a job and returns its id.

        job: a handler of this app, or a job name.
        args: the handler's arguments by name; anything that JSON can hold.
        connection: an asyncpg, psycopg or SQLAlchemy connection or session, whose transaction the job
            joins; without one, a connection of the app's own and a transaction of its own.
        The options are those of soniq.enqueue() in SQL; delay and timeout are seconds or timedeltas.

        Raises BadDeclaration for what Python can tell is wrong, and the driver's error, with Soniq's SQLSTATE,
        for what the database refuses.
        """
        call = EnqueueCall.of(
            job_name=job if isinstance(job, str) else self._name_of(job),
            args=args,
            queue=queue,
            priority=priority,
            scheduled_at=scheduled_at,
            delay=delay,
            max_attempts=max_attempts,
            timeout=timeout,
            dedup_key=dedup_key,
        )
        if connection is not None:
            return await call.on(connection)
        async with self.connection() as own:
            return await call.on(own)

    def _name_of(self, function: Callable[..., Any]) -> str:
        for handler in self.handlers.values():
            if handler.function is function:
                return handler.name
        known = ", ".join(sorted(self.handlers)) or "none"
        raise BadDeclaration(f"{function!r} is not a job of this app (its jobs: {known})")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """An asyncpg connection from the app's own pool, which opens when first asked."""
        async with self._opening:
            if self._pool is None:
                url = self._database_url or os.environ.get("SONIQ_DATABASE_URL")
                if not url:
                    raise BadSettings(
                        "no database is known: set SONIQ_DATABASE_URL, or give Soniq(database_url=...)"
                        " or enqueue(connection=...)"
                    )
                least, most = self._pool_sizes
                if most == 0:
                    raise BadSettings(
                        "a connection is asked for, and SONIQ_POOL_MAX_SIZE is 0, which says that none"
                        " would be: set it to SONIQ_CONCURRENCY + SONIQ_POOL_HEADROOM or more"
                    )
                self._pool = await asyncpg.create_pool(url, min_size=least, max_size=most)
        async with self._pool.acquire() as connection:
            yield connection

    def size_pool(self, least: int, most: int) -> None:
        """What a runner's settings say of the app's own connections; a size given in code stays."""
        if not self.pool_is_sized_in_code:
            self._pool_sizes = (least, most)

    async def close(self) -> None:
        """Closes the app's own connections, if it opened any."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()


def two_handlers(first: Handler, second: Handler) -> str:
    """The message for two handlers with one name."""
    return (
        f"two handlers have the job name {first.name!r}: {first.where} and {second.where};"
        " give one of them another name=..."
    )


def two_schedules(name: str, first: Schedule, second: Schedule) -> str:
    """The message for two schedules with one name."""
    return (
        f"two schedules have the name {name!r}: of {first.where} and of {second.where};"
        " give one of them another name=..."
    )
