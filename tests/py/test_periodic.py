"""Periodic jobs as code declares them: registered by runners, run, changed and removed."""

import itertools
from datetime import datetime, timedelta

import pytest
from conftest import StartRunner, WriteJobs, rows
from waiting import wait_for

HEAD = """
    from datetime import timedelta
    from soniq import Job, Soniq
    app = Soniq()
"""


def test_a_periodic_job_runs_and_knows_when_it_was_due(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(
        HEAD
        + """
    @app.periodic(every=1, args={"word": "tick"})
    async def beat(word: str, job: Job):
        return f"{word} {job.schedule} {job.due_at.isoformat()}"
    """
    )
    runner = start_runner(database, tick_interval=0.1)
    results = wait_for(
        lambda: (
            found
            if len(found := rows(database, "select result from soniq.finished_jobs order by id"))
            >= 3
            else None
        )
    )
    assert runner.stop() == 0
    words, names, times = zip(*(result.split(" ") for (result,) in results), strict=True)
    assert set(words) == {"tick"}
    assert set(names) == {"beat"}
    due = [datetime.fromisoformat(text) for text in times]
    assert [later - earlier for earlier, later in itertools.pairwise(due)] == [
        timedelta(seconds=1)
    ] * (len(due) - 1)


def test_what_the_decorator_says_is_what_the_database_knows(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(
        HEAD
        + """
    @app.periodic(
        cron="0 3 * * mon", timezone="Europe/London", missed_runs="run_all", max_missed_runs=5,
        allow_overlap=False, name="weekly"
    )
    @app.periodic(every=timedelta(hours=6))
    @app.job(name="shop.report", queue="reports")
    async def above(): ...

    @app.job(name="shop.cleanup", max_attempts=2, retention=60)
    @app.periodic(cron="@daily")
    async def below(): ...

    @app.periodic(cron="@hourly")
    async def alone(): ...
    """
    )
    runner = start_runner(database)
    runner.wait_for_log("jobs at once")
    assert rows(
        database,
        "select name, job_name, coalesce(cron, every::text), timezone, missed_runs, max_missed_runs,"
        " allow_overlap, source from soniq.schedules order by name",
    ) == [
        ("alone", "alone", "@hourly", "UTC", "skip", 100, True, "jobs"),
        ("shop.cleanup", "shop.cleanup", "@daily", "UTC", "skip", 100, True, "jobs"),
        ("shop.report", "shop.report", "06:00:00", "UTC", "skip", 100, True, "jobs"),
        ("weekly", "shop.report", "0 3 * * mon", "Europe/London", "run_all", 5, False, "jobs"),
    ]
    assert rows(
        database, "select job_name, max_attempts, retention from soniq.job_types order by job_name"
    ) == [
        ("alone", None, None),
        ("shop.cleanup", 2, timedelta(minutes=1)),
        ("shop.report", None, None),
    ]


def test_the_newest_registration_wins_and_says_so(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    release = (
        HEAD
        + """
    @app.periodic(cron="0 {hour} * * *", name="daily")
    async def report(): ...
    """
    )
    write_jobs(release.format(hour=3))
    old = start_runner(database)
    old.wait_for_log("jobs at once")
    write_jobs(release.format(hour=4))
    new = start_runner(database)
    new.wait_for_log(r"schedule daily is changed: cron from 0 3 \* \* \* to 0 4 \* \* \*$")
    assert rows(database, "select cron from soniq.schedules") == [("0 4 * * *",)]
    third = start_runner(database)
    third.wait_for_log("jobs at once")
    assert "is changed" not in third.log + old.log


@pytest.mark.parametrize("prune", [False, True])
def test_a_schedule_removed_from_the_code_is_reported_and_if_asked_removed(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, prune: bool
) -> None:
    rows(database, "select soniq.schedule('by hand', every => '1 hour')")
    both = (
        HEAD
        + """
    @app.periodic(every=3600)
    async def stays(): ...
    """
    )
    write_jobs(
        both
        + """
    @app.periodic(every=3600)
    async def goes(): ...
    """
    )
    first = start_runner(database)
    first.wait_for_log("jobs at once")
    assert first.stop() == 0
    assert "no longer" not in first.log

    write_jobs(both)
    second = start_runner(database, *(["--prune-schedules"] if prune else []))
    second.wait_for_log("jobs at once")
    left = {name for (name,) in rows(database, "select name from soniq.schedules")}
    if prune:
        assert "module jobs has the schedule 'goes' no longer: it is removed" in second.log
        assert left == {"by hand", "stays"}
    else:
        assert (
            "module jobs has the schedule 'goes' no longer: it goes on; SONIQ_PRUNE_SCHEDULES=true"
            " removes it, or select soniq.unschedule('...')" in second.log
        )
        assert left == {"by hand", "goes", "stays"}


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        (
            'cron="61 * * * *"',
            10,
            "the schedule 'report' (jobs.report) cannot be registered: cron expression '61 * * * *':"
            " minute is '61', which is not 0 to 59; Give 0 to 59",
        ),
        (
            'cron="@daily", timezone="Europe/Lodnon"',
            10,
            "the schedule 'report' (jobs.report) cannot be registered: time zone 'Europe/Lodnon' is not"
            " known; Did you mean Europe/London",
        ),
        (
            "every=0.5",
            10,
            "the schedule 'report' (jobs.report) cannot be registered: every is too short: 00:00:00.5;"
            " Give at least one second.",
        ),
        (
            'every=60, missed_runs="never"',
            10,
            "cannot be registered: missed_runs is 'never'; Give 'skip', 'run_once' or 'run_all'.",
        ),
        ("", 11, 'jobs.report: give periodic() either cron="0 3 * * *" or every=600'),
        ('cron="@daily", every=60', 11, 'jobs.report: give periodic() either cron="0 3 * * *" or'),
        ("every=-1", 11, "every is -1: give 0 or more"),
        (
            "every=60)\n    @app.periodic(every=70",
            13,
            "two schedules have the name 'report': of jobs.report and of jobs.report; give one of them"
            " another name=...",
        ),
    ],
)
def test_a_bad_declaration_is_refused_at_the_start(
    database: str,
    write_jobs: WriteJobs,
    start_runner: StartRunner,
    options: str,
    exit_code: int,
    message: str,
) -> None:
    write_jobs(
        HEAD
        + f"""
    @app.periodic({options})
    async def report(): ...
    """
    )
    runner = start_runner(database)
    assert runner.exit_code() == exit_code
    assert message in runner.log
    assert rows(database, "select from soniq.schedules") == []
    assert rows(database, "select from soniq.job_types") == []
