"""Where measuring happens: one throwaway server, and a new database for every figure."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from testing.deployment import deploy_snapshot, psql
from testing.server import Server, throwaway_server

SQL = Path(__file__).parent / "sql"
TEMPLATE = "bench_template"
DATABASE = "bench"

# As durable as a server in production: a commit counts when it is on the disk.
OPTIONS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
}


class Site:
    """A running server whose template database has Soniq, and tables of the same shape without it."""

    def __init__(self, server: Server) -> None:
        """Deploys both into the template."""
        self.server = server
        server.create_database(TEMPLATE)
        deploy_snapshot(server, TEMPLATE)
        psql(server, TEMPLATE, "--file", SQL / "plain_tables.sql")

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator["Site"]:
        """A site that is gone afterwards."""
        with throwaway_server(OPTIONS) as server:
            yield cls(server)

    def setting(self, name: str) -> str:
        """What the server says a setting is."""
        with psycopg.connect(self.server.url()) as connection:
            row = connection.execute("select current_setting(%s)", [name]).fetchone()
        assert row is not None
        return str(row[0])

    @contextmanager
    def template(self, name: str, *files: str, **variables: object) -> Iterator[str]:
        """A database to make others from, prepared once by files of sql/ that see the variables."""
        with self._prepared(TEMPLATE, name, files, variables):
            yield name

    @contextmanager
    def database(
        self, *files: str, template: str = TEMPLATE, **variables: object
    ) -> Iterator["Database"]:
        """A database for one figure, prepared by files of sql/ that see the variables.

        What preparing it leaves to be done is done before the clock starts: statistics, vacuum, checkpoint.
        """
        with self._prepared(template, DATABASE, files, variables) as database:
            yield database

    @contextmanager
    def _prepared(
        self, template: str, name: str, files: tuple[str, ...], variables: Mapping[str, object]
    ) -> Iterator["Database"]:
        self._copy(template, name)
        try:
            database = Database(self.server, name)
            for file in files:
                database.run(file, **variables)
            database.settle()
            yield database
        finally:
            self.server.drop_database(name)

    def _copy(self, template: str, name: str) -> None:
        """Makes a database by copying files, which is much the quicker where the template is large."""
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            # Before PostgreSQL 15 it was the only way.
            how = " strategy file_copy" if connection.info.server_version >= 150000 else ""
            connection.execute(
                sql.SQL("create database {} template {}" + how).format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )


class Database:
    """One figure's database."""

    def __init__(self, server: Server, name: str = DATABASE) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name)
        self.variables = server.environment(name)

    def run(self, file: str, **variables: object) -> None:
        """Runs a file of sql/ by psql."""
        given = (f"--set={name}={value}" for name, value in variables.items())
        psql(self.server, self.name, *given, "--file", SQL / file)

    def settle(self) -> None:
        """Does, before the clock starts, what preparing it leaves to be done: statistics, vacuum, checkpoint."""
        self.execute("vacuum analyze")
        self.execute("checkpoint")

    def execute(self, statement: str) -> None:
        """Runs one statement in a session of its own."""
        psql(self.server, self.name, "--command", statement)

    def number(self, query: str) -> float:
        """What a query with one number for its answer says."""
        return float(psql(self.server, self.name, "--command", query))
