"""What holds of the jobs in a database, whatever was called in whatever order."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sized
from typing import Protocol


class SeenJob(Protocol):
    """A job as soniq.all_jobs shows it."""

    @property
    def id(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def errors(self) -> Sized: ...
    @property
    def dedup_key(self) -> str | None: ...
    @property
    def runner_id(self) -> int | None: ...


def broken_invariants(jobs: Iterable[SeenJob], living_runners: Collection[int]) -> Iterator[str]:
    """What does not hold, in words; nothing where all is well."""
    jobs = list(jobs)
    for job_id, times in Counter(job.id for job in jobs).items():
        if times > 1:
            yield f"job {job_id} is in {times} tables"
    for job in jobs:
        if not len(job.errors) <= job.attempt <= job.max_attempts:
            yield (
                f"job {job.id} has {len(job.errors)} errors of {job.attempt} attempts"
                f" of {job.max_attempts}"
            )
        if job.status == "processing" and job.runner_id not in living_runners:
            yield f"job {job.id} is processed by {job.runner_id}, which does not live"
        if job.status == "queued" and job.runner_id is not None:
            yield f"job {job.id} is queued and held by {job.runner_id}"
    keys = Counter(job.dedup_key for job in jobs if job.status == "queued" and job.dedup_key)
    for key, times in keys.items():
        if times > 1:
            yield f"{times} queued jobs share the key {key!r}"
