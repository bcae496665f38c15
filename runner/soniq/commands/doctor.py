"""`soniq doctor`: connects as a runner would, and looks at whatever is known to go wrong."""

import asyncio
import dataclasses
import os
from collections.abc import Iterator

import asyncpg
import click

from soniq.commands import doctor_connection, doctor_server, doctor_upkeep
from soniq.commands.common import EXIT_CODES, json_option, print_json
from soniq.commands.findings import Check, Finding, Patient
from soniq.database import CANNOT_CONNECT, check_schema, close, connect_at_start, describe
from soniq.errors import BadSettings, SoniqError
from soniq.settings import Found, check_pool, find_settings, read_settings, unknown_names

CHECKS: tuple[Check, ...] = (
    doctor_connection.server,
    doctor_connection.rights,
    doctor_connection.room,
    doctor_connection.pooler,
    doctor_connection.listening,
    doctor_connection.clock,
    doctor_server.transactions,
    doctor_server.slots,
    doctor_server.vacuum,
    doctor_upkeep.ticks,
    doctor_upkeep.partitions,
    doctor_upkeep.runners,
    doctor_upkeep.schedules,
    doctor_upkeep.queues,
)
COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}


@click.command(epilog=EXIT_CODES)
@json_option
def doctor(as_json: bool) -> None:
    """Looks at whatever is known to go wrong, and says what to do about it. Changes nothing.

    Run it where a runner runs, with its environment. Each finding is ok, a note, a warning or a problem. Ends with 1 if
    there is a problem, of whatever kind.
    """
    findings = asyncio.run(_examine())
    if as_json:
        print_json([dataclasses.asdict(each) for each in findings])
    else:
        for each in findings:
            level = click.style(f"{each.level:<8}", fg=COLOURS[each.level])
            click.echo(f"{level}{each.what}: {each.says}")
            if each.remedy:
                click.echo(f"        -> {each.remedy}")
    if any(each.level == "problem" for each in findings):
        raise SystemExit(1)


async def _examine() -> list[Finding]:
    try:
        found = {each.setting.name: each for each in find_settings(os.environ, {})}
    except BadSettings as error:
        return [Finding("problem", "settings", str(error), "mend the file, or remove it")]
    findings = list(_settings(found))
    if found["database_url"].problem:
        return findings
    url = found["database_url"].value
    try:
        connection = await connect_at_start(url, "doctor")
    except SoniqError as error:
        return [*findings, doctor_connection.unreachable(error)]
    try:
        try:
            await check_schema(connection, url)
        except SoniqError as error:
            return [*findings, Finding("problem", "schema", str(error))]
        patient = Patient(
            url,
            found["listen_url"].value,
            found["pool_max_size"].value or 0,
            found["metrics_port"].value,
            connection,
        )
        for check in CHECKS:
            findings += await _carry_out(check, patient)
    finally:
        await close(connection)
    return findings


def _settings(found: dict[str, Found]) -> Iterator[Finding]:
    # Whoever runs the doctor elsewhere than a runner has no handlers there.
    absent = found["jobs_modules"].text is None
    if absent:
        yield Finding("note", "settings", str(found["jobs_modules"].problem))
    problems: list[str] = []
    try:
        check_pool(read_settings(os.environ, {"jobs_modules": "unknown" if absent else None}))
    except BadSettings as error:
        problems = str(error).splitlines()
    for line in problems:
        yield Finding("problem", "settings", line)
    unknown = unknown_names(os.environ)
    for line in unknown:
        yield Finding("warning", "settings", line, "correct the name, or remove it")
    if not problems and not unknown:
        yield Finding("ok", "settings", "can be read; `soniq config` tells each")


async def _carry_out(check: Check, patient: Patient) -> list[Finding]:
    """What a check finds; one that cannot be made says so, and the next ones are made all the same."""
    findings: list[Finding] = []
    try:
        async for finding in check(patient):
            findings.append(finding)
    except asyncpg.InsufficientPrivilegeError as error:
        findings.append(
            Finding(
                "note",
                check.__name__,
                f"could not be looked at: {error}",
                "grant soniq_observer to this user, or run the doctor as one that has it, to see more",
            )
        )
    except (*CANNOT_CONNECT, SoniqError) as error:
        findings.append(
            Finding(
                "warning",
                check.__name__,
                f"could not be looked at: {describe(error)}",
                "see that the server is up and takes one more connection, and run the doctor again",
            )
        )
    return findings
