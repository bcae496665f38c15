"""Each page in a real browser, beside a live runner with failures: in light, in dark and on a narrow screen.

Screenshots are kept in build/screenshots/.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT, TEMPLATE, rows
from dashboard_site import (
    CHROMIUM,
    HAS_CHROMIUM,
    KEY,
    DashboardProcess,
    fill_history,
    running_dashboard,
    shop,
)
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from testing.server import Server

pytestmark = pytest.mark.skipif(
    not HAS_CHROMIUM,
    reason=f"NOT TRIED: {CHROMIUM} is not installed, which script/test does (apt: chromium)",
)

SCREENSHOTS = ROOT / "build/screenshots"
AXE = ROOT / "build/axe-core/axe.min.js"
# The machine's network is none of a test's business.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def busy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database with a shop at work."""
    url = server.create_database("dashboard_pages", TEMPLATE)
    fill_history(url)
    with shop(url, tmp_path_factory.mktemp("shop")):
        yield url
    server.drop_database("dashboard_pages")


@pytest.fixture(scope="module")
def site(busy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardProcess]:
    folder = tmp_path_factory.mktemp("dashboard")
    with running_dashboard(busy, folder, dashboard_write="true", dashboard_api_key=KEY) as process:
        yield process


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 400, "height": 800}},
}


def signed_in(browser: Browser, site: DashboardProcess, **options: Any) -> BrowserContext:
    context = browser.new_context(timezone_id="Europe/Berlin", locale="en-GB", **options)
    page = context.new_page()
    page.goto(site.address)
    page.get_by_label("Key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.close()
    return context


@pytest.fixture
def page(browser: Browser, site: DashboardProcess) -> Iterator[Page]:
    context = signed_in(browser, site, **LOOKS["light"])
    yield context.new_page()
    context.close()


def pages(url: str) -> dict[str, str]:
    """Every page by its name, with jobs in each state."""
    [(done, dead, retried, processing)] = rows(
        url,
        """
        select
          (select max(id) from soniq.finished_jobs where job_name = 'send_welcome'),
          (select max(id) from soniq.dead_letter_jobs where job_name = 'write_invoice'),
          (select max(id) from soniq.jobs where job_name = 'tell_warehouse'),
          (select max(id) from soniq.jobs where status = 'processing')
        """,
    )
    [(runner,)] = rows(url, "select runner_id from soniq.runners")
    return {
        "overview": "/",
        "overview-day": "/?span=day",
        "overview-week": "/?span=week",
        "queues": "/queues",
        "queue": "/queue?name=mail",
        "jobs": "/jobs",
        "jobs-found": "/jobs?status=queued&text=order_id&since=1d",
        "jobs-none": "/jobs?name=nothing",
        "job-done": f"/jobs/{done}",
        "job-dead": f"/jobs/{dead}",
        "job-retried": f"/jobs/{retried}",
        "job-processing": f"/jobs/{processing}",
        "dead-letters": "/dead-letters",
        "letters": "/dead-letters/list?name=write_invoice",
        "choice": "/dead-letters/replay?name=write_invoice",
        "schedules": "/schedules",
        "schedule": "/schedule?name=nightly_report",
        "runners": "/runners",
        "runner": f"/runners?id={runner}",
        "not-found": "/jobs/987654321",
    }


@pytest.mark.parametrize("look", LOOKS)
def test_each_page(look: str, browser: Browser, site: DashboardProcess, busy: str) -> None:
    context = signed_in(browser, site, **LOOKS[look])
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for name, path in pages(busy).items():
        problems.clear()
        page.goto(site.address + path)
        expect(page.locator("h1")).to_be_visible()
        page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True)
        if name != "not-found":
            assert problems == [], name
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, f"{name} scrolls sideways by {overflow} px"
        if AXE.exists():
            assert violations(page) == [], name
    context.close()


def violations(page: Page) -> list[str]:
    """What axe holds to be serious or critical."""
    # Not by add_script_tag(), which the page's own policy forbids.
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{each['id']} ({each['impact']}): {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
