"""script/chaos: breaks something every other second, in an order that the seed decides, and tells what came of it."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from chaos.checker import Report
from chaos.faults import FAULTS
from chaos.producing import Producer
from chaos.world import World

RUNNERS, PRODUCERS, RATE = 3, 2, 60.0
SHOWN = 20


def main() -> int:
    """Answers with the exit code: 0 if every promise was kept."""
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="soniq-chaos-"))
    print(
        f"script/chaos --minutes {arguments.minutes:g} --seed {arguments.seed}: {RUNNERS} runners,"
        f" {PRODUCERS} producers of {RATE:g} jobs a second; notes and logs in {folder}",
        flush=True,
    )
    with World.opened(folder, over_cable=True) as world:
        injected = break_things(world, Random(arguments.seed), arguments.minutes * 60)
        world.wait_until_all_has_ended()
        report = world.report(*{excuse for name in injected for excuse in FAULTS[name].excuses})
    _show(injected, report)
    return 1 if report.faults else 0


def break_things(world: World, random: Random, seconds: float) -> Counter[str]:
    """Injects fault after fault for so long, under load. Answers how often which."""
    world.start_runners(RUNNERS)
    producers = [
        Producer(world.url, world.notes, RATE, random.randrange(2**32)) for _ in range(PRODUCERS)
    ]
    for producer in producers:
        producer.start()
    injected: Counter[str] = Counter()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(random.uniform(0, 1.5))
        name = random.choice(list(FAULTS))
        if sys.stdout.isatty():
            print(f"{ends - time.monotonic():6.0f} s left: {name:<60}", end="\r", flush=True)
        FAULTS[name].inject(world, random)
        injected[name] += 1
        for runner in world.runners:
            if (code := runner.process.poll()) is not None:
                raise AssertionError(f"after {name!r} a runner ended with {code}:\n{runner.log}")
    for producer in producers:
        producer.stop()
    return injected


def _show(injected: Counter[str], report: Report) -> None:
    print(f"\n{'fault injected':<44}{'times':>8}")
    for name in FAULTS:
        print(f"  {name:<42}{injected[name]:>8,}")
    print(f"  {'altogether':<42}{injected.total():>8,}")
    print(f"\n{'jobs acknowledged':<44}{report.acknowledged:>8,}")
    print(f"{'of these lost':<44}{report.lost:>8,}")
    print(f"{'committed, acknowledged or not':<44}{report.jobs:>8,}")
    print(f"\n{'run again, because':<44}{'times':>8}")
    for cause, times in sorted(report.again.items()):
        print(f"  {cause:<42}{times:>8,}")
    print(f"  {'ran beside a run that had lost its lease':<42}{report.overlaps:>8,}")
    print(f"\n{len(report.faults)} promises broken")
    for fault in report.faults[:SHOWN]:
        print(f"  {fault}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/chaos",
        description="Breaks runners, server and network at random under load, and checks that no promise was broken.",
    )
    parser.add_argument("--minutes", type=float, default=1, metavar="N", help="for so long (1)")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="S", help="decides the order of the faults (1)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
