"""The SQL core: its tests, what plpgsql_check finds in it, and whether the tests reach every statement."""

from collections import defaultdict

from ..commands import ROOT
from ..deployment import psql
from ..outcome import Outcome
from ..site import Site

CHECKS = ROOT / "tests/sql/checks"


def pgtap(site: Site) -> Outcome:
    """The pgTAP suite."""
    return site.suite


def lint(site: Site) -> Outcome:
    """One check for each function: no finding."""
    return _by_function(psql(site.server, site.deployed, "--file", CHECKS / "lint.sql"))


def coverage(site: Site) -> Outcome:
    """One check for each PL/pgSQL function: the pgTAP suite executes all its statements."""
    _ = site.suite  # what it executes is what the profiler has counted
    return _by_function(psql(site.server, site.deployed, "--file", CHECKS / "coverage.sql"))


def _by_function(answer: str) -> Outcome:
    """Reads "signature|finding" lines, one for each function at least; no finding is a good one."""
    findings: dict[str, list[str]] = defaultdict(list)
    for line in answer.splitlines():
        signature, _, finding = line.partition("|")
        findings[signature] += [finding] if finding else []
    faults = {signature: found for signature, found in findings.items() if found}
    outcome = Outcome(passed=len(findings) - len(faults), failed=len(faults))
    if faults:
        outcome.details.append(
            "\n".join(
                f"{signature} {fault}" for signature, found in faults.items() for fault in found
            )
        )
    return outcome
