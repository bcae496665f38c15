"""What is printed: the circumstances, the tables, the verdicts."""

import os
import platform

import soniq

from .site import Site
from .workload import Results

SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")


def about(site: Site, jobs: int, rounds: int) -> str:
    """What the numbers depend on."""
    settings = ", ".join(f"{name} = {site.setting(name)}" for name in SETTINGS)
    return (
        f"Soniq {soniq.__version__}, PostgreSQL {site.setting('server_version')}, {settings}\n"
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs;"
        f" {jobs:,} jobs, medians of {rounds} rounds, each figure on a database of its own"
    )


def table(results: Results) -> str:
    """A workload's results, one line a measurement."""
    workload = results.workload
    rounds = len(results.rounds(workload.measurements[0]))
    width = max(len(measurement.name) for measurement in workload.measurements)
    heads = "".join(f"{f'round {number}':>10}" for number in range(1, rounds + 1))
    lines = [workload.title, f"  {'':{width}}{heads}{'median':>10}  of plain SQL"]
    for measurement in workload.measurements:
        rates = "".join(f"{rate:>10,.0f}" for rate in results.rounds(measurement))
        share = results.share(measurement)
        lines.append(
            f"  {measurement.name:{width}}{rates}{results.median(measurement):>10,.0f}"
            f"  {'' if share is None else f'{share:>12.2f}'}".rstrip()
        )
    return "\n".join(lines)


def verdicts(results: Results) -> list[tuple[bool, str]]:
    """For each target whether it is met, and a line that says so."""
    judged = []
    for target in results.workload.targets:
        share = results.share(target.measurement)
        assert share is not None
        met = share >= target.share
        judged.append(
            (
                met,
                f"{'PASS' if met else 'FAIL'}  {target.measurement.name}:"
                f" {share:.2f} of plain SQL, at least {target.share:.2f} wanted",
            )
        )
    return judged
