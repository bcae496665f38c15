"""The code of the modules: where it is, and when it changes."""

import asyncio
import importlib.util
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

from watchfiles import PythonFilter, awatch

from soniq.database import describe
from soniq.errors import ModuleNotImportable, SoniqError

Tell = Callable[[Sequence[Path]], Awaitable[None]]
STEP = 100  # milliseconds without another change after which those before are told


@dataclass(frozen=True, slots=True)
class Places:
    """Folders with code: with all that is below them, or only the files in them."""

    whole: frozenset[Path]
    flat: frozenset[Path]


def places(modules: Iterable[str], further: Iterable[Path]) -> Places:
    """Where the packages of these modules are; of a module in no package its folder, and the packages beside it.

    Nothing is imported. Raises ModuleNotImportable for modules of which there is no trace.
    """
    whole, flat = set(further), set()
    for name in modules:
        spec = _spec_of(name)
        if spec is None:
            raise ModuleNotImportable(
                f"there is no module {name!r}: name it as one would import it in {os.getcwd()}, or install it"
            )
        if spec.submodule_search_locations is not None:
            whole |= {Path(place) for place in spec.submodule_search_locations}
        elif spec.origin is not None:
            folder = Path(spec.origin).parent
            flat.add(folder)
            if folder.is_relative_to(Path.cwd()):  # and not where packages are installed
                whole |= {each.parent for each in folder.glob("*/__init__.py")}
    return Places(frozenset(whole), frozenset(flat))


def _spec_of(name: str) -> ModuleSpec | None:
    """Where Python finds the outermost package of a module, or the module; None if it does not."""
    parts = name.split(".")
    if not all(map(str.isidentifier, parts)):
        return None
    try:
        return importlib.util.find_spec(parts[0])
    except ValueError:  # what is no file, such as __main__
        return None


async def watch(found: Places, tell: Tell) -> None:
    """Calls `tell` with the Python files that have changed, again and again. Raises SoniqError where it cannot."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for folders, is_recursive in ((found.whole, True), (found.flat, False)):
                if folders:
                    tasks.create_task(_watch(folders, is_recursive, tell))
    except* (RuntimeError, OSError) as errors:  # the system's limit of what may be watched, say
        told = "; ".join(map(describe, errors.exceptions))
        raise SoniqError(
            f"the code cannot be watched: {told}; soniq dev --no-reload does without"
        ) from errors


async def _watch(folders: Iterable[Path], is_recursive: bool, tell: Tell) -> None:
    async for changes in awatch(
        *folders, watch_filter=PythonFilter(), step=STEP, recursive=is_recursive
    ):
        await tell(sorted({Path(path) for _, path in changes}))
