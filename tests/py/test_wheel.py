"""From the built wheel to a running, scraped runner, outside the checkout, by the commands of docs/production.md."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from conftest import ROOT, rows
from waiting import wait_for

JOBS = """
from soniq import Soniq

app = Soniq()


@app.job
async def greet(name: str) -> str:
    return f"hello {name}"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a new environment with nothing but the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True, cwd=folder
    )
    [wheel] = folder.glob("soniq-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    programs = folder / "venv/bin"
    subprocess.run(
        [programs / "pip", "install", "--quiet", "--disable-pip-version-check", wheel], check=True
    )
    return programs


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_newcomer_gets_to_a_scraped_runner(
    installed: Path, empty_database: str, tmp_path: Path
) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    port = free_port()
    environment = {
        "PATH": f"{installed}{os.pathsep}{os.environ['PATH']}",
        "SONIQ_DATABASE_URL": empty_database,
        "SONIQ_JOBS_MODULES": "jobs",
        "SONIQ_METRICS_PORT": str(port),
    }

    def soniq(*arguments: str) -> str:
        return subprocess.run(
            [installed / "soniq", *arguments],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    soniq("setup")
    assert rows(empty_database, "select soniq.version()") == [("0.1.0",)]
    soniq("doctor")
    runner = subprocess.Popen([installed / "soniq-runner"], cwd=tmp_path, env=environment)
    try:
        rows(empty_database, "select soniq.enqueue('greet', '{\"name\": \"Ada\"}')")
        wait_for(
            lambda: rows(empty_database, "select from soniq.finished_jobs"),
            what="the job to be done",
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            scraped = response.read().decode()
        assert 'job_name="greet"' in scraped
        assert "soniq_queue_jobs{" in scraped
        assert "greet" in soniq("jobs", "list", "--status", "done")
    finally:
        runner.terminate()
    assert runner.wait(timeout=20) == 0
