"""`soniq jobs`: single jobs, looked up, cancelled, retried."""

import asyncpg
import click

from soniq.commands.common import (
    EXIT_CODES,
    JOB_ID,
    decode_json,
    json_option,
    limit_option,
    on_database,
    print_json,
    print_rows,
)
from soniq.commands.completing import job_names, queue_names
from soniq.commands.details import print_details
from soniq.errors import DatabaseRefused

STATUSES = ("queued", "processing", "done", "cancelled", "dead_letter")
job_id_argument = click.argument("job_id", type=JOB_ID, metavar="ID")


@click.group(epilog=EXIT_CODES)
def jobs() -> None:
    """Jobs, whatever became of them."""


@jobs.command("list", epilog=EXIT_CODES)
@click.option("--queue", help="Of this queue.", shell_complete=queue_names)
@click.option("--job", help="Of this job name.", shell_complete=job_names)
@click.option("--status", type=click.Choice(STATUSES), help="In this status.")
@click.option("--tenant", help="Of this tenant.")
@limit_option
@json_option
def list_jobs(
    queue: str | None,
    job: str | None,
    status: str | None,
    tenant: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Prints jobs, those enqueued last first."""

    async def work(connection: asyncpg.Connection) -> list[asyncpg.Record]:
        return await read_jobs(connection, queue, job, status, limit, tenant)

    print_rows(on_database(work), as_json, "no jobs")


async def read_jobs(
    connection: asyncpg.Connection,
    queue: str | None,
    job: str | None,
    status: str | None,
    limit: int,
    tenant: str | None = None,
) -> list[asyncpg.Record]:
    """The jobs that were enqueued last, of those that match, in a line each."""
    # The status as a literal, and only one of STATUSES: so the planner leaves out the tables that cannot have it.
    condition = "true" if status is None else f"job.status = '{status}'"
    # Leases have an index. In the order of ids, the planner would look for them among all that is queued.
    materialized = "materialized" if status == "processing" else "not materialized"
    records = await connection.fetch(
        f"""
        with job as {materialized} (
          select *
          from soniq.all_jobs as job
          where {condition}
        )
        select
          job.id, job.status, job.job_name, job.queue, job.attempt, job.max_attempts,
          job.scheduled_at, job.ended_at,
          left(concat_ws(
            ': ', job.errors -> -1 ->> 'type', job.errors -> -1 ->> 'message'
          ), 60) as last_error
        from job
        where ($1::text is null or job.queue = $1)
          and ($2::text is null or job.job_name = $2)
          and ($4::text is null or job.tenant = $4)
        order by job.id desc
        limit $3
        """,
        queue,
        job,
        limit,
        tenant,
    )
    return list(records)


@jobs.command("show", epilog=EXIT_CODES)
@job_id_argument
@json_option
def show(job_id: int, as_json: bool) -> None:
    """Prints everything of a job, with the traceback of every failed attempt."""

    async def work(connection: asyncpg.Connection) -> asyncpg.Record:
        await decode_json(connection)
        return await _job(connection, job_id)

    print_details(on_database(work), as_json)


@jobs.command("cancel", epilog=EXIT_CODES)
@job_id_argument
@json_option
def cancel(job_id: int, as_json: bool) -> None:
    """Takes a job out of its queue, also one that waits for a retry."""

    async def work(connection: asyncpg.Connection) -> None:
        status = await connection.fetchval("select soniq.cancel(job_id => $1)", job_id)
        if status is None:
            raise DatabaseRefused(_no_such_job(job_id))
        if status != "cancelled":
            raise DatabaseRefused(
                f"job {job_id} is {status}, and only queued jobs can be cancelled"
            )

    on_database(work)
    if as_json:
        print_json({"job_id": job_id, "status": "cancelled"})
    else:
        click.echo(f"job {job_id} is cancelled")


@jobs.command("retry", epilog=EXIT_CODES)
@job_id_argument
@json_option
def retry(job_id: int, as_json: bool) -> None:
    """Runs a job now: one that waits for a retry, a snooze or its time, or a dead letter, as a new job."""

    async def work(connection: asyncpg.Connection) -> int:
        status, runs_as = await connection.fetchrow(
            "select status, runs_as from soniq.run_now(job_id => $1)", job_id
        )
        if runs_as is None:
            raise DatabaseRefused(_why_not_run(job_id, status))
        return int(runs_as)

    runs_as = on_database(work)
    if runs_as != job_id:
        told: dict[str, int | str] = {"dead_letter_id": job_id, "job_id": runs_as}
        text = f"dead letter {job_id} runs again as job {runs_as}"
    else:
        told = {"job_id": job_id, "status": "queued"}
        text = f"job {job_id} is ready to run now"
    if as_json:
        print_json(told)
    else:
        click.echo(text)


def _why_not_run(job_id: int, status: str | None) -> str:
    match status:
        case None:
            return _no_such_job(job_id)
        case "processing":
            return f"job {job_id} is processing already; if this attempt fails, it can be retried"
        case _:
            return (
                f"job {job_id} is {status}, and only jobs that wait and dead letters can be retried;"
                f" enqueue it anew, with what `soniq jobs show {job_id}` tells"
            )


async def _job(connection: asyncpg.Connection, job_id: int) -> asyncpg.Record:
    record = await connection.fetchrow("select * from soniq.get_job(job_id => $1)", job_id)
    if record is None:
        raise DatabaseRefused(_no_such_job(job_id))
    return record


def _no_such_job(job_id: int) -> str:
    return (
        f"there is no job {job_id}: it never was, or its record is older than the retention;"
        " `soniq jobs list` tells the latest"
    )
