"""The stages of script/test, in the order in which they run: each a function that answers with an Outcome."""

from collections.abc import Callable

from ..outcome import Outcome
from ..site import Site
from . import generated, migrations, models, pgtap, python, versions

STAGES: dict[str, Callable[[Site], Outcome]] = {
    "generated": generated.generated,
    "sqitch": migrations.sqitch_stage,
    "squawk": migrations.squawk,
    "ruff": python.ruff,
    "mypy": python.mypy,
    "models": models.models,
    "pgtap": pgtap.pgtap,
    "lint": pgtap.lint,
    "coverage": pgtap.coverage,
    "pytest": python.pytest,
    "versions": versions.versions,
    "at-once": migrations.at_once,
    "long": python.long,
}
# Run only where they are named: with the others they would take more than a quarter of an hour.
ON_REQUEST = ("long",)
