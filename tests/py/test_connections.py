"""A runner's connections: how many, kept alive, missed when they go silent, and on which of them it listens."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from conftest import StartRunner, WriteJobs, rows
from pgbouncer import name_of, throwaway_pgbouncer
from soniq.database import close, connect, connect_patiently
from test_losing import HANDLERS
from test_waking import SIGNS, is_done
from testing.server import USER, Server
from waiting import wait_for

from chaos.cable import Cable, cable_to

# So that a test need not wait for what is right in production.
HURRIED = """
    import soniq.database, soniq.doorbell
    soniq.database.ANSWER_WITHIN = soniq.database.CONNECT_WITHIN = 1
    soniq.doorbell.CALL_WITHIN = soniq.doorbell.PING_EVERY = 0.5
    soniq.doorbell.LISTEN_AGAIN_AFTER = 0.5
"""
CONNECTIONS = (
    "select application_name from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()"
    " and backend_type = 'client backend' order by 1"
)


@pytest.fixture
def cable(server: Server) -> Iterator[Cable]:
    with cable_to(server) as cable:
        yield cable


def test_a_server_that_vanishes_in_silence_is_missed(
    database: str, cable: Cable, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    told = write_jobs(HURRIED + HANDLERS).with_name("told")
    runner = start_runner(
        cable.url(name_of(database)), poll_interval=0.2, tick_interval=0.2, heartbeat_interval=0.2
    )
    wait_for(lambda: rows(database, SIGNS), what="the runner's waiting sign")
    [(job_id,)] = rows(
        database,
        "select soniq.enqueue('until_told', jsonb_build_object('file', %s::text))",
        str(told),
    )
    wait_for(told.with_name(f"started-{job_id}-1").exists)

    cable.cut()
    told.touch()
    runner.wait_for_log("the database is away .*no answer in time")
    runner.wait_for_log("the heartbeat's connection was lost: .*no answer in time")
    runner.wait_for_log("the listening connection was lost")
    runner.wait_for_log("no connection for claim: .*no answer in time")
    assert not is_done(database, job_id)

    cable.mend()
    wait_for(lambda: is_done(database, job_id), within=20)
    assert rows(database, "select attempt, errors from soniq.finished_jobs") == [(1, [])]
    assert runner.stop() == 0


def test_an_idle_runner_misses_it_too(
    database: str, cable: Cable, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HURRIED + HANDLERS)
    runner = start_runner(cable.url(name_of(database)), poll_interval=600, tick_interval=600)
    wait_for(lambda: rows(database, SIGNS), what="the runner's waiting sign")
    cable.cut()
    runner.wait_for_log("the listening connection was lost")
    runner.wait_for_log("the database is away .claim: ")
    cable.mend()
    # The server still has the session that was cut, and its sign: only one that is heard will do.
    wait_for(lambda: len(rows(database, SIGNS)) > 1, what="a second sign", within=20)
    [(job_id,)] = rows(database, "select soniq.enqueue('quick')")
    wait_for(lambda: is_done(database, job_id))
    assert runner.stop() == 0


def test_an_idle_listener_is_missed_too(
    database: str, cable: Cable, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HURRIED + HANDLERS)
    runner = start_runner(
        database, listen_url=cable.url(name_of(database)), poll_interval=600, tick_interval=600
    )
    wait_for(lambda: rows(database, SIGNS), what="the runner's waiting sign")
    cable.cut()
    runner.wait_for_log("the listening connection was lost")
    cable.mend()
    # The server still has the session that was cut, and its sign: only one that is heard will do.
    wait_for(lambda: len(rows(database, SIGNS)) > 1, what="a second sign", within=20)
    [(job_id,)] = rows(database, "select soniq.enqueue('quick')")
    wait_for(lambda: is_done(database, job_id))


def test_every_connection_over_a_network_is_kept_alive(database: str, cable: Cable) -> None:
    async def options() -> list[int]:
        connection = await connect(cable.url(name_of(database)), "test")
        try:
            ours = connection._transport.get_extra_info("socket")
            return [
                ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                *(
                    ours.getsockopt(socket.IPPROTO_TCP, option)
                    for option in (
                        socket.TCP_KEEPIDLE,
                        socket.TCP_KEEPINTVL,
                        socket.TCP_KEEPCNT,
                        socket.TCP_USER_TIMEOUT,
                    )
                ),
            ]
        finally:
            await close(connection)

    assert asyncio.run(options()) == [1, 15, 5, 3, 30_000]


def test_a_first_server_that_is_silent_leaves_time_for_the_second(
    database: str, server: Server, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soniq.database.CONNECT_WITHIN", 0.5)
    with cable_to(server) as silent:
        silent.cut()
        url = f"postgresql://{USER}@127.0.0.1:{silent.port},127.0.0.1:{cable.port}/{name_of(database)}"

        async def ask() -> object:
            connection = await connect(url, "test")
            try:
                return await connection.fetchval("select current_database()")
            finally:
                await close(connection)

        assert asyncio.run(ask()) == name_of(database)


def test_three_connections_whatever_the_concurrency(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    jobs = write_jobs(
        HANDLERS
        + """
    @app.job
    async def ask(file: str):
        async with app.connection() as connection:
            await connection.execute("set application_name = 'a handler'")
            await until_told(file, Job)
    """
    )
    told = jobs.with_name("told")
    runner = start_runner(database, concurrency=101)
    rows(
        database,
        "select soniq.enqueue_many('until_told', array_fill("
        "jsonb_build_object('file', %s::text), array[100]))",
        str(told),
    )
    wait_for(lambda: len(list(jobs.parent.glob("started-*"))) == 100)
    ours = [(f"soniq-runner {name}",) for name in ("claim", "heartbeat", "report")]
    wait_for(lambda: rows(database, CONNECTIONS) == ours)

    rows(database, "select soniq.enqueue('ask', jsonb_build_object('file', %s::text))", str(told))
    wait_for(lambda: len(rows(database, CONNECTIONS)) > 3, what="a connection that a handler asks")
    told.touch()
    assert runner.stop() == 0


def test_where_nothing_can_be_heard_the_runner_polls_and_says_so_once(
    database: str, server: Server, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HURRIED + "    soniq.doorbell.HEARD_WITHIN = 0.3\n" + HANDLERS)
    with throwaway_pgbouncer(server) as bouncer:
        runner = start_runner(bouncer.url(name_of(database)), poll_interval=0.5, log_level="DEBUG")
        runner.wait_for_log("notifications do not arrive at .*set SONIQ_LISTEN_URL")
        for _ in range(3):
            [(job_id,)] = rows(database, "select soniq.enqueue('quick')")
            wait_for(lambda job_id=job_id: is_done(database, job_id))  # type: ignore[misc]
        runner.wait_for_log("notifications still do not arrive")
        assert rows(database, SIGNS) == [], "it would hang on a session of somebody else's"
        assert runner.log.count("SONIQ_LISTEN_URL") == 1

        bouncer.stop()
        bouncer.start(mode="session")
        runner.wait_for_log("notifications arrive now")
        wait_for(lambda: rows(database, SIGNS), what="the runner's waiting sign")
        assert runner.stop() == 0


def test_sessions_kept_by_a_pooler_are_listened_on(
    database: str, server: Server, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    with throwaway_pgbouncer(server, pool_size=20) as bouncer:
        bouncer.stop()
        bouncer.start(mode="session")
        start_runner(bouncer.url(name_of(database)), poll_interval=600)
        wait_for(lambda: rows(database, SIGNS), what="the runner's waiting sign")
        [(job_id,)] = rows(database, "select soniq.enqueue('quick')")
        wait_for(lambda: is_done(database, job_id))


def test_a_listen_url_past_the_pooler_is_heard(
    database: str, server: Server, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    with throwaway_pgbouncer(server) as bouncer:
        url = bouncer.url(name_of(database))
        runner = start_runner(url, listen_url=database, poll_interval=600)
        wait_for(lambda: rows(database, SIGNS), what="the runner's waiting sign")
        for address in (database, url):
            [(job_id,)] = rows(address, "select soniq.enqueue('quick')")
            wait_for(lambda job_id=job_id: is_done(database, job_id))  # type: ignore[misc]
        assert runner.stop() == 0
        assert "SONIQ_LISTEN_URL" not in runner.log


def test_a_listen_url_of_another_database_is_found_out(
    database: str, empty_database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    runner = start_runner(database, listen_url=empty_database, poll_interval=0.5)
    runner.wait_for_log("notifications do not arrive at .*set SONIQ_LISTEN_URL")
    [(job_id,)] = rows(database, "select soniq.enqueue('quick')")
    wait_for(lambda: is_done(database, job_id))


def test_where_the_schema_is_missing_the_error_says_where_it_looked(
    empty_database: str,
    server: Server,
    cable: Cable,
    write_jobs: WriteJobs,
    start_runner: StartRunner,
) -> None:
    write_jobs(HANDLERS)
    name = name_of(empty_database)
    runner = start_runner(cable.url(name))
    assert runner.exit_code() == 15
    assert (
        f"in the database '{name}' at 127.0.0.1 port {cable.port}, as user '{USER}'" in runner.log
    )
    assert f"SONIQ_DATABASE_URL is {cable.url(name)}, and this server has " in runner.log
    runner = start_runner(empty_database)
    assert runner.exit_code() == 15
    assert f"in the database '{name}' at {server.sockets}" in runner.log


def test_who_connects_again_does_so_at_a_moment_of_their_own() -> None:
    asyncio.run(_connect_many())


async def _connect_many(count: int = 30) -> None:
    moments: list[float] = []
    all_here = asyncio.Event()

    async def accept(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        moments.append(time.monotonic())
        if len(moments) == count:
            all_here.set()
        await asyncio.sleep(60)

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        url = f"postgresql://127.0.0.1:{server.sockets[0].getsockname()[1]}/x?sslmode=disable"
        tries = [
            asyncio.create_task(connect_patiently(url, "test", again=True)) for _ in range(count)
        ]
        await asyncio.wait_for(all_here.wait(), 10)
        for each in tries:
            each.cancel()
        await asyncio.wait(tries)
        server.close()
    assert max(moments) - min(moments) > 0.2
