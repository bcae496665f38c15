"""sqitch.plan, read: which changes there are, which script deploys each, and what was released."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Plan:
    """The names of the scripts in deployment order, and the tags in order of release."""

    scripts: list[str]
    tags: list[str]


def read_plan() -> Plan:
    """Reads sqitch.plan. A change that was reworked later has its older script under a tag's name."""
    lines = [line.split()[0] for line in (ROOT / "sqitch.plan").read_text().splitlines() if line]
    steps = [step for step in lines if not step.startswith(("%", "#"))]
    return Plan(
        scripts=[_script(steps, position) for position, step in enumerate(steps) if step[0] != "@"],
        tags=[step for step in steps if step[0] == "@"],
    )


def _script(steps: list[str], position: int) -> str:
    name, later = steps[position], steps[position + 1 :]
    if name not in later:
        return name
    tags = [step for step in later[: later.index(name)] if step[0] == "@"]
    frozen = [
        f"{name}{tag}" for tag in tags if (ROOT / f"migrations/deploy/{name}{tag}.sql").exists()
    ]
    return frozen[0] if frozen else f"{name}{tags[0]}"
