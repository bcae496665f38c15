"""Half an hour of everything at a steady pace: tables and indexes stop growing, and nobody waits longer at the end."""

from dataclasses import dataclass

import psycopg
from testing.server import throwaway_server

from .mixed_load import CONCURRENCY, RATE, RUNNERS, Load, run_mixed_load
from .rounds import progress
from .section import Options, Section, Verdict
from .series import Series, by_second, p99
from .site import OPTIONS, Site

MEGABYTE = 1_000_000
# History is apart: it grows for as long as it is kept.
SIZES = """
select
  pg_catalog.pg_table_size('soniq.jobs'),
  pg_catalog.pg_indexes_size('soniq.jobs'),
  (
    select sum(pg_catalog.pg_total_relation_size(relation.oid))
    from pg_catalog.pg_class as relation
    where relation.relnamespace = 'soniq'::regnamespace
      and relation.relkind = 'r'
      and not relation.relispartition
      and relation.relname not in ('jobs', 'dead_letter_jobs')
  ),
  (
    select table_stats.n_dead_tup
    from pg_catalog.pg_stat_user_tables as table_stats
    where table_stats.relid = 'soniq.jobs'::regclass
  )
"""
MOST_GROWTH = 1.1
MOST_DRIFT = 1.25


@dataclass(frozen=True)
class Watched:
    """One of the things that are watched."""

    title: str
    unit: str
    digits: int
    series: Series


def measure(site: Site, options: Options) -> Section:
    """Half an hour, or two minutes; the last third is compared with the second."""
    # Takes a second, for matplotlib, which only the extra `bench` has.
    from .plot import Panel, plot

    seconds = 1800 if options.long else 120
    taken: list[tuple[float, ...]] = []

    def look(eye: psycopg.Connection, second: float) -> None:
        progress(f"soak: {second:.0f} of {seconds} s ...")
        row = eye.execute(SIZES).fetchone()
        assert row is not None
        taken.append((second, *row))

    # Some thirty vacuums either way: in two minutes, one a minute would show nothing.
    naptime = "1min" if options.long else "4s"
    with (
        throwaway_server({**OPTIONS, "autovacuum_naptime": naptime}) as server,
        Site(server).database() as database,
    ):
        load = run_mixed_load(database, seconds, look)
    progress("")
    moments, table, indexes, others, dead = zip(*taken, strict=True)
    sizes = [
        Watched(f"size of {name}", "MB", 2, Series(moments, [size / MEGABYTE for size in found]))
        for name, found in (
            ("soniq.jobs", table),
            ("its indexes", indexes),
            ("all other tables but history", others),
        )
    ]
    waiting = [(second, 1000 * waited) for second, waited in load.attempts]
    watched = [
        Watched("attempts started", "/s", 0, by_second(waiting, len, seconds)),
        Watched("waiting time, p99 of each second", "ms", 1, by_second(waiting, p99, seconds)),
        Watched("dead rows of soniq.jobs", "", 0, Series(moments, dead)),
        *sizes,
    ]
    verdicts = [*(_levels_off(each, seconds) for each in sizes), _does_not_drift(waiting, seconds)]
    panels = [Panel(each.title, each.unit, {each.title: each.series}) for each in watched]
    title = (
        f"A soak of {seconds} s: {RUNNERS} soniq-runners at concurrency {CONCURRENCY},"
        f" {RATE} transactions a second, autovacuum_naptime {naptime}"
    )
    return Section(
        f"{title}\n{_table(load, watched, seconds)}", verdicts, {"soak.svg": plot(panels)}
    )


def _thirds(seconds: int) -> list[tuple[float, float]]:
    return [(seconds * third / 3, seconds * (third + 1) / 3) for third in range(3)]


def _table(load: Load, watched: list[Watched], seconds: int) -> str:
    ends = load.ends
    lines = [
        f"  {len(load.attempts):,} attempts; {ends.done:,} jobs done, {ends.again:,} of them at a later attempt,"
        f" {ends.cancelled:,} cancelled, {ends.given_up:,} given up, {ends.scheduled:,} of schedules;"
        " each ended once",
        f"  {'the largest of each third':42}{'first':>12}{'second':>12}{'last':>12}",
    ]
    for each in watched:
        unit = f" [{each.unit}]" if each.unit else ""
        figures = (
            f"{max(each.series.between(*third).figures):>12,.{each.digits}f}"
            for third in _thirds(seconds)
        )
        lines.append(f"  {each.title + unit:42}{''.join(figures)}")
    return "\n".join(lines)


def _levels_off(watched: Watched, seconds: int) -> Verdict:
    _, second, last = _thirds(seconds)
    growth = max(watched.series.between(*last).figures) / max(
        watched.series.between(*second).figures
    )
    return Verdict(
        growth <= MOST_GROWTH,
        f"{watched.title}: {growth:.2f} of the second third's in the last,"
        f" at most {MOST_GROWTH:.2f} wanted",
    )


def _does_not_drift(waiting: list[tuple[float, float]], seconds: int) -> Verdict:
    _, second, last = (
        p99([waited for started, waited in waiting if begin <= started < end])
        for begin, end in _thirds(seconds)
    )
    return Verdict(
        last <= MOST_DRIFT * second,
        f"waiting time, p99 of a third: {last:.1f} ms in the last, {second:.1f} in the second,"
        f" at most {MOST_DRIFT:.2f} of it wanted",
    )
