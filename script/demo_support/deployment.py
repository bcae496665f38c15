"""Getting Soniq's schema into a database that is given: by sqitch where it is at hand, else by its scripts alone."""

import os
import shutil
import subprocess
from pathlib import Path

import asyncpg
from soniq.deploying import deploy_if_missing
from soniq.embedded import wheel_folder

from . import ROOT, children


async def deploy(connection: asyncpg.Connection, url: str, home: Path) -> str:
    """Deploys the schema unless it is there, and says how it came to be there."""
    if version := await deployed_version(connection):
        return f"schema soniq {version} was there already"
    if _sqitch_works():
        await _by_sqitch(url, home)
        how = "by sqitch"
    else:
        await deploy_if_missing(connection)
        how = "by its scripts (no sqitch with its PostgreSQL driver here)"
    return f"schema soniq {await deployed_version(connection)} deployed {how}"


async def deployed_version(connection: asyncpg.Connection) -> str | None:
    """The version of the schema in this database; None if it is not deployed."""
    if await connection.fetchval("select to_regprocedure('soniq.version()')") is None:
        return None
    version: str = await connection.fetchval("select soniq.version()")
    return version


def _path_with_psql() -> str:
    """The search path, beginning with the wheel's own psql: Debian's is a script that takes thrice as long to start."""
    wheel = [str(folder / "bin")] if (folder := wheel_folder()) else []
    return os.pathsep.join([*wheel, os.environ.get("PATH", os.defpath)])


def _sqitch_works() -> bool:
    if not (shutil.which("sqitch") and shutil.which("psql", path=_path_with_psql())):
        return False
    driver = subprocess.run(["perl", "-MDBD::Pg", "-e", "1"], capture_output=True, check=False)
    return driver.returncode == 0


async def _by_sqitch(url: str, home: Path) -> None:
    _, _, address = url.partition("://")
    await children.run(
        *("sqitch", "deploy"),
        log=home / "sqitch.log",
        folder=ROOT,
        environment={
            "PATH": _path_with_psql(),
            # Not as an argument, which any user of the machine could read: it may hold a password.
            "SQITCH_TARGET": f"db:postgresql://{address}",
            "SQITCH_FULLNAME": "Soniq demo",
            "SQITCH_EMAIL": "demo@soniq.invalid",
        },
    )
