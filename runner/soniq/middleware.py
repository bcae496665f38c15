"""Functions around each run of a handler: what they are, and how they nest."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from soniq.errors import BadDeclaration
from soniq.job import Job

CallNext = Callable[[Job], Awaitable[Any]]
Middleware = Callable[[Job, CallNext], Awaitable[Any]]


def check(function: Callable[..., Any]) -> None:
    """Raises BadDeclaration for what cannot be called as `await function(job, call_next)`."""
    where = getattr(function, "__qualname__", repr(function))
    if not (
        inspect.iscoroutinefunction(function)
        or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
    ):
        raise BadDeclaration(
            f"the middleware {where} is not async: write async def {where}(job, call_next)"
        )
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise BadDeclaration(
            f"the middleware {where} cannot be called with (job, call_next): {error}"
        ) from error


def nest(middleware: Sequence[Middleware], innermost: CallNext) -> CallNext:
    """One call for all of them, the first outermost."""
    call = innermost
    for function in reversed(middleware):
        call = _around(function, call)
    return call


def _around(function: Middleware, call_next: CallNext) -> CallNext:
    async def call(job: Job) -> Any:
        return await function(job, call_next)

    return call
