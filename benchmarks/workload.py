"""What is measured, and the numbers that came out of it."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from .site import Site


@dataclass(frozen=True, eq=False)
class Measurement:
    """One line of a table. `take` answers in jobs a second; without a `ceiling` it is one itself."""

    name: str
    take: Callable[[Site], float]
    ceiling: "Measurement | None" = None


@dataclass(frozen=True)
class Target:
    """The share of its ceiling's rate that a measurement has to reach."""

    measurement: Measurement
    share: float


@dataclass(frozen=True)
class Workload:
    """One table: its title, its lines in the order in which they are taken, what they have to reach."""

    title: str
    measurements: list[Measurement]
    targets: list[Target] = field(default_factory=list)


class Results:
    """The rates of a workload's measurements, round by round."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self._rates: dict[Measurement, list[float]] = {}

    def add(self, measurement: Measurement, rate: float) -> None:
        """Keeps the rate of one round."""
        self._rates.setdefault(measurement, []).append(rate)

    def rounds(self, measurement: Measurement) -> list[float]:
        """The rates of all rounds."""
        return self._rates[measurement]

    def median(self, measurement: Measurement) -> float:
        """The median rate."""
        return statistics.median(self._rates[measurement])

    def share(self, measurement: Measurement) -> float | None:
        """The median as a share of the ceiling's median; None for a ceiling."""
        if measurement.ceiling is None:
            return None
        return self.median(measurement) / self.median(measurement.ceiling)
