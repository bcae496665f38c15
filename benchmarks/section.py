"""What a workload hands back to be printed, judged and kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .site import Site


@dataclass(frozen=True)
class Options:
    """What all workloads are told.

    jobs: to drain or to enqueue at once. rounds: how often each figure is taken. peers: measure other systems too.
    long: the forms that take half an hour and more.
    """

    jobs: int
    rounds: int
    peers: bool
    long: bool


@dataclass(frozen=True)
class Verdict:
    """Whether one target is met, and by what."""

    met: bool
    text: str

    def __str__(self) -> str:
        """As it is printed."""
        return f"{'PASS' if self.met else 'FAIL'}  {self.text}"


@dataclass(frozen=True)
class Section:
    """The outcome of a workload: a table, the verdicts on its targets, and plots as SVG by file name."""

    table: str
    verdicts: list[Verdict] = field(default_factory=list)
    plots: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """As it is printed."""
        return "\n".join([self.table, *(["", *map(str, self.verdicts)] if self.verdicts else [])])


def together(*sections: Section) -> Section:
    """Several tables as one outcome."""
    return Section(
        "\n\n".join(section.table for section in sections),
        [verdict for section in sections for verdict in section.verdicts],
        {file: svg for section in sections for file, svg in section.plots.items()},
    )


# What each module of a workload has, under the name `measure`.
Measure = Callable[[Site, Options], Section]
