"""Waiting for a condition with a deadline, instead of sleeping for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Seconds between two looks. Most look into the database, over a connection of their own, which takes a server and a
# client as long as the first pause; so they become fewer.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.1


def wait_for(
    condition: Callable[[], T | None], within: float = 30, what: str | Callable[[], str] = "it"
) -> T:
    """Calls `condition` until what it answers is true, and answers with that.

    Fails the test when `within` seconds are over, saying for `what` it waited in vain.
    """
    deadline = time.monotonic() + within
    pause = FIRST_PAUSE
    while not (answer := condition()):
        if time.monotonic() > deadline:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {within} s in vain for {told}")
        time.sleep(pause)
        pause = min(1.2 * pause, LONGEST_PAUSE)
    return answer
