"""What the stages share: one server, and one run of the pgTAP suite. Each is made when first asked for."""

from contextlib import ExitStack
from functools import cached_property
from subprocess import Popen

from . import suite
from .commands import abandon, start
from .deployment import deploy_snapshot, psql, sqitch_environment
from .outcome import Outcome
from .server import Server, throwaway_server

AT_ONCE = "at_once"  # the database of deploys_at_once

# The profiler counts in memory that all sessions share, so that a rollback undoes no count.
OPTIONS = {"shared_preload_libraries": "plpgsql_check"}


class Site:
    """Everything that is taken down when `stack` closes."""

    def __init__(self, stack: ExitStack) -> None:
        """Starts nothing yet."""
        self._stack = stack

    @cached_property
    def server(self) -> Server:
        """The server that stages make their databases on."""
        return self._stack.enter_context(throwaway_server(OPTIONS))

    @cached_property
    def deployed(self) -> str:
        """The name of a database with Soniq, pgTAP, and plpgsql_check counting statements."""
        name = "pgtap"
        self.server.create_database(name)
        deploy_snapshot(self.server, name)
        psql(
            self.server,
            name,
            *("--command", "create extension pgtap"),
            *("--command", "create extension plpgsql_check"),
            *("--command", f"alter database {name} set plpgsql_check.profiler = on"),
        )
        return name

    @cached_property
    def deploys_at_once(self) -> list["Popen[str]"]:
        """Ten sqitch deploy on one database, started at once.

        One works; the others sleep up to ten seconds at a time until they get its lock, one by one. So they are
        started early and waited for late.
        """
        self.server.create_database(AT_ONCE)
        processes = [
            start(
                *("sqitch", "deploy", "--lock-timeout", "500"),
                f"db:{self.server.url(AT_ONCE)}",
                environment=sqitch_environment(self.server, AT_ONCE),
            )
            for _ in range(10)
        ]
        for process in processes:
            self._stack.callback(abandon, process)
        return processes

    @cached_property
    def suite(self) -> Outcome:
        """The pgTAP suite's outcome; after it, the statements that it executes are counted."""
        return suite.run_suite(self.server, self.deployed)
