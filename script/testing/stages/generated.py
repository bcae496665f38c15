"""Files that are made from others are what would be made now."""

import sys

from ..commands import ROOT, run
from ..outcome import Outcome
from ..site import Site


def generated(site: Site) -> Outcome:
    """script/generate, asked for each of its committed outputs."""
    outcome = Outcome()
    with outcome.check("migrations/*/routines.sql"):
        run(ROOT / "script/generate", "routines", "--check")
    for page, source in (("sql-api", "sql-api"), ("security", "roles")):
        with outcome.check(f"docs/{page}.md"):
            run(
                *(ROOT / "script/generate", source, site.server.url(site.deployed), "--check"),
                environment=site.server.environment(site.deployed),
            )
    for page in ("settings", "cli", "performance"):
        with outcome.check(f"docs/{page}.md"):
            run(sys.executable, ROOT / "script/generate", page, "--check")
    return outcome
