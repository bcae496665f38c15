"""The real soniq-runner as a process of a test's own: started, signalled, waited for, read."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from testing.server import dying_with_parent
from waiting import wait_for

RUNNER = Path(sys.executable).with_name("soniq-runner")


class RunnerProcess:
    """A running soniq-runner, and its log."""

    def __init__(self, url: str, folder: Path, log: Path, *flags: str, **settings: object) -> None:
        """Starts it in `folder`; `settings` become SONIQ_* variables, as in concurrency=2."""
        if not RUNNER.exists():
            raise FileNotFoundError(
                f"{RUNNER}: install the project where pytest is, or run script/test"
            )
        # As large as the concurrency asks for, so that a test need not think of it.
        concurrency = str(settings.get("concurrency", 4))
        if concurrency.isdecimal():
            settings = {"pool_max_size": max(20, int(concurrency) + 2), **settings}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SONIQ_", "PG"))}
        given = {f"SONIQ_{name.upper()}": str(value) for name, value in settings.items()}
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*dying_with_parent(signal.SIGKILL), RUNNER, *flags],
                cwd=folder,
                env={**inherited, "SONIQ_DATABASE_URL": url, **given},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id, as in soniq.runners."""
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything it has written so far, on stdout and stderr."""
        return self._log.read_text(errors="replace")

    def wait_for_log(self, pattern: str, within: float = 30) -> re.Match[str]:
        """Waits until a line of the log matches the regular expression."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.log, re.MULTILINE)
            if match is None and self.process.poll() is not None:
                raise AssertionError(
                    f"the runner has ended with exit code {self.process.returncode}:\n{self.log}"
                )
            return match

        return wait_for(
            found, within=within, what=lambda: f"{pattern!r} in the runner's log:\n{self.log}"
        )

    def send(self, number: signal.Signals) -> None:
        """Sends a signal: SIGTERM, SIGINT, SIGKILL, or SIGSTOP and SIGCONT to freeze and thaw it."""
        self.process.send_signal(number)

    def exit_code(self, within: float = 30) -> int:
        """Waits until it ends. Negative is the number of the signal that killed it."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the runner still runs after {within} s:\n{self.log}") from None

    def stop(self, within: float = 10) -> int:
        """Asks it to drain (SIGTERM) and answers with its exit code."""
        self.send(signal.SIGTERM)
        return self.exit_code(within)

    def kill(self) -> None:
        """Kills it for certain, frozen or not, and waits until it is gone."""
        self.process.kill()
        self.process.wait()
