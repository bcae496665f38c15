"""The schema by the scripts that come with this package, for databases of no consequence: tests, `soniq dev`, the demo.

Databases that are to be upgraded one day are deployed by sqitch, which keeps books (`soniq setup`).
"""

import hashlib
from pathlib import Path

import asyncpg

from soniq.commands.sqitch import project_folder
from soniq.database import HAS_SCHEMA


async def deploy_if_missing(connection: asyncpg.Connection) -> bool:
    """Deploys the schema, unless there is one, of whatever version; the answer is whether it did.

    Where it was interrupted, it is done anew.
    """
    if await connection.fetchval(HAS_SCHEMA):
        return False
    await deploy(connection)
    return True


async def deploy(connection: asyncpg.Connection) -> None:
    """Runs all scripts, each of which is one transaction and may run twice."""
    await connection.execute("set client_min_messages = warning")  # what is there is no news
    for script in _deploy_scripts():
        await connection.execute(script.read_text(encoding="utf-8"))
    await connection.execute("reset client_min_messages")


def scripts_digest() -> str:
    """What tells whether the scripts are those that were run."""
    texts = [script.read_bytes() for script in _deploy_scripts()]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def _deploy_scripts() -> list[Path]:
    """The plan's scripts in order. A change that was reworked since a tag has one with the tag's name too."""
    folder = project_folder()
    changes: list[str] = []
    tagged: dict[int, str] = {}
    for line in (folder / "sqitch.plan").read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            tag = line.split()[0]
            tagged.update((index, tag) for index in range(len(changes)) if index not in tagged)
        elif line.strip() and not line.startswith("%"):
            changes.append(line.split()[0])
    last = {name: index for index, name in enumerate(changes)}
    return [
        folder / f"migrations/deploy/{name}{'' if last[name] == index else tagged[index]}.sql"
        for index, name in enumerate(changes)
    ]
