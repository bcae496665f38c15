"""Holds the producers' notes, the handlers' notes and Soniq's own records against each other.

What must be so, whatever was broken meanwhile:

1. Every job that was acknowledged has ended: done, cancelled or a dead letter, in one place, once.
2. The row that was to be committed with a job is there exactly where the job is.
3. No attempt was run twice, but where the server crashed and had forgotten the claim, which is committed
   asynchronously; and no job ran beside itself but where the earlier run had lost its lease.
4. What is recorded as done is what a handler came to the end of, in that very attempt.
5. Each attempt beyond the first is explained: by an error, by a fault that may cost a runner its lease, or by a runner
   that handed the job back.
6. What was done in one transaction with the job's completion was done once.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from chaos import ledger
from chaos.ledger import Run

JOBS = """
    select job.id, job.status::text, job.job_name, job.attempt, job.max_attempts, job.errors,
      job.result ->> 'nonce' as nonce, kind.kind, coalesce(type.max_attempts, setting.default_max_attempts) as granted,
      posted.attempt as posted_attempt,
      array(select run.event from chaos.runs as run where run.job_id = job.id and run.attempt = job.attempt) as recorded
    from soniq.all_jobs as job
    cross join soniq.settings as setting
    left join soniq.job_types as type on type.job_name = job.job_name
    left join chaos.enqueued as kind on kind.job_id = job.id
    left join chaos.posted as posted on posted.job_id = job.id
    where job.schedule is null
"""
WITHOUT_JOB = """
    select kind.job_id
    from chaos.enqueued as kind
    where not exists (select from soniq.all_jobs as job where job.id = kind.job_id)
"""
ENDED = {"gives_up": "dead_letter", "cancelled": "cancelled"}  # the others are done
FAIL_BY_THEMSELVES = {"fails_once", "gives_up"}
USE_THE_DATABASE = {"recorded", "posted"}

# What a fault may cause; each fault says which of these it excuses.
RUNNER_LOST, HANDED_BACK, ERROR, CLAIM_FORGOTTEN = (
    "runner_lost",
    "handed back",
    "error",
    "claim forgotten",
)


@dataclass
class Report:
    """What was found. `faults`: what ought not to be, in words; `again`: runs beyond the first, by cause."""

    acknowledged: int = 0
    jobs: int = 0
    lost: int = 0
    overlaps: int = 0
    again: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def check(url: str, notes: Path, excuses: Set[str]) -> Report:
    """Reads everything. All must have ended, and nobody may be at work."""
    with psycopg.connect(url) as connection:
        jobs: Sequence[Any] = connection.cursor(row_factory=namedtuple_row).execute(JOBS).fetchall()
        without_job = [job_id for (job_id,) in connection.execute(WITHOUT_JOB).fetchall()]
    acknowledged = ledger.acknowledged(notes)
    runs: dict[int, list[Run]] = {}
    for run in ledger.runs(notes):
        runs.setdefault(run.job_id, []).append(run)

    report = Report(acknowledged=len(acknowledged), jobs=len(jobs))
    known = Counter(job.id for job in jobs)
    lost = [job_id for job_id in acknowledged if job_id not in known]
    report.lost = len(lost)
    report.faults += [f"job {job_id} was acknowledged and is nowhere" for job_id in lost]
    report.faults += [
        f"job {job_id} is in {times} places" for job_id, times in known.items() if times > 1
    ]
    report.faults += [
        f"the row about job {job_id} was committed without it" for job_id in without_job
    ]
    for job in jobs:
        mine = runs.get(job.id, [])
        report.faults += [
            f"job {job.id} ({job.job_name}) {fault}" for fault in _faults(job, mine, excuses)
        ]
        report.again += _again(job, mine)
        report.overlaps += len(_overlaps(mine))
    return report


def _faults(job: Any, runs: Sequence[Run], excuses: Set[str]) -> Iterator[str]:
    if job.kind is None:
        yield "was committed without the row about it"
        return
    if job.status != ENDED.get(job.kind, "done"):
        yield f"is {job.status}"
        return
    if _runs_too_many(runs) and CLAIM_FORGOTTEN not in excuses:
        yield f"was run twice at one attempt: {[run.attempt for run in runs]}"
    if job.status == "done":
        yield from _faults_of_its_end(job, [run for run in runs if run.attempt == job.attempt])
    yield from _unexplained(job, excuses)
    lost = {error["attempt"] for error in job.errors if error["reason"] == RUNNER_LOST}
    for earlier, later in _overlaps(runs):
        # Handed back means that a claim's answer never came, or that a stopping runner gave up waiting for it.
        explained = earlier.attempt in lost or not excuses.isdisjoint(
            {HANDED_BACK, CLAIM_FORGOTTEN}
        )
        if not explained:
            yield f"ran at attempt {later.attempt} beside attempt {earlier.attempt}, whose lease was not lost"


def _runs_too_many(runs: Sequence[Run]) -> int:
    return len(runs) - len({run.attempt for run in runs})


def _faults_of_its_end(job: Any, last: Sequence[Run]) -> Iterator[str]:
    if job.kind == "posted":
        if job.posted_attempt != job.attempt:
            yield f"is done at attempt {job.attempt}, and its effect is that of {job.posted_attempt}"
        return
    answers = {run.nonce for run in last if run.ended is not None}
    if not answers:
        yield f"is done at attempt {job.attempt}, of which no handler came to the end"
    elif job.nonce not in answers:
        yield f"has the result {job.nonce} at attempt {job.attempt}, whose handler answered {answers}"
    if job.kind == "recorded" and sorted(job.recorded) != ["end", "start"]:
        yield f"is done at attempt {job.attempt}, of which the table has {job.recorded}"


def _unexplained(job: Any, excuses: Set[str]) -> Iterator[str]:
    given_back = job.max_attempts - job.granted
    ended_well = int(job.status == "done")
    if job.attempt != len(job.errors) + given_back + ended_well:
        yield f"ended at attempt {job.attempt} with {len(job.errors)} errors, {given_back} times given back"
    by_itself = int(job.kind == "snoozes_once")
    if given_back > by_itself and HANDED_BACK not in excuses:
        yield f"was given back {given_back} times, though no fault explains it"
    for error in job.errors:
        if error["reason"] == RUNNER_LOST:
            explained = RUNNER_LOST in excuses
        elif error["reason"] is None:
            explained = job.kind in FAIL_BY_THEMSELVES or (
                job.kind in USE_THE_DATABASE and ERROR in excuses
            )
        else:
            explained = False
        if not explained:
            yield f"failed for what no fault explains: {error}"


def _again(job: Any, runs: Sequence[Run]) -> Counter[str]:
    """Why a job was run more than once."""
    causes = Counter(_cause(job, error) for error in job.errors if error["attempt"] < job.attempt)
    if given_back := job.max_attempts - job.granted:
        causes["snoozed" if job.kind == "snoozes_once" else HANDED_BACK] += given_back
    if too_many := _runs_too_many(runs):
        causes[CLAIM_FORGOTTEN] += too_many
    return causes


def _cause(job: Any, error: Mapping[str, Any]) -> str:
    if error["reason"] == RUNNER_LOST:
        return RUNNER_LOST
    return "failed by itself" if job.kind in FAIL_BY_THEMSELVES else "failed for a fault"


def _overlaps(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Runs of a job, each with one that started before it had ended. A run of a runner that was killed has no end."""
    return [
        (earlier, later)
        for position, earlier in enumerate(runs)
        for later in runs[position + 1 :]
        if earlier.ended is not None and later.started < earlier.ended
    ]
