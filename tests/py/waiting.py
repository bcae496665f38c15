"""Waiting for a condition with a deadline, instead of sleeping for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T | None], within: float = 30, what: str | Callable[[], str] = "it"
) -> T:
    """Calls `condition` until what it answers is true, and answers with that.

    Fails the test when `within` seconds are over, saying for `what` it waited in vain.
    """
    deadline = time.monotonic() + within
    while not (answer := condition()):
        if time.monotonic() > deadline:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {within} s in vain for {told}")
        time.sleep(0.02)
    return answer
