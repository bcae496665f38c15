"""`soniq schedules`: when they run, paused, resumed, run now."""

import asyncpg
import click

from soniq.commands.common import EXIT_CODES, json_option, on_database, print_json, print_rows
from soniq.commands.completing import schedule_names

name_argument = click.argument("name", shell_complete=schedule_names)


@click.group(epilog=EXIT_CODES)
def schedules() -> None:
    """Periodic jobs: when they run next; pause, resume and run them."""


@schedules.command("list", epilog=EXIT_CODES)
@json_option
def list_schedules(as_json: bool) -> None:
    """Prints each schedule and its next run."""
    print_rows(on_database(read_schedules), as_json, "no schedules")


async def read_schedules(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    """Every schedule in a line, by name."""
    return list(
        await connection.fetch(
            # Read as they lie and then sorted: in the order of names, each would be a page of its own.
            """
            with schedule as materialized (
              select
                each.name, each.job_name, each.cron, each.every, each.timezone, each.next_run_at,
                each.last_due_at, each.last_job_id, stats.state
              from soniq.schedules as each
              join soniq.schedule_stats as stats
                on stats.name = each.name
            )
            select *
            from schedule
            order by name
            """
        )
    )


@schedules.command("preview", epilog=EXIT_CODES)
@click.argument("name", required=False, shell_complete=schedule_names)
@click.option("--cron", help="A cron expression, instead of a schedule's name.")
@click.option("--timezone", help="In whose local time --cron is read, an IANA name (UTC).")
@click.option(
    "--runs", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many runs."
)
@json_option
def preview(
    name: str | None, cron: str | None, timezone: str | None, runs: int, as_json: bool
) -> None:
    """Prints the next runs of a schedule, or of a cron expression that none has yet."""
    if (name is None) == (cron is None):
        raise click.UsageError("give either a schedule's NAME, or --cron as in --cron '0 3 * * *'")
    if timezone is not None and cron is None:
        raise click.UsageError(
            f"--timezone goes with --cron; the schedule {name!r} has a time zone of its own"
        )

    async def work(connection: asyncpg.Connection) -> list[asyncpg.Record]:
        if cron is None:
            query = "select * from soniq.preview_schedule(name => $1, runs => $2)"
            return list(await connection.fetch(query, name, runs))
        return list(
            await connection.fetch(
                "select * from soniq.cron_preview(expression => $1, timezone => $2, runs => $3)",
                cron,
                timezone or "UTC",
                runs,
            )
        )

    print_rows(on_database(work), as_json, "it never runs")


@schedules.command("pause", epilog=EXIT_CODES)
@name_argument
@json_option
def pause(name: str, as_json: bool) -> None:
    """Stops a schedule from enqueueing, until it is resumed."""
    _set_paused(name, True, as_json)


@schedules.command("resume", epilog=EXIT_CODES)
@name_argument
@json_option
def resume(name: str, as_json: bool) -> None:
    """Lets a paused schedule enqueue again, from its next run on."""
    _set_paused(name, False, as_json)


def _set_paused(name: str, paused: bool, as_json: bool) -> None:
    function = "pause_schedule" if paused else "resume_schedule"

    async def work(connection: asyncpg.Connection) -> bool:
        return bool(await connection.fetchval(f"select soniq.{function}(name => $1)", name))

    changed = on_database(work)
    if as_json:
        print_json({"schedule": name, "paused": paused, "changed": changed})
    elif paused:
        click.echo(f"schedule {name} {'is paused' if changed else 'was paused already'}")
    else:
        click.echo(f"schedule {name} {'is resumed' if changed else 'was not paused'}")


@schedules.command("run", epilog=EXIT_CODES)
@name_argument
@json_option
def run(name: str, as_json: bool) -> None:
    """Enqueues a schedule's job at once; its next run stays when it is."""

    async def work(connection: asyncpg.Connection) -> int | None:
        job_id: int | None = await connection.fetchval(
            "select soniq.run_schedule_now(name => $1)", name
        )
        return job_id

    job_id = on_database(work)
    if as_json:
        print_json({"schedule": name, "job_id": job_id})
    elif job_id is None:
        click.echo(
            f"schedule {name} allows no overlap, and its last job has not ended: no job was added"
        )
    else:
        click.echo(f"job {job_id} was enqueued for schedule {name}")
