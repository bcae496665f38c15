"""Tenants, by logins that really connect: whose a job is, from one producer to its handler and to whoever looks."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from conftest import StartRunner, WriteJobs, rows
from psycopg import sql
from soniq import Soniq
from soniq_command import done, soniq

HANDLERS = """
    from soniq import Job, Soniq
    app = Soniq()

    @app.job
    def whose(job: Job):
        return job.tenant
"""


@pytest.fixture
def acme(database: str) -> Iterator[str]:
    """The address of the database for a login bound to the tenant acme, with all roles that it may have."""
    login = f"acme_{uuid4().hex[:8]}"  # roles are the server's, which other tests use
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in (
            "create role {0} login in role soniq_producer, soniq_observer, soniq_admin",
            "select soniq.bind_tenant({1}, 'acme')",
        ):
            connection.execute(sql.SQL(statement).format(sql.Identifier(login), sql.Literal(login)))
    yield database.replace("tester@", f"{login}@")
    rows(database, "drop role " + login)


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
    assert "queue_stats is for the whole system, and the login acme_" in refused.err
    assert "Use a login that is bound to no tenant." in refused.err

    with pytest.raises(
        Exception, match=r"tenant is 'bolt', and the login acme_.* is bound to another"
    ):
        Soniq(database_url=acme).enqueue_sync("whose", tenant="bolt")
    assert rows(database, "select from soniq.jobs") == []
