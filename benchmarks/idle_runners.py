"""Two hundred runners that wait, in one process: each has the doorbell and the lookout of a real one, and claims.

Two hundred processes would be too many for a small machine, and tell about it more than about Soniq. What is counted
and timed is therefore the claims; the jobs are held until all is over, or done at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context

import asyncpg
import psycopg
from soniq.doorbell import Doorbell
from soniq.lookout import Lookout
from testing.outcome import CheckFailed

RUNNERS = 200
POLL_INTERVAL = 5.0
SETTLED_AFTER = 12.0  # seconds from which on each looks again only as often as that
TRICKLE, EVERY = 300, 0.01
BURST, CONCURRENCIES = 1000, (10, 50)
SPEAKERS = 8  # connections on which all of them claim
MOST_TOLD = 0.020  # seconds

REGISTER = "select soniq.register_runner(host => 'idle', pid => $1::integer, heartbeat_timeout => interval '1 hour')"
COMPLETE = "select count(*) from soniq.complete(job_ids => $1, attempts => $2)"
CLAIM = (
    "select claimed.job_id, claimed.attempt, claimed.queue, (claimed.args->>'number')::integer as number"
    " from pg_catalog.set_config('synchronous_commit', 'off', true)"
    " cross join soniq.claim(runner_id => $1, max_jobs => $2) as claimed"
)
ENQUEUE = "select soniq.enqueue('idle', jsonb_build_object('number', %s::integer))"
ENQUEUE_MANY = (
    "select count(*) from soniq.enqueue_many('idle', array_fill('{}'::jsonb, array[%s::integer]))"
)


@dataclass(frozen=True)
class Burst:
    """How long after its commit the last of the runners that got a job was told of it, and had it."""

    concurrency: int
    runners: int
    claims: int
    told: float
    claimed: float

    def __str__(self) -> str:
        """As it is printed."""
        return (
            f"a burst of {BURST:,} jobs at concurrency {self.concurrency}: {self.runners} runners told within"
            f" {self.told * 1000:.1f} ms, all jobs claimed within {self.claimed * 1000:.1f} ms, {self.claims} claims"
        )


@dataclass(frozen=True)
class Crowd:
    """What was observed. The latencies are those of the trickle."""

    claims_per_job: float
    woken_per_job: float
    latencies: list[float]
    bursts: list[Burst]


@dataclass(frozen=True)
class Claim:
    """One claim: when the runner was woken for it (None: it looked by itself), when it ended, and what it brought."""

    told_at: float | None
    ended_at: float
    jobs: list[asyncpg.Record]


class IdleRunner:
    """As much of a runner as waits and claims."""

    def __init__(self, url: str, runner_id: int, crowd: "_Gathering") -> None:
        self._runner_id = runner_id
        self._crowd = crowd
        self._news = asyncio.Event()
        self._told_at = 0.0
        self.room = CONCURRENCIES[0]
        self.doorbell = Doorbell(url, None, self._ring, told_from=url)
        self._lookout = Lookout(self.doorbell, POLL_INTERVAL)

    async def run(self) -> None:
        """Waits and claims until cancelled."""
        while True:
            if self.room and self._lookout.should_look and await self._look():
                continue
            if self.room:
                await self._wait(await self._lookout.rest())
            else:
                await self._lookout.leave_to_others()
                await self._wait(None)

    def make_room(self, jobs: int) -> None:
        """It may claim so many."""
        self.room = jobs
        self._news.set()

    def _ring(self) -> None:
        self._told_at = time.monotonic()
        self._news.set()

    async def _look(self) -> bool:
        """Whether there was a job."""
        told_at = self._told_at if self.doorbell.has_heard else None
        room = self.room
        self._lookout.looking()
        jobs = await self._crowd.claim(self._runner_id, room, told_at)
        if self._crowd.holds_jobs:
            self.room -= len(jobs)
        await self._lookout.looked([job["queue"] for job in jobs], may_be_more=len(jobs) == room)
        return bool(jobs)

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()


class _Gathering:
    """The runners, the connections on which they claim, and what they did."""

    def __init__(self, url: str, producer: Executor) -> None:
        self._url = url
        self._producer = producer
        self._speakers: asyncio.Queue[asyncpg.Connection] = asyncio.Queue()
        self.runners: list[IdleRunner] = []
        self.claims: list[Claim] = []
        self.holds_jobs = False
        self._claimed = asyncio.Event()

    async def gather(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Returns when all wait."""
        for _ in range(SPEAKERS):
            self._speakers.put_nowait(await asyncpg.connect(self._url))
        started = []
        for number in range(RUNNERS):
            async with self._speaker() as speaker:
                runner_id = await speaker.fetchval(REGISTER, number)
            runner = IdleRunner(self._url, runner_id, self)
            self.runners.append(runner)
            started += [
                tasks.create_task(runner.doorbell.listen()),
                tasks.create_task(runner.run()),
            ]
            await asyncio.sleep(0.01)
        return started

    async def settle(self) -> None:
        """Until all wait, and look again as seldom as they ever do."""
        await asyncio.sleep(SETTLED_AFTER)
        if not all(runner.doorbell.waiting for runner in self.runners):
            raise CheckFailed("a simulated runner does not wait though there is nothing to do")
        self.claims.clear()

    async def claim(self, runner_id: int, room: int, told_at: float | None) -> list[asyncpg.Record]:
        """One runner's claim; unless jobs are held, they are done at once."""
        async with self._speaker() as speaker:
            jobs: list[asyncpg.Record] = await speaker.fetch(CLAIM, runner_id, room)
            self.claims.append(Claim(told_at, time.monotonic(), jobs))
            self._claimed.set()
            if jobs and not self.holds_jobs:
                await self._complete(speaker, jobs)
        return jobs

    async def enqueue(self, query: str, number: int) -> float:
        """Answers with the moment of the commit."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._producer, _enqueue, self._url, query, number)

    async def all_claimed(self, jobs: int) -> None:
        """Returns when so many jobs have been claimed."""
        while sum(len(claim.jobs) for claim in self.claims) < jobs:
            await self._claimed.wait()
            self._claimed.clear()

    async def let_go(self) -> None:
        """Ends the jobs that are held."""
        async with self._speaker() as speaker:
            await self._complete(speaker, [job for claim in self.claims for job in claim.jobs])

    @staticmethod
    async def _complete(speaker: asyncpg.Connection, jobs: list[asyncpg.Record]) -> None:
        await speaker.execute(
            COMPLETE, [job["job_id"] for job in jobs], [job["attempt"] for job in jobs]
        )

    @asynccontextmanager
    async def _speaker(self) -> AsyncIterator[asyncpg.Connection]:
        speaker = await self._speakers.get()
        try:
            yield speaker
        finally:
            self._speakers.put_nowait(speaker)


@cache
def _producer(url: str) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(url, autocommit=True)


def _enqueue(url: str, query: str, number: int) -> float:
    _producer(url).execute(query.encode(), [number], prepare=True)
    return time.monotonic()


def observe(url: str) -> Crowd:
    """Gathers them on a database of their own, and makes jobs for them."""
    # Elsewhere, so that two hundred runners that are woken do not put off the reading of the clock.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as producer:
        return asyncio.run(_observe(_Gathering(url, producer)))


async def _observe(gathering: _Gathering) -> Crowd:
    async with asyncio.TaskGroup() as tasks:
        started = await gathering.gather(tasks)
        await gathering.settle()
        committed = {}
        for number in range(TRICKLE):
            await asyncio.sleep(EVERY)
            committed[number] = await gathering.enqueue(ENQUEUE, number)
        await gathering.all_claimed(TRICKLE)
        claims = list(gathering.claims)
        bursts = [await _burst(gathering, concurrency) for concurrency in CONCURRENCIES]
        for task in started:
            task.cancel()
    return Crowd(
        len(claims) / TRICKLE,
        sum(claim.told_at is not None for claim in claims) / TRICKLE,
        [claim.ended_at - committed[job["number"]] for claim in claims for job in claim.jobs],
        bursts,
    )


async def _burst(gathering: _Gathering, concurrency: int) -> Burst:
    gathering.holds_jobs = True
    for runner in gathering.runners:
        runner.make_room(concurrency)
    await gathering.settle()
    committed = await gathering.enqueue(ENQUEUE_MANY, BURST)
    await gathering.all_claimed(BURST)
    useful = [claim for claim in gathering.claims if claim.jobs]
    burst = Burst(
        concurrency,
        len(useful),
        len(gathering.claims),
        max((claim.told_at or claim.ended_at) - committed for claim in useful),
        max(claim.ended_at - committed for claim in useful),
    )
    await gathering.let_go()
    return burst
