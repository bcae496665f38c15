"""The pgTAP suite: every file of tests/sql, each in a transaction of its own, by pg_prove."""

import re
from pathlib import Path

from .commands import ROOT, CommandFailed, run
from .deployment import psql
from .outcome import Outcome
from .server import Server, debian_binaries

JOBS = 2
SHARED = "support.sql"  # what the test files include
# These take locks on whole tables.
ALONE = ("concerns.sql", "history.sql", "metrics.sql", "retention.sql", "roles.sql", "tenants.sql")
# These count pages touched, which depend on what other files left behind though rolled back: a database for each.
COUNTING = ("looking.sql", "plans.sql", "cost.sql")
TOTAL = re.compile(r"^Files=\d+, Tests=(\d+)", re.MULTILINE)
BAD_FILE = re.compile(r"\(Wstat: .* Tests: \d+ Failed: (\d+)\)$", re.MULTILINE)
SKIPPED = re.compile(r"^ok \d+ .*# SKIP", re.MULTILINE | re.IGNORECASE)
WELL = re.compile(r"^.* \.\.+ ok\n", re.MULTILINE)


def run_suite(server: Server, database: str) -> Outcome:
    """Runs the suite on a database that has Soniq and pgTAP. Counts what pgTAP calls tests."""
    # A tick that makes partitions would lock other files out until its own file ends.
    psql(server, database, "--command", "update soniq.chores set due_at = 'infinity'")
    found = {path.name: path.relative_to(ROOT) for path in (ROOT / "tests/sql").glob("*.sql")}
    beside = sorted(found[name] for name in found.keys() - {SHARED, *ALONE, *COUNTING})
    for name in COUNTING:
        server.create_database(f"{database}_{name}", template=database)
    outcome = _run(server, database, JOBS, beside)
    outcome.add(_run(server, database, 1, [found[name] for name in ALONE]))
    for name in COUNTING:
        outcome.add(_run(server, f"{database}_{name}", 1, [found[name]]))
        server.drop_database(f"{database}_{name}")
    return outcome


def _run(server: Server, database: str, jobs: int, files: list[Path]) -> Outcome:
    try:
        output = run(
            *("pg_prove", "--norc", "--nocolor", "--directives", f"--jobs={jobs}"),
            "--psql-bin",
            *(debian_binaries() / "psql", *files),
            environment=server.environment(database),
        )
        return _outcome(output)
    except CommandFailed as failure:
        outcome = _outcome(failure.output)
        outcome.failed = max(outcome.failed, 1)
        outcome.details.append(WELL.sub("", failure.output))
        return outcome


def _outcome(output: str) -> Outcome:
    total = TOTAL.search(output)
    failed = [int(number) for number in BAD_FILE.findall(output)]
    skipped = len(SKIPPED.findall(output))
    return Outcome(
        passed=int(total[1]) - sum(failed) - skipped if total else 0,
        failed=sum(max(number, 1) for number in failed),  # a file that breaks off is a failure too
        skipped=skipped,
    )
