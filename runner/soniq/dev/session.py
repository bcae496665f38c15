"""What `soniq dev` does, in its order: database, dashboard, runner; and when told to stop, the other way round."""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import soniq
from soniq.commands.extras import check_extra
from soniq.database import check_schema, close, connect_at_start, masked
from soniq.dev.child import Child, Command, in_words, started
from soniq.dev.folder import Folder
from soniq.dev.log import Log
from soniq.dev.postgres import free_port, prepare, wait_until_left
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

HOST, PORT = "127.0.0.1", 8787  # the dashboard's
UP_WITHIN = 10.0  # seconds, that the runner waits for the dashboard, so that the log is in order
GRACE = 10.0  # seconds, beyond its shutdown timeout, that a runner takes at most


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    database_url: str | None  # None: a database of one's own
    modules: Sequence[str]
    settings: Mapping[str, str]  # the runner's, as environment variables
    shutdown_timeout: float
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
        if self._plan.reload:
            check_extra("dev", "watchfiles")
            # Not above: whoever does not reload need not have watchfiles.
            from soniq.dev import watching

            places = watching.places(self._plan.modules, self._plan.watched)
        # What is entered last is left first.
        async with AsyncExitStack() as stack:
            stack.enter_context(self._folder.occupied())
            await self.log.say(f"soniq {soniq.__version__}; Ctrl-C stops everything")
            if not await self._open_database(stack):
                return
            if self._plan.dashboard:
                await self._open_dashboard(stack)
            runner = Child(self._runner(), self.log, self._signals)
            await stack.enter_async_context(runner.kept())
            async with asyncio.TaskGroup() as tasks:
                watcher = None
                if self._plan.reload:
                    watcher = tasks.create_task(
                        watching.watch(places, lambda changed: self._reload(tasks, runner, changed))
                    )
                await first_of(self._signals.more_than(0), self.log.is_broken.wait())
                if watcher:
                    watcher.cancel()
            await self.log.say("stopping; Ctrl-C again hurries")
        await self.log.say("everything is stopped")

    async def _open_database(self, stack: AsyncExitStack) -> bool:
        """Has a database with the schema; the answer is False where it was told to stop meanwhile."""
        if self._plan.database_url is None:
            return await self._open_own_database(stack)
        if self._plan.setup:
            await self._set_up()
        connection = await connect_at_start(self._url, "dev")
        try:
            await check_schema(connection, self._url)
        except SchemaMissing as error:
            raise SchemaMissing(f"{error}; or have it deployed: soniq dev --setup") from error
        finally:
            await close(connection)
        await self.log.say(f"the database is that of SONIQ_DATABASE_URL: {masked(self._url)}")
        return True

    async def _open_own_database(self, stack: AsyncExitStack) -> bool:
        postgres = await asyncio.to_thread(
            prepare,
            self._folder,
            os.environ,
            given=self._plan.postgres,
            fresh=self._plan.fresh,
        )
        how = "made anew" if postgres.is_new else "as it was"
        where = _shown(postgres.data)
        await self.log.say(f"PostgreSQL {postgres.programs.version}, its files in {where}, {how}")
        await wait_until_left(postgres.data)
        child = Child(postgres.command, self.log, self._signals, postgres.answers)
        await stack.enter_async_context(child.kept())
        await first_of(child.is_up.wait(), child.is_given_up.wait(), self._signals.more_than(0))
        if child.is_given_up.is_set():
            raise SoniqError("PostgreSQL does not start; what it says above is why")
        if self._signals.received:
            return False
        if await postgres.deploy():
            await self.log.say(f"the schema {soniq.__version__} is deployed")
        self._url = postgres.url
        await self.log.say(f"for other shells: export SONIQ_DATABASE_URL={self._url}")
        return True

    async def _set_up(self) -> None:
        command = Command("setup", _soniq("setup"), {"SONIQ_DATABASE_URL": self._url})
        async with started(command, self.log, self._signals) as process:
            await first_of(process.wait(), self._signals.more_than(0))
            code = process.returncode
        if code:
            raise SoniqError(f"`soniq setup` {in_words(code)}; what it says above is why")

    async def _open_dashboard(self, stack: AsyncExitStack) -> None:
        port = self._plan.port or free_port(PORT)
        if free_port(port) != port:
            raise SoniqError(
                f"the port {port} is taken on {HOST}: give another one, --port {free_port(port)}"
            )
        key = os.environ.get("SONIQ_DASHBOARD_API_KEY") or secrets.token_urlsafe(12)
        command = Command(
            "dashboard",
            [*dying_with_parent(signal.SIGKILL), *_soniq("dashboard")],
            {
                **self._environment,
                "SONIQ_DASHBOARD_HOST": HOST,
                "SONIQ_DASHBOARD_PORT": str(port),
                "SONIQ_DASHBOARD_WRITE": "true",
                "SONIQ_DASHBOARD_API_KEY": key,
            },
        )
        child = Child(command, self.log, self._signals, lambda: _listens(port))
        await stack.enter_async_context(child.kept())
        await first_of(
            child.is_up.wait(),
            child.is_given_up.wait(),
            self._signals.more_than(0),
            within=UP_WITHIN,
        )
        if child.is_given_up.is_set():
            await self.log.say(
                "going on without the dashboard; if it is not installed: pip install 'soniq[dashboard]'"
            )
        elif child.is_up.is_set():
            await self.log.say(f"the dashboard: http://{HOST}:{port}/ (its key, to act: {key})")

    def _runner(self) -> Command:
        return Command(
            "runner",
            [*dying_with_parent(signal.SIGKILL), *_soniq("worker", "--traceback")],
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

    def _reload(self, tasks: asyncio.TaskGroup, runner: Child, changed: Sequence[Path]) -> None:
        names = [_shown(path) for path in changed]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        tasks.create_task(
            self.log.say(f"{', '.join(names[:3])}{more} changed: the runner starts anew")
        )
        runner.restart()


def _soniq(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "soniq.cli", *arguments]


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


async def _listens(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
