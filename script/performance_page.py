"""The manual page of the measurements, from what script/bench --save wrote and what script/performance/ says of it."""

import re
import sys
from pathlib import Path

TEXTS = Path(__file__).parent / "performance"
# In the order in which they are told; each has a text of its own, which begins with its heading.
WORKLOADS = (
    "drain",
    "peers",
    "scale",
    "enqueue",
    "latency",
    "steady",
    "held-xmin",
    "soak",
    "cost",
    "scrape",
    "pages",
    "tick",
    "vacuum",
)
NOT_MEASURED = "**Not measured** in what this page was made from."
VERDICT = re.compile(r"^(PASS|FAIL)  (.+)$", re.MULTILINE)


def performance_page(measured: Path, docs: Path) -> dict[Path, str]:
    """docs/performance.md and, in docs/performance/, the texts and plots that it shows.

    What is there stays until it is measured anew, so that a workload may be measured by itself: each text says when,
    with what and on which machine.
    """
    kept = docs / "performance"
    if measured != kept and not any(measured.glob("*.txt")):
        sys.exit(f"{measured}: there is nothing that script/bench --save wrote")
    found = {
        path.name: path.read_text()
        for folder in (kept, measured)
        for path in sorted(folder.glob("*"))
        if path.suffix in (".txt", ".svg")
    }
    if unknown := [name for name in found if _workload(name) is None]:
        sys.exit(f"of no workload: {', '.join(unknown)}")
    page = (TEXTS / "page.md").read_text()
    page = page.replace("<!-- summary -->", _summary(found))
    page = page.replace(
        "<!-- workloads -->", "\n\n".join(_section(each, found) for each in WORKLOADS)
    )
    return {docs / "performance.md": page, **{kept / name: text for name, text in found.items()}}


def _workload(file: str) -> str | None:
    """Whose text or plot it is: held-xmin.svg, but also held-xmin-readers.svg, is of held-xmin."""
    stem = file.rpartition(".")[0]
    return next((each for each in WORKLOADS if f"{stem}-".startswith(f"{each}-")), None)


def _summary(found: dict[str, str]) -> str:
    """Every verdict, and how many of them are good."""
    verdicts = [
        (name, met == "PASS", said)
        for name in WORKLOADS
        for met, said in VERDICT.findall(found.get(f"{name}.txt", ""))
    ]
    missing = [name for name in WORKLOADS if f"{name}.txt" not in found]
    told = []
    if verdicts:
        met = sum(met for _, met, _ in verdicts)
        told.append(f"{met} of {len(verdicts)} targets are met.")
    if missing:
        told.append(f"Not measured: {', '.join(missing)}.")
    rows = [
        f"| [{name}](#{_anchor(_heading(name))}) | {'PASS' if met else '**FAIL**'} | {said} |"
        for name, met, said in verdicts
    ]
    table = ["", "| workload | | |", "|---|---|---|", *rows] if rows else []
    return "\n".join([" ".join(told), *table])


def _heading(name: str) -> str:
    return (TEXTS / f"{name}.md").read_text().partition("\n")[0].removeprefix("## ")


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _section(name: str, found: dict[str, str]) -> str:
    said = (TEXTS / f"{name}.md").read_text().rstrip()
    text = found.get(f"{name}.txt")
    if text is None:
        return f"{said}\n\n{NOT_MEASURED}"
    plots = [
        f"![{_heading(name)}, plotted](performance/{file})"
        for file in sorted(found)
        if file.endswith(".svg") and _workload(file) == name
    ]
    return "\n\n".join([said, f"```text\n{text.rstrip()}\n```", *plots])
