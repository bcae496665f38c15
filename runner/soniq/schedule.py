"""Periodic jobs as code declares them: what soniq.schedule() is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from soniq.errors import BadDeclaration
from soniq.job import seconds_to_interval


@dataclass(frozen=True, slots=True)
class Schedule:
    """A periodic call of a handler. None leaves a matter to soniq.schedule(), which checks the rest."""

    name: str | None
    function: Callable[..., Any]
    cron: str | None
    every: timedelta | None
    timezone: str | None
    args: Mapping[str, Any] | None
    missed_runs: str | None
    max_missed_runs: int | None
    allow_overlap: bool | None

    @property
    def where(self) -> str:
        """The function's place in the code."""
        return f"{self.function.__module__}.{self.function.__qualname__}"


def make_schedule(
    function: Callable[..., Any],
    *,
    name: str | None,
    cron: str | None,
    every: float | timedelta | None,
    timezone: str | None,
    args: Mapping[str, Any] | None,
    missed_runs: str | None,
    max_missed_runs: int | None,
    allow_overlap: bool | None,
) -> Schedule:
    """What the decorator's options describe. Raises BadDeclaration for neither or both of cron and every."""
    if (cron is None) == (every is None):
        raise BadDeclaration(
            f"{function.__module__}.{function.__qualname__}: give periodic() either"
            ' cron="0 3 * * *" or every=600 (seconds, or a timedelta)'
        )
    return Schedule(
        name=name,
        function=function,
        cron=cron,
        every=None if every is None else seconds_to_interval("every", every),
        timezone=timezone,
        args=args,
        missed_runs=missed_runs,
        max_missed_runs=max_missed_runs,
        allow_overlap=allow_overlap,
    )
