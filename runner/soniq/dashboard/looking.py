"""What is shown: one function for each thing, with the SQL that finds it. Pages and API read here and nowhere else.

Nothing is counted that grows with the history, and no list uses OFFSET: a list goes on below the id where it ended. A
filter for which there is no index looks through so many jobs at most, and then says how far it got.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from soniq.commands.status import RUNNERS
from soniq.dashboard.filters import JobFilter, LetterFilter
from soniq.dashboard.reaching import Database
from soniq.dashboard.refusals import forbidden

Row = dict[str, Any]
Span = Literal["hour", "day", "week"]
# Whether any match of those that came in since a list was first shown; unknown, where too many did to look through.
Newer = Literal["none", "some", "unknown"]
LENGTHS: dict[str, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}

PAGE = 50
# So many jobs are looked through for those that match; fewer where each one's args have to be read.
WINDOW = 2000
WINDOW_OF_ARGS = 500
WINDOW_OF_LETTERS = 500  # they carry their errors
SCHEDULES_A_PAGE = 200
RUNS = 10  # of a schedule, next and last ones
# JSON that is nested deeper is not written over several lines.
DEEPEST = 20
MOST_RUNNERS = 200
# Of what all runners of a page have at work together.
MOST_RUNNING = 500


# How things stand.


async def concerns(database: Database) -> list[Row]:
    """What is wrong now, the worst first."""
    return await database.rows("select severity, kind, subject, message from soniq.concerns")


async def history(
    database: Database, span: Span, queue: str | None = None
) -> tuple[list[Row], Row]:
    """What became of jobs over time, the oldest first, NULL where nobody looked; and over the whole time."""
    *moments, whole = await database.rows(
        "select * from soniq.history(length => $1, queue => $2)", LENGTHS[span], queue
    )
    return moments, whole


async def runner_summary(database: Database) -> Row:
    """How many runners are alive, silent and lost, and how many of their slots are in use."""
    found = await database.row(RUNNERS)
    assert found is not None
    return found


async def metrics(database: Database) -> list[Row]:
    """What a scraper is told."""
    return await database.rows("select name, labels, value from soniq.metrics()")


# Queues.


async def queues(database: Database) -> list[Row]:
    """Every queue by name; the view finds all of them whatever is asked."""
    return await database.rows(
        """
        select
          stats.queue, stats.ready, stats.scheduled, stats.processing, stats.overdue, stats.dead_letters,
          stats.oldest_ready_age, stats.paused, stats.is_estimate, stats.count_age
        from soniq.queue_counts as stats
        order by stats.queue
        """
    )


async def queue(database: Database, name: str) -> Row | None:
    """One queue, with the defaults that it has of its own; None if nobody has ever used it."""
    return await database.row(
        """
        select
          stats.queue, stats.ready, stats.scheduled, stats.processing, stats.overdue, stats.dead_letters,
          stats.oldest_ready_age, stats.paused, stats.is_estimate, stats.count_age,
          own.priority, own.max_attempts, own.timeout, own.retention, own.max_depth
        from soniq.queue_counts as stats
        left join soniq.queues as own
          on own.queue = stats.queue
        where stats.queue = $1
        """,
        name,
    )


def worst_first(queues: Sequence[Row]) -> list[Row]:
    """Queues, those first whose oldest job has waited longest, then those with most dead letters and most jobs."""
    nothing = timedelta(0)
    return sorted(
        queues,
        key=lambda each: (
            -(each["oldest_ready_age"] or nothing),
            -each["dead_letters"],
            -each["ready"] - each["processing"],
            each["queue"],
        ),
    )


def total(queues: Sequence[Row]) -> Row:
    """What queues come to together."""
    ages = [each["oldest_ready_age"] for each in queues if each["oldest_ready_age"] is not None]
    return {
        **{
            name: sum(each[name] for each in queues)
            for name in ("ready", "scheduled", "processing", "dead_letters", "paused")
        },
        "oldest_ready_age": max(ages, default=None),
        "is_estimate": any(each["is_estimate"] for each in queues),
        "count_age": max((each["count_age"] for each in queues), default=timedelta(0)),
    }


# Jobs.

# What an observer may see, and what only an admin.
COLUMNS = """
    job.id, job.status, job.job_name, job.queue, job.priority, job.scheduled_at, job.enqueued_at, job.attempt,
    job.max_attempts, job.timeout, job.runner_id, job.claimed_at, job.deadline, job.replay_of, job.schedule, job.due_at,
    job.ended_at, job.reason, job.replay_count, job.tenant
"""
INNER_COLUMNS = "job.dedup_key, job.errors"
# What programs made of a job. It arrives as text: Python would round its numbers, and has no room for some.
CARRIED = ("args", "headers", "result")
# Where jobs of a status are, as the planner understands it: with a literal it leaves out the other tables. A status
# that shares its table is chosen after the window, since nothing says how far apart its jobs lie.
WHERE_THEY_ARE = {
    None: "true",
    "queued": "job.status = 'queued'",
    "processing": "job.status = 'processing'",
    "done": "job.status in ('done', 'cancelled')",
    "cancelled": "job.status in ('done', 'cancelled')",
    "dead_letter": "job.status = 'dead_letter'",
}
# Ids come in the order of time but for what a transaction took longer over than others.
LATE_COMMITS = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list.

    before: the id below which the list goes on; None at its end. searched_to: where nothing more matched in what was
    looked through, up to when that was; then the list may go on. is_partial: so many are at work that only those with
    the latest deadlines were looked through.
    """

    rows: list[Row]
    before: int | None
    searched_to: datetime | None = None
    is_partial: bool = False


async def jobs(database: Database, wanted: JobFilter) -> Listed:
    """Jobs that match, the latest first; without args where the login may not see them."""
    window = _window(wanted)
    found = await _matching_jobs(database, wanted, window)
    ids = found["ids"]
    rows = await _jobs_of(database, ids[:PAGE], wanted.status)
    is_full = found["looked_at"] == window
    is_partial = is_full and wanted.status == "processing"
    if len(ids) > PAGE:
        return Listed(rows, ids[PAGE - 1], is_partial=is_partial)
    ended = not is_full or (
        wanted.since is not None and found["latest"] < wanted.since - LATE_COMMITS
    )
    if ended:
        return Listed(rows, None)
    return Listed(rows, found["lowest"], found["reached"], is_partial)


async def newer_jobs(database: Database, wanted: JobFilter, than: int) -> Newer:
    """Whether a list that began with this job would begin with another by now."""
    window = PAGE if wanted.is_narrow else 1
    found = await _matching_jobs(database, wanted, window, above=than)
    return _newer(bool(found["ids"]), found["looked_at"] == window)


def _newer(any_matches: bool, is_full: bool) -> Newer:
    if any_matches:
        return "some"
    return "unknown" if is_full else "none"


async def _matching_jobs(database: Database, wanted: JobFilter, window: int, above: int = 0) -> Row:
    """The ids of a page's jobs, and one more, of so many that are looked through; and how far these reach."""
    if wanted.text and not database.rights.sees_args:
        raise forbidden(f"{database.rights.login} may not see args, and so not search in them.")
    before = wanted.before
    # What is being processed is read whole anyway.
    if before is None and wanted.until is not None and wanted.status != "processing":
        before = await first_id_since(database, wanted.until + LATE_COMMITS, wanted.status)
    [found] = await database.rows(
        f"""
        with job as materialized (
          {_latest(wanted.status, ", job.args" if wanted.text else "", window, above)}
        ),
        matching as (
          select job.id
          from job
          where ($2::text is null or job.status::text = $2)
            and ($3::text is null or job.queue = $3)
            and ($4::text is null or job.job_name = $4)
            and ($5::text is null or job.tenant = $5)
            and ($6::timestamptz is null or job.enqueued_at >= $6)
            and ($7::timestamptz is null or job.enqueued_at < $7)
            {"and strpos(lower(job.args::text), lower($8)) > 0" if wanted.text else ""}
          order by job.id desc
          limit {PAGE + 1:d}
        )
        select
          array(select id from matching) as ids,
          (select count(*) from job) as looked_at,
          (select min(id) from job) as lowest,
          (select max(enqueued_at) from job) as latest,
          (select enqueued_at from job order by id limit 1) as reached
        """,
        before,
        wanted.status,
        wanted.queue,
        wanted.name,
        wanted.tenant,
        wanted.since,
        wanted.until,
        *([wanted.text] if wanted.text else []),
    )
    return found


def _window(wanted: JobFilter) -> int:
    """How many jobs are looked through for those that match."""
    by_status_alone = not replace(wanted, status=None).is_narrow
    if by_status_alone and wanted.status in (None, "queued", "dead_letter"):
        return PAGE + 1
    if wanted.text:
        return WINDOW_OF_ARGS
    return WINDOW_OF_LETTERS if wanted.status == "dead_letter" else WINDOW


def _latest(status: str | None, more: str, most: int, above: int) -> str:
    """So many of the jobs that may have a status, the latest first, below the id $1, with what is asked about them."""
    columns = f"job.id, job.status, job.job_name, job.queue, job.tenant, job.enqueued_at {more}"
    source = f"select {columns} from soniq.all_jobs as job where {WHERE_THEY_ARE[status]}"
    if above:
        source += f" and job.id > {above:d}"
    # Leases have an index by deadline; of more than WINDOW, those with the latest are found. In the order of ids, the
    # planner would look for them among all that is queued.
    # For others, anything between the view and the order would keep it from reading in that order.
    if status == "processing":
        return f"""
          select *
          from (
            {source} and ($1::bigint is null or job.id < $1) order by job.deadline desc limit {most:d}
          ) as leased
          order by leased.id desc
        """
    return f"{source} and ($1::bigint is null or job.id < $1) order by job.id desc limit {most:d}"


async def first_id_since(
    database: Database, time: datetime, status: str | None = None
) -> int | None:
    """An id below which all jobs were enqueued before this time, but for those committed late; None if all were."""
    ends = await database.row(
        f"""
        select
          first.id as low, first.enqueued_at as low_at, last.id as high, last.enqueued_at as high_at
        from (
          select job.id, job.enqueued_at
          from soniq.all_jobs as job
          where {WHERE_THEY_ARE[status]}
          order by job.id
          limit 1
        ) as first
        cross join (
          select job.id, job.enqueued_at
          from soniq.all_jobs as job
          where {WHERE_THEY_ARE[status]}
          order by job.id desc
          limit 1
        ) as last
        """
    )
    if ends is None:
        return None
    low, high = ends["low"], ends["high"] + 1
    low_at, high_at = ends["low_at"], ends["high_at"]
    if time <= low_at and high - low > WINDOW // 2:
        return int(low)
    by_halves = False
    # Jobs mostly come at an even pace, so where the time lies between two others is a good guess; every other one is
    # the middle, for when they do not.
    while high - low > WINDOW // 2:
        share = 0.5 if by_halves or high_at <= low_at else (time - low_at) / (high_at - low_at)
        by_halves = not by_halves
        guess = min(max(low + int((high - low) * share), low + 1), high - 1)
        found = await database.row(
            f"""
            select job.id, job.enqueued_at
            from soniq.all_jobs as job
            where {WHERE_THEY_ARE[status]}
              and job.id <= $1
            order by job.id desc
            limit 1
            """,
            guess,
        )
        if found is not None and found["enqueued_at"] >= time:
            high, high_at = guess, found["enqueued_at"]
        else:
            low = guess
            if found is not None:
                low_at = found["enqueued_at"]
    return int(high)


async def _jobs_of(database: Database, ids: Sequence[int], status: str | None) -> list[Row]:
    if not ids:
        return []
    inner = (
        """
        , left(job.args::text, 300) as args
        , left(concat_ws(': ', job.errors -> -1 ->> 'type', job.errors -> -1 ->> 'message'), 300) as last_error
        """
        if database.rights.sees_args
        else ", null::text as args, null::text as last_error"
    )
    # They lie together, so one range is read of each table; the planner would look for each of them in every partition.
    return await database.rows(
        f"""
        select {COLUMNS} {inner}
        from soniq.all_jobs as job
        where {WHERE_THEY_ARE[status]}
          and job.id between $1 and $2
          and job.id + 0 = any ($3::bigint[])
        order by job.id desc
        """,
        min(ids),
        max(ids),
        ids,
    )


async def job(database: Database, job_id: int) -> Row | None:
    """One job, whatever became of it, with what it carries as JSON; what the login may not see of it is left out."""
    inner = ""
    if database.rights.sees_args:
        carried = (f"{_pretty(f'job.{name}')} as {name}" for name in CARRIED)
        inner = f", {INNER_COLUMNS}, {', '.join(carried)}"
    return await database.row(
        f"select {COLUMNS} {inner} from soniq.all_jobs as job where job.id = $1", job_id
    )


def _pretty(column: str) -> str:
    """A JSON value as text: over several lines, unless it is empty, or so deep that these would be mostly blank."""
    # Whatever looks at a large value reads it anew from where such are stored, unless it was taken out of there first.
    return f"""
      (
        with read as materialized (
          select {column} #> '{{}}' as value
        )
        select
          case
            when value in ('{{}}', '[]') or jsonb_path_exists(value, '$.**{{{DEEPEST:d}}}') then value::text
            else jsonb_pretty(value)
          end
        from read
      )
    """


async def runner_of(database: Database, runner_id: int) -> Row | None:
    """Where a runner is, if it is still on the list."""
    return await database.row(
        "select runner_id, host, pid from soniq.runners where runner_id = $1", runner_id
    )


async def last_replayed(database: Database, letter_id: int) -> datetime | None:
    """When a dead letter was replayed last, where the login may know."""
    if not database.rights.sees_letters:
        return None
    found: datetime | None = await database.value(
        "select last_replayed_at from soniq.dead_letter_jobs where id = $1", letter_id
    )
    return found


async def last_replay(database: Database, letter_id: int, replayed_at: datetime) -> Row | None:
    """The job that a dead letter was last replayed as, if it is found among those enqueued at that time."""
    from_id = await first_id_since(database, replayed_at + timedelta(seconds=1))
    return await database.row(
        f"""
        select replay.id, replay.status
        from (
          select job.id, job.status, job.replay_of
          from soniq.all_jobs as job
          where job.id > $1
            and ($2::bigint is null or job.id < $2)
          order by job.id desc
          limit {2 * WINDOW:d}
        ) as replay
        where replay.replay_of = $1
        order by replay.id desc
        limit 1
        """,
        letter_id,
        from_id,
    )


# Dead letters.


async def letter_groups(database: Database) -> list[Row]:
    """What the dead letters not replayed died of, the most frequent first."""
    return await database.rows(
        """
        select
          job_name, error_type, error_pattern, letters, first_at, last_at, latest_id, is_partial, count_age,
          letters::double precision / sum(letters) over () as share
        from soniq.dead_letter_groups
        order by letters desc, last_at desc
        """
    )


async def letters(database: Database, wanted: LetterFilter) -> Listed:
    """Dead letters that match, those with the highest ids first, each with its last error."""
    window = WINDOW_OF_LETTERS if wanted.is_narrow else PAGE + 1
    looked_at = await _latest_letters(database, wanted, window)
    rows = [each for each in looked_at if each["matches"]]
    if len(rows) > PAGE:
        return Listed(rows[:PAGE], rows[PAGE - 1]["id"])
    if len(looked_at) < window:
        return Listed(rows, None)
    return Listed(rows, looked_at[-1]["id"], looked_at[-1]["dead_at"])


async def newer_letters(database: Database, wanted: LetterFilter, than: int) -> Newer:
    """Whether a list that began with this dead letter would begin with another by now."""
    window = PAGE if wanted.is_narrow else 1
    looked_at = await _latest_letters(database, wanted, window, above=than)
    return _newer(any(each["matches"] for each in looked_at), len(looked_at) == window)


async def _latest_letters(
    database: Database, wanted: LetterFilter, window: int, above: int = 0
) -> list[Row]:
    """So many dead letters, and whether each matches."""
    # Those of one error have an index, and so have those of a queue that wait; for another filter, so many are looked
    # through.
    by_index = ""
    if None not in (wanted.name, wanted.error_type, wanted.error_pattern):
        by_index = "and each.job_name = $2 and each.error_type = $4 and each.error_pattern = $5"
    elif wanted.waiting and wanted.queue is not None:
        by_index = "and each.queue = $3 and each.replay_count = 0"
    return await database.rows(
        f"""
        select
          letter.*,
          ($2::text is null or letter.job_name = $2)
            and ($3::text is null or letter.queue = $3)
            and ($4::text is null or letter.error_type = $4)
            and ($5::text is null or letter.error_pattern = $5)
            and ($6::timestamptz is null or letter.dead_at >= $6)
            and ($7::timestamptz is null or letter.dead_at < $7)
            and (not $8::boolean or letter.replay_count = 0) as matches
        from (
          select
            each.id, each.job_name, each.queue, each.reason, each.attempt, each.max_attempts, each.enqueued_at,
            each.dead_at, each.replay_count, each.last_replayed_at, each.tenant, each.error_type, each.error_pattern
          from soniq.dead_letter_jobs as each
          where ($1::bigint is null or each.id < $1)
            {f"and each.id > {above:d}" if above else ""}
            {by_index}
          order by each.id desc
          limit {window:d}
        ) as letter
        order by letter.id desc
        """,
        wanted.before,
        wanted.name,
        wanted.queue,
        wanted.error_type,
        wanted.error_pattern,
        wanted.since,
        wanted.until,
        wanted.waiting,
    )


# Schedules.


async def schedules(
    database: Database, after: str | None = None, most: int | None = None
) -> list[Row]:
    """Schedules by name, with their state and their next run: all, or so many whose names come after one."""
    return await database.rows(
        # Read as they lie and then sorted: in the order of names, each would be a page of its own.
        f"""
        with schedule as materialized (
          select {SCHEDULE_COLUMNS}
          from soniq.schedules as each
          join soniq.schedule_stats as stats
            on stats.name = each.name
        )
        select schedule.*
        from schedule
        where $1::text is null
          or schedule.name > $1
        order by schedule.name
        limit $2
        """,
        after,
        most,
    )


async def schedule(database: Database, name: str) -> Row | None:
    """One schedule, with its args as JSON where the login may see them."""
    args = f", {_pretty('each.args')} as args" if database.rights.sees_args else ""
    return await database.row(
        f"""
        select {SCHEDULE_COLUMNS} {args}
        from soniq.schedules as each
        join soniq.schedule_stats as stats
          on stats.name = each.name
        where each.name = $1
        """,
        name,
    )


async def next_runs(database: Database, name: str) -> list[Row]:
    """When a schedule fires next, and what the clock in its own zone shows then."""
    return await database.rows(
        "select run_at, local_time from soniq.preview_schedule(name => $1, runs => $2)", name, RUNS
    )


async def last_runs(database: Database, name: str, last_job_id: int | None) -> Listed:
    """The jobs that a schedule enqueued last, ten of them, of those enqueued not long before the last one."""
    if last_job_id is None:
        return Listed([], None)
    found = await database.rows(
        f"""
        with job as materialized (
          select job.id, job.status, job.due_at, job.claimed_at, job.ended_at, job.schedule, job.enqueued_at
          from soniq.all_jobs as job
          where job.id <= $2
          order by job.id desc
          limit {WINDOW:d}
        )
        select
          run.*,
          (select count(*) from job) as looked_at,
          (select min(id) from job) as lowest,
          (select enqueued_at from job order by id limit 1) as reached
        from (select) as once
        left join lateral (
          select job.id, job.status, job.due_at, job.claimed_at, job.ended_at
          from job
          where job.schedule = $1
          order by job.id desc
          limit {RUNS:d}
        ) as run
          on true
        """,
        name,
        last_job_id,
    )
    rows = [each for each in found if each["id"] is not None]
    if len(rows) == RUNS or found[0]["looked_at"] < WINDOW:
        return Listed(rows, None)
    return Listed(rows, found[0]["lowest"], found[0]["reached"])


SCHEDULE_COLUMNS = """
    each.name, each.job_name, each.cron, each.every, each.timezone, each.queue, each.priority, each.max_attempts,
    each.timeout, each.missed_runs, each.max_missed_runs, each.allow_overlap, each.paused, each.next_run_at,
    each.last_due_at, each.last_job_id, each.source, each.tenant, each.created_at, each.registered_at, stats.state
"""


# Runners.


RUNNER_COLUMNS = """
    runner.runner_id, runner.host, runner.pid, runner.runner_version, runner.queues, runner.concurrency, runner.running,
    runner.oldest_running_age, runner.count_age, runner.silent_for, runner.state, runner.registered_at
"""


async def runners(database: Database, runner_id: int | None = None) -> list[Row]:
    """Runners, or one: the lost and the silent first, then the one that has run its oldest job for longest."""
    return await database.rows(
        f"""
        select {RUNNER_COLUMNS}
        from soniq.runner_stats as runner
        where $1::bigint is null
          or runner.runner_id = $1
        order by runner.state = 'alive', runner.oldest_running_age desc nulls last, runner.runner_id
        limit {MOST_RUNNERS:d}
        """,
        runner_id,
    )


async def runners_by_id(database: Database, before: int | None = None) -> Listed:
    """Runners, those with the highest ids first: an order that stays while a program goes from page to page."""
    rows = await database.rows(
        f"""
        select {RUNNER_COLUMNS}
        from soniq.runner_stats as runner
        where $1::bigint is null
          or runner.runner_id < $1
        order by runner.runner_id desc
        limit {MOST_RUNNERS + 1:d}
        """,
        before,
    )
    if len(rows) > MOST_RUNNERS:
        return Listed(rows[:MOST_RUNNERS], rows[MOST_RUNNERS - 1]["runner_id"])
    return Listed(rows, None)


@dataclass(frozen=True, slots=True)
class AtWork:
    """What runners have at work, by their ids, what was claimed first at the front.

    is_partial: so much is at work that only what has the nearest deadlines was read.
    """

    jobs: dict[int, list[Row]]
    is_partial: bool

    def of(self, runner: Row) -> list[Row]:
        """What is known of a runner's."""
        return self.jobs.get(runner["runner_id"], [])

    def count(self, runner: Row) -> int:
        """How many jobs a runner has at work: those that were read, or, where these are not all, as it was counted."""
        known = len(self.of(runner))
        return max(known, runner["running"]) if self.is_partial else known


async def at_work(database: Database, runner_ids: Sequence[int] | None = None) -> AtWork:
    """What all runners have at work, or these."""
    # Leases have an index by deadline and none by runner.
    found = await database.rows(
        f"""
        with lease as materialized (
          select
            job.id, job.job_name, job.queue, job.attempt, job.max_attempts, job.runner_id, job.claimed_at, job.deadline
          from soniq.all_jobs as job
          where job.status = 'processing'
          order by job.deadline
          limit {WINDOW:d}
        ),
        chosen as (
          select lease.*, soniq.clock() - lease.claimed_at as running_for
          from lease
          where $1::bigint[] is null
            or lease.runner_id = any ($1)
          order by lease.deadline
          limit {MOST_RUNNING:d}
        )
        select chosen.*, known.leases
        from (select count(*) as leases from lease) as known
        left join chosen
          on true
        order by chosen.claimed_at, chosen.id
        """,
        runner_ids,
    )
    jobs: dict[int, list[Row]] = {}
    for each in found:
        if each["id"] is not None:
            jobs.setdefault(each["runner_id"], []).append(each)
    return AtWork(jobs, len(found) == MOST_RUNNING or found[0]["leases"] == WINDOW)
