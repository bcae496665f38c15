"""Measuring in rounds, one of everything each, so that a slow minute of the machine meets them all."""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from .section import Section, Verdict
from .site import Site


@dataclass(frozen=True, eq=False)
class Measurement:
    """One line of a table. `take` answers with a figure, as jobs a second; `reference` is what it is compared to."""

    name: str
    take: Callable[[Site], float]
    reference: "Measurement | None" = None


@dataclass(frozen=True)
class Target:
    """What a measurement has to reach: at least (or `at_most`) such a share of its own or another reference."""

    measurement: Measurement
    share: float
    reference: Measurement | None = None
    at_most: bool = False


@dataclass(frozen=True)
class Workload:
    """One table: its title, its lines in the order in which they are taken, what they have to reach."""

    title: str
    measurements: list[Measurement]
    targets: list[Target] = field(default_factory=list)
    digits: int = 0


def measure_in_rounds(workload: Workload, site: Site, rounds: int) -> Section:
    """Takes every measurement once a round; medians are compared."""
    figures: dict[Measurement, list[float]] = {each: [] for each in workload.measurements}
    for number in range(1, rounds + 1):
        for measurement in workload.measurements:
            progress(f"round {number}: {measurement.name} ...")
            figures[measurement].append(measurement.take(site))
    progress("")
    medians = {each: statistics.median(taken) for each, taken in figures.items()}
    return Section(
        _table(workload, figures, medians), [_judge(target, medians) for target in workload.targets]
    )


def progress(text: str) -> None:
    """Tells whoever watches a terminal what is being measured."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="\r" if text else "", flush=True)


def _table(
    workload: Workload,
    figures: dict[Measurement, list[float]],
    medians: dict[Measurement, float],
) -> str:
    rounds = len(figures[workload.measurements[0]])
    width = max(len(measurement.name) for measurement in workload.measurements)
    heads = "".join(f"{f'round {number}':>10}" for number in range(1, rounds + 1))
    lines = [workload.title, f"  {'':{width}}{heads}{'median':>10}   share of"]
    for measurement in workload.measurements:
        shown = "".join(f"{figure:>10,.{workload.digits}f}" for figure in figures[measurement])
        share = ""
        if reference := measurement.reference:
            share = f"{medians[measurement] / medians[reference]:>7.2f} {reference.name}"
        median = f"{medians[measurement]:>10,.{workload.digits}f}"
        lines.append(f"  {measurement.name:{width}}{shown}{median}{share}")
    return "\n".join(lines)


def _judge(target: Target, medians: dict[Measurement, float]) -> Verdict:
    reference = target.reference or target.measurement.reference
    assert reference is not None
    share = medians[target.measurement] / medians[reference]
    met = share <= target.share if target.at_most else share >= target.share
    return Verdict(
        met,
        f"{target.measurement.name}: {share:.2f} of {reference.name},"
        f" at {'most' if target.at_most else 'least'} {target.share:.2f} wanted",
    )
