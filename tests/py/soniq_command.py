"""The real command `soniq`, run as a process, with a terminal or without one."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testing.server import dying_with_parent

SONIQ = Path(sys.executable).with_name("soniq")
PATIENCE = 120.0
TYPED_AGAIN_AFTER = 5.0


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


def environment(url: str, settings: Mapping[str, object]) -> dict[str, str]:
    """This process's, with the database and nobody's own settings. Names in capitals are taken as they are."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SONIQ_", "PG"))}
    given = {
        name if name.isupper() else f"SONIQ_{name.upper()}": str(value)
        for name, value in settings.items()
    }
    return {**inherited, "SONIQ_DATABASE_URL": url, **given}


def start(url: str, *arguments: object, **settings: object) -> "subprocess.Popen[str]":
    """Starts the command, with nothing on its stdin."""
    # By its path: `settings` may leave PATH with nothing on it.
    [program, *flags] = dying_with_parent(signal.SIGKILL)
    return subprocess.Popen(
        [shutil.which(program) or program, *flags, str(SONIQ), *map(str, arguments)],
        env=environment(url, settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def finish(process: "subprocess.Popen[str]") -> Finished:
    """Waits for a command; whatever it was, it ends without a traceback."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert "Traceback" not in err, err
    return Finished(process.returncode, out, err)


def soniq(url: str, *arguments: object, **settings: object) -> Finished:
    """Runs `soniq ARGUMENTS...` where there is no terminal."""
    return finish(start(url, *arguments, **settings))


def done(url: str, *arguments: object, **settings: object) -> Finished:
    """Runs it, and it succeeds."""
    finished = soniq(url, *arguments, **settings)
    assert finished.code == 0, finished
    return finished


def refused(url: str, code: int, *arguments: object, **settings: object) -> str:
    """Runs it, and it ends with this exit code; the answer is what it says about that, in one line."""
    finished = soniq(url, *arguments, **settings)
    assert finished.code == code, finished
    return " ".join(finished.err.split())


def at_terminal(url: str, keys: str, *arguments: object) -> tuple[int, str]:
    """Runs it at a terminal, where `keys` are typed once it asks; the answer is its exit code and what is shown."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve(SONIQ, ["soniq", *map(str, arguments)], environment(url, {"TERM": "xterm"}))
    shown, waited, is_typed = b"", 0.0, False
    try:
        while True:
            if not select.select([terminal], [], [], TYPED_AGAIN_AFTER)[0]:
                waited += TYPED_AGAIN_AFTER
                if waited >= PATIENCE:
                    os.kill(process, signal.SIGKILL)
                # Python loses a Ctrl-C that comes after the question and before it waits for the answer.
                is_typed = False
            elif chunk := os.read(terminal, 65536):
                shown += chunk
            else:
                break
            if not is_typed and b"[y/N]:" in shown:
                os.write(terminal, keys.encode())
                is_typed = True
    except OSError:
        pass  # how a terminal tells that nobody has it open any more
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace").replace("\r\n", "\n")
