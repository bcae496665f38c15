"""script/bench --peers without the network: what is installed, what is kept, and what is said of what cannot be."""

from pathlib import Path

import pytest

from benchmarks.peers import comparison, environments, systems
from benchmarks.peers.environments import InstallationFailed, NodeEnvironment, PythonEnvironment
from benchmarks.peers.systems import Peer

PACKAGES = ("graphile-worker@0.17.3",)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Environments are made here, where npm is not to be found."""
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_without_npm_the_reason_tells_what_to_install() -> None:
    with pytest.raises(
        InstallationFailed, match=r"^npm is not installed: sudo apt-get install npm"
    ):
        NodeEnvironment("graphile-worker", PACKAGES).prepare()


def test_a_package_that_cannot_be_had_is_the_reason(folder: Path) -> None:
    missing = f"peer @ file://{folder}/peer.whl"
    with pytest.raises(InstallationFailed, match=r"peer\.whl"):
        PythonEnvironment("peer", (missing,)).prepare()


def test_an_environment_is_kept_until_its_packages_change(folder: Path) -> None:
    environment = NodeEnvironment("graphile-worker", PACKAGES)
    environment.folder.mkdir()
    environment.made_for.write_text(environment.wanted)
    environment.prepare()
    with pytest.raises(InstallationFailed):
        NodeEnvironment("graphile-worker", ("graphile-worker@0.18.0",)).prepare()
    assert not environment.made_for.exists(), "what is half made is not taken for made"


def test_a_system_that_cannot_be_installed_is_skipped_and_said_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = Peer("graphile-worker", NodeEnvironment("graphile-worker", PACKAGES), "", "")
    monkeypatch.setattr(systems, "ALL", (systems.SONIQ, missing))
    there, about = comparison.install()
    assert there == [systems.SONIQ]
    assert "SKIPPED, NOT MEASURED: graphile-worker: npm is not installed" in about


def test_every_program_is_there() -> None:
    for peer in systems.ALL:
        found = [path.suffix for path in environments.PEERS.glob(f"{peer.program}.*")]
        wanted = ".mjs" if isinstance(peer.environment, NodeEnvironment) else ".py"
        assert found == [wanted], peer.name
