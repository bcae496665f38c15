"""Charts as inline SVG: bars and lines over time, coloured by style sheet alone.

Each is an image with a name, for whoever does not see it; its numbers are in a table below. What is not known is a gap.
Labels are HTML beside the SVG, so that it may be stretched to any width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from soniq.dashboard.wording import at, duration, number, short_number

WIDTH, HEIGHT = 720, 120


@dataclass(frozen=True, slots=True)
class Series:
    """One row of values over time. name: in the legend; shade: the class of its colour."""

    name: str
    shade: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """What a template draws."""

    title: str
    svg: Markup
    top: str
    times: Sequence[datetime]
    series: Sequence[Series]
    cells: Sequence[tuple[Markup, Sequence[str]]]
    is_empty: bool


def bars(title: str, times: Sequence[datetime], series: Sequence[Series]) -> Chart:
    """A bar for each time, the series one on another."""
    totals = [
        sum(known) if (known := [each for each in column if each is not None]) else None
        for column in zip(*(each.values for each in series), strict=True)
    ]
    top = _round_up(max((each for each in totals if each is not None), default=0))
    step = WIDTH / max(len(times), 1)
    parts = []
    for index in range(len(times)):
        below = 0.0
        for each in series:
            value = each.values[index]
            if not value:
                continue
            height = value / top * HEIGHT
            parts.append(
                Markup(
                    '<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>'
                ).format(each.shade, index * step, HEIGHT - below - height, step * 0.82, height)
            )
            below += height
    return _chart(title, times, series, parts, top, number, short_number)


def lines(title: str, times: Sequence[datetime], series: Sequence[Series]) -> Chart:
    """A line for each series of seconds, broken where a value is missing."""
    known = [value for each in series for value in each.values if value is not None]
    top = _round_up(max(known, default=0))
    step = WIDTH / max(len(times), 1)
    parts = []
    for each in series:
        for run in _runs(each.values):
            points = [
                (index * step + step / 2, HEIGHT - (each.values[index] or 0) / top * HEIGHT)
                for index in run
            ]
            if len(points) == 1:  # a point would not be seen
                [(x, y)] = points
                points = [(x - step / 2, y), (x + step / 2, y)]
            path = "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)
            parts.append(Markup('<path class="{}" d="{}"/>').format(each.shade, path))
    return _chart(title, times, series, parts, top, duration, duration)


def _chart(
    title: str,
    times: Sequence[datetime],
    series: Sequence[Series],
    parts: Sequence[Markup],
    top: float,
    written: Callable[[float | None], str],
    on_axis: Callable[[float], str],
) -> Chart:
    grid = Markup('<path class="grid" d="M0 0.5H{w}M0 {half}H{w}M0 {low}H{w}"/>').format(
        w=WIDTH, half=HEIGHT / 2, low=HEIGHT - 0.5
    )
    svg = Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}{}{}</svg>"
    ).format(
        WIDTH,
        HEIGHT,
        _summary(title, series, written),
        _summary(title, series, written),
        grid,
        Markup("").join(parts),
        _hover(times, series, written),
    )
    cells = [
        (at(time), [written(each.values[index]) for each in series])
        for index, time in enumerate(times)
    ]
    is_empty = not any(value for each in series for value in each.values)
    return Chart(title, svg, on_axis(top), times, series, cells, is_empty)


def _hover(
    times: Sequence[datetime],
    series: Sequence[Series],
    written: Callable[[float | None], str],
) -> Markup:
    """An invisible column over each time, whose title tells the values there."""
    step = WIDTH / max(len(times), 1)
    return Markup("").join(
        Markup(
            '<rect class="column" x="{:.2f}" y="0" width="{:.2f}" height="{}"><title>{}</title></rect>'
        ).format(
            index * step,
            step,
            HEIGHT,
            f"{time:%Y-%m-%d %H:%M} UTC\n"
            + "\n".join(f"{each.name}: {written(each.values[index])}" for each in series),
        )
        for index, time in enumerate(times)
    )


def _summary(title: str, series: Sequence[Series], written: Callable[[float | None], str]) -> str:
    told = []
    for each in series:
        known = [value for value in each.values if value is not None]
        told.append(
            f"{each.name} latest {written(known[-1])}, at most {written(max(known))}"
            if known
            else f"{each.name} unknown"
        )
    return f"{title}: {'; '.join(told)}"


def _runs(values: Sequence[float | None]) -> list[list[int]]:
    """The indexes of values that are known, by unbroken runs."""
    runs: list[list[int]] = []
    for index, value in enumerate(values):
        if value is None:
            continue
        if index and values[index - 1] is not None:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, ... that is at least as high; 1 for nothing."""
    if value <= 0:
        return 1
    size = 1.0
    while size < value:
        size *= 10
    while size / 10 >= value:
        size /= 10
    return next(size / 10 * step for step in (2, 5, 10) if size / 10 * step >= value)
