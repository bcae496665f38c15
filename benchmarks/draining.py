"""A queue that is full, drained by one runner: how fast, and whether each job was run exactly once."""

import tempfile
from pathlib import Path

from runner_process import RunnerProcess
from testing.outcome import CheckFailed

from .site import Database

PATIENCE = 600.0


def drain_by_runner(
    database: Database, jobs: int, *, concurrency: int, to_the_end: bool = True
) -> float:
    """Jobs a second, from the first claim to the last report, by the database's clock: a start is not counted.

    Where more than `jobs` are ready, not `to_the_end`: the runner is asked to stop as soon as so many are done.
    """
    before = database.number("select count(*) from soniq.jobs")
    known = database.number("select coalesce(max(id), 0) from soniq.finished_jobs")
    with tempfile.TemporaryDirectory(prefix="soniq-bench-") as folder:
        ran = Path(folder) / "ran"
        runner = RunnerProcess(
            database.url,
            Path(__file__).parent,
            Path(folder) / "log",
            *(["--burst"] if to_the_end else []),
            jobs_modules="noop",
            concurrency=concurrency,
            bench_ran=ran,
            bench_until=0 if to_the_end else jobs,
        )
        try:
            if runner.exit_code(PATIENCE) != 0:
                raise CheckFailed(f"the runner failed:\n{runner.log}")
        finally:
            runner.kill()
        numbers = ran.read_text().split()
    done = database.number(f"select count(distinct id) from soniq.finished_jobs where id > {known}")
    gone = before - database.number("select count(*) from soniq.jobs")
    if not len(numbers) == len(set(numbers)) == done == gone or done < jobs:
        raise CheckFailed(
            f"of {jobs} jobs to be done, {gone:g} have left soniq.jobs and {done:g} are in the history;"
            f" the handler was called {len(numbers)} times, for {len(set(numbers))} of them"
        )
    return done / database.number(
        "select extract(epoch from max(finished_at) - min(claimed_at)) from soniq.finished_jobs"
        f" where id > {known}"
    )
