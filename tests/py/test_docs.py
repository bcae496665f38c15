"""The manual's SQL runs as it stands there, and so does what it advises handlers to do."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import ROOT, StartRunner, WriteJobs, rows
from soniq import Soniq
from test_misbehaving import ended, run
from waiting import wait_for


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{page} has no block of {language}"
    return found


@pytest.mark.parametrize("page", ["schedules.md", "reliability.md"])
def test_the_sql_of_a_page_runs(database: str, page: str) -> None:
    statements = [
        statement
        for block in blocks(page, "sql")
        for statement in re.split(r";[^\n]*\n", block)
        if statement.strip()
    ]
    assert len(statements) >= 6
    for statement in statements:
        rows(database, statement)


def test_work_and_completion_in_one_transaction_happen_exactly_once(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    [example] = blocks("reliability.md", "python")
    write_jobs(f"from soniq import Job, Soniq\napp = Soniq()\n\n{example}")
    rows(database, "create table public.ledger (order_id bigint)")
    runner = start_runner(database)
    [(job_id,)] = rows(database, "select soniq.enqueue('post_to_ledger', '{\"order_id\": 7}')")
    runner.wait_for_log(f"job {job_id} .*done, but")
    assert rows(database, "select status::text, attempt from soniq.get_job(%s)", job_id) == [
        ("done", 1)
    ]
    assert rows(database, "select order_id from public.ledger") == [(7,)]

    # One whose lease was lost meanwhile leaves nothing behind.
    write_jobs(
        "from soniq import Job, Soniq\napp = Soniq()\n\n"
        + example.replace(
            "        done =",
            "        async with app.connection() as other:\n"
            "            await other.execute(f'select soniq.release({job.id}, {job.attempt})')\n"
            "        done =",
        ),
        name="losing",
    )
    losing = start_runner(database, jobs_modules="losing")
    assert runner.stop() == 0
    [(lost,)] = rows(database, "select soniq.enqueue('post_to_ledger', '{\"order_id\": 8}')")
    losing.wait_for_log(f"job {lost} .*the lease was lost")
    losing.kill()
    assert rows(database, "select order_id from public.ledger") == [(7,)]


def test_the_pages_name_settings_that_exist(database: str) -> None:
    named = {
        name
        for page in (ROOT / "docs").glob("*.md")
        for name in re.findall(r"soniq\.settings\.(\w+)", page.read_text())
    }
    known = {
        name
        for (name,) in rows(
            database,
            "select attname from pg_attribute where attrelid = 'soniq.settings'::regclass and attnum > 0",
        )
    }
    assert named
    assert named <= known


# docs/python.md is one module.

PRODUCER = """
import asyncio, json
from shop_jobs import app, careful, order, place_order, place_order_sync, producer
from shop_jobs import remind, right, user, welcome, whose_wish

async def produce():
    made = {
        "ship": await place_order(7),
        "greet": await right("Ada"),
        "by name": await welcome("Bob"),
        "by web": (await order("Eve"))["job"],
    }
    await remind("Cy")
    user.set("ada")
    made["whose"] = await app.enqueue(whose_wish)
    for each in (app, careful, producer):
        await each.close()
    return made

made = asyncio.run(produce())
made["invoice"] = place_order_sync(8)
print(json.dumps(made))
"""


def test_the_module_of_the_python_page_runs(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner, tmp_path: Path
) -> None:
    folder = write_jobs("\n\n".join(blocks("python.md", "python")), name="shop_jobs").parent
    runner = start_runner(database, jobs_modules="shop_jobs", poll_interval=0.2)
    runner.wait_for_log("jobs at once")
    finished = subprocess.run(
        [sys.executable, "-c", PRODUCER],
        cwd=folder,
        env={**os.environ, "SONIQ_DATABASE_URL": database},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    assert "no runner has ever registered the job 'gret': check its spelling" in finished.stderr
    made = json.loads(finished.stdout)
    assert {name: ended(database, job_id)["result"] for name, job_id in made.items()} == {
        "ship": "7 to Mill Lane 7 by 03 February",
        "greet": "hello Ada",
        "by name": "hello Bob",
        "by web": "hello Eve",
        "whose": "ada",
        "invoice": None,
    }
    assert rows(
        database,
        "select queue, priority, max_attempts, timeout, dedup_key, headers, tenant from soniq.jobs"
        " where scheduled_at > now() + interval '1 day'",
    ) == [("mail", 100, 2, timedelta(seconds=5), "remind Cy", {"user": "ada"}, "acme")]
    wait_for(
        lambda: rows(database, "select from soniq.finished_jobs where result = '\"hello Cy\"'")
    )

    assert run(database, "charge", order_id=-1)["reason"] == "permanent_failure"
    failed_once = run(database, "charge", order_id=1)
    assert (failed_once["attempt"], len(failed_once["errors"])) == (2, 1)
    snoozed = run(database, "charge", order_id=0)
    assert snoozed["status"] == "done"
    assert len(snoozed["errors"]) == snoozed["attempt"] - 2, "the snooze is no error"
    refused = run(database, "ship", order_id="1", to={"street": "Mill Lane", "number": 7}, by="?")
    assert (refused["status"], refused["reason"]) == ("dead_letter", "invalid_arguments")
    for [statement] in [blocks("python.md", "sql")]:
        [(traced,)] = rows(database, statement.rstrip().rstrip(";"))
        assert ended(database, traced)["result"] == "hello Ada"
    assert runner.stop() == 0


def test_two_sessions_at_once_wait_forever_where_the_pool_is_full(database: str) -> None:
    async def enqueue_at_once(give_connection: bool) -> None:
        app = Soniq(database, pool_max_size=2)
        both_hold_one = asyncio.Barrier(2)

        async def call() -> None:
            async with app.connection() as connection, connection.transaction():
                await both_hold_one.wait()
                await app.enqueue("greet", connection=connection if give_connection else None)

        try:
            async with asyncio.timeout(1), asyncio.TaskGroup() as tasks:
                tasks.create_task(call())
                tasks.create_task(call())
        finally:
            await app.close()

    with pytest.raises(TimeoutError):
        asyncio.run(enqueue_at_once(False))
    assert rows(database, "select from soniq.jobs") == []
    asyncio.run(enqueue_at_once(True))
    assert rows(database, "select count(*) from soniq.jobs") == [(2,)]
