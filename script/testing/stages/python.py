"""The Python: its linter, its types, and the tests that run the runner and the demo as processes."""

import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from ..commands import CommandFailed, run
from ..outcome import Outcome
from ..site import Site

GENERATE = "script/generate"  # Python, though its name does not say so


def tool(name: str) -> Path:
    """A program of the virtual environment that this runs in."""
    return Path(sys.executable).with_name(name)


def ruff(site: Site) -> Outcome:
    """The linter and the formatter."""
    outcome = Outcome()
    with outcome.check("ruff check"):
        run(tool("ruff"), "check", "--quiet", ".", GENERATE)
    with outcome.check("ruff format"):
        run(tool("ruff"), "format", "--diff", "--quiet", ".", GENERATE)
    return outcome


def mypy(site: Site) -> Outcome:
    """Strict types everywhere, also in the tests and the examples."""
    outcome = Outcome()
    with outcome.check("mypy"):
        said = run(
            tool("mypy"),
            "--strict",
            "runner",
            "script",
            GENERATE,
            "benchmarks",
            "examples",
            "tests/py",
            "chaos",
        )
        outcome.note = said.strip()
    return outcome


def pytest(site: Site) -> Outcome:
    """tests/py, which starts servers of its own, but for what is marked as long."""
    return _pytest("not long")


def long(site: Site) -> Outcome:
    """What is marked as long, for which a run of everything has no time."""
    return _pytest("long")


def _pytest(marks: str) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="soniq-test-") as folder:
        report = Path(folder) / "report.xml"
        try:
            # A third one has two CPUs busy while others wait for processes; a fourth only slows the rest down.
            run(
                *(tool("pytest"), "tests/py", "-q", "--no-header", "--junitxml", report),
                *(
                    "--numprocesses",
                    "3",
                    "--dist",
                    "loadfile",
                    "--no-loadscope-reorder",
                    "-m",
                    marks,
                ),
            )
        except CommandFailed as failure:
            outcome = _outcome(report)
            outcome.failed = max(outcome.failed, 1)
            outcome.details.append(failure.output)
            return outcome
        outcome = _outcome(report)
        # What Soniq does through a pooler depends on its release.
        outcome.note = run("/usr/sbin/pgbouncer", "--version").partition("\n")[0]
        return outcome


def _outcome(report: Path) -> Outcome:
    if not report.exists():
        return Outcome()
    [suite] = ElementTree.parse(report).getroot().iter("testsuite")
    total, failures, errors, skipped = (
        int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    return Outcome(passed=total - failed - skipped, failed=failed, skipped=skipped)
