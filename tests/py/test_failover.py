"""A primary that dies and its promoted standby, and a server that stops taking writes."""

import asyncio
import signal
from collections.abc import Iterator
from urllib.parse import quote

import asyncpg
import psycopg
import pytest
from conftest import StartRunner, WriteJobs, rows
from soniq import Soniq
from test_losing import HANDLERS
from test_waking import SIGNS, is_done
from testing.server import PORT, USER, Server, throwaway_server
from waiting import wait_for


@pytest.fixture
def standby(own_server: Server) -> Iterator[Server]:
    """A hot standby of own_server."""
    with throwaway_server(primary=own_server) as standby:
        yield standby


def in_quotes(path: object) -> str:
    return quote(str(path), safe="")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://{user}@/postgres?host={a},{b}&port={port},{port}&target_session_attrs=read-write",
        "postgresql://{user}@{a}:{port},{b}:{port}/postgres",
    ],
    ids=["as options, read-write", "before the path"],
)
def test_the_promoted_standby_is_found_and_jobs_go_on(
    own_server: Server,
    standby: Server,
    write_jobs: WriteJobs,
    start_runner: StartRunner,
    address: str,
) -> None:
    both = address.format(
        user=USER, port=PORT, a=in_quotes(standby.sockets), b=in_quotes(own_server.sockets)
    )
    told = write_jobs(HANDLERS).with_name("told")
    runner = start_runner(both, poll_interval=600)
    primary = own_server.url()
    wait_for(lambda: rows(primary, SIGNS), what="the runner to wait at the primary")
    [(before,)] = rows(primary, "select soniq.enqueue('quick')")
    [(during,)] = rows(
        primary,
        "select soniq.enqueue('until_told', jsonb_build_object('file', %s::text))",
        str(told),
    )
    wait_for(lambda: is_done(primary, before))
    wait_for(told.with_name(f"started-{during}-1").exists)
    [(position,)] = rows(primary, "select pg_current_wal_flush_lsn()")
    promoted = standby.url()
    wait_for(lambda: rows(promoted, "select where pg_last_wal_replay_lsn() >= %s", position))

    own_server.stop(signal.SIGQUIT)
    runner.wait_for_log("the database is away")
    runner.wait_for_log("no connection for .*: the server is read-only, as a standby is")
    told.touch()
    standby.promote()
    after = [rows(promoted, "select soniq.enqueue('quick')")[0][0] for _ in range(20)]
    wait_for(lambda: all(is_done(promoted, job_id) for job_id in (*after, during)), within=30)
    assert rows(
        promoted, "select attempt, status::text from soniq.finished_jobs where id = %s", before
    ) == [(1, "done")]
    assert rows(
        promoted, "select attempt, status::text from soniq.finished_jobs where id = %s", during
    ) == [(1, "done")]

    # It would not look again for ten minutes.
    wait_for(lambda: rows(promoted, SIGNS), within=20, what="the runner to wait at the standby")
    [(woken,)] = rows(promoted, "select soniq.enqueue('quick')")
    wait_for(lambda: is_done(promoted, woken))
    assert runner.stop() == 0


def test_a_producer_follows_the_failover(own_server: Server, standby: Server) -> None:
    # The standby is first, so that read-write is needed to find the primary.
    app = Soniq(
        f"postgresql://{USER}@/postgres?host={in_quotes(standby.sockets)},{in_quotes(own_server.sockets)}"
        f"&port={PORT},{PORT}&target_session_attrs=read-write"
    )

    async def enqueue_by_itself(name: str) -> int:
        return await asyncio.to_thread(app.enqueue_sync, name)

    async def work() -> None:
        await app.enqueue("by pool")
        await enqueue_by_itself("by itself")
        assert rows(own_server.url(), "select job_name from soniq.jobs order by id") == [
            ("by pool",),
            ("by itself",),
        ]
        [(position,)] = rows(own_server.url(), "select pg_current_wal_flush_lsn()")
        promoted = standby.url()
        wait_for(lambda: rows(promoted, "select where pg_last_wal_replay_lsn() >= %s", position))

        async with app.connection() as connection:
            own_server.stop(signal.SIGQUIT)
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                await connection.fetchval("select 1")
        # There is a standby, and no primary.
        with pytest.raises(OSError, match="none of the servers will do"):
            await app.enqueue("to nobody")
        with pytest.raises(psycopg.Error):
            await enqueue_by_itself("to nobody")
        standby.promote()
        # At once: the pool's broken connection is not used again.
        await app.enqueue("by pool")
        await enqueue_by_itself("by itself")
        async with app.connection() as connection:
            assert await connection.fetchval("select count(*) from soniq.jobs") == 4
        await app.close()

    asyncio.run(work())


def test_a_server_that_turns_read_only_is_as_good_as_lost(
    own_server: Server, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    database = own_server.url()
    told = write_jobs(HANDLERS).with_name("told")
    runner = start_runner(database, poll_interval=0.2, tick_interval=0.2)
    [(job_id,)] = rows(
        database,
        "select soniq.enqueue('until_told', jsonb_build_object('file', %s::text))",
        str(told),
    )
    wait_for(told.with_name(f"started-{job_id}-1").exists)

    rows(database, "alter system set default_transaction_read_only = on")
    rows(database, "select pg_reload_conf()")
    told.touch()
    runner.wait_for_log("the database is away .*read-only transaction")
    runner.wait_for_log("the heartbeat's connection was lost: .*read-only transaction")
    runner.wait_for_log("no connection for claim: .*the server is read-only")

    rows(database, "alter system reset default_transaction_read_only")
    rows(database, "select pg_reload_conf()")
    wait_for(lambda: is_done(database, job_id), within=20)
    assert rows(database, "select attempt, errors from soniq.finished_jobs") == [(1, [])]
    runner.wait_for_log("goes on as runner")
    assert runner.stop() == 0
