"""What happens in the demo, in its order."""

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from . import books
from .cast import QUEUE, Warehouse, Workplace
from .deployment import deploy, deployed_version
from .development import RUNNERS, Development, kill_while_busy, latest_runner
from .screen import Screen
from .trouble import Trouble

REPLAY = f"select * from soniq.replay_dead_letters(queue => '{QUEUE}')"
KILL_AFTER = 0.3  # of the jobs
GLANCE = 0.1
MEMORY, ROOM = "/dev/shm", 2 * 1024**3
CANNOT_CONNECT = (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def tell(screen: Screen, own_url: str | None, *, kill: bool) -> bool:
    """Plays the demo; answers whether the books balance at the end."""
    screen.title("Soniq demo: a shop's orders, two runners, and a warehouse that is often down")
    async with AsyncExitStack() as stage:
        home = stage.enter_context(_temporary_folder())
        warehouse = await stage.enter_async_context(Warehouse.open(home))
        place = Workplace(home=home, warehouse=warehouse.address, impatient=kill)
        place.invoices.mkdir()
        former_runner = 0
        if own_url:
            connection = await _take_database(screen, stage, own_url, home)
            former_runner = await latest_runner(connection)
            dev = await stage.enter_async_context(Development.begun(place, own_url))
        else:
            with screen.step("database") as outcome:
                dev = await stage.enter_async_context(Development.begun(place, None))
                connection = await stage.enter_async_context(_connected(await dev.address()))
                await books.hurry(connection)
                outcome(
                    f"PostgreSQL {await books.server_version(connection)}, a throwaway server by soniq dev,"
                    f" with schema soniq {await deployed_version(connection)}"
                )
            await books.prepare(connection)
        balance = await Act(screen, connection, place, warehouse, dev, former_runner).play(
            kill=kill
        )
    screen.verdict(balance)
    if own_url:
        screen.line(
            "Left in your database: the schema soniq, with the history of these jobs,"
            " and orders_demo, the shop's tables."
        )
    return balance


async def _take_database(
    screen: Screen, stage: AsyncExitStack, url: str, home: Path
) -> asyncpg.Connection:
    """A connection to the database that is given, with the schema and the shop's tables."""
    with screen.step("database") as outcome:
        connection = await stage.enter_async_context(_connected(url))
        version = await books.server_version(connection)
        outcome(f"PostgreSQL {version}, the one in SONIQ_DATABASE_URL")
    await _refuse_company(connection)
    with screen.step("schema") as outcome:
        outcome(await deploy(connection, url, home))
    await books.prepare(connection)
    return connection


@dataclass(frozen=True)
class Act:
    """The play itself, once the stage is set."""

    screen: Screen
    connection: asyncpg.Connection
    place: Workplace
    warehouse: Warehouse
    dev: Development
    former_runner: int  # the last that was registered before those of this play

    async def play(self, *, kill: bool) -> bool:
        """Import, work, dead letters, replay, books."""
        await self._first_run(kill=kill)
        letters = await books.dead_letters(self.connection)
        self.screen.title("\nDead letters, by cause")
        self.screen.dead_letters(letters)
        await self._replay()
        return await self._close_the_books()

    async def _first_run(self, *, kill: bool) -> None:
        with self.screen.step("runners") as outcome:
            await self.dev.runners(self.connection, RUNNERS, after=self.former_runner)
            outcome(f"{RUNNERS} runners of soniq dev run handlers.py")
        with self.screen.step("orders") as outcome:
            imported = await books.import_orders(self.connection)
            outcome(
                f"{imported.orders:,} imported from orders.csv,"
                f" {imported.jobs:,} jobs enqueued in the same transaction"
            )
        totals = await books.unfinished(self.connection, imported.first_job_id)
        await self._work(totals, imported.first_job_id, kill=kill)

    async def _replay(self) -> None:
        self.screen.title("\nReplay, with the mended handlers")
        with self.screen.step("runners") as outcome:
            latest = await latest_runner(self.connection)
            self.dev.mend()
            await self.dev.runners(self.connection, RUNNERS, after=latest)
            outcome("handlers_fixed.py is saved as handlers.py, and soniq dev starts both anew")
        self.screen.line(f"{REPLAY};")
        replayed = await self.connection.fetch(REPLAY)
        if replayed:
            totals = Counter(row["job_name"] for row in replayed)
            await self._work(totals, min(row["job_id"] for row in replayed))

    async def _close_the_books(self) -> bool:
        self.screen.title("\nBooks")
        ledger = await books.read_books(self.connection)
        intake = await self.warehouse.stats()
        invoices = len(list(self.place.invoices.glob("*.txt")))
        self.screen.books(ledger, invoices, intake)
        return ledger.balance and ledger.orders == invoices == intake["accepted"]

    async def _work(
        self, totals: Mapping[str, int], first_job_id: int, *, kill: bool = False
    ) -> None:
        """Waits until every job has ended, showing how far they are."""
        started = time.monotonic()
        all_jobs = sum(totals.values())
        with self.screen.progress(totals) as show:
            while left := await books.unfinished(self.connection, first_job_id):
                show(left)
                self.dev.must_run()
                if kill and sum(left.values()) < all_jobs * (1 - KILL_AFTER):
                    await self._kill_one()
                    kill = False
                await asyncio.sleep(GLANCE)
            show({})
        tally = await books.tally(self.connection, first_job_id)
        self.screen.tally(tally, time.monotonic() - started)

    async def _kill_one(self) -> None:
        *_, victim = await self.dev.runners(self.connection, RUNNERS, after=self.former_runner)
        held = await kill_while_busy(self.connection, victim)
        [successor] = await self.dev.runners(self.connection, 1, after=victim.runner_id)
        self.screen.note(
            f"kill -9 {victim.pid}: a runner died with {held} jobs in its hands;"
            f" {successor.pid} takes its place, started by soniq dev"
        )


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except CANNOT_CONNECT as error:
        raise Trouble(f"the database in SONIQ_DATABASE_URL cannot be reached: {error}") from error
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def _refuse_company(connection: asyncpg.Connection) -> None:
    """Two demos in one database would drop each other's tables."""
    alone = await connection.fetchval("select pg_try_advisory_lock(hashtext('soniq orders demo'))")
    if not alone:
        raise Trouble("another script/demo is running in this database: wait until it is through")


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder that the server's user can enter, for everything that goes with the demo."""
    with tempfile.TemporaryDirectory(
        prefix=f"soniq-demo-{os.getpid()}-", dir=_place_for_many_files(), ignore_cleanup_errors=True
    ) as name:
        home = Path(name)
        if os.geteuid() == 0:
            home.chmod(0o711)
        yield home


def _place_for_many_files() -> str:
    """Memory where there is plenty: a disk may take a millisecond for each of the 4,000 files."""
    # Never below TMPDIR: another user may not be let in there, who runs the server where we are root.
    try:
        memory = os.statvfs(MEMORY)
    except OSError:
        return "/tmp"
    roomy = memory.f_bavail * memory.f_frsize >= ROOM
    usable = os.access(MEMORY, os.W_OK) and not memory.f_flag & os.ST_NOEXEC
    return MEMORY if roomy and usable else "/tmp"
