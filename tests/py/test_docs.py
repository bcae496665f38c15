"""The manual's SQL runs as it stands there, and so does what it advises handlers to do."""

import re

import pytest
from conftest import ROOT, StartRunner, WriteJobs, rows


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
