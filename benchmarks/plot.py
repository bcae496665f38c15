"""Plots as SVG: small, the same bytes for the same figures, and readable on a light page and on a dark one."""

import io
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .series import Series

POINTS = 300  # as many as the width has room for
INK = "#7d8590"  # stands out from white and from black
COLOURS = ("#2f81c7", "#d9822b")
STYLE: Any = {
    "svg.hashsalt": "soniq",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
}


@dataclass(frozen=True)
class Panel:
    """One of several plots above each other: what it shows, the unit, and a line for each name."""

    title: str
    unit: str
    lines: Mapping[str, Series]


def plot(panels: Sequence[Panel], shaded: tuple[float, float, str] | None = None) -> str:
    """An SVG of panels that share an axis of seconds; `shaded` marks a while in all of them and says what it is."""
    with matplotlib.rc_context(rc=STYLE):
        figure = draw(panels, shaded)
        text = io.StringIO()
        figure.savefig(
            text, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    # Hundredths of a point are enough, and half of the bytes.
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", text.getvalue())


def draw(panels: Sequence[Panel], shaded: tuple[float, float, str] | None) -> Figure:
    """The same, before it is made into an SVG."""
    figure = Figure(figsize=(7.5, 1.4 * len(panels) + 0.5), layout="constrained")
    rows = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(rows, panels, strict=True):
        for colour, (name, series) in zip(COLOURS, panel.lines.items(), strict=False):
            thinned = _thinned(series)
            axes.plot(thinned.seconds, thinned.figures, color=colour, linewidth=1.1, label=name)
        axes.set_title(panel.title, loc="left", fontsize=9)
        axes.set_ylabel(panel.unit)
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", linewidth=0.5)
        if shaded:
            axes.axvspan(shaded[0], shaded[1], color=INK, alpha=0.12, linewidth=0)
    if shaded:
        middle = (shaded[0] + shaded[1]) / 2
        rows[0].text(middle, 0, shaded[2], ha="center", va="bottom")
    if len(panels[0].lines) > 1:
        figure.legend(
            *rows[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False
        )
    rows[-1].set_xlabel("seconds")
    figure.align_ylabels()
    return figure


def _thinned(series: Series) -> Series:
    """No more points than can be told apart, each the median of some."""
    step = -(-len(series.figures) // POINTS)
    if step <= 1:
        return series
    starts = range(0, len(series.figures), step)
    return Series(
        [series.seconds[start] for start in starts],
        [statistics.median(series.figures[start : start + step]) for start in starts],
    )
