"""What a database is made of, and whether two are made of the same."""

import difflib

import psycopg
from psycopg import sql

from .commands import ROOT
from .deployment import psql
from .outcome import CheckFailed
from .server import Server

FINGERPRINT = ROOT / "tests/sql/checks/fingerprint.sql"
READABLE = 100  # lines of a difference

# Statistics come and go with autovacuum; all else of a database has an owner who put it there.
CATALOGS = """
select catalog.relname
from pg_catalog.pg_class as catalog
where catalog.relnamespace = 'pg_catalog'::regnamespace
  and catalog.relkind = 'r'
  and catalog.relname not like 'pg_statistic%'
  and (not catalog.relisshared or catalog.relname in ('pg_authid', 'pg_auth_members'))
"""


def fingerprint(server: Server, database: str) -> str:
    """Everything outside the system's schemas and sqitch's registry, as text."""
    return psql(server, database, "--file", FINGERPRINT)


def row_counts(server: Server, database: str) -> dict[str, int]:
    """How many rows each system catalog has: finds what a fingerprint does not know of."""
    count = sql.SQL("select count(*) from pg_catalog.{}")
    with psycopg.connect(server.url(database)) as connection:
        names = [str(name) for (name,) in connection.execute(CATALOGS)]
        counts = {
            name: int(total)
            for name in names
            for (total,) in connection.execute(count.format(sql.Identifier(name)))
        }
        # A session's schemas for temporary tables stay behind it, empty, for the next session.
        [(temporary,)] = connection.execute(
            "select count(*) from pg_catalog.pg_namespace where nspname ~ '^pg_(toast_)?temp_'"
        ).fetchall()
        return {**counts, "pg_namespace": counts["pg_namespace"] - int(temporary)}


def expect_same(expected: str, found: str) -> None:
    """Raises CheckFailed with the difference of two fingerprints."""
    if found == expected:
        return
    difference = list(
        difflib.unified_diff(
            expected.splitlines(), found.splitlines(), "expected", "found", lineterm="", n=1
        )
    )
    if len(difference) > READABLE:
        difference[READABLE:] = [f"... and {len(difference) - READABLE} lines more"]
    raise CheckFailed("\n".join(difference))
