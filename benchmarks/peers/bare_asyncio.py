"""A bare asyncio loop over SQL claim and delete: a runner that has no timeouts, fences, retries or history.

One connection. Each turn deletes what has ended and claims as many jobs as there are free slots; a claim need not reach
the disk. A job is a task. It polls, and so has no latency to compare.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from .program import Calls, Enqueue, main

SCHEMA = """
create schema bare;

create table bare.jobs (
  id bigint generated always as identity primary key,
  number integer not null,
  status text not null default 'queued',
  enqueued_at timestamptz not null default now()
);

create index jobs_ready on bare.jobs (id) where status = 'queued';
"""

CLAIM = """
with claimed as (
  update bare.jobs as job
  set status = 'processing'
  where job.id = any (array(
    select ready.id
    from bare.jobs as ready
    where ready.status = 'queued'
    order by ready.id
    limit $1
    for update skip locked
  ))
  returning job.id, job.number
)
select claimed.id, claimed.number
from set_config('synchronous_commit', 'off', true)
cross join claimed
"""


class BareAsyncio:
    """The loop."""

    async def prepare(self, jobs: int) -> None:
        """By one statement."""
        connection = await asyncpg.connect(os.environ["DATABASE_URL"])
        await connection.execute(SCHEMA)
        await connection.execute(
            "insert into bare.jobs (number) select generate_series(1, $1)", jobs
        )
        await connection.close()

    async def work(self, concurrency: int, expected: int) -> None:
        """Claims, runs and deletes for ever."""
        calls = Calls(expected)
        connection = await asyncpg.connect(os.environ["DATABASE_URL"])
        claim = await connection.prepare(CLAIM)
        delete = await connection.prepare(
            "delete from bare.jobs where id = any (cast($1 as bigint[]))"
        )
        running = 0
        ended: list[int] = []
        news = asyncio.Event()

        async def run(job_id: int, number: int) -> None:
            nonlocal running
            calls.add(number)
            running -= 1
            ended.append(job_id)
            news.set()

        async with asyncio.TaskGroup() as tasks:
            while True:
                news.clear()
                if ended:
                    batch, ended = ended, []
                    await delete.fetch(batch)
                jobs = await claim.fetch(concurrency - running)
                running += len(jobs)
                for job_id, number in jobs:
                    tasks.create_task(run(job_id, number))
                if running:
                    await news.wait()
                elif not jobs:
                    await asyncio.sleep(0.01)

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[Enqueue]:
        """A prepared INSERT."""
        connection = await asyncpg.connect(os.environ["DATABASE_URL"])
        insert = await connection.prepare("insert into bare.jobs (number) values ($1) returning id")
        yield insert.fetchval
        await connection.close()


if __name__ == "__main__":
    main(BareAsyncio())
