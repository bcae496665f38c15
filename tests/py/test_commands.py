"""The commands that look and act: status, inspect, jobs, queues, schedules, completion."""

import re

import psycopg
import pytest
import soniq as package
from conftest import ROOT, StartRunner, WriteJobs, rows
from dead_letters import bury
from soniq.commands.common import EXIT_CODES
from soniq.errors import SoniqError
from soniq_command import done, finish, refused, soniq, start
from waiting import wait_for

SIGN = 0x534F0800  # a waiting runner's, in pg_locks


def test_the_exit_codes_are_in_the_help(database: str) -> None:
    for command in ((), ("status",), ("dead-letter", "replay"), ("setup",), ("doctor",)):
        said = " ".join(done(database, *command, "--help").out.split())
        assert "18 not confirmed" in said


def test_the_page_of_the_commands_has_every_exit_code_command_and_option() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    codes = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    raised = {each.exit_code for each in SoniqError.__subclasses__()}
    assert set(map(int, codes)) == {0, 1, 2, *raised}
    assert all(f" {code} " in EXIT_CODES for code in codes)
    for path in (("dead-letter", "prune"), ("completion",), ("worker",), ("jobs", "retry")):
        section = page.partition(f"## soniq {' '.join(path)}\n")[2].partition("\n## ")[0]
        options = re.findall(r"^  (--[\w-]+)", done("", *path, "--help").out, re.MULTILINE)
        assert set(options) - {"--help"} == set(
            re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE)
        )


@pytest.mark.parametrize(
    "command", [("status",), ("jobs", "list"), ("dead-letter", "replay", "1"), ("queues", "list")]
)
def test_databases_that_will_not_do(empty_database: str, command: tuple[str, ...]) -> None:
    said = refused("", 10, *command)
    assert "SONIQ_DATABASE_URL is not set: give the database's address" in said
    said = refused("postgresql://me:secret@127.0.0.1:1/x", 14, *command)
    assert "cannot reach the database at postgresql://me:***@127.0.0.1:1/x" in said
    assert "secret" not in said
    assert "Soniq's schema cannot be used in" in refused(empty_database, 15, *command)


def test_a_schema_of_another_version(database: str) -> None:
    rows(
        database,
        "create or replace function soniq.version() returns text language sql return '999.0.0'",
    )
    assert "is of version 999.0.0, too new" in refused(database, 16, "status")


def test_status_on_one_screen(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    assert "no queues: nothing was ever enqueued" in done(database, "status").out
    bury(database, 2)
    rows(database, "select soniq.deregister_runner(runner_id) from soniq.runners")
    write_jobs("""
        from soniq import Soniq
        app = Soniq()

        @app.job
        async def work():
            pass
    """)
    start_runner(database, concurrency=3).wait_for_log("runner .* serves")
    rows(database, "select soniq.enqueue('x', queue => 'later', delay => '1 hour')")
    rows(database, "select soniq.schedule('nightly', cron => '0 3 * * *')")
    said = done(database, "status").out
    assert len(said.splitlines()) < 20
    assert re.search(rf"^database +{re.escape(database)}$", said, re.MULTILINE)
    assert f"schema              {package.__version__}" in said
    assert "1 alive, 0 silent, 0 lost; 0 of 3 slots in use" in said
    assert "dead letters        2 not replayed" in said
    assert "schedules late      none" in said
    assert re.search(r"^later +0 +1 +0 ", said, re.MULTILINE)
    told = done(database, "status", "--json").json
    assert told["runners"] == {
        "alive": 1,
        "silent": 0,
        "lost": 0,
        "running": 0,
        "concurrency": 3,
    }
    assert told["dead_letters"] == 2
    assert [each["queue"] for each in told["queues"]] == ["later", "mail_queue"]

    rows(
        database,
        "update soniq.schedules set paused = false, next_run_at = now() + interval '1 hour'",
    )
    said = done(database, "inspect").out
    assert "Runners: 1" in said
    assert "Schedules: 1" in said
    assert "nightly" in said
    told = done(database, "inspect", "--json").json
    assert told["runners"][0]["state"] == "alive"
    assert told["schedules"][0]["name"] == "nightly"


def test_silent_runners_and_late_schedules(database: str) -> None:
    rows(database, "select soniq.register_runner('there', 7, heartbeat_timeout => '1 hour')")
    rows(database, "update soniq.runners set last_heartbeat_at = now() - interval '40 minutes'")
    rows(database, "select soniq.schedule('nightly', cron => '0 3 * * *')")
    rows(database, "update soniq.schedules set next_run_at = now() - interval '10 minutes'")
    said = done(database, "status").out
    assert "0 alive, 1 silent" in said
    assert "schedules late      nightly" in said
    assert re.search(r"there .*40m.* silent", done(database, "inspect").out)
    assert done(database, "schedules", "list", "--json").json[0]["state"] == "late"


def test_listing_jobs(database: str) -> None:
    assert done(database, "jobs", "list").out == "no jobs\n"
    dead = bury(database, 2)
    [(queued,)] = rows(database, "select soniq.enqueue('fax', queue => 'other')")
    [(gone,)] = rows(database, "select soniq.enqueue('fax', queue => 'other')")
    rows(database, "select soniq.cancel(%s)", gone)

    def listed(*flags: str) -> list[int]:
        found = done(database, "jobs", "list", "--json", *flags).json
        return [each["id"] for each in found]

    assert listed() == [gone, queued, *reversed(dead)]
    assert listed("--limit", "2") == [gone, queued]
    assert listed("--job", "mail") == [*reversed(dead)]
    assert listed("--queue", "other") == [gone, queued]
    assert listed("--status", "queued") == [queued]
    assert listed("--status", "cancelled") == [gone]
    assert listed("--status", "dead_letter") == [*reversed(dead)]
    assert listed("--status", "done") == []
    assert f"ValueError: order {dead[0]} is bad" in done(database, "jobs", "list").out
    said = refused(database, 2, "jobs", "list", "--status", "lost")
    assert "'lost' is not one of 'queued', 'processing', 'done'" in said
    assert "0 is not in the range x>=1" in refused(database, 2, "jobs", "list", "--limit", "0")


def test_one_job(database: str) -> None:
    [dead] = bury(database, 1)
    said = done(database, "jobs", "show", dead).out
    assert re.search(r"^status +dead_letter$", said, re.MULTILINE)
    assert re.search(
        r"^attempt 1 failed at 20.* on test:0 \(permanent_failure\)$", said, re.MULTILINE
    )
    assert f"  ValueError: order {dead} is bad\n  | Traceback:\n  |   in mail\n" in said
    told = done(database, "jobs", "show", dead, "--json").json
    assert told["errors"][0]["type"] == "ValueError"
    assert told["args"] == {"n": 1}
    for command in ("show", "cancel", "retry"):
        said = refused(database, 17, "jobs", command, 4711)
        assert "there is no job 4711: it never was, or its record is older" in said
        assert "'x' is not a valid integer" in refused(database, 2, "jobs", command, "x")


def test_cancelling(database: str) -> None:
    [dead] = bury(database, 1)
    [(job,)] = rows(database, "select soniq.enqueue('work')")
    assert done(database, "jobs", "cancel", job).out == f"job {job} is cancelled\n"
    assert rows(database, "select status::text from soniq.get_job(%s)", job) == [("cancelled",)]
    told = done(database, "jobs", "cancel", job, "--json").json
    assert told == {"job_id": job, "status": "cancelled"}
    said = refused(database, 17, "jobs", "cancel", dead)
    assert f"job {dead} is dead_letter, and only queued jobs can be cancelled" in said


def test_retrying(database: str) -> None:
    [dead] = bury(database, 1)
    said = done(database, "jobs", "retry", dead).out
    [(job,)] = rows(database, "select id from soniq.jobs where replay_of = %s", dead)
    assert said == f"dead letter {dead} runs again as job {job}\n"
    told = done(database, "jobs", "retry", dead, "--json").json
    assert told == {"dead_letter_id": dead, "job_id": job + 1}


def test_retrying_what_waits(database: str) -> None:
    [(job,)] = rows(database, "select soniq.enqueue('work', queue => 'later', delay => '1 hour')")
    assert done(database, "jobs", "retry", job).out == f"job {job} is ready to run now\n"
    assert rows(
        database, "select status::text, scheduled_at <= now() from soniq.get_job(%s)", job
    ) == [("queued", True)]
    told = done(database, "jobs", "retry", job, "--json").json
    assert told == {"job_id": job, "status": "queued"}

    rows(database, "select soniq.claim(soniq.register_runner('test'))")
    said = refused(database, 17, "jobs", "retry", job)
    assert f"job {job} is processing already; if this attempt fails, it can be retried" in said
    rows(database, "select soniq.complete(%s::bigint, 1)", job)
    said = refused(database, 17, "jobs", "retry", job)
    assert f"job {job} is done, and only jobs that wait and dead letters can be retried" in said
    assert f"enqueue it anew, with what `soniq jobs show {job}` tells" in said


def test_a_waiting_runner_is_woken_by_a_retry(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        from soniq import Soniq
        app = Soniq()

        @app.job
        async def work():
            pass
    """)
    [(job,)] = rows(database, "select soniq.enqueue('work', delay => '1 hour')")
    start_runner(database, poll_interval=600).wait_for_log("runner .* serves")
    wait_for(
        lambda: rows(
            database, "select from pg_locks where locktype = 'advisory' and classid = %s", SIGN
        )
    )
    done(database, "jobs", "retry", job)
    wait_for(lambda: rows(database, "select from soniq.finished_jobs where id = %s", job))


def test_a_retry_that_meets_a_claim_leaves_the_lease_alone(database: str) -> None:
    [(job,)] = rows(database, "select soniq.enqueue('work', delay => '1 hour')")
    with psycopg.connect(database) as runner:
        runner.execute("select soniq.retry(%s)", [job])
        runner.execute("select soniq.claim(soniq.register_runner('test'))")
        process = start(database, "jobs", "retry", job)
        wait_for(lambda: rows(database, "select from pg_locks where not granted"))
        runner.commit()
    assert f"job {job} is processing already" in finish(process).err
    assert rows(
        database,
        "select soniq.complete(%s::bigint, 1), scheduled_at <= claimed_at from soniq.jobs",
        job,
    ) == [(True, True)]


def test_queues(database: str) -> None:
    assert "no queues" in done(database, "queues", "list").out
    rows(database, "select soniq.enqueue('work', queue => 'mail')")
    assert done(database, "queues", "pause", "mail").out == "queue mail is paused\n"
    finished = done(database, "queues", "pause", "mail")
    assert (finished.out, finished.err) == ("queue mail was paused already\n", "")
    [listed] = done(database, "queues", "list", "--json").json
    assert (listed["queue"], listed["ready"], listed["paused"]) == ("mail", 1, True)
    assert done(database, "queues", "resume", "mail").out == "queue mail is resumed\n"
    assert done(database, "queues", "resume", "mail").out == "queue mail was not paused\n"
    told = done(database, "queues", "pause", "mail", "--json").json
    assert told == {"queue": "mail", "paused": True, "changed": True}


def test_an_unknown_queue_may_be_paused_and_is_told_of(database: str) -> None:
    rows(database, "select soniq.enqueue('work', queue => 'mail')")
    finished = done(database, "queues", "pause", "mial")
    assert finished.out == "queue mial is paused\n"
    assert "no job was ever enqueued into the queue 'mial'; did you mean 'mail'?" in finished.err
    said = soniq(database, "queues", "pause", "unlike").err
    assert "the queue 'unlike'; `soniq queues list` tells which queues there are" in said
    said = refused(database, 17, "queues", "pause", "x" * 101)
    assert "101 characters" in said


def test_schedules(database: str) -> None:
    assert done(database, "schedules", "list").out == "no schedules\n"
    rows(
        database,
        "select soniq.schedule('nightly', cron => '0 3 * * *', timezone => 'Europe/London',"
        " allow_overlap => false)",
    )
    [listed] = done(database, "schedules", "list", "--json").json
    assert (listed["name"], listed["state"], listed["cron"]) == ("nightly", "active", "0 3 * * *")
    said = done(database, "schedules", "preview", "nightly", "--runs", "3").out
    assert len(re.findall(r" 03:00:00$", said, re.MULTILINE)) == 3
    [(job,)] = rows(database, "select last_value + 1 from soniq.jobs_id_seq where is_called") or [
        (1,)
    ]
    assert done(database, "schedules", "run", "nightly").out == (
        f"job {job} was enqueued for schedule nightly\n"
    )
    assert "allows no overlap" in done(database, "schedules", "run", "nightly").out
    assert done(database, "schedules", "run", "nightly", "--json").json["job_id"] is None
    assert done(database, "schedules", "pause", "nightly").out == "schedule nightly is paused\n"
    assert "was paused already" in done(database, "schedules", "pause", "nightly").out
    assert done(database, "schedules", "list", "--json").json[0]["state"] == "paused"
    assert done(database, "schedules", "resume", "nightly").out == "schedule nightly is resumed\n"
    told = done(database, "schedules", "resume", "nightly", "--json").json
    assert told == {"schedule": "nightly", "paused": False, "changed": False}


def test_bad_schedules(database: str) -> None:
    for command in ("preview", "pause", "resume", "run"):
        said = refused(database, 17, "schedules", command, "weekly")
        assert "there is no schedule 'weekly'; There are none" in said
    rows(database, "select soniq.schedule('nightly', cron => '0 3 * * *')")
    assert "There are: nightly." in refused(database, 17, "schedules", "run", "weekly")


def test_previewing_an_expression(database: str) -> None:
    command = ("schedules", "preview")
    told = done(
        database, *command, "--cron", "30 1 29 mar,oct *", "--timezone", "Europe/London", "--json"
    ).json
    assert len(told) == 10
    assert {each["utc_offset"] for each in told} <= {0.0, 3600.0}
    assert "it never runs" in done(database, *command, "--cron", "0 0 30 2 *").out
    said = refused(database, 2, *command)
    assert "give either a schedule's NAME, or --cron" in said
    said = refused(database, 2, *command, "nightly", "--timezone", "Europe/London")
    assert "--timezone goes with --cron; the schedule 'nightly' has a time zone of its own" in said
    said = refused(database, 17, *command, "--cron", "0 25 * * *")
    assert "'0 25 * * *'" in said
    said = refused(database, 17, *command, "--cron", "0 3 * * *", "--timezone", "Europe/Londn")
    assert "Europe/Londn" in said
    said = refused(database, 2, *command, "nightly", "--runs", "1001")
    assert "1001 is not in the range 1<=x<=1000" in said


def test_a_connection_that_breaks_is_told(database: str) -> None:
    rows(
        database,
        "create or replace function soniq.pause_queue(queue text) returns boolean language sql"
        " as $$ select pg_terminate_backend(pg_backend_pid()) $$",
    )
    said = refused(database, 14, "queues", "pause", "mail")
    assert "the connection to the database at postgresql://" in said
    assert "was lost" in said
    assert "run the command again" in said


def complete(url: str, *words: str) -> list[str]:
    """What bash is told when Tab is pressed after these words."""
    said = done(
        url,
        _SONIQ_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(("soniq", *words)),
        COMP_CWORD=len(words),
    ).out
    return [line.partition(",")[2] for line in said.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_each_shell(shell: str) -> None:
    assert "_SONIQ_COMPLETE" in done("", "completion", shell).out
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in refused("", 2, "completion", "tcsh")


def test_completing_names(database: str) -> None:
    rows(database, "select soniq.enqueue('send_mail', queue => 'mail')")
    rows(database, "select soniq.register_job_type('send_fax')")
    rows(database, "select soniq.schedule('nightly', cron => '0 3 * * *')")
    assert complete(database, "dead") == ["dead-letter"]
    assert complete(database, "queues", "pause", "m") == ["mail"]
    assert complete(database, "queues", "pause", "x") == []
    assert complete(database, "schedules", "run", "") == ["nightly"]
    assert complete(database, "jobs", "list", "--job", "send") == ["send_fax"]
    assert complete("postgresql://127.0.0.1:1/x", "queues", "pause", "m") == []
