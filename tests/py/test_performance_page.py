"""docs/performance.md: made from what script/bench --save wrote, and open about what is missed or not measured."""

from pathlib import Path

import pytest
from performance_page import NOT_MEASURED, TEXTS, WORKLOADS, performance_page

from benchmarks import __main__ as bench
from benchmarks.section import Section, Verdict


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    folder = tmp_path / "measured"
    drain = Section("Drain\n  a table", [Verdict(True, "quick enough"), Verdict(False, "too slow")])
    soak = Section("Soak", [Verdict(True, "levels off")], {"soak.svg": "<svg/>"})
    for name, section in (("drain", drain), ("soak", soak)):
        bench.save(folder, name, "a machine", section)
    return folder


def written(measured: Path, docs: Path) -> str:
    for path, text in performance_page(measured, docs).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return (docs / "performance.md").read_text()


def test_the_verdicts_of_all_texts_are_at_the_top(measured: Path, docs: Path) -> None:
    top, _, rest = written(measured, docs).partition("## How it is measured")
    assert "2 of 3 targets are met" in top
    assert "| [drain](#draining-a-full-queue) | PASS | quick enough |" in top
    assert "| [drain](#draining-a-full-queue) | **FAIL** | too slow |" in top
    assert "| [soak](#soak) | PASS | levels off |" in top
    assert "Not measured: peers, scale," in top
    assert (
        "```text\na machine\n\nDrain\n  a table\n\nPASS  quick enough\nFAIL  too slow\n```" in rest
    )
    assert rest.count(NOT_MEASURED) == len(WORKLOADS) - 2


def test_plots_are_copied_and_shown(measured: Path, docs: Path) -> None:
    assert "![Soak, plotted](performance/soak.svg)" in written(measured, docs)
    assert (docs / "performance/soak.svg").read_text() == "<svg/>"


def test_what_was_measured_before_stays_until_it_is_measured_anew(
    measured: Path, docs: Path
) -> None:
    page = written(measured, docs)
    assert written(docs / "performance", docs) == page
    (measured / "soak.txt").unlink()
    (measured / "drain.txt").write_text("Drain\n\nPASS  quick at last\n")
    page = written(measured, docs)
    assert "quick at last" in page
    assert "too slow" not in page
    assert "levels off" in page


def test_a_folder_without_measurements_is_refused(tmp_path: Path, docs: Path) -> None:
    with pytest.raises(SystemExit, match="nothing that script/bench --save wrote"):
        performance_page(tmp_path / "mistyped", docs)


def test_a_file_of_no_workload_is_refused(measured: Path, docs: Path) -> None:
    (measured / "lunch.txt").write_text("soup")
    with pytest.raises(SystemExit, match=r"lunch\.txt"):
        performance_page(measured, docs)


def test_every_workload_has_words_of_its_own() -> None:
    assert sorted(WORKLOADS) == sorted(bench.WORKLOADS)
    assert {path.stem for path in TEXTS.glob("*.md")} == {"page", *WORKLOADS}
    for name in WORKLOADS:
        assert (TEXTS / f"{name}.md").read_text().startswith("## ")
