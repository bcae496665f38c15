"""`Soniq`: the object that handlers are registered on and that Python producers enqueue with."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args, overload

import asyncpg

from soniq.arguments import to_json
from soniq.codec import Codec, seal
from soniq.database import PooledConnection, connect_for_pool
from soniq.errors import BadDeclaration, BadSettings, DuplicateJob
from soniq.handler import Handler, Policy, make_policy
from soniq.middleware import Middleware, check
from soniq.producer import (
    IS_JOB_TYPE,
    MAY_READ_JOB_TYPES,
    EnqueueCall,
    Question,
    ask,
    ask_sync,
    connect_sync,
)
from soniq.schedule import Schedule, make_schedule

if TYPE_CHECKING:  # a producer has no use for it
    from soniq.metering import MetricsSink
    from soniq.settings import Settings

log = logging.getLogger("soniq")

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=Middleware)
H = TypeVar("H", bound=Callable[[], Mapping[str, Any]])
UnknownJobs = Literal["allow", "warn", "refuse"]
DEFAULT_POOL_SIZE = 20
CLOSE_WITHIN = 1.0  # seconds, for connections to be closed in order


class Soniq:
    """A set of handlers, and a way to enqueue.

    database_url: where the app's own connections go, postgresql://...; SONIQ_DATABASE_URL by default.
    pool_max_size: how many connections of its own the app opens at the most; none before the first is
        asked for. In a runner, SONIQ_POOL_MAX_SIZE by default; 20 elsewhere.
    metrics_sink: what a runner tells of every attempt, as soniq.metrics.PrometheusMetricsSink().
    codec: seals args and results with a key that the database does not see, as cryptography's MultiFernet does
        (soniq.codec.Codec); by default they are kept as they are.
    unknown_jobs: what becomes of enqueueing a job name that neither this app nor, in soniq.job_types, any runner has
        ever registered, such as one that is misspelt: "allow" it, "warn" in the log, or "refuse" it with
        BadDeclaration. SONIQ_UNKNOWN_JOBS by default, and without that "allow", since a producer may be deployed before
        the runner whose job it is, costs no query, and needs no right but to enqueue; the others ask the database once
        for each name, and need `grant select on soniq.job_types`.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        pool_max_size: int | None = None,
        metrics_sink: "MetricsSink | None" = None,
        unknown_jobs: UnknownJobs | None = None,
        codec: Codec | None = None,
    ) -> None:
        if unknown_jobs not in (None, *get_args(UnknownJobs)):
            raise BadDeclaration(
                f"unknown_jobs is {unknown_jobs!r}: give 'allow', 'warn' or 'refuse'"
            )
        self.handlers: dict[str, Handler] = {}
        self.metrics_sink = metrics_sink
        self._codec = codec
        self._unknown_jobs_in_code = unknown_jobs
        self._unknown_jobs_in_settings: str | None = None
        self._known_jobs: set[str] = set()
        self._middleware: list[Middleware] = []
        self._senders: list[Callable[[], Mapping[str, Any]]] = []
        self._schedules: list[Schedule] = []
        self._implied: set[Callable[..., Any]] = set()
        self._database_url = database_url
        self._pool_sizes = (0, DEFAULT_POOL_SIZE if pool_max_size is None else pool_max_size)
        self.pool_is_sized_in_code = pool_max_size is not None
        self._pool: asyncpg.Pool | None = None
        self._pool_loop: asyncio.AbstractEventLoop | None = None
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
        secret_args: Iterable[str] = (),
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
        secret_args: Iterable[str] = (),
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
        secret_args: names of arguments that only the handler is to see; others see ***, also in its errors.

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
            secret_args=secret_args,
        )

        def register(function: Callable[P, R]) -> Callable[P, R]:
            if function in self._implied:  # @app.periodic() was nearer to the function
                self._implied.remove(function)
                del self.handlers[self._name_of(function)]
            self._add(
                Handler(function, name or function.__name__, policy, self._middleware, self._codec)
            )
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

        The values are checked by the database. Raises BadDeclaration for neither or both of cron and every, and for
        args that the function does not take.
        """

        def register(function: Callable[P, R]) -> Callable[P, R]:
            if all(handler.function is not function for handler in self.handlers.values()):
                self._add(
                    Handler(function, function.__name__, Policy(), self._middleware, self._codec)
                )
                self._implied.add(function)
            self._schedules.append(
                make_schedule(
                    function,
                    name=name,
                    cron=cron,
                    every=every,
                    timezone=timezone,
                    args=args if args is None else self._checked(function, args),
                    missed_runs=missed_runs,
                    max_missed_runs=max_missed_runs,
                    allow_overlap=allow_overlap,
                )
            )
            return function

        return register

    def middleware(self, function: M, /) -> M:
        """Puts an async function around each run of this app's handlers, also of those that are not async.

            @app.middleware
            async def timed(job, call_next):
                started = time.monotonic()
                try:
                    return await call_next(job)
                except Exception:
                    log.error("job %s failed", job.id)
                    raise
                finally:
                    log.info("%s took %.3f s", job.name, time.monotonic() - started)

        What call_next(job) returns or raises is what the handler did, or the middleware registered next: the first
        registered is outermost. What that returns is the job's result; what it raises is the attempt's error, and
        Snooze and PermanentFailure mean what they mean in a handler. A middleware that does not call call_next() keeps
        the handler from running. One that passes on another job, as dataclasses.replace(job, args=...), shows that
        to the handler; what is reported is the job that was claimed.

        The job's timeout holds for all of it. Context variables set here are seen by the handler. A job that no handler
        can be called for (unknown name, wrong arguments) is no run.

        Raises BadDeclaration for a function that is not async or does not take (job, call_next).
        """
        check(function)
        self._middleware.append(function)
        return function

    def send_headers(self, function: H, /) -> H:
        """Has a function's answer travel with every job that this app enqueues.

            @app.send_headers
            def user() -> Mapping[str, Any]:
                return {"user": current_user.get()}

        It is called in the context of each enqueue() and answers with headers by name. Those given to enqueue() itself
        win over it, and a function registered later over one before. The handler, and any middleware, finds them in
        job.headers, on every attempt and in a replay.
        """
        self._senders.append(function)
        return function

    def _with_headers_of_senders(self, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if not self._senders:
            return given
        headers: dict[str, Any] = {}
        for sender in self._senders:
            headers |= sender()
        return headers | dict(given or {})

    def _checked(self, function: Callable[..., Any], args: Mapping[str, Any]) -> dict[str, Any]:
        """The args as JSON has them. Raises BadDeclaration if the function does not take them."""
        handler = self._handler_of(function)
        try:
            plain: dict[str, Any] = json.loads(to_json(args))
        except (TypeError, ValueError, RecursionError) as error:
            raise BadDeclaration(f"args of {handler.name} are not JSON: {error}") from error
        if problem := handler.mismatch(plain):
            raise BadDeclaration(problem)
        return plain

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
        headers: Mapping[str, Any] | None = None,
        tenant: str | None = None,
    ) -> int:
        """Adds a job and returns its id.

        job: a handler of this app, or a job name.
        args: the handler's arguments by name; anything that JSON can hold, and dates, UUIDs, Decimals, enums and
            pydantic's models, which become JSON and are converted back by the handler's annotations.
        connection: an asyncpg, psycopg or SQLAlchemy connection or session, whose transaction the job
            joins; without one, a connection of the app's own and a transaction of its own.
        headers: a mapping that JSON can hold, found in job.headers; those of send_headers() are added.
        tenant: whose job it is, found in job.tenant; a login that is bound to a tenant need not give it.
        The options are those of soniq.enqueue() in SQL; delay and timeout are seconds or timedeltas.

        Raises BadDeclaration for what Python can tell is wrong, such as args that the handler, where one is given
        and not only a name, would refuse; and the driver's error, with Soniq's SQLSTATE, for what the database refuses.
        """
        call = self._call(
            job,
            args,
            queue=queue,
            priority=priority,
            scheduled_at=scheduled_at,
            delay=delay,
            max_attempts=max_attempts,
            timeout=timeout,
            dedup_key=dedup_key,
            headers=headers,
            tenant=tenant,
        )
        if connection is not None:
            return await self._enqueue_on(connection, call)
        async with self.connection() as own:
            job_id = await self._enqueue_on(own, call)
            own.keep_as_it_is()
            return job_id

    def enqueue_sync(
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
        headers: Mapping[str, Any] | None = None,
        tenant: str | None = None,
    ) -> int:
        """enqueue() for code that is not async: adds a job and returns its id.

        connection: a synchronous psycopg 3 or SQLAlchemy connection or session, whose transaction the job joins.
            Without one, a connection is made for this call (by psycopg if it is installed, else by asyncpg) and a
            transaction of its own; so give one where there is one, also since it is much quicker.
        The others are those of enqueue().

        Raises what enqueue() raises, and BadDeclaration where an event loop runs and no connection is given: waiting
        for the database would block the loop.
        """
        call = self._call(
            job,
            args,
            queue=queue,
            priority=priority,
            scheduled_at=scheduled_at,
            delay=delay,
            max_attempts=max_attempts,
            timeout=timeout,
            dedup_key=dedup_key,
            headers=headers,
            tenant=tenant,
        )
        if connection is not None:
            return self._enqueue_on_sync(connection, call)
        if _loop_runs():
            raise BadDeclaration(
                "enqueue_sync() without a connection would block the event loop that runs here:"
                " await app.enqueue(...) instead, or give it a synchronous connection"
            )
        url = self.database_url
        if (made := connect_sync(url)) is None:
            return asyncio.run(self._enqueue_alone(url, call))
        with made as own:
            return self._enqueue_on_sync(own, call)

    def _call(
        self,
        job: str | Callable[..., Any],
        args: Mapping[str, Any] | None,
        *,
        headers: Mapping[str, Any] | None,
        **options: Any,
    ) -> EnqueueCall:
        handler = None if isinstance(job, str) else self._handler_of(job)
        call = EnqueueCall.of(
            job_name=handler.name if handler else str(job),
            args=args,
            headers=self._with_headers_of_senders(headers),
            **options,
        )
        # Of a name alone it is not certain that this code will run it.
        if handler and (problem := handler.mismatch(json.loads(call.parameters["args"]))):
            raise BadDeclaration(problem)
        if self._codec is not None:
            call.parameters["args"] = seal(self._codec, call.parameters["args"])
        return call

    async def _enqueue_on(self, connection: Any, call: EnqueueCall) -> int:
        name = call.parameters["job_name"]
        if not self._is_known(name):
            may_read = await ask(connection, Question(MAY_READ_JOB_TYPES, name))
            known = may_read and await ask(connection, Question(IS_JOB_TYPE, name))
            self._judge(name, may_read, known)
        return int(await ask(connection, call))

    def _enqueue_on_sync(self, connection: Any, call: EnqueueCall) -> int:
        name = call.parameters["job_name"]
        if not self._is_known(name):
            may_read = ask_sync(connection, Question(MAY_READ_JOB_TYPES, name))
            known = may_read and ask_sync(connection, Question(IS_JOB_TYPE, name))
            self._judge(name, may_read, known)
        return int(ask_sync(connection, call))

    async def _enqueue_alone(self, url: str, call: EnqueueCall) -> int:
        connection = await connect_for_pool(url)
        try:
            return await self._enqueue_on(connection, call)
        finally:
            await connection.close()

    def _is_known(self, name: str) -> bool:
        """Whether there is nothing to ask about a job name."""
        return name in self.handlers or name in self._known_jobs or self._unknown_jobs == "allow"

    @property
    def _unknown_jobs(self) -> str:
        """What becomes of unknown names. Raises BadSettings if the environment says something else."""
        if chosen := self._unknown_jobs_in_code or self._unknown_jobs_in_settings:
            return chosen
        given = os.environ.get("SONIQ_UNKNOWN_JOBS") or "allow"
        if given.strip().lower() not in get_args(UnknownJobs):
            raise BadSettings(f"SONIQ_UNKNOWN_JOBS is {given!r}: give allow, warn or refuse")
        return given.strip().lower()

    def _judge(self, name: str, may_read: bool, known: bool) -> None:
        """Warns of a job name that nobody has registered, or raises BadDeclaration."""
        if known:
            self._known_jobs.add(name)
            return
        problem = (
            f"no runner has ever registered the job {name!r}: check its spelling, or start the runner that has it"
            if may_read
            else f"whether any runner knows the job {name!r} cannot be told: grant select on soniq.job_types to"
            " this user, or do without Soniq(unknown_jobs=...) and SONIQ_UNKNOWN_JOBS"
        )
        if self._unknown_jobs == "refuse":
            raise BadDeclaration(problem)
        log.warning("%s", problem)

    def _name_of(self, function: Callable[..., Any]) -> str:
        return self._handler_of(function).name

    def _handler_of(self, function: Callable[..., Any]) -> Handler:
        for handler in self.handlers.values():
            if handler.function is function:
                return handler
        known = ", ".join(sorted(self.handlers)) or "none"
        raise BadDeclaration(f"{function!r} is not a job of this app (its jobs: {known})")

    @property
    def database_url(self) -> str:
        """Where the app's own connections go. Raises BadSettings if nobody has said."""
        url = self._database_url or os.environ.get("SONIQ_DATABASE_URL")
        if not url:
            raise BadSettings(
                "no database is known: set SONIQ_DATABASE_URL, or give Soniq(database_url=...)"
                " or enqueue(connection=...)"
            )
        return url

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """An asyncpg connection from the app's own pool, which opens when first asked."""
        self._forget_closed_loop()
        async with self._opening:
            if self._pool is None:
                url = self.database_url
                least, most = self._pool_sizes
                if most == 0:
                    raise BadSettings(
                        "a connection is asked for, and SONIQ_POOL_MAX_SIZE is 0, which says that none"
                        " would be: set it to SONIQ_CONCURRENCY + SONIQ_POOL_HEADROOM or more"
                    )
                self._pool = await asyncpg.create_pool(
                    url,
                    min_size=least,
                    max_size=most,
                    connect=connect_for_pool,
                    connection_class=PooledConnection,
                )
                self._pool_loop = asyncio.get_running_loop()
        async with self._pool.acquire() as connection:
            yield connection

    def take_settings(self, settings: "Settings") -> None:
        """What a runner's settings say of the app; what is given in code stays."""
        if not self.pool_is_sized_in_code:
            self._pool_sizes = (settings.pool_min_size, settings.pool_max_size)
        self._unknown_jobs_in_settings = settings.unknown_jobs
        self._database_url = self._database_url or settings.database_url

    def _forget_closed_loop(self) -> None:
        """Lets go of a pool whose loop has ended, as after asyncio.run(): it can be neither used nor closed."""
        if self._pool_loop is not None and self._pool_loop.is_closed():
            with suppress(Exception):
                self._pool and self._pool.terminate()
            self._pool = self._pool_loop = None
            self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Closes the app's own connections, if it opened any."""
        self._forget_closed_loop()
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                async with asyncio.timeout(CLOSE_WITHIN):
                    await pool.close()
            except TimeoutError:  # a server that does not answer, or somebody who does not let go
                pool.terminate()


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


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
