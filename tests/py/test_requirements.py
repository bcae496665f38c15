"""What our scripts install is pinned: every version and hash is in script/requirements/, and is one that we ask for."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = re.compile(
    r"^([\w.-]+)==(\S+?)((?: ; [^\\]*)?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def asked_for(extra: str) -> Iterator[Requirement]:
    """What an environment with this extra needs, with the extras that it refers to."""
    optional = PROJECT["project"]["optional-dependencies"]
    yield from map(Requirement, PROJECT["project"]["dependencies"])
    yield from map(Requirement, PROJECT["build-system"]["requires"])
    for requirement in map(Requirement, optional[extra]):
        if requirement.name != "soniq":
            yield requirement
        for other in requirement.extras if requirement.name == "soniq" else ():
            yield from asked_for(other)


@pytest.mark.parametrize("extra", ["bench", "demo", "test"])
def test_each_requirement_is_pinned_to_a_version_that_will_do(extra: str) -> None:
    content = (ROOT / f"script/requirements/{extra}.txt").read_text()
    pinned = {name: version for name, version, _, _ in PINNED.findall(content)}
    # Nothing is in the file but what has a version and hashes.
    assert PINNED.sub("", content) == ""
    for requirement in asked_for(extra):
        name = requirement.name.lower().replace("_", "-")
        assert requirement.specifier.contains(pinned.get(name, "0")), (
            f"script/requirements/{extra}.txt has {name} {pinned.get(name)}, and pyproject.toml wants"
            f" {requirement}: run script/generate requirements"
        )
