"""The README's examples, run as they stand there, and the one for Node."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, StartRunner, WriteJobs, rows
from waiting import wait_for

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no block of {language}"
    return found


def test_what_it_enqueues_its_handlers_run(
    database: str,
    write_jobs: WriteJobs,
    start_runner: StartRunner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers, producer = blocks("python")
    write_jobs(handlers, name="shop_jobs")
    runner = start_runner(database, jobs_modules="shop_jobs")
    runner.wait_for_log("jobs at once")
    rows(database, "create table public.orders (id bigint primary key)")
    for statement in blocks("sql"):
        rows(database, statement)

    (tmp_path / "producer.py").write_text(producer)
    monkeypatch.setenv("DATABASE_URL", database)
    subprocess.run([sys.executable, "producer.py"], cwd=tmp_path, check=True, timeout=30)
    wait_for(lambda: rows(database, "select from soniq.finished_jobs having count(*) = 2"))
    assert (
        rows(database, "select job_name, queue, status::text from soniq.finished_jobs order by id")
        == [("send_welcome", "mail", "done")] * 2
    )
    assert rows(database, "select count(*) from public.orders") == [(2,)]


@pytest.mark.skipif(shutil.which("npm") is None, reason="NOT TRIED: npm is not installed")
def test_node_enqueues(database: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples/enqueue", tmp_path / "enqueue")
    folder = tmp_path / "enqueue"
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    said = subprocess.run(
        ["node", "enqueue.mjs"],
        cwd=folder,
        env={"DATABASE_URL": database, "PATH": str(Path(shutil.which("node") or "").parent)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert rows(database, "select 'job ' || id, job_name, args, queue from soniq.jobs") == [
        (said.strip(), "send_welcome", {"to": "ada@example.org"}, "mail")
    ]
    assert rows(database, "select id from public.orders") == [(7,)]
