"""Measures in rounds, one of everything each, and prints the medians, their ratios and the verdicts."""

import argparse
import sys

from testing.commands import CommandFailed

from . import drain, enqueue, tick, vacuum
from .report import about, table, verdicts
from .site import Site
from .workload import Results, Workload


def main() -> int:
    """Answers with the exit code: 0 if every target is met, 1 if not."""
    options = _options()
    workloads = [
        workload
        for name, workload in {
            "drain": drain.workload(options.jobs),
            "enqueue": enqueue.workload(options.jobs),
        }.items()
        if options.only in (None, name)
    ]
    try:
        if options.only == "vacuum":
            print(vacuum.measure())
            return 0
        with Site.opened() as site:
            print(about(site, options.jobs, options.rounds), end="\n\n", flush=True)
            results = [_measure(workload, site, options.rounds) for workload in workloads]
            judged = [tick.verdict(site)] if options.only == "tick" else []
    except KeyboardInterrupt:
        print("script/bench: interrupted; everything is stopped", file=sys.stderr)
        return 130
    except CommandFailed as failure:
        print(f"script/bench: {failure}", file=sys.stderr)
        return 1
    judged += [verdict for result in results for verdict in verdicts(result)]
    print(*(text for _, text in judged), sep="\n")
    return 0 if all(met for met, _ in judged) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/bench",
        description="Measures Soniq beside plain SQL doing the same work, on a throwaway server.",
    )
    parser.add_argument(
        "--only",
        choices=("drain", "enqueue", "tick", "vacuum"),
        help="measure only this; tick and vacuum, which take some minutes, are not measured otherwise",
    )
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=50_000,
        metavar="N",
        help=f"jobs to drain or to enqueue at once, a multiple of {drain.BATCH} (50000)",
    )
    parser.add_argument(
        "--rounds", type=_rounds, default=3, metavar="N", help="how often to measure each (3)"
    )
    return parser.parse_args()


def _jobs(text: str) -> int:
    jobs = int(text) if text.isdecimal() else 0
    if jobs < drain.BATCH or jobs % drain.BATCH:
        raise argparse.ArgumentTypeError(f"{text!r}: give a multiple of {drain.BATCH}")
    return jobs


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number, 1 or more")
    return int(text)


def _measure(workload: Workload, site: Site, rounds: int) -> Results:
    """One after another within a round, so that a slow minute of the machine meets them all."""
    results = Results(workload)
    for number in range(1, rounds + 1):
        for measurement in workload.measurements:
            if sys.stdout.isatty():
                print(f"\r\x1b[Kround {number}: {measurement.name} ...", end="\r", flush=True)
            results.add(measurement, measurement.take(site))
    if sys.stdout.isatty():
        print("\r\x1b[K", end="")
    print(table(results), end="\n\n", flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
