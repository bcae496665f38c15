"""How far a command has come, shown to whoever waits for it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

# Dead letters. So many and fewer are done before one could read the bar.
QUICK = 1000


@contextmanager
def progress(label: str, count: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, which what is yielded moves on; none where nobody looks, or `count` is soon done."""
    if count <= QUICK or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=count, label=label, file=sys.stderr) as bar:
        yield bar.update
