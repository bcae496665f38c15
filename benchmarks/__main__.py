"""Runs the workloads that are asked for, prints what they found, and answers whether every target is met."""

import argparse
import datetime
import os
import platform
import re
import sys
import textwrap
import traceback
from collections.abc import Mapping
from pathlib import Path

import soniq
from testing.outcome import CheckFailed

from . import (
    cost,
    drain,
    enqueue,
    held_xmin,
    latency,
    pages,
    scale,
    scrape,
    soak,
    steady,
    tick,
    vacuum,
)
from .peers import comparison
from .rounds import progress
from .section import Measure, Options, Section, Verdict
from .site import Site

WORKLOADS: Mapping[str, Measure] = {
    "drain": drain.measure,
    "scale": scale.measure,
    "enqueue": enqueue.measure,
    "latency": latency.measure,
    "steady": steady.measure,
    "cost": cost.measure,
    "held-xmin": held_xmin.measure,
    "soak": soak.measure,
    "peers": comparison.measure,
    "scrape": scrape.measure,
    "pages": pages.measure,
    "tick": tick.measure,
    "vacuum": vacuum.measure,
}
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")


def main() -> int:
    """Answers with the exit code: 0 if every target is met, 1 if not."""
    chosen, options, folder = _arguments()
    try:
        with Site.opened() as site:
            circumstances = _about(site, options)
            print(circumstances, flush=True)
            is_met = True
            for name in chosen:
                section = measured(name, WORKLOADS[name], site, options)
                print(f"\n{section}", flush=True)
                if folder:
                    save(folder, name, circumstances, section)
                is_met &= all(verdict.met for verdict in section.verdicts)
    except KeyboardInterrupt:
        print("script/bench: interrupted; everything is stopped", file=sys.stderr)
        return 130
    except CheckFailed as failure:
        print(f"script/bench: {failure}", file=sys.stderr)
        return 1
    return 0 if is_met else 1


def measured(name: str, measure: Measure, site: Site, options: Options) -> Section:
    """What a workload found. One that fails has missed its targets, and is no reason not to measure the others."""
    try:
        return measure(site, options)
    except CheckFailed as failure:
        details = str(failure)
    except Exception:
        details = traceback.format_exc()
    progress("")
    return Section(
        f"{name}: not measured to the end\n{textwrap.indent(details.rstrip(), '  ')}",
        [Verdict(False, f"{name}: not measured to the end")],
    )


def _arguments() -> tuple[list[str], Options, Path | None]:
    parser = argparse.ArgumentParser(
        prog="script/bench",
        description="Measures Soniq beside plain SQL, and other systems, on a throwaway server of its own.",
    )
    parser.add_argument(
        "--only",
        choices=WORKLOADS,
        action="append",
        metavar="WORKLOAD",
        help=f"measure this; may be given several times. There are: {', '.join(WORKLOADS)}",
    )
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=50_000,
        metavar="N",
        help="jobs to drain or to enqueue at once, a multiple of 100 (50000)",
    )
    parser.add_argument(
        "--rounds", type=_rounds, default=3, metavar="N", help="how often to measure each (3)"
    )
    parser.add_argument(
        "--peers", action="store_true", help="install and measure other systems too"
    )
    parser.add_argument(
        "--long", action="store_true", help="the forms that take half an hour and more"
    )
    parser.add_argument(
        "--save", type=Path, metavar="FOLDER", help="write what is printed, and plots, there too"
    )
    given = parser.parse_args()
    return (
        given.only or list(WORKLOADS),
        Options(jobs=given.jobs, rounds=given.rounds, peers=given.peers, long=given.long),
        given.save,
    )


def _jobs(text: str) -> int:
    jobs = int(text) if text.isdecimal() else 0
    if jobs < drain.BATCH or jobs % drain.BATCH:
        raise argparse.ArgumentTypeError(f"{text!r}: give a multiple of {drain.BATCH}")
    return jobs


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number, 1 or more")
    return int(text)


def _about(site: Site, options: Options) -> str:
    """What the numbers depend on."""
    settings = ", ".join(f"{name} = {site.setting(name)}" for name in SETTINGS)
    today = datetime.date.today()
    return (
        f"{today:%-d %B %Y}: Soniq {soniq.__version__}, PostgreSQL {site.setting('server_version')}, {settings}\n"
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs{_model()};"
        f" {options.jobs:,} jobs, medians of {options.rounds} rounds, each figure on a database of its own"
    )


def _model() -> str:
    """The CPU's name, where Linux knows it."""
    known = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f" ({known[1]})" if known else ""


def save(folder: Path, name: str, circumstances: str, section: Section) -> None:
    """Leaves what is printed of a workload, and its plots, where script/generate performance finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text(f"{circumstances}\n\n{section}\n")
    for file, svg in section.plots.items():
        (folder / file).write_text(svg)


if __name__ == "__main__":
    sys.exit(main())
