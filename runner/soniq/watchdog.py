"""A thread that sees what the event loop cannot say itself: that it is blocked, or that jobs wait for threads."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

log = logging.getLogger("soniq")

LOOK_EVERY = 0.25  # seconds
# Counted in looks, not by the clock: a process that was stopped for a while has blocked nothing.
LOOKS_UNANSWERED = 4
PACKAGE = str(Path(__file__).parent)


class Watchdog:
    """Watches the loop in which it is made, once started, until stopped.

    at_work: called on the watchdog's thread with the loop's current task; what runs, in words.
    look: called on its thread at each look.
    """

    def __init__(
        self,
        *,
        at_work: Callable[["asyncio.Task[object] | None"], str],
        look: Callable[[], None],
    ) -> None:
        self._at_work = at_work
        self._look = look
        self._stopped = threading.Event()
        self._asked_at: float | None = None
        self._unanswered = 0

    def start(self) -> None:
        """Begins to watch the running loop, on this thread."""
        threading.Thread(
            target=self._watch,
            args=(asyncio.get_running_loop(), threading.get_ident()),
            name="soniq-watchdog",
            daemon=True,
        ).start()

    def stop(self) -> None:
        """Ends the thread at its next look; may be called from any other."""
        self._stopped.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            try:
                self._look()
                self._look_at(loop, loop_thread)
            except Exception:
                if loop.is_closed():
                    return
                log.exception("the watchdog failed; it goes on")

    def _look_at(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        asked_at = self._asked_at
        if asked_at is None:
            if self._unanswered >= LOOKS_UNANSWERED:
                log.info("the event loop answers again")
            self._unanswered = 0
            self._asked_at = time.monotonic()
            loop.call_soon_threadsafe(self._answer)
            return
        self._unanswered += 1
        if self._unanswered != LOOKS_UNANSWERED:
            return
        task = None
        with suppress(RuntimeError):
            task = asyncio.current_task(loop)
        frame = sys._current_frames().get(loop_thread)
        if frame is None or self._asked_at is None:
            return  # it has answered meanwhile
        log.warning(
            "the event loop has not answered for %.1f s, so no other async job, claim or report goes on: %s blocks it;"
            " await instead of blocking, as with asyncio.to_thread(), or make the handler a plain def. It is at:\n%s",
            time.monotonic() - asked_at,
            self._at_work(task),
            stack_of(frame),
        )

    def _answer(self) -> None:
        self._asked_at = None


def stack_of(frame: FrameType) -> str:
    """The stack that ends in this frame, without what of it is the runner's own at its beginning."""
    stack = traceback.extract_stack(frame)
    ours = [index for index, entry in enumerate(stack) if entry.filename.startswith(PACKAGE)]
    theirs = stack[ours[-1] + 1 :] if ours else stack
    return "".join(traceback.format_list(theirs or stack)).rstrip()
