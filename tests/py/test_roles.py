"""The five roles, where a server has none yet: who deploys them with what rights, and how long they live."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from conftest import rows
from psycopg import sql
from soniq_command import done, soniq
from testing.catalog import fingerprint
from testing.deployment import deploy_snapshot, sqitch
from testing.server import Server, throwaway_server

FIVE = ["soniq_admin", "soniq_observer", "soniq_owner", "soniq_producer", "soniq_runner"]


@pytest.fixture
def bare_server() -> Iterator[Server]:
    """A server on which Soniq never was: roles are the whole server's."""
    with throwaway_server() as server:
        yield server


def database_of(server: Server, user: str, attribute: str = "nocreaterole") -> str:
    """The URL of a new database that belongs to a new user, as that user."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for statement in ("create role {0} login " + attribute, "create database {0} owner {0}"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(user)))
    return server.url(user).replace("tester@", f"{user}@")


def run_script(url: str, script: str) -> None:
    """Runs statements that a message told."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(script.encode())


def roles(server: Server) -> list[str]:
    """Soniq's roles that there are."""
    found = rows(server.url(), "select rolname from pg_roles where rolname ~ '^soniq_' order by 1")
    return [name for (name,) in found]


def owners(url: str) -> list[str]:
    """Who owns what Soniq has in a database."""
    found = rows(
        url,
        """
        select relowner::regrole::text from pg_class where relnamespace = 'soniq'::regnamespace
        union
        select proowner::regrole::text from pg_proc where pronamespace = 'soniq'::regnamespace
        union
        select nspowner::regrole::text from pg_namespace where nspname = 'soniq'
        """,
    )
    return [name for (name,) in found]


def test_who_may_make_no_roles_owns_all_and_is_told_what_an_administrator_has_to_run(
    bare_server: Server,
) -> None:
    url = database_of(bare_server, "deployer")
    said = " ".join(done(url, "setup").err.split())
    assert "WARNING: Soniq's schema belongs to deployer, and of its roles are missing" in said
    assert roles(bare_server) == []
    assert owners(url) == ["deployer"]

    rows(bare_server.url(), "create role shop_runner login")
    rows(url, "grant usage on schema soniq to shop_runner")
    rows(url, "grant execute on function soniq.version to shop_runner")
    doctor = soniq(url.replace("deployer@", "shop_runner@"), "doctor", jobs_modules="jobs").out
    assert "as the owner of the schema: grant execute on function soniq.claim, soniq.comp" in doctor
    rows(bare_server.url("deployer"), "drop owned by shop_runner")

    told = re.search(r"have an administrator run: (.*); then, as this user: (.*?;)", said)
    assert told, said
    run_script(bare_server.url(), told[1])
    run_script(url, told[2])
    assert roles(bare_server) == FIVE
    bare_server.create_database("other")
    deploy_snapshot(bare_server, "other")
    assert fingerprint(bare_server, "deployer") == fingerprint(bare_server, "other")

    # And is able to go on.
    assert "WARNING" not in done(url, "setup").err
    rows(url, "update soniq.settings set retention = '3 days'")
    rows(url, "select soniq.enqueue('any'), soniq.tick()")


def test_who_may_make_roles_makes_them_and_owns_by_them(bare_server: Server) -> None:
    url = database_of(bare_server, "maker", "createrole")
    assert "WARNING" not in done(url, "setup").err
    assert roles(bare_server) == FIVE
    rows(url, "select soniq.enqueue('any')")
    assert rows(url, "select partitions_made > 0 from soniq.tick()") == [(True,)]
    assert owners(url) == ["soniq_owner"], "also of the partitions that a tick makes"
    assert rows(url, "select pg_has_role('soniq_owner', 'pg_read_all_stats', 'usage')") == [(True,)]


def test_roles_go_with_the_last_database_that_uses_them(bare_server: Server) -> None:
    for name in ("first", "second"):
        bare_server.create_database(name)
        sqitch(bare_server, name, "deploy")
    rows(bare_server.url(), "create role shop login")
    rows(bare_server.url(), "grant soniq_producer to shop")
    sqitch(bare_server, "first", "revert", "-y")
    assert roles(bare_server) == FIVE
    theirs = bare_server.url("second").replace("tester@", "shop@")
    assert rows(theirs, "select soniq.enqueue('any')") == [(1,)]
    sqitch(bare_server, "second", "revert", "-y")
    assert roles(bare_server) == []
