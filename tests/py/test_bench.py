"""script/bench in small: what it counts is counted right, and what it has measured is kept. No figures are compared."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import rows
from testing.outcome import CheckFailed
from testing.server import Server

from benchmarks import __main__ as bench
from benchmarks import cpu, enqueue
from benchmarks.draining import drain_by_runner, drain_by_runners
from benchmarks.section import Options, Section, Verdict
from benchmarks.site import TEMPLATE, Site
from benchmarks.spending import Meter

pytestmark = pytest.mark.long

JOBS = 600


@pytest.fixture(scope="module")
def site(server: Server) -> Iterator[Site]:
    yield Site(server)
    server.drop_database(TEMPLATE)


def test_a_drain_by_several_runners_is_checked_over_all_of_them(site: Site) -> None:
    with site.database("soniq_fill.sql", jobs=JOBS) as database:
        drained = drain_by_runners(database, JOBS, runners=2, concurrency=5)
        assert drained.jobs_per_second > 0
        assert drained.runner_cpus > 0


def test_a_job_that_runs_twice_is_no_figure(site: Site) -> None:
    with site.database("soniq_fill.sql", jobs=JOBS) as database:
        rows(database.url, "update soniq.jobs set args = '{\"number\": 1}' where id <= 2")
        with pytest.raises(CheckFailed, match=f"{JOBS} times, for {JOBS - 1} of them"):
            drain_by_runner(database, JOBS, concurrency=5)


def test_a_meter_counts_wal_commits_and_the_cpu_of_sessions_that_have_ended(site: Site) -> None:
    with site.database() as database:
        meter = Meter(database)
        with meter, psycopg.connect(database.url, autocommit=True) as connection:
            for number in range(50):
                connection.execute("insert into plain.batch values (%s)", [[str(number)]])
            connection.execute("select count(*) from generate_series(1, 2000000)")
    # Starting a session is a transaction, too.
    assert 51 <= meter.spent.commits <= 53
    assert 50 * 50 < meter.spent.wal_bytes < 1_000_000
    assert meter.spent.cpu_seconds > 0.02, "two ticks of the clock that the kernel counts in"


def test_cpu_time_of_a_process_is_its_own() -> None:
    before = cpu.used_by(os.getpid())
    subprocess.run([sys.executable, "-c", "sum(range(5_000_000))"], check=True)
    spent_by_child = cpu.used_by(os.getpid()) - before
    sum(range(20_000_000))
    assert cpu.used_by(os.getpid()) - before > spent_by_child


def test_beside_the_plain_insert_the_runner_works_off_other_jobs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue, "SECONDS", 1)
    beside = enqueue.BesideRunner(clients=1)
    assert beside.enqueue(site) > 0
    assert beside.insert(site) > 0
    assert beside.done_beside_enqueue(site) > 0
    assert beside.done_beside_insert(site) > 0


def good(site: Site, options: Options) -> Section:
    return Section("a table", [Verdict(True, "quick")], {"good.svg": "<svg/>"})


def failing(site: Site, options: Options) -> Section:
    raise CheckFailed("a job ran twice")


def broken(site: Site, options: Options) -> Section:
    raise ZeroDivisionError


def interrupted(site: Site, options: Options) -> Section:
    raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        bench,
        "WORKLOADS",
        {"failing": failing, "broken": broken, "good": good, "interrupted": interrupted},
    )
    return tmp_path / "measured"


def ask(monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> int:
    flags = [flag for name in names for flag in ("--only", name)]
    monkeypatch.setattr(sys, "argv", ["script/bench", "--save", str(folder), *flags])
    return bench.main()


def test_a_workload_that_fails_is_a_missed_target_and_the_others_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(monkeypatch, folder, "failing", "broken", "good") == 1
    said = capsys.readouterr().out
    assert "a job ran twice" in said
    assert "ZeroDivisionError" in said
    assert "PASS  quick" in said
    assert "FAIL  failing: not measured to the end" in (folder / "failing.txt").read_text()
    assert "PASS  quick" in (folder / "good.txt").read_text()
    assert (folder / "good.svg").read_text() == "<svg/>"


def test_what_was_measured_before_an_interrupt_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(monkeypatch, folder, "good", "interrupted", "failing") == 130
    assert "PASS  quick" in capsys.readouterr().out
    assert [path.name for path in sorted(folder.iterdir())] == ["good.svg", "good.txt"]
