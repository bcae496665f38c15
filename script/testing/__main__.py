"""Runs the stages asked for, one line each, and ends with the total."""

import argparse
import sys
import textwrap
import time
import traceback
from contextlib import ExitStack

from .outcome import CheckFailed, Outcome
from .site import Site
from .stages import ON_REQUEST, STAGES


def main() -> int:
    """Answers with the exit code: 0 if nothing failed."""
    arguments = _arguments()
    if arguments.list:
        print(*STAGES, sep="\n")
        return 0
    total = Outcome()
    try:
        with ExitStack() as stack:
            site = Site(stack)
            for name in arguments.stages or [each for each in STAGES if each not in ON_REQUEST]:
                total.add(_run(name, site))
    except KeyboardInterrupt:
        print("script/test: interrupted; everything is stopped", file=sys.stderr)
        return 130
    print(total.counts())
    return 1 if total.failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/test",
        description=f"Runs every check but {', '.join(ON_REQUEST)}, or only the stages named.",
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--list", action="store_true", help="list the stages and stop")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.stages if name not in STAGES]:
        parser.error(f"no such stage: {', '.join(unknown)} (there are {', '.join(STAGES)})")
    return arguments


def _run(name: str, site: Site) -> Outcome:
    started = time.monotonic()
    if sys.stdout.isatty():
        print(f"{name} ...", end="\r", flush=True)
    try:
        outcome = STAGES[name](site)
    except CheckFailed as failure:
        outcome = Outcome(failed=1, details=[str(failure)])
    except Exception:
        outcome = Outcome(failed=1, details=[traceback.format_exc()])
    seconds = time.monotonic() - started
    verdict = "FAILED" if outcome.failed else "ok" if outcome.passed else "SKIPPED"
    line = f"{name:<10} {verdict:<8} {seconds:6.1f} s  {outcome.counts()}"
    print(f"{line}; {outcome.note}" if outcome.note else line)
    for entry in outcome.report:
        print(f"    {entry}")
    for detail in outcome.details:
        print(textwrap.indent(detail.rstrip(), "    ") + "\n")
    sys.stdout.flush()
    return outcome


if __name__ == "__main__":
    sys.exit(main())
