"""`soniq status` and `soniq inspect`: how things stand, on one screen and at length."""

from typing import Any

import asyncpg
import click

import soniq
from soniq.commands.common import (
    EXIT_CODES,
    database_name,
    duration,
    json_option,
    on_database,
    plain,
    print_json,
    table,
)
from soniq.commands.schedules import read_schedules


@click.command(epilog=EXIT_CODES)
@json_option
def status(as_json: bool) -> None:
    """Prints how things stand: schema, queues, runners, dead letters, late schedules, old transactions."""
    read = on_database(read_status)
    found = {"database": database_name(), **read}
    if as_json:
        print_json({**plain(found), "queues": list(map(plain, found["queues"]))})
        return
    runners, letters = found["runners"], found["dead_letters"]
    transaction = found["oldest_transaction"]
    click.echo(f"database            {found['database']}")
    click.echo(f"schema              {found['schema_version']} (this is soniq {soniq.__version__})")
    click.echo(
        f"runners             {runners['alive']} alive, {runners['silent']} silent,"
        f" {runners['lost']} lost; {runners['running']} of {runners['concurrency']} slots in use"
    )
    click.echo(f"dead letters        {letters} not replayed")
    click.echo(f"schedules late      {', '.join(found['late_schedules']) or 'none'}")
    click.echo(
        f"oldest transaction  {duration(transaction) if transaction is not None else 'none'}"
    )
    click.echo()
    click.echo(
        table(found["queues"]) if found["queues"] else "no queues: nothing was ever enqueued"
    )


# How many runners are alive, silent and lost, and how many of their slots are in use.
RUNNERS = """
    select
      count(*) filter (where state = 'alive') as alive,
      count(*) filter (where state = 'silent') as silent,
      count(*) filter (where state = 'lost') as lost,
      coalesce(sum(running), 0)::bigint as running,
      coalesce(sum(concurrency) filter (where state <> 'lost'), 0)::bigint as concurrency
    from soniq.runner_stats
"""


async def read_status(connection: asyncpg.Connection) -> dict[str, Any]:
    """What `soniq status` prints of the database."""
    queues = await connection.fetch("select * from soniq.queue_stats order by queue")
    runners = await connection.fetchrow(RUNNERS)
    # Of those that vacuum has to wait for.
    oldest = await connection.fetchval(
        """
        select make_interval(secs => value)
        from soniq.metrics()
        where name = 'soniq_oldest_transaction_seconds'
          and value > 0
        """
    )
    schedules = await read_schedules(connection)
    return {
        "schema_version": await connection.fetchval("select soniq.version()"),
        "runners": dict(runners),
        "dead_letters": sum(queue["dead_letters"] for queue in queues),
        "late_schedules": [each["name"] for each in schedules if each["state"] == "late"],
        "oldest_transaction": oldest,
        "queues": [dict(queue) for queue in queues],
    }


@click.command(epilog=EXIT_CODES)
@json_option
def inspect(as_json: bool) -> None:
    """Prints each runner, what it does and whether it is heard of, and each schedule."""
    runners, schedules = on_database(read_inspection)
    if as_json:
        print_json({"runners": list(map(plain, runners)), "schedules": list(map(plain, schedules))})
        return
    click.echo(f"Runners: {len(runners)}")
    if runners:
        click.echo(table(runners))
    click.echo(f"\nSchedules: {len(schedules)}")
    if schedules:
        click.echo(table(schedules))


async def read_inspection(connection: asyncpg.Connection) -> tuple[list[Any], list[Any]]:
    """The runners, the silent and the lost first, and the schedules."""
    runners = await connection.fetch(
        "select * from soniq.runner_stats order by state = 'alive', runner_id"
    )
    return list(runners), await read_schedules(connection)
