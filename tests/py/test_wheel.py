"""From the built wheel to a running, scraped runner, outside the checkout, by docs/getting-started.md alone.

What is run is what stands on the page. Only this differs: the packages of its apt-get are there already, the server
is a throwaway one, and the ports are free ones.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest
import yaml
from conftest import ROOT, rows
from test_metrics import free_port
from testing.server import PORT, Server, dying_with_parent
from testing.tools import downloaded
from waiting import wait_for

PAGE = (ROOT / "docs/getting-started.md").read_text()
PORT_OF_PAGE = "9394"
PROMETHEUS = downloaded("prometheus")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, language
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    [command] = re.findall(r"^    pip (wheel .*) \.$", PAGE, re.MULTILINE)
    subprocess.run([sys.executable, "-m", "pip", *command.split(), ROOT], check=True, cwd=folder)
    [name] = re.findall(r"^Put `(soniq-.*\.whl)`", PAGE, re.MULTILINE)
    return folder / "dist" / str(name)


def test_the_wheel_has_what_the_dashboard_shows(wheel: Path) -> None:
    folder = ROOT / "runner/soniq/dashboard"
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    shown = [
        path
        for room in ("templates", "static")
        for path in (folder / room).rglob("*")
        if path.is_file()
    ]
    assert len(shown) > 20
    assert {str(path.relative_to(ROOT / "runner")) for path in shown} <= packed


class Shell:
    """The one shell into which the blocks are pasted."""

    def __init__(self, folder: Path, environment: dict[str, str], adapt: Callable[[str], str]):
        self._adapt = adapt
        self._said = folder / "said"
        self._process = subprocess.Popen(
            [*dying_with_parent(signal.SIGKILL), shutil.which("bash") or "bash", "-eu"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said.open("wb"),
            text=True,
            start_new_session=True,
        )

    def paste(self, block: str) -> str:
        """Runs a block as it stands on the page and answers with its output. The shell ends at the first failure."""
        self._pipe(self._process.stdin).write(f"{self._adapt(block)}\necho; echo end of block\n")
        self._pipe(self._process.stdin).flush()
        lines: list[str] = []
        for line in self._pipe(self._process.stdout):
            if line == "end of block\n":
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"{block}\n{''.join(lines)}\n{self._said.read_text()}")

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe
        return pipe

    def close(self) -> None:
        # With the runner, where a block before the last has failed.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)


@contextmanager
def scraping(folder: Path, target: str) -> Iterator[str]:
    """A real Prometheus with the page's configuration; the answer is where it can be asked."""
    [snippet] = blocks("yaml")
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n" + snippet.replace(f"localhost:{PORT_OF_PAGE}", target)
    )
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            *(*dying_with_parent(signal.SIGKILL), str(PROMETHEUS)),
            *(f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"),
            f"--web.listen-address={address}",
        ],
        stderr=(folder / "prometheus.log").open("wb"),
    )
    try:
        yield address
    finally:
        process.terminate()
        process.wait(30)


def value_of(address: str, query: str) -> str | None:
    asked = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            [result] = json.load(answer)["data"]["result"]
    except (OSError, ValueError):
        return None  # it is not up yet, or has not scraped yet
    return str(result["value"][1])


def test_a_newcomer_gets_to_a_scraped_runner(
    wheel: Path, own_server: Server, tmp_path: Path
) -> None:
    port = str(free_port())
    sockets = urllib.parse.quote(str(own_server.sockets), safe="")
    shutil.copy(wheel, tmp_path)
    (tmp_path / "shop_jobs.py").write_text(blocks("python")[0])
    assert "Save this as `shop_jobs.py`:" in PAGE

    def adapt(block: str) -> str:
        return (
            block.replace("sudo -u postgres psql", f"psql '{own_server.url()}'")
            .replace("@localhost/shop", f"@/shop?host={sockets}\\&port={PORT}")
            .replace(PORT_OF_PAGE, port)
        )

    packages, install, database, setup, run, enqueue, look, metrics, stop = blocks("sh")
    assert packages.startswith("sudo apt-get install -y ")
    # What script/test installs, and what any machine that runs it has.
    assert {"sqitch", "libdbd-pg-perl", "postgresql-client"} < set(packages.split())

    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SONIQ_", "PG", "PYTHON", "VIRTUAL_ENV"))
    }
    environment["PIP_QUIET"] = "1"
    # python3 is that of this test rather than whichever is first on PATH, which may be too old.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(Path(sys.base_prefix) / "bin/python3")
    environment["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{environment['PATH']}"
    url = own_server.url("shop")
    shell = Shell(tmp_path, environment, adapt)
    try:
        shell.paste(install)
        shell.paste(database)
        assert "pending   none" in shell.paste(setup)
        assert rows(url, "select soniq.version()") == [("0.1.0",)]
        shell.paste(run)
        shell.paste(enqueue)
        wait_for(lambda: rows(url, "select from soniq.finished_jobs"), what="the job to be done")
        looked = shell.paste(look)
        assert "greet" in looked
        assert '"hello Ada"' in looked
        scraped = shell.paste(metrics)
        assert 'job_name="greet"' in scraped
        assert "soniq_queue_jobs{" in scraped
        if PROMETHEUS:
            with scraping(tmp_path, f"localhost:{port}") as address:
                wait_for(lambda: value_of(address, 'up{job="soniq"}') == "1", within=30)
                ended = 'sum(soniq_job_attempts_ended_total{job_name="greet", status="done"})'
                assert value_of(address, ended) == "1"
        shell.paste(stop)
        assert rows(url, "select count(*) from soniq.runners") == [(0,)]
    finally:
        shell.close()


def test_the_snapshot_does_for_where_there_is_no_sqitch(
    empty_database: str, tmp_path: Path
) -> None:
    made = re.findall(r"`(script/generate snapshot soniq\.sql)`", PAGE)
    assert len(made) == 1
    subprocess.run(
        [sys.executable, ROOT / "script/generate", "snapshot", tmp_path / "soniq.sql"], check=True
    )
    [command] = re.findall(r"^    (psql .* -f soniq\.sql)$", PAGE, re.MULTILINE)
    subprocess.run(
        ["bash", "-euc", command],
        cwd=tmp_path,
        env={**os.environ, "SONIQ_DATABASE_URL": empty_database},
        check=True,
        capture_output=True,
    )
    assert rows(empty_database, "select soniq.version()") == [("0.1.0",)]


def test_the_page_and_the_file_tell_prometheus_the_same() -> None:
    shown = yaml.safe_load(blocks("yaml")[0])
    file = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yml").read_text())
    assert shown["scrape_configs"] == file["scrape_configs"]
    [job] = shown["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"localhost:{PORT_OF_PAGE}"]}]
    assert f"SONIQ_METRICS_PORT={PORT_OF_PAGE}" in "".join(blocks("sh"))
