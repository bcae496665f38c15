"""`soniq setup`, with the real sqitch on databases without Soniq."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soniq as package
from conftest import rows
from soniq.commands.sqitch import libpq_variables
from soniq_command import done, finish, refused, soniq, start


def schemas(url: str) -> list[tuple[str]]:
    return rows(url, "select nspname from pg_namespace where nspname in ('soniq', 'sqitch')")


def test_it_deploys_and_tells_what_is_deployed(empty_database: str) -> None:
    before = done(empty_database, "setup", "--status")
    assert "schema    not deployed" in before.out
    assert "deployed  0 changes" in before.out
    pending = done(empty_database, "setup", "--status", "--json").json["pending"]
    assert pending[0] == "schema"
    assert pending[-1] == "routines"

    assert "Soniq is deployed in postgresql://" in done(empty_database, "setup").out
    assert rows(empty_database, "select soniq.version()") == [(package.__version__,)]

    after = done(empty_database, "setup", "--status")
    assert f"schema    {package.__version__}\n" in after.out
    assert f"deployed  {len(pending)} changes" in after.out
    assert "pending   none" in after.out
    assert done(empty_database, "setup", "--status", "--json").json == {
        "database": empty_database,
        "version": package.__version__,
        "deployed": pending,
        "pending": [],
    }
    assert "up to date" in done(empty_database, "setup", "--dry-run").out
    done(empty_database, "setup")


def test_a_dry_run_changes_nothing(empty_database: str) -> None:
    said = done(empty_database, "setup", "--dry-run").out
    assert re.search(r"^\d+ changes would be deployed to postgresql://", said)
    assert "\n  schema\n" in said
    assert said.endswith("nothing was changed\n")
    assert schemas(empty_database) == []


def test_ten_at_once(empty_database: str) -> None:
    started = [start(empty_database, "setup") for _ in range(10)]
    finished = [finish(process) for process in started]
    assert [each.code for each in finished] == [0] * 10, finished
    assert sum("Nothing to deploy" in each.out for each in finished) == 9
    changes = rows(empty_database, "select count(*), count(distinct change) from sqitch.changes")
    assert changes[0][0] == changes[0][1] > 0


def test_a_schema_that_was_not_deployed_by_sqitch(database: str) -> None:
    assert "not deployed by sqitch" in done(database, "setup", "--status").out
    done(database, "setup")
    assert "not deployed by sqitch" not in done(database, "setup", "--status").out


def test_without_sqitch_it_says_how_to_install_it(empty_database: str, tmp_path: Path) -> None:
    for flags in ((), ("--status",), ("--dry-run",)):
        said = refused(empty_database, 1, "setup", *flags, PATH=tmp_path)
        assert "sqitch is not on PATH" in said
        assert "apt-get install sqitch libdbd-pg-perl" in said
    assert schemas(empty_database) == []


def test_the_password_is_neither_shown_nor_on_a_command_line(
    empty_database: str, tmp_path: Path
) -> None:
    url = empty_database.replace("tester@", "tester:s%2Fcret@")
    # A sqitch that tells how it was called, and then is the real one.
    real = subprocess.check_output(["which", "sqitch"], text=True).strip()
    spy = tmp_path / "sqitch"
    spy.write_text(
        f'#!/bin/sh\necho "$@" "$PGPASSWORD" >> {tmp_path}/calls\nexec {real} "$@"\n',
        encoding="utf-8",
    )
    spy.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    said = [
        done(url, "setup", *flags, PATH=path) for flags in (("--lock-timeout", "7"), ("--status",))
    ]
    assert all("cret" not in each.out + each.err for each in said)
    assert "tester:***@" in said[0].out
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert calls[0] == "deploy --lock-timeout 7 db:postgresql: s/cret"


def test_a_failure_of_sqitch_is_told(empty_database: str) -> None:
    rows(empty_database, "create role setup_nobody login")
    try:
        url = empty_database.replace("tester@", "setup_nobody@")
        finished = soniq(url, "setup")
        assert finished.code == 1
        assert "permission denied" in finished.err
        assert "soniq setup: sqitch ended with exit code" in finished.err
        assert "run `soniq setup` again" in finished.err
    finally:
        rows(empty_database, "drop role setup_nobody")


def test_databases_that_cannot_be_reached() -> None:
    said = refused("postgresql://me:secret@127.0.0.1:1/x", 14, "setup")
    assert "cannot reach the database at postgresql://me:***@127.0.0.1:1/x" in said
    assert "secret" not in said
    assert "SONIQ_DATABASE_URL is not set" in refused("", 10, "setup")
    assert "--json goes with --status or --dry-run" in refused("", 2, "setup", "--json")
    assert "Invalid value for '--lock-timeout'" in refused("", 2, "setup", "--lock-timeout", "-1")


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("postgresql://host/db", {"PGHOST": "host", "PGDATABASE": "db"}),
        (
            "postgres://me:p%40ss%25@a.example:6432/shop?sslmode=require",
            {
                "PGUSER": "me",
                "PGPASSWORD": "p@ss%",
                "PGHOST": "a.example",
                "PGPORT": "6432",
                "PGDATABASE": "shop",
                "PGSSLMODE": "require",
            },
        ),
        (
            "postgresql://me@a:1,b/shop?target_session_attrs=read-write",
            {
                "PGUSER": "me",
                "PGHOST": "a,b",
                "PGPORT": "1,",
                "PGDATABASE": "shop",
                "PGTARGETSESSIONATTRS": "read-write",
            },
        ),
        (
            "postgresql://[::1]:5432/db?user=me&password=a+b",
            {
                "PGHOST": "::1",
                "PGPORT": "5432",
                "PGDATABASE": "db",
                "PGUSER": "me",
                "PGPASSWORD": "a+b",
            },
        ),
        ("postgresql://[::1]/db", {"PGHOST": "::1", "PGDATABASE": "db"}),
        (
            "postgresql:///db?host=/tmp&port=1",
            {"PGDATABASE": "db", "PGHOST": "/tmp", "PGPORT": "1"},
        ),
    ],
)
def test_addresses_as_the_environment(url: str, variables: dict[str, str]) -> None:
    assert libpq_variables(url) == variables


def test_the_variables_lead_where_the_address_does(empty_database: str) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    told = subprocess.check_output(
        [sys.executable, "-c", "import psycopg; print(psycopg.connect('').info.dbname)"],
        env={**inherited, **libpq_variables(empty_database)},
        text=True,
    )
    assert [(told.strip(),)] == rows(empty_database, "select current_database()::text")
