"""What is done: one function for each action, by the SQL function that alone knows what is possible. Each is logged."""

import logging
from dataclasses import dataclass
from typing import Any, Literal

from soniq.dashboard.filters import Selection
from soniq.dashboard.reaching import Database, Reach
from soniq.dashboard.refusals import conflict, not_found

log = logging.getLogger("soniq.dashboard")

# A batch is one transaction: short enough to hold up nobody, large enough to cost little.
BATCH = 1000
SAMPLE = 20
# So many are counted before somebody is asked; of a hundred thousand, each asking would read them all.
COUNTED = 200
Verb = Literal["replay", "delete"]


def _tell(who: str, did: str, *what: object) -> None:
    log.info(f"%s {did}", who, *what)


# Jobs.


async def cancel(reach: Reach, who: str, job_id: int) -> None:
    """Takes a job out of its queue. Raises Refusal where it is not queued."""
    async with reach.database() as database:
        status = await database.value("select soniq.cancel(job_id => $1)", job_id)
    if status is None:
        raise no_such_job(job_id)
    if status != "cancelled":
        raise conflict(
            f"Job {job_id} is {_in_words(status)}.", "Only queued jobs can be cancelled."
        )
    _tell(who, "cancelled job %s", job_id)


async def retry(reach: Reach, who: str, job_id: int) -> int:
    """Runs a job that waits now, or a dead letter as a new job. Answers with the id that will run; raises Refusal."""
    async with reach.database() as database:
        run = await database.row("select status, runs_as from soniq.run_now(job_id => $1)", job_id)
    assert run is not None
    if run["runs_as"] is None:
        raise _not_run(job_id, run["status"])
    _tell(who, "retried job %s, which runs as job %s", job_id, run["runs_as"])
    return int(run["runs_as"])


def _not_run(job_id: int, status: str | None) -> Exception:
    match status:
        case None:
            return no_such_job(job_id)
        case "processing":
            return conflict(
                f"Job {job_id} is processing already.", "If this attempt fails, it can be retried."
            )
        case _:
            return conflict(
                f"Job {job_id} is {_in_words(status)}.",
                "Only jobs that wait and dead letters can be retried; enqueue it anew.",
            )


def no_such_job(job_id: int) -> Exception:
    """There is none of that id."""
    return not_found(
        f"There is no job {job_id}.",
        "It never was, its record is older than the retention, or it is another tenant's.",
    )


def _in_words(status: str) -> str:
    return status.replace("_", " ")


# Queues.


async def pause_queue(reach: Reach, who: str, queue: str) -> bool:
    """Hands out no more jobs of a queue; false where it was paused already."""
    async with reach.database() as database:
        changed = bool(await database.value("select soniq.pause_queue(queue => $1)", queue))
    _tell(who, "paused the queue %r", queue)
    return changed


async def resume_queue(reach: Reach, who: str, queue: str) -> bool:
    """Hands them out again; false where it was not paused."""
    async with reach.database() as database:
        changed = bool(await database.value("select soniq.resume_queue(queue => $1)", queue))
    _tell(who, "resumed the queue %r", queue)
    return changed


# Schedules.


async def pause_schedule(reach: Reach, who: str, name: str) -> bool:
    """Stops a schedule from enqueueing; false where it was paused already. Raises Refusal where there is none."""
    async with reach.database() as database:
        changed = bool(await database.value("select soniq.pause_schedule(name => $1)", name))
    _tell(who, "paused the schedule %r", name)
    return changed


async def resume_schedule(reach: Reach, who: str, name: str) -> bool:
    """Lets it enqueue again; false where it was not paused. Raises Refusal where there is none."""
    async with reach.database() as database:
        changed = bool(await database.value("select soniq.resume_schedule(name => $1)", name))
    _tell(who, "resumed the schedule %r", name)
    return changed


async def run_schedule(reach: Reach, who: str, name: str) -> int | None:
    """Enqueues a job of a schedule at once; None where its last one is not over and it forbids overlap."""
    async with reach.database() as database:
        job_id: int | None = await database.value("select soniq.run_schedule_now(name => $1)", name)
    _tell(who, "ran the schedule %r, as job %s", name, job_id)
    return job_id


# Dead letters.


def _call(verb: Verb, selection: Selection, argument: str) -> str:
    """The SQL function for it: $1 to $7 are the selection, $8 is how many at most, and then there is an argument."""
    function = {"replay": "soniq.replay_dead_letters", "delete": "soniq.delete_dead_letters"}[verb]
    # A replay of any but named ones is about those alone.
    only_waiting = verb == "delete" and selection.only_waiting
    return (
        f"{function}(ids => $1, job_name => $2, queue => $3, since => $4, before => $5, error_type => $6,"
        f" error_pattern => $7, max_letters => $8, {argument}{', only_waiting => true' if only_waiting else ''})"
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """What an action on dead letters is about: how many, of which jobs and queues, and the first of them."""

    count: int
    by_job: list[dict[str, Any]]
    sample: list[dict[str, Any]]


async def choice(
    database: Database, verb: Verb, selection: Selection, most: int | None = None
) -> Choice:
    """What would be replayed or deleted now; nothing is changed. Raises Refusal where nothing is selected."""
    found = await database.row(
        f"""
        with letter as materialized (
          select target.dead_letter_id as id, target.job_name, target.queue
          from {_call(verb, selection, "dry_run => true")} as target
        ),
        by_job as (
          select letter.job_name, letter.queue, count(*) as count
          from letter
          group by letter.job_name, letter.queue
          order by count(*) desc, letter.job_name, letter.queue
          limit 100
        )
        select
          (select count(*) from letter) as count,
          (select coalesce(jsonb_agg(by_job), '[]') from by_job) as by_job,
          array(select letter.id from letter order by letter.id limit {SAMPLE:d}) as ids
        """,
        *selection.parameters,
        most,
    )
    assert found is not None
    sample = await database.rows(
        """
        select
          letter.id, letter.job_name, letter.queue, letter.dead_at, letter.replay_count, letter.error_type,
          letter.error_pattern
        from soniq.dead_letter_jobs as letter
        where letter.id = any ($1::bigint[])
        order by letter.id
        """,
        found["ids"],
    )
    return Choice(found["count"], found["by_job"], sample)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was done: to how many dead letters, and of the first of these the id and that of the new job."""

    count: int
    first: list[dict[str, Any]]


async def take(
    reach: Reach, who: str, verb: Verb, selection: Selection, most: int | None = None
) -> Taken:
    """Replays or deletes what is selected, in batches, each a transaction of its own. Raises Refusal."""
    count, last, first = 0, 0, list[dict[str, Any]]()
    try:
        while size := BATCH if most is None else min(BATCH, most - count):
            async with reach.database() as database:
                done = await database.rows(
                    f"select * from {_call(verb, selection, 'after_id => $9')}",
                    *selection.parameters,
                    size,
                    last,
                )
            if not done:
                break
            first += done[: SAMPLE - len(first)]
            count += len(done)
            last = done[-1]["dead_letter_id"]
            if len(done) < size:
                break
    finally:
        # What is done stays done, whatever the next batch meets.
        if count:
            _tell(
                who,
                f"{verb}{'ed' if verb == 'replay' else 'd'} %s dead letters: %s",
                count,
                selection,
            )
    return Taken(count, first)
