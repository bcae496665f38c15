"""script/bench --peers: Soniq and other job queues on PostgreSQL, in the same rounds, each as its makers advise.

Every system has one worker process and a no-op handler. What is adjusted for which is at the top of each one's file.
"""

from collections.abc import Sequence
from functools import partial

from ..rounds import Measurement, Target, Workload, measure_in_rounds
from ..section import Options, Section, together
from ..site import Site
from . import stopwatch, systems
from .environments import InstallationFailed
from .systems import Peer

CONCURRENCIES = (10, 50)


def measure(site: Site, options: Options) -> Section:
    """Draining, enqueueing and latency, of every system that can be installed here."""
    if not options.peers:
        return Section("The other systems are NOT measured: script/bench --peers installs them")
    peers, about = install()
    workloads = (_drain(peers, options.jobs), _enqueue(peers), _latency(peers))
    return together(
        Section(about),
        *(measure_in_rounds(workload, site, options.rounds) for workload in workloads),
    )


def install() -> tuple[list[Peer], str]:
    """The systems that there are, and what to print of them and of those that there are not."""
    there, lines = (
        [],
        ["Each system by one worker process; its own settings are in benchmarks/peers/"],
    )
    for peer in systems.ALL:
        try:
            peer.environment.prepare()
        except InstallationFailed as failure:
            lines.append(f"  SKIPPED, NOT MEASURED: {peer.name}: {failure}")
        else:
            there.append(peer)
            lines.append(f"  {peer.name}: {', '.join(peer.environment.packages)}")
    return there, "\n".join(lines)


def _drain(peers: Sequence[Peer], jobs: int) -> Workload:
    measurements: list[Measurement] = []
    targets = []
    for concurrency in CONCURRENCIES:
        taken = {
            peer: Measurement(
                f"{peer.name}, {concurrency}",
                partial(stopwatch.drain, peer=peer, jobs=jobs, concurrency=concurrency),
            )
            for peer in peers
        }
        measurements += taken.values()
        targets += [
            Target(taken[soniq], share, taken[other])
            for soniq, share, other in (
                (systems.SONIQ, 1.0, systems.GRAPHILE_BATCHED),
                (systems.SONIQ, 3.0, systems.PGQUEUER),
                (systems.SONIQ_WITHOUT_HISTORY, 1.2, systems.GRAPHILE_BATCHED),
            )
            if other in taken
        ]
    fewer = ", ".join(f"{peer.name} {peer.jobs:,}" for peer in peers if peer.jobs < jobs)
    return Workload(
        f"Drain {jobs:,} no-op jobs at a concurrency (fewer: {fewer}); jobs a second",
        measurements,
        targets,
    )


def _enqueue(peers: Sequence[Peer]) -> Workload:
    # One program enqueues for all the variants of a system.
    clients = {peer.program: peer for peer in reversed(peers)}
    return Workload(
        f"Enqueue {stopwatch.ENQUEUED:,} jobs one by one, one client; jobs a second",
        [
            Measurement(peer.name, partial(stopwatch.enqueue, peer=peer))
            for peer in peers
            if clients[peer.program] is peer
        ],
    )


def _latency(peers: Sequence[Peer]) -> Workload:
    p50, p99 = {}, {}
    for peer in peers:
        if peer.latency and peer is not systems.SONIQ_WITHOUT_HISTORY:
            latency = stopwatch.Latency(peer, CONCURRENCIES[0])
            p50[peer] = Measurement(f"{peer.name}, p50", latency.p50)
            p99[peer] = Measurement(f"{peer.name}, p99", latency.p99)
    lines = [line for peer in p50 for line in (p50[peer], p99[peer])]
    targets = []
    if others := [line for peer, line in p99.items() if peer is not systems.SONIQ]:
        best = Measurement(
            "the best of the others, p99", lambda site: min(line.take(site) for line in others)
        )
        lines.append(best)
        targets.append(Target(p99[systems.SONIQ], 1.0, best, at_most=True))
    return Workload(
        f"From the commit of an enqueue to the start of its handler, idle, concurrency {CONCURRENCIES[0]},"
        f" {stopwatch.COUNTED} jobs {1000 * stopwatch.GAP:g} ms apart; ms",
        lines,
        targets,
        digits=2,
    )
