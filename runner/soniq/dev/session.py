"""What `soniq dev` does, in its order: database, dashboard, runner; and when told to stop, the other way round."""

import asyncio
import functools
import os
import shlex
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import soniq
from soniq.commands.extras import check_extra
from soniq.database import check_schema, close, connect_at_start, masked
from soniq.dev.child import Child, Command, in_words, kept, of_soniq, started
from soniq.dev.dashboard import Dashboard
from soniq.dev.folder import Folder
from soniq.dev.log import Log
from soniq.dev.ports import TRIES, is_free
from soniq.dev.postgres import Cluster, Server, wait_until_left
from soniq.dev.schema import bring_up_to_date
from soniq.dev.waiting import Signals, first_of
from soniq.embedded import dying_with_parent
from soniq.errors import (
    BadSettings,
    DuplicateJob,
    ModuleNotImportable,
    NoJobs,
    SchemaMissing,
    SoniqError,
)

# Within what it makes, it calls what it is given with the files that have changed.
Watching = Callable[
    [Callable[[Sequence[Path]], Awaitable[None]]], AbstractAsyncContextManager[None]
]
UP_WITHIN = 10.0  # seconds, that the runner waits for the dashboard, so that the log is in order
GRACE = 10.0  # seconds, beyond its shutdown timeout, that a runner takes at most


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    database_url: str | None  # None: a database of one's own
    modules: Sequence[str]
    settings: Mapping[str, str]  # the runner's, as environment variables
    shutdown_timeout: float
    runners: int
    reload: bool
    watched: Sequence[Path]
    dashboard: bool
    port: int | None  # the dashboard's; None: 8787 or the next that is free
    postgres: str | None
    fresh: bool
    setup: bool


async def run(plan: Plan) -> None:
    """Runs everything until SIGINT, SIGTERM or SIGHUP.

    Raises SoniqError where it cannot begin: a database that will not do, modules that there are not, and the like.
    """
    session = _Session(plan)
    async with session.log.written():
        await session.run()


class _Session:
    def __init__(self, plan: Plan) -> None:
        self.log = Log()
        self._plan = plan
        self._signals = Signals()
        self._folder = Folder(Path.cwd())
        self._url = plan.database_url or ""

    async def run(self) -> None:
        watching = self._find_code() if self._plan.reload else None
        # What is entered last is left first.
        async with AsyncExitStack() as stack:
            stack.enter_context(self._folder.occupied())
            await self.log.say(f"soniq {soniq.__version__}; Ctrl-C stops everything")
            if await self._open_database(stack) and await self._open_dashboard(stack):
                await self._run_jobs(watching)
        await self.log.say("everything is stopped")

    def _find_code(self) -> Watching:
        """Finds where the code is, before anything is started; what it answers with tells of changes."""
        check_extra("dev", "watchfiles")
        # Not above: whoever does not reload need not have watchfiles.
        from soniq.dev import watching

        return functools.partial(
            watching.watched, watching.places(self._plan.modules, self._plan.watched)
        )

    async def _run_jobs(self, watching: Watching | None) -> None:
        """Has runners, until told to stop."""
        runners = [
            Child(self._runner(), self.log, self._signals) for _ in range(self._plan.runners)
        ]

        async def restart(changed: Sequence[Path]) -> None:
            if self._signals.received:
                return
            names = [_shown(path) for path in changed]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            who = "the runner starts" if len(runners) == 1 else "the runners start"
            await self.log.say(f"{', '.join(names[:3])}{more} changed: {who} anew")
            for runner in runners:
                runner.restart()

        # Changes are heeded before a runner reads the code.
        async with watching(restart) if watching else nullcontext(), kept(*runners):
            await first_of(self._signals.more_than(0), self.log.is_broken.wait())
            await self.log.say("stopping; Ctrl-C again hurries")

    async def _open_database(self, stack: AsyncExitStack) -> bool:
        """Has a database with the schema; the answer is False where it was told to stop meanwhile."""
        if self._plan.database_url is None:
            return await self._open_own_database(stack)
        if self._plan.setup and not await self._signals.wait_for(self._set_up()):
            return False
        if not await self._signals.wait_for(self._check_database()):
            return False
        await self.log.say(f"the database is that of SONIQ_DATABASE_URL: {masked(self._url)}")
        return True

    async def _check_database(self) -> None:
        connection = await connect_at_start(self._url, "dev")
        try:
            await check_schema(connection, self._url)
        except SchemaMissing as error:
            raise SchemaMissing(f"{error}; or have it deployed: soniq dev --setup") from error
        finally:
            await close(connection)

    async def _open_own_database(self, stack: AsyncExitStack) -> bool:
        cluster = await asyncio.to_thread(
            Cluster.found,
            self._folder,
            os.environ,
            given=self._plan.postgres,
            fresh=self._plan.fresh,
        )
        if not await self._signals.wait_for(wait_until_left(cluster.data, self.log.say)):
            return False
        if cluster.is_new:
            await asyncio.to_thread(cluster.make)
        how = "made anew" if cluster.is_new else "as it was"
        where = _shown(cluster.data)
        await self.log.say(f"PostgreSQL {cluster.programs.version}, its files in {where}, {how}")
        server = await self._start(cluster, stack)
        if server is None or not await self._signals.wait_for(self._deploy(server)):
            return False
        self._url = server.url
        await self.log.say(f"for other shells: export SONIQ_DATABASE_URL={shlex.quote(self._url)}")
        return True

    async def _start(self, cluster: Cluster, stack: AsyncExitStack) -> Server | None:
        """Has a server; None where it was told to stop meanwhile. Its port may be taken before it is there."""
        for _ in range(TRIES):
            server = cluster.server()
            if await self._comes_up(
                Child(server.command, self.log, self._signals, server.answers), stack
            ):
                return server
            if self._signals.received:
                return None
            if is_free(server.port):
                break
            await self.log.say(f"somebody else has taken the port {server.port}: on to the next")
        raise SoniqError("PostgreSQL does not start; what it says above is why")

    async def _deploy(self, server: Server) -> None:
        if done := await bring_up_to_date(server.url, server.data):
            await self.log.say(done)

    async def _comes_up(
        self, child: Child, stack: AsyncExitStack, within: float | None = None
    ) -> bool:
        """Has a process until the end; the answer is whether it was up, or may still be, in time."""
        await stack.enter_async_context(kept(child))
        await first_of(
            child.is_up.wait(),
            child.is_given_up.wait(),
            self._signals.more_than(0),
            within=within,
        )
        return not (child.is_given_up.is_set() or self._signals.received)

    async def _set_up(self) -> None:
        command = Command("setup", of_soniq("setup"), {"SONIQ_DATABASE_URL": self._url})
        async with started(command, self.log, self._signals) as process:
            code = await process.wait()
        if code:
            raise SoniqError(f"`soniq setup` {in_words(code)}; what it says above is why")

    async def _open_dashboard(self, stack: AsyncExitStack) -> bool:
        """Has a dashboard, if one is wanted and can be; the answer is False where it was told to stop meanwhile."""
        for _ in range(TRIES if self._plan.dashboard else 0):
            dashboard = Dashboard.planned(self._plan.port)
            child = Child(
                dashboard.command(self._environment), self.log, self._signals, dashboard.answers
            )
            if await self._comes_up(child, stack, UP_WITHIN):
                await self.log.say(
                    f"the dashboard: {dashboard.address} (sign in with the key {dashboard.key})"
                )
                return True
            if self._signals.received:
                return False
            if self._plan.port is not None or is_free(dashboard.port):
                await self.log.say(
                    "going on without the dashboard; if it is not installed: pip install 'soniq[dashboard]'"
                )
                break
            await self.log.say(f"somebody else has taken the port {dashboard.port}: on to the next")
        return True

    def _runner(self) -> Command:
        return Command(
            "runner",
            [*dying_with_parent(signal.SIGKILL), *of_soniq("worker", "--traceback")],
            {**self._environment, **self._plan.settings},
            farewell=(
                (signal.SIGTERM, self._plan.shutdown_timeout + GRACE),
                (signal.SIGTERM, GRACE),
            ),
            of_code=[
                error.exit_code
                for error in (BadSettings, ModuleNotImportable, NoJobs, DuplicateJob)
            ]
            if self._plan.reload
            else (),
        )

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "SONIQ_DATABASE_URL": self._url,
            "PYTHONUNBUFFERED": "1",  # what handlers print is in the log at once
        }


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
