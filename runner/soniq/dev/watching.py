"""The code of the modules: where it is, and when it changes."""

import asyncio
import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from watchfiles import Change, PythonFilter, awatch

from soniq.database import describe
from soniq.errors import ModuleNotImportable, SoniqError

Tell = Callable[[Sequence[Path]], Awaitable[None]]
STEP = 100  # milliseconds without another change after which those before are told
GLANCE = 1000  # milliseconds between two looks whether the folders are still the same


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
    """Where a runner finds the outermost package of a module, or the module; None if it does not."""
    parts = name.split(".")
    if not all(map(str.isidentifier, parts)):
        return None
    try:
        # Where one starts it is where one's modules are, as for the runner. This process itself takes none of them: one
        # may have the name of a module of Python's.
        here = PathFinder.find_spec(parts[0], [os.getcwd(), *sys.path])
        return here or importlib.util.find_spec(parts[0])
    except ValueError:  # what is no file, such as __main__
        return None


@asynccontextmanager
async def watched(found: Places, tell: Tell) -> AsyncIterator[None]:
    """Within the block, and from its first moment on, calls `tell` with the Python files that have changed.

    Raises SoniqError where they cannot be watched.
    """
    async with asyncio.TaskGroup() as tasks:
        watching = []
        for folders, is_recursive in ((found.whole, True), (found.flat, False)):
            if folders:
                is_armed = asyncio.Event()
                watching.append(tasks.create_task(_watch(folders, is_recursive, tell, is_armed)))
                await is_armed.wait()
        yield
        for task in watching:
            task.cancel()


async def _watch(
    folders: frozenset[Path], is_recursive: bool, tell: Tell, is_armed: asyncio.Event
) -> None:
    """Watches folders, also where one is taken away and comes back, as by git: then it is another one."""
    known = _there(folders)
    while True:
        changed: set[Path] = set()
        try:
            is_armed.set()  # nobody else runs before this task waits, and then it watches
            async with aclosing(
                awatch(
                    *known,
                    watch_filter=_what_matters(folders),
                    step=STEP,
                    rust_timeout=GLANCE,
                    yield_on_timeout=True,
                    recursive=is_recursive,
                )
            ) as watching:
                async for changes in watching:
                    changed = {Path(path) for _, path in changes}
                    if changed & folders or _there(folders) != known:
                        break
                    if changed:
                        await tell(sorted(changed))
        except (RuntimeError, OSError) as error:
            # Unless one has just gone, it is the system's limit of what may be watched, say.
            if _there(folders) == known:
                raise SoniqError(
                    f"the code cannot be watched: {describe(error)}; soniq dev --no-reload does without"
                ) from error
        now = _there(folders)
        back = {each for each in now if each in changed or now[each] != known.get(each)}
        if told := (changed - folders) | back:
            await tell(sorted(told))
        known = now


def _what_matters(folders: frozenset[Path]) -> Callable[[Change, str], bool]:
    """Python files, and folders that are gone."""
    is_code = PythonFilter()

    def matters(change: Change, path: str) -> bool:
        return is_code(change, path) or (change is Change.deleted and Path(path) in folders)

    return matters


def _there(folders: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Which folders there are. The same path may be another folder than before, and its number one that was used."""
    found = {}
    for folder in folders:
        with suppress(OSError):
            status = folder.stat()
            found[folder] = (status.st_dev, status.st_ino)
    return found
