"""What is measured second by second: looked at, put in order, and compared between one while and another."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """Figures, each with the second in which it was taken."""

    seconds: Sequence[float]
    figures: Sequence[float]

    def between(self, begin: float, end: float) -> "Series":
        """The part from one second until before another."""
        chosen = [
            (second, figure)
            for second, figure in zip(self.seconds, self.figures, strict=True)
            if begin <= second < end
        ]
        return Series([second for second, _ in chosen], [figure for _, figure in chosen])

    @property
    def median(self) -> float:
        """Of its figures."""
        return statistics.median(self.figures)


def every_second(seconds: float, began: float) -> Iterator[float]:
    """Answers with the time since `began` (as time.time() told it) about once a second, for so long."""
    for second in range(math.ceil(time.time() - began), math.ceil(seconds)):
        time.sleep(max(0.0, began + second - time.time()))
        yield time.time() - began


def by_second(
    events: Iterable[tuple[float, float]], figure: Callable[[list[float]], float], end: int
) -> Series:
    """Of the events (second, value) within each second until the end, one figure.

    `figure` is given an empty list, too; a second for which it answers NaN is left out.
    """
    values: list[list[float]] = [[] for _ in range(end)]
    for second, value in events:
        if 0 <= second < end:
            values[int(second)].append(value)
    figures = [(second, figure(each)) for second, each in enumerate(values)]
    known = [(second, each) for second, each in figures if not math.isnan(each)]
    return Series([second for second, _ in known], [each for _, each in known])


def p99(values: list[float]) -> float:
    """What 99 of a hundred values do not exceed; NaN of none."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1] if values else math.nan
