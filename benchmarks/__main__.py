"""Runs the workloads that are asked for, prints what they found, and answers whether every target is met."""

import argparse
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import soniq
from testing.commands import CommandFailed
from testing.outcome import CheckFailed

from . import cost, drain, enqueue, held_xmin, latency, scale, scrape, soak, steady, tick, vacuum
from .peers import comparison
from .section import Measure, Options, Section
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
    "tick": tick.measure,
    "vacuum": vacuum.measure,
}
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")


def main() -> int:
    """Answers with the exit code: 0 if every target is met, 1 if not."""
    chosen, options, save = _arguments()
    sections = []
    try:
        with Site.opened() as site:
            circumstances = _about(site, options)
            print(circumstances, flush=True)
            for name in chosen:
                section = WORKLOADS[name](site, options)
                sections.append(section)
                print(f"\n{section}", flush=True)
                if save:
                    _save(save, name, f"{circumstances}\n\n{section}\n", section)
    except KeyboardInterrupt:
        print("script/bench: interrupted; everything is stopped", file=sys.stderr)
        return 130
    except (CommandFailed, CheckFailed) as failure:
        print(f"script/bench: {failure}", file=sys.stderr)
        return 1
    return 0 if all(verdict.met for section in sections for verdict in section.verdicts) else 1


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
    return (
        f"Soniq {soniq.__version__}, PostgreSQL {site.setting('server_version')}, {settings}\n"
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs;"
        f" {options.jobs:,} jobs, medians of {options.rounds} rounds, each figure on a database of its own"
    )


def _save(folder: Path, name: str, text: str, section: Section) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text(text)
    for file, svg in section.plots.items():
        (folder / file).write_text(svg)


if __name__ == "__main__":
    sys.exit(main())
