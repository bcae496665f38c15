"""Each page in a real browser, beside a live runner with failures: in light, in dark and on a narrow screen.

Screenshots are kept in build/screenshots/.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import ROOT, TEMPLATE, rows
from dashboard_site import (
    CHROMIUM,
    HAS_CHROMIUM,
    KEY,
    SCRIPT,
    DashboardProcess,
    fill_history,
    running_dashboard,
    shop,
)
from dead_letters import bury
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright
from testing.server import Server
from waiting import wait_for

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


def looking(browser: Browser, look: str, **options: Any) -> BrowserContext:
    """A viewer in Berlin."""
    return browser.new_context(
        timezone_id="Europe/Berlin", locale="en-GB", **{**LOOKS[look], **options}
    )


@pytest.fixture(scope="module")
def signed_in(browser: Browser, site: DashboardProcess) -> Any:
    """What a browser keeps of having signed in."""
    context = looking(browser, "light")
    page = context.new_page()
    page.goto(site.address)
    page.screenshot(path=SCREENSHOTS / "sign-in-light.png")
    page.get_by_label("Key").fill("not the key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The key is not the right one.")
    sign_in(page, site.address)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(scope="module")
def context(browser: Browser, signed_in: Any) -> Iterator[BrowserContext]:
    with looking(browser, "light", storage_state=signed_in) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    with context.new_page() as page:
        yield page


def sign_in(page: Page, address: str) -> None:
    """Goes to an address by way of the form for the key."""
    page.goto(address)
    page.get_by_label("Key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()


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
def test_each_page(
    look: str, browser: Browser, signed_in: Any, site: DashboardProcess, busy: str
) -> None:
    problems: list[str] = []
    asked: list[str] = []
    with (
        looking(browser, look, storage_state=signed_in) as context,
        context.new_page() as page,
    ):
        page.on("request", lambda request: asked.append(request.url))
        page.on(
            "console", lambda said: problems.append(said.text) if said.type == "error" else None
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        for name, path in pages(busy).items():
            page.goto(site.address + path)
            page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True)
            overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0, f"{name} scrolls sideways by {overflow} px"
            if is_looked_at_by_axe(name, look):
                assert violations(page, RULES[look]) == [], name
            # A page of 404 is an error to the console, too.
            assert [each for each in problems if "404" not in each] == [], name
    assert len(asked) > len(pages(busy))
    others = [each for each in asked if not each.startswith(f"{site.address}/")]
    assert others == [], "nothing comes from anywhere else"


# Axe takes as long as all else. What differs in the dark are the colours, of which these pages have all, and on a
# narrow screen anything but these.
RULES = {
    "light": "{}",
    "dark": "{runOnly: ['color-contrast']}",
    "narrow": "{rules: {'color-contrast': {enabled: false}}}",
}
DARK = {"overview", "job-dead", "dead-letters", "schedules", "letters"}
# Others of the same kind are looked at.
LIKE_OTHERS = {"overview-week", "jobs", "jobs-none"}


def is_looked_at_by_axe(name: str, look: str) -> bool:
    return AXE.exists() and (name in DARK if look == "dark" else name not in LIKE_OTHERS)


def violations(page: Page, rules: str) -> list[str]:
    """What axe holds to be serious or critical."""
    # Not by add_script_tag(), which the page's own policy forbids.
    page.evaluate(AXE.read_text())
    found = page.evaluate(f"axe.run({rules})")
    assert found["passes"], "axe has looked at something"
    return [
        f"{each['id']} ({each['impact']}): {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def test_axe_was_there() -> None:
    if not AXE.exists():
        pytest.skip(f"NOT TRIED: axe, which script/test fetches from npm into {AXE.parent}")


def test_where_nothing_is_yet_a_page_says_what_to_do(
    browser: Browser, database: str, tmp_path: Path
) -> None:
    with (
        running_dashboard(database, tmp_path) as site,
        looking(browser, "light") as context,
        context.new_page() as page,
    ):
        for path, remedy in {
            "/": "select soniq.enqueue('send_welcome'",
            "/queues": "SONIQ_JOBS_MODULES=shop_jobs soniq worker",
            "/jobs": "select soniq.enqueue('send_welcome'",
            "/dead-letters": "No dead letters wait",
            "/schedules": "@app.periodic(cron=",
            "/runners": "SONIQ_JOBS_MODULES=shop_jobs soniq worker",
        }.items():
            page.goto(site.address + path)
            expect(page.get_by_text(remedy).first).to_be_visible()
            expect(page.get_by_text("read-only")).to_be_visible()
            page.screenshot(path=SCREENSHOTS / f"empty-{path.strip('/') or 'overview'}-light.png")
            if AXE.exists():
                assert violations(page, RULES["light"]) == [], path


# Looking, while it is live.


def test_a_page_follows_what_happens_and_leaves_the_viewer_their_place(
    page: Page, site: DashboardProcess, busy: str
) -> None:
    page.goto(f"{site.address}/dead-letters/list?name=write_invoice")
    boxes = page.get_by_role("checkbox", name="Select dead letter")
    boxes.nth(2).check()
    place = boxes.nth(20).bounding_box()
    link = page.locator("tbody a.id").nth(4)
    link.focus()
    chosen = link.inner_text()
    with page.expect_response(lambda answer: "dead-letters/list" in answer.url):
        pass
    expect(boxes.nth(2)).to_be_checked()
    assert boxes.nth(20).bounding_box() == place, "nothing has moved"
    expect(page.locator(":focus")).to_have_text(chosen)

    page.goto(f"{site.address}/jobs/{newest(busy, 'write_invoice')}")
    traceback = page.locator("details").first
    traceback.locator("summary").click()
    with page.expect_response(lambda answer: "/jobs/" in answer.url):
        pass
    expect(traceback).to_have_attribute("open", "")

    page.goto(f"{site.address}/queues")
    row = page.get_by_role("row", name="newsletters")
    expect(row.locator("td").nth(1)).to_have_text("30")
    rows(busy, "select soniq.enqueue('write_letter', queue => 'newsletters')")
    expect(row.locator("td").nth(1)).to_have_text("31")


def test_a_list_tells_of_newer_jobs_and_leaves_the_viewer_their_place(
    page: Page, site: DashboardProcess, busy: str
) -> None:
    page.goto(f"{site.address}/jobs?queue=newsletters")
    first = page.locator("tbody tr").first
    chosen, place = first.get_attribute("id"), first.bounding_box()
    [(newer,)] = rows(busy, "select soniq.enqueue('write_letter', queue => 'newsletters')")
    expect(page.get_by_text("Newer jobs are there.")).to_be_visible()
    assert (first.get_attribute("id"), first.bounding_box()) == (chosen, place)
    page.screenshot(path=SCREENSHOTS / "jobs-newer-light.png")
    page.get_by_role("link", name="Show them").click()
    expect(page).to_have_url(f"{site.address}/jobs?queue=newsletters")
    expect(page.locator(f"#job-{newer}")).to_be_visible()

    # What waits is shown as it is now.
    page.goto(f"{site.address}/jobs?queue=newsletters&status=queued")
    rows(busy, "select soniq.cancel(%s)", newer)
    [(newest,)] = rows(busy, "select soniq.enqueue('write_letter', queue => 'newsletters')")
    expect(page.locator(f"#job-{newer}")).to_have_count(0)
    expect(page.locator(f"#job-{newest}")).to_be_visible()
    rows(busy, "select soniq.cancel(%s)", newest)


def test_focus_stays_with_what_it_was_on_while_other_things_appear_before_it(
    page: Page, site: DashboardProcess, busy: str
) -> None:
    rows(busy, "select soniq.pause_queue('b c''\"&%%')")
    page.goto(f"{site.address}/queues")
    button = page.get_by_role("button", name="Resume the queue b c")
    button.focus()
    rows(busy, "select soniq.pause_queue('a')")
    expect(page.get_by_role("row", name="a paused")).to_be_visible()
    expect(page.locator(":focus")).to_have_text("Resume the queue b c'\"&%")

    page.goto(f"{site.address}/schedules")
    page.get_by_role("button", name="Pause the schedule digest").focus()
    rows(busy, "select soniq.schedule('an earlier one', cron => '@yearly')")
    expect(page.get_by_role("row", name="an earlier one")).to_be_visible()
    expect(page.locator(":focus")).to_have_text("Pause the schedule digest")

    page.goto(f"{site.address}/dead-letters")
    page.get_by_role("link", name="Replay… those of write_invoice").focus()
    # No handler has this name, so they are given up at once.
    unknown = "50% of 'a' & \"b\""
    rows(busy, "select soniq.enqueue_many(%s, array_fill('{}'::jsonb, array[30]))", unknown)
    expect(page.get_by_role("link", name=f"Replay… those of {unknown}")).to_be_visible()
    expect(page.locator(":focus")).to_have_text("Replay… those of write_invoice: ValueError")
    rows(busy, "select soniq.delete_dead_letters(job_name => %s)", unknown)
    rows(busy, "select soniq.unschedule('an earlier one')")


def newest(url: str, job: str) -> int:
    return int(rows(url, "select max(id) from soniq.all_jobs where job_name = %s", job)[0][0])


def test_nothing_is_fetched_while_text_is_selected(
    page: Page, site: DashboardProcess, busy: str
) -> None:
    # The page's own time, which is not waited for.
    page.clock.install()
    page.goto(f"{site.address}/jobs/{newest(busy, 'write_invoice')}")
    select = "getSelection().selectAllChildren(document.querySelector('#args').parentNode)"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if is_fetch(request) else None)
    for _ in range(2):
        with page.expect_event("requestfinished", is_fetch):
            page.clock.run_for(2000)
        page.evaluate(select)
        asked.clear()
        page.clock.run_for(8000)
        assert asked == []
        page.evaluate("getSelection().removeAllRanges()")


def is_fetch(request: Request) -> bool:
    """Whether a script of the page asked; the browser fetches the page's icon when it likes."""
    return request.resource_type in {"xhr", "fetch", "eventsource", "websocket"}


def test_times_are_in_the_viewer_s_zone_and_exact_ones_in_utc(
    page: Page, site: DashboardProcess, busy: str
) -> None:
    job_id = newest(busy, "send_welcome")
    [(local, exact)] = rows(
        busy,
        """
        select
          to_char(enqueued_at at time zone 'Europe/Berlin', 'HH24:MI:SS'),
          to_char(enqueued_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')
        from soniq.get_job(%s)
        """,
        job_id,
    )
    page.goto(f"{site.address}/jobs/{job_id}")
    time = page.locator(".timeline time").first
    expect(time).to_have_text(local)
    assert (time.get_attribute("title") or "").startswith(exact)


def test_the_next_runs_of_a_schedule_are_on_the_viewer_s_clock_and_on_its_own(
    page: Page, site: DashboardProcess
) -> None:
    page.goto(f"{site.address}/schedule?name=nightly_report")
    runs = page.locator("section[aria-labelledby=next] tbody tr")
    expect(runs).to_have_count(10)
    for run in runs.all():
        here, there, _ = run.locator("td").all()
        at = datetime.fromisoformat(here.locator("time").get_attribute("datetime") or "")
        expect(here).to_have_text(
            re.compile(f"{at.astimezone(ZoneInfo('Europe/Berlin')):%H:%M:%S}$")
        )
        assert (
            there.inner_text() == f"{at.astimezone(ZoneInfo('Europe/London')):%a %Y-%m-%d 03:00:00}"
        )


def test_what_a_job_carries_stays_text(page: Page, site: DashboardProcess, busy: str) -> None:
    [(job_id,)] = rows(busy, "select id from soniq.all_jobs where job_name = %s", SCRIPT)
    for path in ("/", "/jobs", f"/jobs/{job_id}", "/queues", "/dead-letters", "/dead-letters/list"):
        page.goto(site.address + path)
        expect(page.get_by_text(SCRIPT[:40]).first).to_be_visible()
        assert "taken over" not in page.title()
        assert page.evaluate("document.querySelectorAll('main script').length") == 0


def test_the_menu_leads_to_each_page(page: Page, site: DashboardProcess) -> None:
    page.goto(site.address)
    menu = page.get_by_role("navigation", name="Pages").get_by_role("link")
    labels = menu.all_inner_texts()
    assert labels == ["Overview", "Queues", "Jobs", "Dead letters", "Schedules", "Runners"]
    for label in labels:
        menu.filter(has_text=label).click()
        expect(page.locator("h1")).to_have_text(label)


def test_by_keyboard_alone(page: Page, site: DashboardProcess) -> None:
    page.goto(site.address)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Hour")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Day")).to_have_attribute("aria-current", "true")


def test_a_link_from_elsewhere_finds_who_has_signed_in(page: Page, site: DashboardProcess) -> None:
    page.goto("data:text/html,<title>chat</title>")
    page.set_content(f"<a href='{site.address}/runners'>see here</a>")
    page.get_by_role("link", name="see here").click()
    expect(page.get_by_role("heading", name="Runners")).to_be_visible()


def test_what_is_shown_is_said_to_be_old_while_the_database_is_away(
    browser: Browser, own_server: Server, tmp_path: Path
) -> None:
    with (
        running_dashboard(own_server.url(), tmp_path) as site,
        looking(browser, "light") as context,
        context.new_page() as page,
    ):
        page.goto(f"{site.address}/runners")
        own_server.stop()
        warning = page.get_by_text("Not up to date since")
        expect(warning).to_be_visible()
        expect(page.get_by_text("No runner is up")).to_be_visible()
        page.screenshot(path=SCREENSHOTS / "stale-light.png")
        with context.new_page() as other:
            other.goto(site.address)
            expect(other.get_by_role("heading", name="The database is away")).to_be_visible()
            other.screenshot(path=SCREENSHOTS / "away-light.png")
            if AXE.exists():
                assert violations(other, RULES["light"]) == []
            own_server.start()
            expect(other.get_by_role("heading", name="Overview")).to_be_visible()
        expect(warning).not_to_be_visible()


def test_what_a_form_did_is_not_done_again_when_the_database_is_back(
    browser: Browser, own_server: Server, tmp_path: Path
) -> None:
    url = own_server.url()
    rows(url, "select soniq.enqueue('any', queue => 'mail')")
    with (
        running_dashboard(url, tmp_path, dashboard_write="true", dashboard_api_key=KEY) as site,
        looking(browser, "light") as context,
        context.new_page() as page,
    ):
        sign_in(page, f"{site.address}/queues?search=mail")
        sent: list[Request] = []
        page.on("request", lambda request: sent.append(request))
        page.clock.install()
        own_server.stop()
        page.get_by_role("button", name="Pause the queue mail").click()
        expect(page.get_by_role("heading", name="The database is away")).to_be_visible()
        expect(page.get_by_text("Whether it was done is not known")).to_be_visible()
        expect(page.get_by_text("again by itself")).not_to_be_visible()
        page.screenshot(path=SCREENSHOTS / "away-after-a-form-light.png")
        own_server.start()
        sent.clear()
        page.clock.run_for(10_000)
        assert sent == [], "nothing is sent by itself"
        page.get_by_role("link", name="Back to the page before").click()
        expect(page).to_have_url(f"{site.address}/queues?search=mail")
        expect(page.get_by_role("button", name="Pause the queue mail")).to_be_visible()
        assert not any(request.method == "POST" for request in sent)
        assert rows(url, "select from soniq.queues where paused") == []


# Acting.


def act(page: Page, button: str, notice: str) -> None:
    page.get_by_role("button", name=button).first.click()
    expect(page.get_by_role("status").filter(has_text=notice)).to_be_visible()


@pytest.fixture(scope="module")
def still(server: Server) -> Iterator[str]:
    """The address of a database in which nothing happens but what a viewer does."""
    yield server.create_database("dashboard_actions", TEMPLATE)
    server.drop_database("dashboard_actions")


@pytest.fixture(scope="module")
def still_site(still: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardProcess]:
    folder = tmp_path_factory.mktemp("still")
    with running_dashboard(still, folder, dashboard_write="true", dashboard_api_key=KEY) as process:
        yield process


@pytest.mark.parametrize("look", LOOKS)
def test_each_action(look: str, browser: Browser, still: str, still_site: DashboardProcess) -> None:
    address = still_site.address
    rows(still, "select soniq.schedule(%s, cron => '@daily')", look)
    [(job,)] = rows(still, "select soniq.enqueue('work', queue => %s, delay => '1 day')", look)
    replayed, deleted = bury(still, 2, job=f"{look}_letter")
    with looking(browser, look) as context, context.new_page() as page:
        sign_in(page, address)
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()

        page.goto(f"{address}/queues")
        act(page, f"Pause the queue {look}", f"The queue {look} is paused.")
        page.goto(f"{address}/queue?name={look}")
        act(page, "Resume", f"The queue {look} is resumed.")
        page.goto(f"{address}/schedules")
        act(page, f"Pause the schedule {look}", f"The schedule {look} is paused.")
        page.goto(f"{address}/schedule?name={look}")
        act(page, "Resume", f"The schedule {look} is resumed.")
        act(page, "Run now", f"The schedule {look} runs now, as job")

        page.goto(f"{address}/jobs/{job}")
        act(page, "Run now", f"Job {job} is ready to run now.")
        act(page, "Cancel job", f"Job {job} is cancelled.")
        page.goto(f"{address}/jobs/{replayed}")
        act(page, "Replay", f"Dead letter {replayed} runs again as this job")
        page.goto(f"{address}/jobs/{deleted}")
        page.get_by_role("link", name="Delete…").click()
        take(page, still, "Delete", 1)

        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        if AXE.exists():
            assert violations(page, RULES[look]) == []
    [(paused, runs)] = rows(
        still,
        """
        select
          (select count(*) from soniq.queues where paused),
          (select count(*) from soniq.jobs where schedule = %s)
        """,
        look,
    )
    assert (paused, runs) == (0, 1)
    assert rows(still, "select status::text from soniq.get_job(%s)", job) == [("cancelled",)]
    assert rows(
        still, "select id from soniq.dead_letter_jobs where job_name = %s", f"{look}_letter"
    ) == [(replayed,)]


def take(page: Page, url: str, verb: str, count: int) -> None:
    """Does to dead letters what has been shown, and was not done by its being shown."""
    letters = f"{count} dead letter{'' if count == 1 else 's'}"
    expect(page.get_by_role("heading", name=f"{verb} {letters}?")).to_be_visible()
    state = "select count(*), sum(replay_count)::int from soniq.dead_letter_jobs"
    [(there, replayed)] = rows(url, state)
    done = "deleted" if verb == "Delete" else "replayed as new jobs"
    act(page, f"{verb} {letters}", f"{letters} {'was' if count == 1 else 'were'} {done}.")
    if verb == "Delete":
        assert rows(url, "select count(*) from soniq.dead_letter_jobs") == [(there - count,)]
    else:
        assert rows(url, state) == [(there, replayed + count)]


def test_dead_letters_are_chosen_in_each_way_that_there_is(
    browser: Browser, still: str, still_site: DashboardProcess
) -> None:
    mail = bury(still, 5, job="mail")
    bury(still, 3, job="bills", error="no money")
    bury(still, 2, job="bills", error="no address")
    with looking(browser, "light") as context, context.new_page() as page:
        sign_in(page, still_site.address)
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()

        # A selection.
        page.goto(f"{still_site.address}/dead-letters/list?name=mail")
        for letter in (mail[0], mail[3]):
            page.get_by_label(f"Select dead letter {letter}", exact=True).check()
        page.get_by_role("button", name="Replay selected").click()
        take(page, still, "Replay", 2)
        replayed = rows(
            still,
            "select id from soniq.dead_letter_jobs where job_name = 'mail' and replay_count > 0",
        )
        assert {id_ for (id_,) in replayed} == {mail[0], mail[3]}

        # A group.
        page.goto(f"{still_site.address}/dead-letters")
        group = page.get_by_role("listitem").filter(has_text="no money")
        group.get_by_role("link", name="Delete…").click()
        take(page, still, "Delete", 3)
        assert rows(
            still, "select count(*) from soniq.dead_letter_jobs where job_name = 'bills'"
        ) == [(2,)]

        # All that match; those replayed before are not run again, and are deleted like others.
        page.goto(f"{still_site.address}/dead-letters/list?queue=mail_queue")
        page.get_by_role("link", name="Replay all that match").click()
        take(page, still, "Replay", 3)
        page.get_by_role("link", name="Delete all that match").click()
        take(page, still, "Delete", 5)

        # All that wait; those replayed before stay.
        waiting = "select count(*) from soniq.dead_letter_jobs where replay_count = 0"
        page.goto(f"{still_site.address}/dead-letters")
        page.get_by_role("link", name="Replay all").click()
        take(page, still, "Replay", rows(still, waiting)[0][0])
        expect(page.get_by_text("No dead letters wait")).to_be_visible()
        bury(still, 4, job="more")
        page.goto(f"{still_site.address}/dead-letters")
        page.get_by_role("link", name="Delete all").click()
        take(page, still, "Delete", 4)
        assert rows(still, waiting) == [(0,)]


def test_a_queue_is_paused_and_resumed_by_keyboard_alone(
    page: Page, site: DashboardProcess, busy: str
) -> None:
    page.goto(f"{site.address}/queues?search=newsl")
    for button, key, notice in (
        ("Resume the queue newsletters", "Enter", "The queue newsletters is resumed."),
        ("Pause the queue newsletters", "Space", "The queue newsletters is paused."),
    ):
        wanted = page.get_by_role("button", name=button)
        for _ in range(40):
            page.keyboard.press("Tab")
            if wanted.evaluate("button => button === document.activeElement"):
                break
        expect(wanted).to_be_focused()
        page.keyboard.press(key)
        expect(page.get_by_role("status").filter(has_text=notice)).to_be_visible()
    assert rows(busy, "select paused from soniq.queues where queue = 'newsletters'") == [(True,)]


def test_queues_and_schedules_are_paused_resumed_and_run(
    page: Page, site: DashboardProcess, busy: str
) -> None:
    page.goto(f"{site.address}/queues")
    act(page, "Pause the queue invoices", "The queue invoices is paused.")
    assert rows(busy, "select paused from soniq.queues where queue = 'invoices'") == [(True,)]
    page.goto(f"{site.address}/queue?name=invoices")
    act(page, "Resume", "The queue invoices is resumed.")
    assert rows(busy, "select paused from soniq.queues where queue = 'invoices'") == [(False,)]

    page.goto(f"{site.address}/schedules")
    act(page, "Run now the schedule digest", "The schedule digest runs now, as job")
    wait_for(lambda: rows(busy, "select from soniq.finished_jobs where schedule = 'digest'"))
    page.goto(f"{site.address}/schedule?name=digest")
    expect(page.get_by_role("row").filter(has_text="done")).to_be_visible()
    act(page, "Pause", "The schedule digest is paused.")
    act(page, "Resume", "The schedule digest is resumed.")
    assert "key resumed the schedule 'digest'" in site.log


def test_a_job_is_cancelled_and_one_run_now(page: Page, site: DashboardProcess, busy: str) -> None:
    [(later,)] = rows(
        busy, "select soniq.enqueue('send_welcome', '{\"to\": \"x\"}', delay => '1 day')"
    )
    page.goto(f"{site.address}/jobs/{later}")
    act(page, "Run now", f"Job {later} is ready to run now.")
    expect(page.locator("h1")).to_contain_text("done")
    [(later,)] = rows(
        busy, "select soniq.enqueue('send_welcome', '{\"to\": \"x\"}', delay => '1 day')"
    )
    page.goto(f"{site.address}/jobs/{later}")
    act(page, "Cancel job", f"Job {later} is cancelled.")
    assert rows(busy, "select status::text from soniq.get_job(%s)", later) == [("cancelled",)]
    assert f"key cancelled job {later}" in site.log


def test_dead_letters_are_replayed_and_deleted_after_they_were_shown(
    page: Page, site: DashboardProcess, busy: str
) -> None:
    # One.
    letters = [
        id_
        for (id_,) in rows(
            busy, "select id from soniq.dead_letter_jobs where job_name = 'post_to_ledger'"
        )
    ]
    page.goto(f"{site.address}/jobs/{letters[0]}")
    act(page, "Replay", f"Dead letter {letters[0]} runs again as this job")
    expect(page.get_by_text(f"as a replay of dead letter {letters[0]}")).to_be_visible()
    replay = int(page.url.rpartition("/")[2])
    page.goto(f"{site.address}/jobs/{letters[0]}")
    expect(page.get_by_role("link", name=str(replay))).to_be_visible()

    # A selection.
    page.goto(f"{site.address}/dead-letters/list?name=post_to_ledger")
    expect(page.get_by_role("button", name="Delete selected")).to_be_disabled()
    for id_ in (letters[1], letters[2]):
        page.get_by_label(f"Select dead letter {id_}", exact=True).check()
    page.get_by_role("button", name="Delete selected").click()
    expect(page.get_by_role("heading", name="Delete 2 dead letters?")).to_be_visible()
    assert len(rows(busy, "select from soniq.dead_letter_jobs where id = any (%s)", letters)) == 7
    act(page, "Delete 2 dead letters", "2 dead letters were deleted.")
    expect(page).to_have_url(f"{site.address}/dead-letters/list?name=post_to_ledger")
    left = rows(busy, "select id from soniq.dead_letter_jobs where id = any (%s)", letters)
    assert {id_ for (id_,) in left} == set(letters) - {letters[1], letters[2]}

    # A group.
    page.goto(f"{site.address}/dead-letters")
    page.get_by_role("link", name="Replay… those of post_to_ledger").click()
    expect(page.get_by_role("heading", name="Replay 5 dead letters?")).to_be_visible()
    act(page, "Replay 5 dead letters", "5 dead letters were replayed as new jobs.")

    # All of a filter, of which some died meanwhile.
    page.goto(f"{site.address}/dead-letters/list?name=write_invoice&waiting=true")
    page.get_by_role("link", name="Delete all that match").click()
    expect(page.get_by_role("heading", name="Delete 24 dead letters?")).to_be_visible()
    rows(busy, "select soniq.enqueue('write_invoice', '{\"order_id\": 1}')")
    count = "select count(*) from soniq.dead_letter_jobs where job_name = 'write_invoice'"
    wait_for(lambda: rows(busy, count) == [(25,)])
    act(page, "Delete 24 dead letters", "24 dead letters were deleted.")
    assert rows(busy, count) == [(1,)]
    assert "key deleted 24 dead letters" in site.log
