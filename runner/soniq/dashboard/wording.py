"""How numbers, times and durations are written on pages; what templates call, as filters."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup

NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def number(value: int | float | None) -> str:
    """With commas; a dash for none."""
    return NONE if value is None else f"{value:,.0f}"


def short_number(value: float) -> str:
    """For an axis: 950, 1.2k, 3M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def duration(value: timedelta | float | None) -> str:
    """In two units at most, as in 340 ms, 1.2 s, 3 min 20 s, 2 h 5 min, 3 d 4 h; a dash for none."""
    if value is None:
        return NONE
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    sign = MINUS if seconds < 0 else ""
    seconds = abs(seconds)
    if seconds == 0:
        return "0 s"
    if seconds < 1:
        digits = 0 if seconds >= 0.01 else 1
        return f"{sign}{seconds * 1000:.{digits}f} ms" if seconds >= 0.001 else f"{sign}<1 ms"
    if seconds < 10:
        return f"{sign}{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, rest_size, rest_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // rest_size
            return f"{sign}{whole // size} {unit}" + (f" {rest} {rest_unit}" if rest else "")
    return f"{sign}{whole} s"


def ago(value: datetime | None) -> Markup:
    """How long ago, or in how long, with the exact time to be hovered over."""
    if value is None:
        return Markup(NONE)
    seconds = round((datetime.now(UTC) - value).total_seconds())
    told = f"{_roughly(seconds)} ago" if seconds >= 0 else f"in {_roughly(-seconds)}"
    if not seconds:
        told = "just now"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        _iso(value), exact(value), told
    )


def _roughly(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds} s"


def at(value: datetime | None) -> Markup:
    """A time, in UTC until a script writes it in the viewer's zone, with the exact one to be hovered over."""
    if value is None:
        return Markup(NONE)
    return Markup('<time class="at" datetime="{}" title="{}">{} UTC</time>').format(
        _iso(value), exact(value), f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    )


def exact(value: datetime) -> str:
    """A time to the millisecond, in UTC."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03d} UTC"


def _iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def status_word(value: str) -> str:
    """A status as people say it: dead letter."""
    return value.replace("_", " ")


def percent(share: float) -> str:
    """A share of all."""
    return "<1%" if 0 < share < 0.01 else f"{share * 100:.0f}%"


def plural(count: int, word: str) -> str:
    """As in 1 job, 1,200 jobs."""
    return f"{number(count)} {word}{'' if count == 1 else 's'}"


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "duration": duration,
    "ago": ago,
    "at": at,
    "status_word": status_word,
    "percent": percent,
    "plural": plural,
}
