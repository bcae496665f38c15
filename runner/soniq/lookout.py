"""When to look for jobs: when the doorbell rings, when one is due, and now and then untold.

The waiting sign stays up for as long as each look finds all there is: then a job costs one wake-up and one claim. It
comes down where jobs come in a stream, in which looking again at once is cheaper, and when there is more than this
runner takes, which is for others to know.
"""

import time
from collections.abc import Sequence

from soniq.doorbell import Doorbell, Heard

# A wake-up may be lost to a race (sql/wakeup.sql), so a waiting runner looks again: soon, then more seldom. Most are
# lost to an enqueue that saw no sign a moment before it was up, and commits a moment later.
FIRST_LOOK_AGAIN = 0.01  # seconds
FIRST_LOOK_AFTER_SIGN = 0.002  # seconds
# Commits that notify wait for each other's write to the disk, so where jobs come one upon another nobody is to notify.
IN_A_STREAM = 0.02  # seconds from one look that brought jobs to the next
LINGER = 0.01  # seconds after the last such look in which the sign stays down
NAPS = 0.001, 0.002  # seconds between looks meanwhile


class Lookout:
    """To be asked before each claim, told after it, and asked how long to rest when there is nothing else to do."""

    def __init__(self, doorbell: Doorbell, poll_interval: float) -> None:
        self._doorbell = doorbell
        self._poll_interval = poll_interval
        self._told = Heard()
        self._was_due = False
        self._may_be_more = False
        self._sign_is_new = False
        self._found_at = float("-inf")
        self._pause = FIRST_LOOK_AGAIN
        self._look_at = float("inf")
        self._sign_at = float("-inf")
        self._due_at = float("inf")
        self._knows_due = False

    def look_now(self) -> None:
        """Whatever was known may be so no longer, as after a connection broke."""
        self._look_at = float("-inf")

    def reported(self) -> None:
        """Outcomes were reported: a retry, or what a handler enqueued, may be due before what was to be next."""
        self._knows_due = False

    @property
    def should_look(self) -> bool:
        """Whether a claim may find something."""
        return (
            self._doorbell.has_heard
            or self._may_be_more
            or self._sign_is_new
            or not self._doorbell.waiting
            or time.monotonic() >= min(self._look_at, self._due_at)
        )

    def looking(self) -> None:
        """A claim begins: what is rung from now on may be about jobs that it does not see."""
        self._sign_is_new = False
        self._told = self._doorbell.take_heard()
        self._was_due = time.monotonic() >= self._due_at
        if self._was_due:
            self._knows_due = False

    async def looked(self, queues: Sequence[str], *, may_be_more: bool) -> None:
        """A claim has ended: the queues of the jobs that it brought, and whether it may have left jobs behind."""
        told, self._told = self._told, Heard()
        now = time.monotonic()
        if queues and not self._doorbell.listens:
            self._look_again_soon(FIRST_LOOK_AGAIN)
        elif now >= self._look_at:
            self._pause = min(2 * self._pause, self._poll_interval)
            self._look_at = now + self._pause

        self._may_be_more = may_be_more
        in_a_stream = False
        if queues:
            self._sign_at = float("-inf")
            in_a_stream = now - self._found_at < IN_A_STREAM
            self._found_at = now
        elif told.queues and may_be_more:
            # Two runners that cannot take a job must not keep waking each other for it.
            self._sign_at = now + self._pause
        others = self._for_others(queues, told) if may_be_more else []
        if others:
            await self._doorbell.pass_on(others)
        elif queues and (may_be_more or in_a_stream):
            await self._doorbell.stop_waiting()

    def _for_others(self, queues: Sequence[str], told: Heard) -> Sequence[str]:
        """The queues in which jobs may be left that no other runner knows of."""
        # What is due is announced to nobody, and this runner may have taken it in the place of what it was told of.
        if told.may_be_more or self._was_due or (self._doorbell.waiting and not told.queues):
            return [*queues, *told.queues]
        return told.queues[len(queues) :]

    async def rest(self) -> float:
        """Puts the sign up, if it is not; answers for how many seconds at most there is nothing to look for."""
        now = time.monotonic()
        is_up = self._doorbell.waiting
        if not is_up and now < self._found_at + LINGER:
            shortest, longest = NAPS
            return min(max(now - self._found_at, shortest), longest)
        if not self._knows_due if is_up else now >= self._sign_at:
            # A job may have come before the sign was up.
            self._sign_is_new = not is_up
            if not is_up and self._sign_at == float("-inf"):
                self._look_again_soon(FIRST_LOOK_AFTER_SIGN)
            due = await self._doorbell.start_waiting()
            self._due_at = float("inf") if due is None else now + due
            self._knows_due = True
        if self._sign_is_new:
            return 0.0
        next_sign_at = float("inf") if self._doorbell.waiting else self._sign_at
        return min(self._look_at, self._due_at, next_sign_at) - time.monotonic()

    def _look_again_soon(self, pause: float) -> None:
        self._pause = pause
        self._look_at = time.monotonic() + self._pause

    async def leave_to_others(self) -> None:
        """There is no room, or no wish, to look: takes the sign down, and passes on what was announced here."""
        while self._doorbell.waiting or self._doorbell.has_heard:
            await self._doorbell.pass_on(self._doorbell.take_heard().queues)
