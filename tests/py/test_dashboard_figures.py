"""What pages and API tell is what the database holds: over HTTP, read from the HTML."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import pytest
from conftest import rows
from html_page import links, one, parse, table, text, texts
from soniq.dashboard import dashboard
from starlette.testclient import TestClient

HOST = "http://dashboard.example"


class Site(TestClient):
    """A dashboard in this process that everybody may look at."""

    def page(self, path: str) -> Element:
        """A page's tree."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return parse(answer.text)


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    with Site(dashboard(database), base_url=HOST) as site:
        yield site


# Runners.


def hold(url: str, host: str, jobs: int, timeout: str) -> int:
    """A runner with so many jobs at work; its id."""
    [(runner,)] = rows(url, "select soniq.register_runner(%s, pid => 7, concurrency => 1000)", host)
    rows(
        url,
        "select soniq.enqueue_many('work', array_fill('{}'::jsonb, array[%s]), queue => %s, timeout => %s)",
        jobs,
        host,
        timeout,
    )
    rows(url, "select soniq.claim(%s, queues => array[%s], max_jobs => %s)", runner, host, jobs)
    return int(runner)


def test_of_very_many_jobs_at_work_each_runner_tells_what_it_does_not_show(
    database: str, site: Site
) -> None:
    hurried = hold(database, "hurried", 450, "1 minute")
    patient = hold(database, "patient", 200, "1 hour")
    distant = hold(database, "distant", 600, "2 hours")
    [(idle,)] = rows(database, "select soniq.register_runner('idle')")

    page = site.page("/runners")
    cards = {
        runner: text(one(page, f".//li[@id='runner-{runner}']"))
        for runner in (hurried, patient, distant, idle)
    }
    assert cards[hurried].endswith("and 445 more")
    assert cards[patient].endswith("and 195 more")
    assert cards[distant].endswith("what this one has is shown on its own page.")
    assert cards[idle].endswith("Idle: it waits for jobs.")
    own = links(one(page, f".//li[@id='runner-{distant}']"))["what this one has"]

    page = site.page(own)
    assert len(table(page)) == 500
    assert "and 100 more; those whose deadlines are nearest are shown." in texts(page, ".//p")
    assert len(table(site.page(f"/runners?id={patient}"))) == 200

    told = site.get("/api/runners").json()
    assert told["is_partial"] is True
    assert [
        (int(each["runner_id"]), each["running"], len(each["jobs"])) for each in told["runners"]
    ] == [
        (idle, 0, 0),
        (distant, 600, 0),
        (patient, 200, 50),
        (hurried, 450, 450),
    ]
    for runner in (patient, distant):
        rows(
            database,
            "select soniq.release(id, attempt) from soniq.jobs where runner_id = %s",
            runner,
        )
    assert site.get("/api/runners").json()["is_partial"] is False
    assert "Idle: it waits for jobs." in text(
        one(site.page("/runners"), f".//li[@id='runner-{patient}']")
    )


def test_the_api_tells_many_runners_page_by_page(database: str, site: Site) -> None:
    rows(database, "select soniq.register_runner('vm' || n) from generate_series(1, 401) as n")
    ids: list[str] = []
    sizes: list[int] = []
    before: str | None = None
    while before is not None or not ids:
        told = site.get("/api/runners", params={"before": before} if before else {}).json()
        ids += [each["runner_id"] for each in told["runners"]]
        sizes.append(len(told["runners"]))
        before = told["before"]
    assert sizes == [200, 200, 1]
    assert ids == [str(number) for number in range(401, 0, -1)]
