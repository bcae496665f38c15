"""What a stage found: how many checks passed, failed and were skipped, and the details of the failures."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class CheckFailed(Exception):
    """What was checked is not so; the message tells all that one needs to know."""


@dataclass
class Outcome:
    """A stage's result. `note` stands on its line, `report` below it; `details` tell what failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    note: str = ""
    report: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """One check: whatever the block raises is its failure, and the stage goes on."""
        try:
            yield
        except Exception as error:
            self.failed += 1
            known = isinstance(error, CheckFailed)
            self.details.append(f"{name}:\n{error if known else traceback.format_exc()}".rstrip())
        else:
            self.passed += 1

    def add(self, other: "Outcome") -> None:
        """Takes in the result of a part."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.details += other.details

    def counts(self) -> str:
        """As in "12 passed, 0 failed, 3 skipped"."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"
