"""Tasks that handlers start, as asyncio.gather() and TaskGroup do: what they raise reaches the handler, not the runner.

asyncio lets SystemExit and KeyboardInterrupt of any task end the whole loop, and with it all jobs of the process.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import CodeType, TracebackType
from typing import Any


class TaskExit(Exception):
    """A task raised SystemExit or KeyboardInterrupt, which is its cause."""


def contain(loop: asyncio.AbstractEventLoop, known: CodeType) -> Callable[[], None]:
    """Has the loop contain the tasks created from now on, but those of one coroutine function, which needs no help.

    A loop that has a task factory already keeps it. Answers with what takes this back.
    """
    if loop.get_task_factory() is not None:
        return lambda: None

    def make_task(
        loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> "asyncio.Task[Any]":
        if getattr(coroutine, "cr_code", None) is not known:
            coroutine = _Contained(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(make_task)
    return lambda: loop.set_task_factory(None)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that raises TaskExit where the one in it would end the loop."""

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        answer: Generator[Any, Any, Any] = self._coroutine.__await__()
        return answer

    def __getattr__(self, name: str) -> Any:
        """What tools ask of a coroutine, as cr_code and cr_frame."""
        return getattr(self._coroutine, name)

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise TaskExit(f"a task raised {type(error).__name__}: {error}") from error

    def throw(
        self,
        kind: Any,
        value: BaseException | object = None,
        trace: TracebackType | None = None,
    ) -> Any:
        try:
            # Three arguments are deprecated; the loop gives one.
            if value is None and trace is None:
                return self._coroutine.throw(kind)
            return self._coroutine.throw(kind, value, trace)
        except (SystemExit, KeyboardInterrupt) as error:
            raise TaskExit(f"a task raised {type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._coroutine.close()
