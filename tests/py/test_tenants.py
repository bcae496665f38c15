"""Tenants, by logins that really connect: whose a job is, from one producer to its handler and to whoever looks."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from conftest import ROOT, StartRunner, WriteJobs, rows
from psycopg import sql
from soniq import Soniq
from soniq_command import done, soniq
from testing.deployment import psql
from testing.server import Server
from waiting import wait_for

HANDLERS = """
    from soniq import Job, Soniq
    app = Soniq()

    @app.job
    def whose(job: Job):
        return job.tenant
"""


BIND: LiteralString = "select soniq.bind_tenant(%s, %s)"
UNBIND: LiteralString = "select soniq.unbind_tenant(%s)"


@pytest.fixture
def new_login(database: str) -> Iterator[Callable[[], str]]:
    """Makes logins with all roles that a tenant's may have; answers with their names."""
    made: list[str] = []

    def make() -> str:
        login = f"tenant_{uuid4().hex[:8]}"  # roles are the server's, which other tests use
        create = "create role {} login in role soniq_producer, soniq_observer, soniq_admin"
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(sql.SQL(create).format(sql.Identifier(login)))
        made.append(login)
        return login

    yield make
    rows(database, "drop role " + ", ".join(made))


@pytest.fixture
def acme(database: str, new_login: Callable[[], str]) -> str:
    """The address of the database for a login bound to the tenant acme."""
    login = new_login()
    rows(database, BIND, login, "acme")
    return of_login(database, login)


def of_login(database: str, login: str) -> str:
    return database.replace("tester@", f"{login}@")


def test_a_job_carries_its_tenant_to_the_handler_and_to_whoever_looks(
    database: str, acme: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    app = Soniq(database_url=acme)
    theirs = [
        app.enqueue_sync("whose"),
        app.enqueue_sync("whose", tenant="acme"),
        Soniq(database_url=database).enqueue_sync("whose", tenant="acme"),
    ]
    others = [
        Soniq(database_url=database).enqueue_sync("whose", tenant="bolt"),
        Soniq(database_url=database).enqueue_sync("whose"),
    ]
    assert start_runner(database, "--burst").exit_code() == 0
    assert dict(rows(database, "select id, result from soniq.all_jobs")) == {
        **dict.fromkeys(theirs, "acme"),
        others[0]: "bolt",
        others[1]: None,
    }

    assert {job["id"] for job in done(acme, "jobs", "list", "--json").json} == {*theirs}
    assert {
        job["id"] for job in done(database, "jobs", "list", "--tenant", "bolt", "--json").json
    } == {others[0]}
    assert done(acme, "jobs", "show", theirs[0], "--json").json["tenant"] == "acme"
    another_s, none = (
        soniq(acme, "jobs", "show", job_id).err.replace(str(job_id), "ID")
        for job_id in (others[0], 987654321)
    )
    assert another_s == none != ""


def test_a_bound_login_is_told_what_is_not_for_it(database: str, acme: str) -> None:
    refused = soniq(acme, "status")
    assert refused.code == 17
    assert "queue_stats is for the whole system, and the login tenant_" in refused.err
    assert "Use a login that is bound to no tenant." in refused.err

    with pytest.raises(
        Exception, match=r"tenant is 'bolt', and the login tenant_.* is bound to another"
    ):
        Soniq(database_url=acme).enqueue_sync("whose", tenant="bolt")
    assert rows(database, "select from soniq.jobs") == []


def test_parallel_workers_see_what_their_login_sees(database: str, acme: str) -> None:
    for tenant in ("acme", "bolt"):
        rows(
            database,
            "select soniq.enqueue('whose', tenant => %s) from generate_series(1, 50)",
            tenant,
        )
    with psycopg.connect(acme, autocommit=True) as connection:
        for setting in (
            "parallel_setup_cost",
            "parallel_tuple_cost",
            "min_parallel_table_scan_size",
            "min_parallel_index_scan_size",
        ):
            connection.execute(sql.SQL("set {} = 0").format(sql.Identifier(setting)))
        connection.execute("set parallel_leader_participation = off")
        # In the condition, so that workers ask, too, and are not only told by their leader.
        query: LiteralString = "select id from soniq.jobs where tenant = soniq._bound_tenant()"
        plan = "\n".join(
            line for (line,) in connection.execute("explain (analyze) " + query).fetchall()
        )
        assert re.search(r"Workers Launched: [1-9]", plan), plan
        assert len(connection.execute(query).fetchall()) == 50


@pytest.mark.parametrize("first", [UNBIND, BIND])
def test_who_is_bound_while_the_last_binding_goes_is_held(
    database: str, new_login: Callable[[], str], first: LiteralString
) -> None:
    leaving, coming = new_login(), new_login()
    rows(database, BIND, leaving, "acme")
    for tenant in ("acme", "bolt"):
        rows(database, "select soniq.enqueue('whose', tenant => %s)", tenant)

    steps = [(UNBIND, (leaving,)), (BIND, (coming, "bolt"))]
    if first == BIND:
        steps.reverse()
    (one, its_arguments), (other, arguments) = steps
    with psycopg.connect(database) as connection, ThreadPoolExecutor() as pool:
        connection.execute(one, its_arguments)
        meanwhile = pool.submit(rows, database, other, *arguments)
        wait_for(lambda: meanwhile.done() or someone_waits(database))
        connection.commit()
        meanwhile.result()

    assert rows(database, "select login, tenant from soniq.tenant_logins") == [(coming, "bolt")]
    assert rows(of_login(database, coming), "select tenant from soniq.all_jobs") == [("bolt",)]


def test_who_would_not_see_other_bindings_makes_and_takes_away_none(
    database: str, acme: str
) -> None:
    [(login,)] = rows(database, "select login from soniq.tenant_logins")
    with psycopg.connect(database) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for statement, arguments in ((UNBIND, (login,)), (BIND, (login, "bolt"))):
            with pytest.raises(
                psycopg.Error, match="isolation level is repeatable read"
            ) as refused:
                connection.execute(statement, arguments)
            assert refused.value.sqlstate == "SQ026"
            connection.rollback()
    assert rows(database, "select tenant from soniq.tenant_logins") == [("acme",)]


@pytest.mark.parametrize("held", ["runners", "jobs", "lanes", "settings"])
def test_row_security_is_switched_on_while_somebody_is_on_the_way_from_table_to_table(
    database: str, new_login: Callable[[], str], held: str
) -> None:
    login = new_login()
    rows(database, "select soniq.enqueue('whose')")
    [(runner_id,)] = rows(database, "select soniq.register_runner('here')")
    with psycopg.connect(database) as connection, ThreadPoolExecutor() as pool:
        lock = sql.SQL("lock table soniq.{} in row share mode").format(sql.Identifier(held))
        connection.execute(lock)
        binding = pool.submit(rows, database, BIND, login, "acme")
        wait_for(lambda: someone_waits(database))
        claimed = connection.execute("select job_id from soniq.claim(%s)", (runner_id,)).fetchall()
        connection.execute("select soniq.enqueue('whose')")
        connection.commit()
        binding.result()
    assert claimed == [(1,)]
    assert rows(of_login(database, login), "select from soniq.all_jobs") == []


def test_no_call_fails_while_logins_are_bound_and_unbound(
    database: str, new_login: Callable[[], str]
) -> None:
    login = new_login()
    over = threading.Event()

    def work() -> int:
        calls = 0
        with psycopg.connect(database, autocommit=True) as connection:
            runner = connection.execute("select soniq.register_runner('here')").fetchone()
            while not over.is_set():
                connection.execute("select soniq.enqueue('whose', queue => %s)", (str(calls % 3),))
                connection.execute(
                    "select soniq.complete(job_id, attempt) from soniq.claim(%s)", runner
                )
                calls += 1
        return calls

    with ThreadPoolExecutor() as pool:
        workers = [pool.submit(work) for _ in range(3)]
        try:
            for _ in range(10):
                rows(database, BIND, login, "acme")
                rows(database, UNBIND, login)
        finally:
            over.set()
        assert all(worker.result() for worker in workers)


def test_a_binding_outlives_the_functions_and_is_in_force_after_each_deployment(
    server: Server, database: str, acme: str
) -> None:
    def run_script(folder: str) -> None:
        name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
        psql(server, name, "--file", ROOT / f"migrations/{folder}/routines.sql")

    run_script("revert")
    assert tables_with_row_security(database) == []
    run_script("deploy")
    assert len(tables_with_row_security(database)) == 11
    for tenant in ("acme", "bolt"):
        rows(database, "select soniq.enqueue('whose', tenant => %s)", tenant)
    Soniq(database_url=acme).enqueue_sync("whose")
    assert rows(acme, "select distinct tenant from soniq.all_jobs") == [("acme",)]

    # As a table that this release has and the one before had not.
    rows(database, "drop policy own_tenant on soniq.schedules")
    rows(database, "alter table soniq.schedules disable row level security")
    run_script("deploy")
    assert len(tables_with_row_security(database)) == 11


def tables_with_row_security(database: str) -> list[str]:
    found = rows(
        database,
        """
        select relname::text
        from pg_class
        where relnamespace = 'soniq'::regnamespace
          and relrowsecurity
        """,
    )
    return [name for (name,) in found]


def someone_waits(database: str) -> bool:
    """Whether a session of this database waits for a lock."""
    waiting = "select from pg_stat_activity where datname = current_database()"
    return rows(database, waiting + " and wait_event_type = 'Lock'") != []
