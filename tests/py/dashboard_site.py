"""A dashboard to test: the real command as a process, and a shop whose jobs end, wait, run, fail and are given up."""

import os
import re
import signal
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from conftest import rows
from runner_process import RunnerProcess
from soniq_command import SONIQ, environment
from test_metrics import free_port
from testing.server import dying_with_parent
from waiting import wait_for

KEY = "a key of the tests' own".replace(" ", "-")
SCRIPT = "<script>document.title = 'taken over'</script>"

HANDLERS = '''
import asyncio

from soniq import PermanentFailure, Soniq

app = Soniq()


@app.job(queue="mail")
async def send_welcome(to: str) -> dict[str, str]:
    """Works."""
    return {"sent_to": to}


@app.job(queue="invoices", max_attempts=2, retry_delay=0.05, backoff="fixed")
async def write_invoice(order_id: int) -> None:
    """Fails each time, and is given up."""
    prices = {"apple": 3}
    raise ValueError(f"order {order_id} has a total of {prices['apple'] - 5}.35: no sale; post it as a refund")


@app.job(queue="warehouse", max_attempts=5, retry_delay=3600, backoff="fixed")
async def tell_warehouse(order_id: int) -> None:
    """Fails once, and waits for its retry."""
    raise ConnectionError("the warehouse answered 503: Service Unavailable")


@app.job(queue="warehouse")
async def post_to_ledger(order_id: int) -> None:
    """Is given up at once."""
    raise PermanentFailure(f"order {order_id} is in the ledger already")


@app.job(queue="reports", timeout=3600)
async def build_report(month: str) -> None:
    """Runs for as long as the test does."""
    await asyncio.sleep(3600)


@app.job(queue="mail")
async def nightly_digest() -> None:
    """Is scheduled."""


@app.periodic(cron="0 3 * * *", timezone="Europe/London")
async def nightly_report() -> None:
    """Is scheduled, too."""
'''


class DashboardProcess:
    """A running `soniq dashboard`, and its log."""

    def __init__(self, url: str, folder: Path, **settings: object) -> None:
        """Starts it, and returns when it answers; `settings` become SONIQ_* variables."""
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"dashboard-{self.port}.log"
        with self._log.open("wb") as file:
            self.process = subprocess.Popen(
                [*dying_with_parent(signal.SIGKILL), str(SONIQ), "dashboard"],
                cwd=folder,
                env=environment(url, {"dashboard_port": self.port, **settings}),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._answers, what=lambda: f"the dashboard to answer:\n{self.log}")

    @property
    def log(self) -> str:
        """Everything it has written so far."""
        return self._log.read_text(errors="replace")

    def stop(self) -> int:
        """Asks it to stop (SIGTERM) and answers with its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        """Ends it for certain."""
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the dashboard has ended:\n{self.log}")
        try:
            httpx.get(f"{self.address}/static/style.css", timeout=5)
        except httpx.TransportError:
            return False
        return True


@contextmanager
def running_dashboard(url: str, folder: Path, **settings: object) -> Iterator[DashboardProcess]:
    """A dashboard process, ended afterwards."""
    process = DashboardProcess(url, folder, **settings)
    try:
        yield process
    finally:
        process.kill()
        print(f"----- log of the dashboard\n{process.log}")


@contextmanager
def shop(url: str, folder: Path) -> Iterator[RunnerProcess]:
    """A runner at work in a database where every kind of job has been enqueued, and has come to where it stays."""
    (folder / "shop_jobs.py").write_text(textwrap.dedent(HANDLERS))
    rows(url, "select soniq.configure_queue('mail', max_depth => 50000)")
    rows(url, "select soniq.pause_queue('newsletters')")
    rows(url, "select soniq.schedule('digest', job_name => 'nightly_digest', every => '6 hours')")
    rows(url, "select soniq.schedule('stock_taking', cron => '30 6 * * mon')")
    rows(url, "select soniq.pause_schedule('stock_taking')")
    runner = RunnerProcess(
        url,
        folder,
        folder / "runner.log",
        jobs_modules="shop_jobs",
        concurrency=8,
        poll_interval=0.2,
    )
    try:
        # By then it has told the database which job goes to which queue.
        runner.wait_for_log("jobs at once")
        _enqueue(url)
        wait_for(
            lambda: rows(
                url,
                """
                select
                where (select count(*) from soniq.finished_jobs) >= 120
                  and (select count(*) from soniq.dead_letter_jobs) >= 32
                  and (select count(*) from soniq.jobs where status = 'processing') = 2
                  and (select count(*) from soniq.jobs where jsonb_array_length(errors) > 0) = 4
                """,
            ),
            within=60,
            what=lambda: f"the shop's jobs:\n{runner.log[-3000:]}",
        )
        yield runner
    finally:
        runner.kill()


def _enqueue(url: str) -> None:
    rows(
        url,
        """
        select
          soniq.enqueue('send_welcome', jsonb_build_object('to', format('person%%s@example.org', n)))
        from generate_series(1, 120) as n
        """,
    )
    for job, count in (("write_invoice", 24), ("post_to_ledger", 7), ("tell_warehouse", 4)):
        rows(
            url,
            """
            select soniq.enqueue(%s, jsonb_build_object('order_id', 10000 + n)) from generate_series(1, %s) as n
            """,
            job,
            count,
        )
    for month in ("2026-09", "2026-10"):
        rows(
            url,
            "select soniq.enqueue('build_report', jsonb_build_object('month', %s::text))",
            month,
        )
    rows(
        url,
        """
        select soniq.enqueue('write_letter', jsonb_build_object('n', n), queue => 'newsletters')
        from generate_series(1, 30) as n
        """,
    )
    rows(
        url,
        """
        select soniq.enqueue('send_welcome', '{"to": "later@example.org"}', delay => '2 days')
        """,
    )
    rows(
        url,
        "select soniq.enqueue(%s, jsonb_build_object(%s::text, %s::text), queue => %s)",
        SCRIPT,
        SCRIPT,
        SCRIPT,
        SCRIPT[:100],
    )


def fill_history(url: str) -> None:
    """Gives the charts a day, as tick() would have noted it: quiet at night, with failures since an hour ago."""
    rows(
        url,
        """
        insert into soniq.history (
          queue, span, began_at, done, cancelled, failed, dead, most_ready, longest_wait, wait_times, run_times
        )
        select
          name.queue, span.span, slot.began_at,
          (share * minutes * (40 + 25 * sin(n / 9.0) + mod(n * 7919, 13)))::bigint, 0,
          case when n < span.failing then (minutes * (2 + mod(n * 104729, 5)))::bigint else mod(n * 7919, 11) / 10 end,
          case when n < span.failing then (mod(n * 104729, 3))::bigint else 0 end,
          (share * (12 + 9 * sin(n / 5.0)))::bigint, interval '1 second' * (1 + mod(n, 4)),
          array[0, 0, 0, 2, 6, 19, 14, 9, 4, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]::bigint[],
          array[0, 0, 1, 3, 4, 8, 16, 20, 9, 4, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]::bigint[]
        from (values ('', 1.0), ('mail', 0.7), ('invoices', 0.2)) as name (queue, share)
        cross join (
          values
            (interval '1 minute', 120, 1.0, 22),
            (interval '10 minutes', 140, 10.0, 3),
            (interval '1 hour', 160, 60.0, 1)
        ) as span (span, slots, minutes, failing)
        cross join lateral generate_series(1, span.slots) as n
        cross join lateral (
          select date_bin(span.span, soniq.clock() - n * span.span, timestamptz 'epoch') as began_at
        ) as slot
        where n not between 38 and 41
        on conflict do nothing
        """,
    )


def token_of(page: str) -> str:
    """The token of a page's forms."""
    found = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]


CHROMIUM = "/usr/bin/chromium"
HAS_CHROMIUM = os.path.exists(CHROMIUM)
