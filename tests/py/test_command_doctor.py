"""`soniq doctor`: what it finds, and the remedy that it tells."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import LiteralString, Never

import psycopg
import pytest
import soniq as soniq_package
from click.testing import CliRunner
from conftest import StartRunner, WriteJobs, rows
from dead_letters import bury
from pgbouncer import throwaway_pgbouncer
from soniq.cli import main
from soniq.commands import doctor_connection
from soniq.errors import DatabaseUnreachable
from soniq_command import done, soniq
from testing.deployment import deploy_snapshot
from testing.server import Server, throwaway_server
from waiting import wait_for


def findings(url: str, code: int = 0, **settings: object) -> list[dict[str, str]]:
    finished = soniq(url, "doctor", "--json", **{"jobs_modules": "jobs", **settings})
    assert finished.code == code, finished
    found: list[dict[str, str]] = finished.json
    return found


def one(found: list[dict[str, str]], level: str, what: str) -> str:
    """The finding of this level and subject, and its remedy."""
    told = [each for each in found if (each["level"], each["what"]) == (level, what)]
    assert len(told) == 1, "\n".join(map(str, found))
    return f"{told[0]['says']} -> {told[0]['remedy']}"


def test_a_database_in_order(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        from soniq import Soniq
        app = Soniq()

        @app.job
        async def work():
            pass
    """)
    start_runner(database).wait_for_log("runner .* serves")
    rows(database, "select soniq.tick()")
    found = findings(database)
    assert {each["level"] for each in found} == {"ok"}, found
    assert f"at {database}, PostgreSQL" in one(found, "ok", "database")
    assert "a notification was heard" in one(found, "ok", "listen")
    assert "none: connections are the server's own" in one(found, "ok", "pooler")
    assert "1 alive" in one(found, "ok", "runners")
    said = done(database, "doctor").out
    assert "ok      rights: may call all" in said
    assert "note    settings: SONIQ_JOBS_MODULES is not set" in said


def test_settings(database: str) -> None:
    found = findings(database, 1, concurrency="many", pool_max_sise=3)
    assert "SONIQ_CONCURRENCY is 'many': give a whole number" in one(found, "problem", "settings")
    assert "did you mean SONIQ_POOL_MAX_SIZE?" in one(found, "warning", "settings")
    found = findings(database, 1, pool_max_size=3)
    assert "Connection pool too small" in one(found, "problem", "settings")
    assert "SONIQ_DATABASE_URL is not set" in one(findings("", 1), "problem", "settings")


def test_no_database_and_no_schema(empty_database: str) -> None:
    found = findings("postgresql://me:secret@127.0.0.1:1/x", 1)
    said = one(found, "problem", "database")
    assert "cannot reach the database at postgresql://me:***@127.0.0.1:1/x" in said
    assert "secret" not in str(found)
    said = one(findings(empty_database, 1), "problem", "schema")
    assert "Soniq's schema cannot be used" in said


def test_rights(database: str) -> None:
    rows(database, "create role doctor_user login")
    try:
        url = database.replace("tester@", "doctor_user@")
        assert "cannot be used" in one(findings(url, 1), "problem", "schema")
        rows(database, "grant usage on schema soniq to doctor_user")
        rows(database, "grant execute on function soniq.version, soniq.clock to doctor_user")
        found = findings(url, 1)
        said = one(found, "problem", "rights")
        assert "may not call claim, complete, deregister_runner, fail, heartbeat" in said
        assert "metrics" not in said
        assert said.endswith("as an administrator: grant soniq_runner to doctor_user")
        said = one(findings(url, 1, metrics_port=1), "problem", "rights")
        assert "heartbeat, metrics, prune_schedules" in said
        # What may not be looked at is told, and the rest is looked at.
        assert "could not be looked at" in one(found, "note", "schedules")
        assert one(found, "ok", "listen")

        # With one role it may do all, with another look at all.
        rows(database, "grant soniq_runner to doctor_user")
        assert one(findings(url, metrics_port=1), "ok", "rights")
        assert "grant soniq_observer to this user" in one(findings(url), "note", "schedules")
        rows(database, "grant soniq_observer to doctor_user")
        assert not [each for each in findings(url) if "could not be looked at" in each["says"]]
        rows(database, "select soniq._revoke_roles()")
        said = one(findings(url, 1), "problem", "rights")
        assert said.endswith("as the owner of the schema: select soniq.grant_roles()")
    finally:
        rows(database, "drop owned by doctor_user")
        rows(database, "drop role doctor_user")


def test_connections(database: str) -> None:
    said = one(findings(database, 1, pool_max_size=500), "problem", "connections")
    assert "1 runner of 3 + SONIQ_POOL_MAX_SIZE 500 may take 503 of " in said
    assert "lower SONIQ_POOL_MAX_SIZE" in said
    name = database.partition("@/")[2].partition("?")[0]
    rows(database, "select soniq.register_runner('a'), soniq.register_runner('b')")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"alter database {name} connection limit 30".encode())
    said = one(findings(database, 1, pool_max_size=20), "problem", "connections")
    assert "2 runners of 3 + SONIQ_POOL_MAX_SIZE 20 may take 46 of 30 connections" in said
    assert one(findings(database, pool_max_size=6), "ok", "connections")
    said = one(findings(database, 1, pool_max_size=12, metrics_port=1), "problem", "connections")
    assert "3 + 1 for SONIQ_METRICS_PORT + SONIQ_POOL_MAX_SIZE 12 may take 32 of 30" in said
    found = findings(database, 1, pool_max_size=12, listen_url=database)
    said = one(found, "problem", "connections")
    assert "3 + 1 for SONIQ_LISTEN_URL + SONIQ_POOL_MAX_SIZE 12 may take 32 of 30" in said
    assert "each further one may take as many for its own pool" in said
    assert "several apps" not in one(findings(database, pool_max_size=0), "ok", "connections")


def test_connections_that_others_have(database: str) -> None:
    name = database.partition("@/")[2].partition("?")[0]
    with ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(psycopg.connect(database, autocommit=True))
        connection.execute(f"alter database {name} connection limit 30".encode())
        said = one(findings(database), "warning", "connections")
    assert "1 runner of 3 + SONIQ_POOL_MAX_SIZE 20 may take 23 of 30 connections; others" in said
    assert "-> lower SONIQ_POOL_MAX_SIZE" in said


def test_an_address_to_listen_at_that_cannot_be_read(database: str) -> None:
    found = findings(database, listen_url="postgresql://me:pa/ss@db:5432/shop")
    said = one(found, "warning", "listen")
    assert "SONIQ_LISTEN_URL, which is postgresql://me:***@db:5432/shop, gives no" in said
    assert "so runners only poll: cannot read the database's address" in said
    assert "%2F for /" in said
    assert "pa/ss" not in said
    # What comes after it is looked at all the same.
    assert one(found, "ok", "clock")
    assert one(found, "ok", "dead letters")


def test_an_address_to_listen_at_that_refuses(database: str) -> None:
    found = findings(database, listen_url="postgresql://me:secret@127.0.0.1:1/x")
    said = one(found, "warning", "listen")
    assert "which is postgresql://me:***@127.0.0.1:1/x, gives no connection" in said
    assert "ConnectionRefusedError" in said
    assert said.endswith("-> " + doctor_connection.LISTEN_REMEDY)
    assert "secret" not in str(found)


def test_a_standby(own_server: Server) -> None:
    with throwaway_server(primary=own_server) as standby:
        said = one(findings(standby.url(), 1), "problem", "database")
    assert "the server is read-only, as a standby is" in said
    assert "-> let SONIQ_DATABASE_URL lead to the primary, or name all servers, as in" in said
    assert "?target_session_attrs=read-write" in said


def test_a_check_that_cannot_be_made_says_so_and_the_next_are_made(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(url: str, role: str) -> Never:
        raise DatabaseUnreachable("too many clients already")

    monkeypatch.setattr(doctor_connection, "connect", connect)
    environment = {"SONIQ_DATABASE_URL": database, "SONIQ_JOBS_MODULES": "jobs"}
    finished = CliRunner().invoke(main, ["doctor", "--json"], env=environment)
    assert finished.exit_code == 0, finished.output
    found = json.loads(finished.stdout)
    said = one(found, "warning", "pooler")
    assert "could not be looked at: DatabaseUnreachable: too many clients already ->" in said
    assert "takes one more connection, and run the doctor again" in said
    assert one(found, "ok", "vacuum")


def test_listening_elsewhere_is_not_heard(database: str, empty_database: str) -> None:
    said = one(findings(database, listen_url=empty_database), "warning", "listen")
    assert "not heard within 2 s through SONIQ_LISTEN_URL" in said
    assert "set SONIQ_LISTEN_URL to a direct address" in said


def test_upkeep_that_nobody_does(database: str) -> None:
    rows(database, "select soniq.schedule('nightly', cron => '0 3 * * *')")
    rows(database, "update soniq.schedules set next_run_at = '2026-01-02 03:00+00'")
    rows(database, "update soniq.chores set due_at = soniq.clock() - interval '2 hours'")
    found = findings(database)
    said = one(found, "warning", "ticks")
    assert "nothing has called soniq.tick() for about 2h" in said
    assert "run a runner, `soniq scheduler`" in said
    said = one(found, "warning", "schedules")
    assert "nightly is late: it was due at 2026-01-02 03:00:00+0000" in said


def test_partitions(database: str) -> None:
    # Nothing has ever ticked here, and a job has ended.
    rows(
        database,
        """
        insert into soniq.finished_jobs (
          id, job_name, queue, priority, status, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout,
          errors, finished_at, keep_until
        )
        select
          1, 'work', 'default', 100, 'done', '{}', now(), now(), 1, 10, '0', '[]', now(), now() + retention
        from soniq.settings
        """,
    )
    found = findings(database)
    told = [each["says"] for each in found if each["what"] == "partitions"]
    assert "1 finished jobs lie in soniq.finished_jobs_default" in told[0]
    assert "the day until which tomorrow's jobs are kept is not" in told[1]
    rows(database, "select soniq.tick()")
    assert "3 days are made, none is wanting" in one(findings(database), "ok", "partitions")


def test_runners_and_queues(database: str) -> None:
    assert "start one: soniq worker" in one(findings(database), "note", "runners")
    rows(database, "select soniq.register_runner('there', 7, queues => '{mail}')")
    rows(database, "update soniq.runners set last_heartbeat_at = now() - interval '4 minutes'")
    rows(database, "select soniq.enqueue('work', queue => 'mail')")
    rows(database, "select soniq.enqueue('work', queue => 'fax')")
    found = findings(database)
    said = one(found, "warning", "runners")
    assert "(there, pid 7) is silent, not heard of for 4m" in said
    assert "is of version unknown" in one(found, "note", "runners")
    said = one(found, "warning", "queues")
    assert "1 jobs of queue fax are ready, and no runner serves it" in said
    rows(database, "select soniq.pause_queue('mail')")
    said = one(findings(database), "note", "queues")
    assert "1 jobs of queue mail are ready, and it is paused -> soniq queues resume mail" in said
    bury(database, 3)
    said = one(findings(database), "note", "dead letters")
    assert "3 wait for somebody -> soniq dead-letter replay --all --dry-run" in said


def test_vacuum(database: str) -> None:
    assert "is on and keeps up" in one(findings(database), "ok", "vacuum")
    rows(database, "alter table soniq.jobs set (autovacuum_enabled = false)")
    said = one(findings(database, 1), "problem", "vacuum")
    assert (
        "switched off for soniq.jobs -> alter table soniq.jobs reset (autovacuum_enabled)" in said
    )


# What nobody can bring about in a test is given to the doctor's own questions by a schema before pg_catalog.
FIRST_IN_PATH = """
    do $$ begin
      execute format('alter database %%I set search_path = feigned, pg_catalog', current_database());
    end $$
"""


@dataclass(frozen=True)
class Bad:
    """Something wrong, how it is brought about, and what the doctor says."""

    causes: tuple[LiteralString, ...]
    level: str
    what: str
    says: str
    remedy: str


BAD = {
    "schema": Bad(
        ("create or replace function soniq.version() returns text language sql return '0.0.1'",),
        "problem",
        "schema",
        f"is of version 0.0.1, too old for this runner ({soniq_package.__version__})",
        "run: soniq setup, with SONIQ_DATABASE_URL=",
    ),
    "server": Bad(
        (
            "create schema feigned",
            "create function feigned.current_setting(name text) returns text language sql return"
            " case name when 'server_version_num' then '130022' else pg_catalog.current_setting(name) end",
            FIRST_IN_PATH,
        ),
        "warning",
        "database",
        "PostgreSQL ",
        "upgrade: Soniq is tested from PostgreSQL 14 on",
    ),
    "clock ahead": Bad(
        (
            "create schema feigned",
            "create function feigned.clock_timestamp() returns timestamptz language sql return"
            " pg_catalog.clock_timestamp() - interval '1 hour'",
            FIRST_IN_PATH,
        ),
        "warning",
        "clock",
        "this machine's is 3600.0 s ahead of the database's: Soniq goes by the database's",
        "synchronise both by NTP",
    ),
    "clock behind": Bad(
        (
            "create schema feigned",
            "create function feigned.clock_timestamp() returns timestamptz language sql return"
            " pg_catalog.clock_timestamp() + interval '1 hour'",
            FIRST_IN_PATH,
        ),
        "warning",
        "clock",
        "this machine's is 3600.0 s behind the database's",
        "synchronise both by NTP",
    ),
    "counts": Bad(
        (
            "do $$ begin execute format('alter database %%I set track_counts = off', current_database());"
            " end $$",
        ),
        "problem",
        "vacuum",
        "track_counts is off",
        "alter system set track_counts = on; select pg_reload_conf()",
    ),
    "dead rows": Bad(
        (
            "create schema feigned",
            "create view feigned.pg_stat_user_tables as select relid, n_live_tup, last_autovacuum,"
            " n_dead_tup + case relname when 'jobs' then 100001 else 0 end as n_dead_tup"
            " from pg_catalog.pg_stat_user_tables",
            FIRST_IN_PATH,
        ),
        "warning",
        "vacuum",
        "soniq.jobs has 100001 dead rows and 0 live ones; autovacuum came last at -",
        "look for old transactions above; then: vacuum soniq.jobs",
    ),
    "overdue": Bad(
        (
            "select soniq.enqueue('work', queue => 'mail')",
            "select soniq.claim(soniq.register_runner('here', 7), queues => '{mail}', max_jobs => 1)",
            "update soniq.jobs set deadline = now() - interval '1 hour'",
        ),
        "warning",
        "queues",
        "1 jobs of queue mail are past their deadline and not taken back",
        "see whether anything calls soniq.tick()",
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_found_with_its_remedy(bad: Bad, database: str) -> None:
    for cause in bad.causes:
        rows(database, cause)
    said = one(findings(database, 1 if bad.level == "problem" else 0), bad.level, bad.what)
    found, remedy = said.split(" -> ")
    assert bad.says in found
    # check_schema() says the remedy in its message.
    assert bad.remedy in (found if remedy == "None" else remedy)


def test_a_slot_whose_standby_is_away(own_server: Server) -> None:
    url = own_server.url()
    rows(url, "select pg_create_physical_replication_slot('reporting')")
    holds = "select from pg_replication_slots where xmin is not null"
    options = {
        "primary_slot_name": "reporting",
        "hot_standby_feedback": "on",
        "wal_receiver_status_interval": "1s",
    }
    with throwaway_server(options, primary=own_server) as standby:
        wait_for(lambda: rows(url, holds), what="the slot to hold rows back")
        # One that is in use and not far behind is in order.
        assert "none holds rows back" in one(findings(url), "ok", "replication slots")
        standby.stop()
        wait_for(
            lambda: rows(url, "select from pg_replication_slots where not active"),
            what="the standby to be gone",
        )
        said = one(findings(url), "warning", "replication slots")
    assert "reporting (not in use) keeps vacuum from what" in said
    assert "-> bring its standby up, or: select pg_drop_replication_slot('reporting')" in said


def test_what_holds_vacuum_up(own_server: Server) -> None:
    url = own_server.url()
    rows(url, "alter system set autovacuum = off")
    rows(url, "select pg_reload_conf()")
    # A slot that holds nothing back is none of our business.
    rows(url, "select pg_create_physical_replication_slot('idle', true)")
    found = findings(url, 1)
    said = one(found, "problem", "vacuum")
    assert "autovacuum is off on this server" in said
    assert "alter system set autovacuum = on" in said
    assert "none holds rows back" in one(found, "ok", "replication slots")
    assert "none is older than 5 minutes" in one(found, "ok", "transactions")


@pytest.mark.parametrize(("age", "level"), [("6 minutes", "warning"), ("2 hours", "problem")])
def test_old_transactions(age: LiteralString, level: str, own_server: Server) -> None:
    url = own_server.url()
    # Nobody waits for that long, so the doctor is given a clock that is fast: the first in its search_path.
    rows(url, "create schema late")
    rows(
        url,
        "create function late.clock_timestamp() returns timestamptz language sql as"
        " $$ select pg_catalog.clock_timestamp() + interval '" + age + "' $$",
    )
    rows(url, "alter role tester set search_path = late, pg_catalog")
    with psycopg.connect(url, application_name="report") as connection:
        connection.execute("select pg_catalog.txid_current()")
        pid = connection.info.backend_pid
        said = one(findings(url, 1 if level == "problem" else 0), level, "transactions")
    assert f"session {pid} (tester, report, idle in transaction) has a transaction open for" in said
    assert f"select pg_terminate_backend({pid})" in said


def test_prepared_transactions_are_among_the_old_ones() -> None:
    with throwaway_server({"max_prepared_transactions": "2"}) as server:
        deploy_snapshot(server, "postgres")
        url = server.url()
        with psycopg.connect(url) as connection:
            connection.execute("select txid_current()")
            connection.execute("prepare transaction 'it''s old'")
        rows(url, "create schema late")
        rows(
            url,
            "create function late.clock_timestamp() returns timestamptz language sql as"
            " $$ select pg_catalog.clock_timestamp() + interval '6 minutes' $$",
        )
        rows(url, "alter role tester set search_path = late, pg_catalog")
        said = one(findings(url), "warning", "transactions")
        assert "prepared transaction it's old (tester) has a transaction open for 6m" in said
        assert "rollback prepared 'it''s old'" in said


def test_behind_a_pooler(server: Server, database: str) -> None:
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    with throwaway_pgbouncer(server, pool_size=5) as bouncer:
        url = bouncer.url(name)
        found = findings(url)
        said = one(found, "warning", "pooler")
        assert "changes sessions with each transaction" in said
        assert "set SONIQ_LISTEN_URL to a direct address" in said
        assert "was not heard" in one(found, "warning", "listen")
        found = findings(url, listen_url=database)
        assert "SONIQ_LISTEN_URL goes past it" in one(found, "note", "pooler")
        assert "through SONIQ_LISTEN_URL" in one(found, "ok", "listen")

        bouncer.stop()
        bouncer.start(mode="session")
        found = findings(url)
        assert "keeps each client's session" in one(found, "note", "pooler")
        assert "through SONIQ_DATABASE_URL" in one(found, "ok", "listen")
