"""Everything through PgBouncer in transaction mode, with fewer sessions than clients.

The tests of other files are run again here, since `database` and `start_runner` are this file's: once with
SONIQ_LISTEN_URL leading past PgBouncer, once without. They are those that take each way in which a statement reaches
the server: claims, reports of every kind, heartbeats, ticks, registration, what handlers and producers do.

Left out is what would ask nothing more of PgBouncer: files whose subject is in the process (settings, arguments, forks,
threads, further signals), in SQL alone (cron, the model, retention, all within a call of tick()), or the loss of a
server, which PgBouncer would hide; the loss of PgBouncer itself is below. The claims of test_transactions.py are
psycopg's, which prepares statements by itself, and cannot do so in transaction mode before PgBouncer 1.21; a runner's
are asyncpg's, and several of the tests taken in have two runners.
"""

import asyncio
from collections.abc import Iterator

import pytest
from conftest import StartRunner, WriteJobs, rows
from pgbouncer import PgBouncer, name_of, throwaway_pgbouncer
from runner_process import RunnerProcess
from soniq.database import close, connect, is_direct
from test_failing import test_every_way_to_fail  # noqa: F401
from test_losing import (  # noqa: F401
    test_a_frozen_runner_cannot_complete_what_another_was_given,
    test_a_runner_killed_in_mid_work_loses_nothing,
    test_fifty_jobs_in_flight_are_done_by_the_other_runner_soon,
)
from test_middleware import test_it_nests_around_handlers_of_both_kinds  # noqa: F401
from test_misbehaving import (  # noqa: F401
    test_whatever_a_handler_raises_or_returns_is_kept_and_the_runner_goes_on,
)
from test_periodic import (  # noqa: F401
    test_a_periodic_job_runs_and_knows_when_it_was_due,
    test_a_schedule_removed_from_the_code_is_reported_and_if_asked_removed,
    test_what_the_decorator_says_is_what_the_database_knows,
)
from test_producers import test_without_a_connection_the_app_uses_its_own  # noqa: F401
from test_running import (  # noqa: F401
    test_async_jobs_go_on_while_every_thread_is_busy,
    test_burst_ends_when_nothing_is_left,
    test_handlers_of_both_kinds_get_their_arguments_and_their_results_are_kept,
    test_no_more_jobs_than_the_concurrency_are_held,
)
from test_stopping import (  # noqa: F401
    test_a_signal_lets_jobs_end_and_claims_no_more,
    test_an_idle_runner_ends_at_once,
    test_at_the_shutdown_timeout_jobs_are_released,
)
from test_transactions import (  # noqa: F401
    test_a_rolled_back_enqueue_never_existed,
    test_fifty_callers_with_one_key_get_one_job,
)
from test_waking import HANDLERS, is_done
from testing.server import Server
from waiting import wait_for

SESSIONS = 5


@pytest.fixture(scope="module")
def bouncer(server: Server) -> Iterator[PgBouncer]:
    with throwaway_pgbouncer(server, pool_size=SESSIONS) as bouncer:
        yield bouncer


@pytest.fixture
def direct(database: str, server: Server) -> str:
    """The address of the same database past PgBouncer."""
    return server.url(name_of(database))


@pytest.fixture
def database(database: str, bouncer: PgBouncer) -> str:
    """The address of this test's database through PgBouncer."""
    return bouncer.url(name_of(database))


@pytest.fixture(params=["listens directly", "polls"])
def start_runner(
    request: pytest.FixtureRequest, start_runner: StartRunner, direct: str
) -> StartRunner:
    """Starts runners that listen past PgBouncer, or cannot."""
    how = {"listen_url": direct} if request.param == "listens directly" else {"poll_interval": 0.3}

    def start(url: str, *flags: str, **settings: object) -> RunnerProcess:
        return start_runner(url, *flags, **{**how, **settings})

    return start


def test_the_session_is_known_to_be_somebody_elses(database: str, direct: str) -> None:
    async def ask(url: str) -> tuple[bool, int]:
        connection = await connect(url, "test")
        try:
            for number in range(20):
                assert await connection.fetchval("select $1::integer", number) == number
            kept = await connection.fetchval("select count(*) from pg_prepared_statements")
            return await is_direct(connection), kept
        finally:
            await close(connection)

    assert asyncio.run(ask(database)) == (False, 0)
    is_own, kept = asyncio.run(ask(direct))
    assert is_own
    assert kept > 0, "where it is safe, statements are prepared once"


def test_many_statements_in_few_sessions_are_not_mixed_up(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        from soniq import Soniq
        app = Soniq()

        @app.job
        async def ask(number: int, depth: int):
            async with app.connection() as connection:
                # As many texts as jobs, all of which a driver would number from one in each process.
                assert await connection.fetchval(f"select {number} + $1::integer", 1) == number + 1
                if depth:
                    async with connection.transaction():
                        args = {"number": number + 1000 * depth, "depth": depth - 1}
                        await app.enqueue(ask, args, connection=connection)
                assert await connection.fetchval("select $1::text || $2", "n", f"{number}") == f"n{number}"
            if depth:
                await app.enqueue(ask, {"number": -number, "depth": 0})
            return number
    """)
    runners = [start_runner(database, concurrency=10, pool_max_size=12) for _ in range(2)]
    rows(
        database,
        "select soniq.enqueue_many('ask', array_agg(jsonb_build_object('number', n, 'depth', 2)))"
        " from generate_series(1, 200) as n",
    )
    wait_for(lambda: not rows(database, "select from soniq.jobs limit 1"), within=60)
    assert rows(
        database,
        # What was claimed ahead may be handed back, which raises both numbers: one attempt in ten is spent of each job.
        "select count(*), bool_and(result::integer = (args ->> 'number')::integer), min(max_attempts - attempt)"
        " from soniq.finished_jobs where status = 'done'",
    ) == [(1000, True, 9)]
    assert [runner.stop() for runner in runners] == [0, 0]


def test_a_handlers_transaction_is_one(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        from soniq import Soniq
        app = Soniq()

        @app.job(max_attempts=1)
        async def undo():
            async with app.connection() as connection, connection.transaction():
                await app.enqueue("never", connection=connection)
                raise RuntimeError("on second thoughts")
    """)
    start_runner(database).wait_for_log("jobs at once")  # and so the job's policy is known
    rows(database, "select soniq.enqueue('undo')")
    wait_for(lambda: rows(database, "select from soniq.dead_letter_jobs"))
    assert rows(database, "select from soniq.jobs") == []


def test_pgbouncer_that_is_started_again_is_survived(
    server: Server, write_jobs: WriteJobs, start_runner: StartRunner, direct: str
) -> None:
    write_jobs(HANDLERS)
    with throwaway_pgbouncer(server) as own:
        runner = start_runner(own.url(name_of(direct)), poll_interval=0.3)
        runner.wait_for_log("jobs at once")
        own.stop()
        runner.wait_for_log("the database is away")
        own.start()
        [(job_id,)] = rows(direct, "select soniq.enqueue('quick')")
        wait_for(lambda: is_done(direct, job_id))
        assert runner.stop() == 0
