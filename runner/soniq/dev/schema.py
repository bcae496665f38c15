"""Soniq's schema in the database of one's own: deployed, and brought to what this package has of it."""

from pathlib import Path

import asyncpg

import soniq
from soniq.database import VERSION, check_schema, close, connect_at_start, describe
from soniq.deploying import deploy, deploy_if_missing, scripts_digest
from soniq.errors import SchemaMismatch

FRESH = "make it anew, without its jobs and all else that is in it: soniq dev --fresh"


async def bring_up_to_date(url: str, data: Path) -> str | None:
    """Deploys the schema, or what is new of it, to the server with these files; the answer is what was done, in words.

    A checkout's scripts change between versions, so those that were run last are known by their digest, which is kept
    beside the data.

    Raises SchemaMismatch for a schema that is newer than this package, and where the scripts fail on the one there is.
    """
    digest, kept = scripts_digest(), data.with_name("schema-digest")
    connection = await connect_at_start(url, "dev")
    try:
        if await deploy_if_missing(connection):
            done = f"the schema {soniq.__version__} is deployed"
        else:
            found = str(await connection.fetchval(VERSION))
            if _numbers(found) > _numbers(soniq.__version__):
                await _check_newer(connection, url, data, found)
                return None
            if found == soniq.__version__ and _read(kept) == digest:
                return None
            await _deploy_again(connection, data, found)
            done = f"the schema was brought to {soniq.__version__}"
    finally:
        await close(connection)
    kept.write_text(f"{digest}\n")
    return done


async def _check_newer(connection: asyncpg.Connection, url: str, data: Path, found: str) -> None:
    try:
        await check_schema(connection, url)
    except SchemaMismatch as error:
        raise SchemaMismatch(
            f"the schema in {data} is of version {found}, and this is soniq {soniq.__version__}:"
            f" install soniq {found} to go on with its jobs, or {FRESH}"
        ) from error


async def _deploy_again(connection: asyncpg.Connection, data: Path, found: str) -> None:
    try:
        await deploy(connection)
    except asyncpg.PostgresError as error:
        raise SchemaMismatch(
            f"the schema in {data} is of version {found} and cannot be brought to {soniq.__version__}:"
            f" {describe(error)}; its jobs are as they were. Go back to the soniq that deployed it, or {FRESH}"
        ) from error


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return None
