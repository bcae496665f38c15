"""Running programs: their output together, an end to patience, and an error that shows both."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .outcome import CheckFailed

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 600.0


class CommandFailed(CheckFailed):
    """A program ended with an error, or not at all; its output is kept."""

    def __init__(self, command: list[str], how: str, output: str) -> None:
        """Keeps what was run, how it ended and what it said."""
        super().__init__(f"$ {' '.join(command)}\n{output.rstrip()}\n({how})")
        self.output = output


def run(
    *command: str | Path, environment: Mapping[str, str] | None = None, folder: Path = ROOT
) -> str:
    """Runs a program and answers with its output. Raises CommandFailed if it fails."""
    return finish(start(*command, environment=environment, folder=folder))


def start(
    *command: str | Path, environment: Mapping[str, str] | None = None, folder: Path = ROOT
) -> "subprocess.Popen[str]":
    """Starts a program, with nothing on its stdin, and stdout and stderr in one pipe."""
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]", patience: float = PATIENCE) -> str:
    """Waits for a program and answers with its output. Raises CommandFailed if it fails."""
    assert isinstance(process.args, list)
    try:
        output, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        output = abandon(process)
        raise CommandFailed(process.args, f"killed after {patience:g} s", output) from None
    except KeyboardInterrupt:
        abandon(process)
        raise
    if process.returncode:
        raise CommandFailed(process.args, f"exit code {process.returncode}", output)
    return output


def abandon(process: "subprocess.Popen[str]") -> str:
    """Kills a program with all that it started, unless it has ended. Answers with what it said last."""
    if process.returncode is not None:
        return ""
    os.killpg(process.pid, signal.SIGKILL)
    output, _ = process.communicate()
    return output
