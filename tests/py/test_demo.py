"""script/demo, run for real: its own server with a runner killed, a given database, and every way to fail."""

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest
from conftest import rows

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = ROOT / "script/demo"

# What is wrong with the file, how it is told, and what the mended handlers do about it.
CAUSES = {
    r"write_invoice  permanent_failure\n +PermanentFailure: order \d+ has no e-mail address .*": (
        "sends the invoice by post"
    ),
    r"post_to_ledger  permanent_failure\n +PermanentFailure: order \d+ has a total of -\d.*": (
        "posts a negative total as a refund"
    ),
    r"tell_warehouse  max_attempts_exceeded\n +UnicodeEncodeError: 'latin-1' codec can't .*": (
        "sends the name in the body, as UTF-8"
    ),
    r"tell_warehouse  permanent_failure\n +PermanentFailure: .* shorten the note": "cuts long notes",
}


def start_demo(*options: str, url: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [DEMO, *options],
        env={**os.environ, "SONIQ_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_of(demo: subprocess.Popen[str]) -> tuple[str, str]:
    """Waits for its end, after which none of its files are left; the answer is what it said and complained of."""
    try:
        said = demo.communicate(timeout=180)
    finally:
        demo.kill()
    assert folders_of(demo) == set()
    return said


def folders_of(demo: subprocess.Popen[str]) -> set[Path]:
    places = (Path("/tmp"), Path("/dev/shm"))
    return {folder for place in places for folder in place.glob(f"soniq-demo-{demo.pid}-*")}


def processes_below(pid: int) -> set[int]:
    """A process and all its descendants."""
    found = {pid}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= processes_below(int(child))
    return found


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_killed_runner_loses_nothing_and_the_books_balance() -> None:
    demo = start_demo("--kill")
    said, complaint = end_of(demo)
    assert demo.returncode == 0, said + complaint
    assert set(re.findall(r"[^ -~]", said)) == {"\n"}, "plain text, for it is read through a pipe"
    assert len(said.splitlines()) < 45
    killed = re.search(
        r"kill -9 \d+: a runner died with (\d+) jobs in its hands; \d+ takes its place", said
    )
    taken_back = re.search(r"(\d+) taken back from a dead runner", said)
    assert killed
    assert taken_back
    assert int(taken_back[1]) >= 1
    assert "a throwaway server by soniq dev, with schema soniq 0.1.0 (" in said
    assert "2,000 imported from orders.csv, 6,000 jobs enqueued in the same transaction" in said
    assert re.search(r"6,000 jobs in [\d.]+ s, [\d,]+ a second", said)
    assert re.search(
        r"[\d,]+ done, [1-9]\d* dead letters, [1-9]\d* retries, [1-9]\d* snoozes", said
    )
    for cause, remedy in CAUSES.items():
        assert re.search(f"{cause}\n +handlers_fixed.py {remedy}\n", said), cause
    assert "handlers_fixed.py is saved as handlers.py, and soniq dev starts both anew (" in said
    assert "select * from soniq.replay_dead_letters(queue => 'orders_demo');" in said
    assert re.search(r"[1-9]\d* done, 0 dead letters", said)
    assert re.search(r"orders +2,000 +([\d,.]+)\n +ledger entries +2,000 +\1  0 wrong", said)
    assert re.search(r"invoices +2,000\n +at the warehouse +2,000  each once", said)
    assert re.search(r"^The books balance\. \([\d.]+ s\)$", said, re.MULTILINE)


def test_books_that_do_not_balance_are_told_and_nothing_of_others_is_touched(
    database: str,
) -> None:
    leave_work_of_others(database)
    demo = start_demo(url=database)
    embezzle_once_there_is_something(database, demo)
    said, _ = end_of(demo)
    assert demo.returncode == 1
    assert "1 wrong or missing" in said
    assert "The books do not balance." in said
    assert "the one in SONIQ_DATABASE_URL" in said
    assert re.search(r"schema soniq \S+ was there already", said)
    assert "Left in your database" in said
    assert rows(database, "select kept from public.theirs") == [(1,)]
    live = "select status::text, attempt from soniq.jobs where queue = 'theirs'"
    assert rows(database, live) == [("queued", 0)]
    dead = "select replay_count from soniq.dead_letter_jobs where queue = 'theirs'"
    assert rows(database, dead) == [(0,)]


def leave_work_of_others(database: str) -> None:
    """A table, a dead letter and a queued job that are not the demo's."""
    rows(database, "create table public.theirs as select 1 as kept")
    rows(database, "select soniq.enqueue('their_job', queue => 'theirs')")
    rows(database, "select soniq.claim(soniq.register_runner('theirs'), array['theirs'])")
    rows(database, "select soniq.fail(id, attempt, '{}', 'unknown_job') from soniq.jobs")
    rows(database, "select soniq.enqueue('their_job', queue => 'theirs')")


def embezzle_once_there_is_something(database: str, demo: subprocess.Popen[str]) -> None:
    steal = """
        update orders_demo.ledger
        set amount = amount - 1
        where order_id = (select min(order_id) from orders_demo.ledger)
        returning order_id
    """
    while demo.poll() is None:
        time.sleep(0.02)
        with contextlib.suppress(psycopg.errors.UndefinedTable):
            if rows(database, steal):
                return


def test_ctrl_c_stops_everything_and_leaves_nothing() -> None:
    demo = start_demo()
    assert demo.stdout is not None
    while "imported" not in (line := demo.stdout.readline()):
        assert line, demo.communicate()
    family = processes_below(demo.pid)
    assert len(folders_of(demo)) == 1
    demo.send_signal(signal.SIGINT)
    _, complaint = end_of(demo)
    assert demo.returncode == 130
    assert complaint.endswith("script/demo: SIGINT: everything is stopped\n")
    assert len(family) > 5, (
        "the demo, soniq dev, PostgreSQL and its helpers, the warehouse, two runners"
    )
    assert [pid for pid in family if is_alive(pid)] == []


def refusal(url: str) -> str:
    demo = start_demo(url=url)
    _, complaint = end_of(demo)
    assert demo.returncode == 1
    assert "Traceback" not in complaint
    return complaint


def test_a_second_demo_in_the_same_database_is_refused(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("select pg_advisory_lock(hashtext('soniq orders demo'))")
        assert "another script/demo is running in this database: wait" in refusal(database)


def test_a_schema_that_is_not_the_demos_is_left_alone(database: str) -> None:
    rows(database, "create schema orders_demo")
    rows(database, "create table orders_demo.orders as select 1 as kept")
    said = refusal(database)
    assert "the schema orders_demo was not made by Soniq's orders example" in said
    assert "Rename it, or run the example in another database." in said
    assert rows(database, "select kept from orders_demo.orders") == [(1,)]


def test_why_a_runner_would_not_start_is_told(database: str) -> None:
    rows(
        database,
        "create or replace function soniq.version() returns text language sql return '999.0.0'",
    )
    said = refusal(database)
    assert "soniq dev has ended with exit code 16" in said
    assert "999.0.0" in said


def test_a_runner_that_ends_is_told_and_not_waited_for(database: str) -> None:
    rows(database, "drop function soniq.register_job_type")
    said = refusal(database)
    assert "a runner has ended:" in said


def test_a_database_in_which_nothing_may_be_made_is_told(
    empty_database: str,
) -> None:
    rows(empty_database, "create role guest login")
    assert "permission denied" in refusal(re.sub("//.*@", "//guest@", empty_database))


@pytest.mark.parametrize(
    "url", ["postgresql://nobody@127.0.0.1:1/nothing", "postgresql://host:port/", "mysql://x/y"]
)
def test_a_database_that_cannot_be_reached_is_told(url: str) -> None:
    assert "the database in SONIQ_DATABASE_URL cannot be reached: " in refusal(url)


def test_an_unknown_option_is_told() -> None:
    demo = start_demo("--fast")
    _, complaint = end_of(demo)
    assert demo.returncode == 2
    assert "unknown option --fast" in complaint
    assert "usage: script/demo [--kill]" in complaint
