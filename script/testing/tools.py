"""Programs that script/test fetches without installing them, since their package would start a service."""

import shutil
from pathlib import Path

from .commands import ROOT


def downloaded(program: str) -> Path | None:
    """A program below build/, where script/test has put it, else the machine's own; None if there is neither."""
    found = ROOT / "build/prometheus/usr/bin" / program
    if found.is_file():
        return found
    on_path = shutil.which(program)
    return Path(on_path) if on_path else None
