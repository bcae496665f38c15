"""The protocols as Promela models: spin searches all that can happen in each, and refutes each broken variant of it.

A model declares in its opening comment with which symbols it holds, and with which it is refuted and by what.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..commands import ROOT, run
from ..outcome import CheckFailed, Outcome
from ..site import Site

MODELS = ROOT / "docs/models"
DECLARED = re.compile(r"^ \* (?:holds|refuted)\b.*$", re.MULTILINE)
FORM = re.compile(r" \* (holds|refuted)((?: -D\w+)*)(?: by an? (assertion|cycle): .+)?")
TESTED = re.compile(r"^#(?:ifdef|ifndef|if) (.+)$", re.MULTILINE)
SYMBOL = re.compile(r"\b[A-Z][A-Z_]+\b")

# For assertions and acceptance cycles, the latter with weak fairness, and this deep at most.
SEARCH = "./pan", "-a", "-f", "-m100000"
COMPLETE = "assertion violations\t+", "acceptance   cycles \t+ (fairness enabled)", "errors: 0\n"
INCOMPLETE = "Search not completed", "max search depth too small"
FOUND = {"assertion": "assertion violated ", "cycle": "acceptance cycle "}
STATES = re.compile(r"^ *(\d+) states, stored", re.MULTILINE)
STEPS = re.compile(r"^pan:1: .*\(at depth (\d+)\)", re.MULTILINE)
UNREACHED = re.compile(r'^\t\S+:\d+, state \d+, "(?!-end-")(.*)"$', re.MULTILINE)


@dataclass(frozen=True)
class Form:
    """A model with some symbols defined; `flaw` is what refutes it: an assertion, a cycle, or nothing."""

    model: Path
    symbols: tuple[str, ...]
    flaw: str | None

    def __str__(self) -> str:
        """As one would call spin."""
        return " ".join((self.model.name, *self.symbols))


def models(site: Site) -> Outcome:
    """Each model in each of its forms, as many at once as there are CPUs."""
    outcome = Outcome()
    forms: list[Form] = []
    for model in sorted(MODELS.glob("*.pml")):
        with outcome.check(f"{model.name}: the forms that it declares"):
            declared = list(_forms(model))
            _expect_complete(model, declared)
            forms += declared
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for form, tried in [(form, pool.submit(_tried, form)) for form in forms]:
            with outcome.check(str(form)):
                outcome.report.append(f"{form!s:<40} {tried.result()}")
    return outcome


def _forms(model: Path) -> Iterator[Form]:
    for line in DECLARED.findall(model.read_text()):
        declared = FORM.fullmatch(line)
        if declared is None or (declared[1] == "refuted") != bool(declared[3]):
            raise CheckFailed(f"not understood:{line.removeprefix(' *')}")
        yield Form(model, tuple(declared[2].split()), declared[3])


def _expect_complete(model: Path, forms: list[Form]) -> None:
    """It holds as it stands, can be refuted, and no symbol is without a form or known to a form alone."""
    if Form(model, (), None) not in forms or not any(form.flaw for form in forms):
        raise CheckFailed("it must declare that it holds, and a variant that is refuted")
    declared = {symbol.removeprefix("-D") for form in forms for symbol in form.symbols}
    tested = {
        symbol for line in TESTED.findall(model.read_text()) for symbol in SYMBOL.findall(line)
    }
    if different := declared ^ tested:
        raise CheckFailed(f"declared or tested, but not both: {', '.join(sorted(different))}")


def _tried(form: Form) -> str:
    """Searches a form for flaws and answers with what was found, which must be what it declares."""
    with tempfile.TemporaryDirectory(prefix="soniq-test-") as name:
        folder = Path(name)
        run("spin", "-a", *form.symbols, form.model, folder=folder)
        # The search of what holds takes longer than to compile it; of what is refuted it takes no time.
        effort = "-O0" if form.flaw else "-O2"
        run("gcc", "-w", effort, "-o", "pan", "pan.c", folder=folder)
        said = run(*SEARCH, folder=folder)
    if form.flaw:
        return _refuted(form.flaw, said)
    return _holds(said)


def _refuted(flaw: str, said: str) -> str:
    steps = STEPS.search(said)
    if steps is None or FOUND[flaw] not in steps[0]:
        raise CheckFailed(f"not refuted by {flaw}:\n{said}")
    return f"refuted by {flaw}, {steps[1]} steps deep"


def _holds(said: str) -> str:
    """The search was for all flaws, came to its end, reached every statement and found nothing."""
    states = STATES.search(said)
    if states is None or not all(wanted in said for wanted in COMPLETE):
        raise CheckFailed(f"it was to say {', '.join(map(repr, COMPLETE))}:\n{said}")
    if any(unwanted in said for unwanted in INCOMPLETE):
        raise CheckFailed(f"the search was not complete:\n{said}")
    if UNREACHED.search(said):
        raise CheckFailed(f"there are statements that it never reached:\n{said}")
    return f"holds, {int(states[1]):,} states"
