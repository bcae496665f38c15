"""What `soniq dev` does, in its order: database, dashboard, runner; and when told to stop, the other way round."""

import asyncio
import functools
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soniq
from soniq.commands.extras import check_extra
from soniq.database import check_schema, close, connect_at_start, masked
from soniq.dev.child import Child, Command, in_words, of_soniq, started
from soniq.dev.dashboard import Dashboard
from soniq.dev.folder import Folder
from soniq.dev.log import Log
from soniq.dev.postgres import prepare, wait_until_left
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

# Calls what it is given with the files that have changed, again and again.
Watching = Callable[[Callable[[Sequence[Path]], Awaitable[None]]], Coroutine[Any, Any, None]]
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
        watching = self._find_code() if self._plan.reload else None
        # What is entered last is left first.
        async with AsyncExitStack() as stack:
            stack.enter_context(self._folder.occupied())
            await self.log.say(f"soniq {soniq.__version__}; Ctrl-C stops everything")
            if await self._open_database(stack):
                if self._plan.dashboard:
                    await self._open_dashboard(stack)
                await self._run_jobs(stack, watching)
                await self.log.say("stopping; Ctrl-C again hurries")
        await self.log.say("everything is stopped")

    def _find_code(self) -> Watching:
        """Finds where the code is, before anything is started; what it answers with tells of changes."""
        check_extra("dev", "watchfiles")
        # Not above: whoever does not reload need not have watchfiles.
        from soniq.dev import watching

        return functools.partial(
            watching.watch, watching.places(self._plan.modules, self._plan.watched)
        )

    async def _run_jobs(self, stack: AsyncExitStack, watching: Watching | None) -> None:
        """Has a runner, until told to stop."""
        runner = Child(self._runner(), self.log, self._signals)

        async def restart(changed: Sequence[Path]) -> None:
            names = [_shown(path) for path in changed]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            await self.log.say(f"{', '.join(names[:3])}{more} changed: the runner starts anew")
            runner.restart()

        await stack.enter_async_context(runner.kept())
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(watching(restart)) if watching else None
            await first_of(self._signals.more_than(0), self.log.is_broken.wait())
            if watcher:
                watcher.cancel()

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
        command = Command("setup", of_soniq("setup"), {"SONIQ_DATABASE_URL": self._url})
        async with started(command, self.log, self._signals) as process:
            await first_of(process.wait(), self._signals.more_than(0))
            code = process.returncode
        if code:
            raise SoniqError(f"`soniq setup` {in_words(code)}; what it says above is why")

    async def _open_dashboard(self, stack: AsyncExitStack) -> None:
        dashboard = Dashboard.planned(self._plan.port)
        child = Child(
            dashboard.command(self._environment), self.log, self._signals, dashboard.answers
        )
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
        else:
            await self.log.say(
                f"the dashboard: {dashboard.address} (sign in with the key {dashboard.key})"
            )

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
