"""Where the other systems are installed: each in a folder of its own below build/peers/, made once for its packages."""

import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testing.commands import ROOT, CommandFailed, run

PEERS = Path(__file__).parent
FOLDER = ROOT / "build/peers"


class InstallationFailed(Exception):
    """A system cannot be measured here; the message says why, in one line."""


@dataclass(frozen=True)
class Environment(ABC):
    """A folder with packages, each pinned to a version."""

    name: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it is."""
        return FOLDER / self.name

    @property
    def made_for(self) -> Path:
        """Its last file, written when it is complete."""
        return self.folder / "made-for"

    @property
    def wanted(self) -> str:
        """What that file has to say."""
        return "\n".join((str(self.folder), *self.packages))

    def prepare(self) -> None:
        """Makes it, unless it is there with the same packages. Raises InstallationFailed."""
        if self.made_for.exists() and self.made_for.read_text() == self.wanted:
            return
        print(f"script/bench: installing {', '.join(self.packages)} ...", file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            self._install()
        except FileNotFoundError as error:
            raise InstallationFailed(f"{error.filename} is not installed{self._remedy}") from error
        except CommandFailed as failure:
            raise InstallationFailed(_last_words(failure.output)) from failure
        self.made_for.write_text(self.wanted)

    def variables(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """Of the given environment variables those for its programs: none that leads to our own packages."""
        return {name: value for name, value in given.items() if name != "PYTHONPATH"}

    @abstractmethod
    def command(self, program: str) -> list[str | Path]:
        """How a program beside this file is run in it, from the root of the checkout."""

    @abstractmethod
    def _install(self) -> None: ...

    @property
    @abstractmethod
    def _remedy(self) -> str: ...


class PythonEnvironment(Environment):
    """A virtual environment."""

    def command(self, program: str) -> list[str | Path]:
        """By the interpreter of the environment."""
        return [self.folder / "bin/python", "-m", f"benchmarks.peers.{program}"]

    def _install(self) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", self.folder)
        run(
            *(sys.executable, "-m", "pip", "--disable-pip-version-check"),
            *("--python", str(self.folder / "bin/python"), "install", "--quiet", *self.packages),
        )

    _remedy = ""


class NodeEnvironment(Environment):
    """A node_modules folder. One of the packages is Node itself: Debian's is too old for some."""

    def command(self, program: str) -> list[str | Path]:
        """The program is run from a copy, since Node looks for packages beside it."""
        for source in PEERS.glob("*.mjs"):
            shutil.copy(source, self.folder)
        return [self.folder / "node_modules/.bin/node", self.folder / f"{program}.mjs"]

    def _install(self) -> None:
        (self.folder / "package.json").write_text('{"private": true}\n')
        run(
            *("npm", "install", "--no-audit", "--no-fund", "--loglevel=error"),
            *self.packages,
            folder=self.folder,
        )

    _remedy = ": sudo apt-get install npm"


class OwnEnvironment(Environment):
    """What script/bench runs in itself, with Soniq as it is in this checkout."""

    def variables(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """All of them."""
        return given

    def prepare(self) -> None:
        """It is there."""

    def command(self, program: str) -> list[str | Path]:
        """By the interpreter that runs this."""
        return [sys.executable, "-m", f"benchmarks.peers.{program}"]

    def _install(self) -> None: ...

    _remedy = ""


def _last_words(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "installing failed without a word"
