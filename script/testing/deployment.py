"""Getting Soniq's schema into a database of a throwaway server, by sqitch and by the snapshot."""

import os
import tempfile
from pathlib import Path

from .commands import ROOT, run
from .server import USER, Server


def psql(server: Server, database: str, *arguments: str | Path) -> str:
    """Runs psql, which stops at the first error, and answers with what it prints."""
    return run(
        *("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"),
        *("--set=ON_ERROR_STOP=1", *arguments),
        environment={**server.environment(database), "PGOPTIONS": "--client-min-messages=warning"},
    )


def sqitch_environment(server: Server, database: str) -> dict[str, str]:
    """What sqitch needs on a machine where nobody has told it who they are, and nobody's own settings."""
    return {
        **server.environment(database),
        "LC_ALL": "C.UTF-8",
        "SQITCH_FULLNAME": "script/test",
        "SQITCH_EMAIL": "test@soniq.invalid",
        "SQITCH_SYSTEM_CONFIG": os.devnull,
        "SQITCH_USER_CONFIG": os.devnull,
    }


def sqitch(server: Server, database: str, command: str, *arguments: str) -> str:
    """Runs a sqitch command on a database."""
    return run(
        *("sqitch", command, *arguments, f"db:{server.url(database)}"),
        environment=sqitch_environment(server, database),
    )


def write_snapshot(path: Path) -> None:
    """Makes the one-file snapshot of the schema."""
    run(ROOT / "script/generate", "snapshot", path)


def deploy_snapshot(server: Server, database: str, user: str = USER) -> None:
    """Builds the schema from the snapshot, made anew."""
    with tempfile.TemporaryDirectory(prefix="soniq-test-") as folder:
        snapshot = Path(folder) / "soniq.sql"
        write_snapshot(snapshot)
        psql(server, database, "--username", user, "--file", snapshot)
