"""What `soniq doctor` asks of Soniq itself: runners, ticks, partitions, schedules, queues, dead letters."""

from collections.abc import AsyncIterator

import soniq
from soniq.commands.common import duration
from soniq.commands.findings import MINUTES, Finding, Patient
from soniq.commands.schedules import read_schedules


async def runners(patient: Patient) -> AsyncIterator[Finding]:
    """Whether there are any, and all are heard of and of this version."""
    records = await patient.connection.fetch("select * from soniq.runner_stats")
    if not records:
        yield Finding(
            "note", "runners", "none is registered, so nothing runs", "start one: soniq worker"
        )
        return
    for each in records:
        name = f"runner {each['runner_id']} ({each['host']}, pid {each['pid']})"
        if each["state"] != "alive":
            yield Finding(
                "warning",
                "runners",
                f"{name} is {each['state']}, not heard of for {duration(each['silent_for'])}; it holds"
                f" {each['running']} jobs",
                "see whether its process lives and reaches the database; once its heartbeat_timeout is over,"
                " tick() gives its jobs to others",
            )
        if each["runner_version"] != soniq.__version__:
            yield Finding(
                "note",
                "runners",
                f"{name} is of version {each['runner_version'] or 'unknown'}, and this is {soniq.__version__}",
                "finish the upgrade, if it was one",
            )
    alive = sum(each["state"] == "alive" for each in records)
    if alive == len(records):
        yield Finding("ok", "runners", f"{alive} alive")


async def ticks(patient: Patient) -> AsyncIterator[Finding]:
    """Whether anything calls tick(): the chores tell, which are due once a minute."""
    late = await patient.connection.fetchval(
        """
        select case when min(due_at) = '-infinity' then null else soniq.clock() - min(due_at) end
        from soniq.chores
        """
    )
    remedy = "run a runner, `soniq scheduler`, or select soniq.tick() from cron"
    if late is None:
        yield Finding("note", "ticks", "nothing has ever called soniq.tick() here", remedy)
    elif late > MINUTES:
        yield Finding(
            "warning",
            "ticks",
            f"nothing has called soniq.tick() for about {duration(late)}: no schedule runs, and jobs of dead"
            " runners stay theirs",
            remedy,
        )
    else:
        yield Finding("ok", "ticks", "soniq.tick() is being called")


async def partitions(patient: Patient) -> AsyncIterator[Finding]:
    """Whether finished jobs have the days that they need."""
    found = await patient.connection.fetchrow(
        """
        select
          (
            select count(*)
            from pg_inherits
            where inhparent = 'soniq.finished_jobs'::regclass
              and inhrelid <> 'soniq.finished_jobs_default'::regclass
          ) as days,
          exists (
            select
            from (
              select retention from soniq.settings
              union select retention from soniq.job_types
              union select retention from soniq.queues
            ) as policy
            where policy.retention > interval '0'
              and to_regclass('soniq.finished_jobs_' || to_char(
                (soniq.clock() + policy.retention + interval '1 day') at time zone 'UTC', 'YYYYMMDD'
              )) is null
          ) as missing,
          (select count(*) from (select from soniq.finished_jobs_default limit 101) as job) as stray
        """
    )
    remedy = "select * from soniq.tick() makes the days and moves these rows; see whether anything calls it"
    if found["stray"]:
        count = "more than 100" if found["stray"] > 100 else str(found["stray"])
        yield Finding(
            "warning",
            "partitions",
            f"{count} finished jobs lie in soniq.finished_jobs_default, for want of a partition of their day",
            remedy,
        )
    if found["missing"]:
        yield Finding(
            "note" if not found["days"] else "warning",
            "partitions",
            f"{found['days']} days are made, and the day until which tomorrow's jobs are kept is not",
            remedy,
        )
    if not found["stray"] and not found["missing"]:
        yield Finding("ok", "partitions", f"{found['days']} days are made, none is wanting")


async def schedules(patient: Patient) -> AsyncIterator[Finding]:
    """Whether any is late."""
    records = await read_schedules(patient.connection)
    late = [each for each in records if each["state"] == "late"]
    for each in late:
        yield Finding(
            "warning",
            "schedules",
            f"{each['name']} is late: it was due at {each['next_run_at']:%Y-%m-%d %H:%M:%S%z}",
            "see whether anything calls soniq.tick(): run a runner or `soniq scheduler`",
        )
    if not late:
        yield Finding("ok", "schedules", f"{len(records)} schedules, none is late")


async def queues(patient: Patient) -> AsyncIterator[Finding]:
    """Queues that stand still although they have jobs, and dead letters that wait for somebody."""
    records = await patient.connection.fetch("select * from soniq.queue_stats order by queue")
    served = await patient.connection.fetchrow(
        """
        select
          coalesce(bool_or(queues is null), false) as every,
          coalesce(array_agg(name) filter (where name is not null), '{}') as names
        from soniq.runners
        left join unnest(queues) as name on true
        where lost_at is null
        """
    )
    found = False
    for each in records:
        waits = f"{each['ready']} jobs of queue {each['queue']} are ready"
        if each["ready"] and each["paused"]:
            found = True
            yield Finding(
                "note",
                "queues",
                f"{waits}, and it is paused",
                f"soniq queues resume {each['queue']}",
            )
        elif each["ready"] and not served["every"] and each["queue"] not in served["names"]:
            found = True
            yield Finding(
                "warning",
                "queues",
                f"{waits}, and no runner serves it",
                f"start a runner with SONIQ_QUEUES=* or one that names {each['queue']}",
            )
        if each["overdue"]:
            found = True
            yield Finding(
                "warning",
                "queues",
                f"{each['overdue']} jobs of queue {each['queue']} are past their deadline and not taken back",
                "see whether anything calls soniq.tick()",
            )
    if not found:
        yield Finding("ok", "queues", f"{len(records)} queues, none stands still")
    letters = sum(each["dead_letters"] for each in records)
    if letters:
        yield Finding(
            "note",
            "dead letters",
            f"{letters} wait for somebody",
            "soniq dead-letter replay --all --dry-run tells their causes",
        )
    else:
        yield Finding("ok", "dead letters", "none waits")
