"""What pages and API tell is what the database holds: over HTTP, read from the HTML."""

import json
import re
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


def test_runners_say_when_their_jobs_were_counted(database: str, site: Site) -> None:
    rows(database, "select soniq.register_runner('vm')")
    assert "counted" not in text(site.page("/runners"))
    # More than are counted at each look.
    rows(database, "select soniq.enqueue_many('work', array_fill('{}'::jsonb, array[9000]))")
    rows(database, "select soniq.claim(1)")
    rows(database, "select soniq._take_tally()")
    rows(database, "update soniq.tallies set taken_at = taken_at - interval '42 s'")
    page = site.page("/runners")
    assert re.search(r"Slots in use were counted 4\d s ago. What is at work is as of now.", text(page))


# What jobs carry.

EXACT = (
    '{"sum": 1.10, "id": 12345678901234567890, "at": 12345678901234567890.123456789, "nothing": {}, '
    f'"large": 1{"0" * 400}.5, "larger": 1{"0" * 5000}' + "}"
)


def test_what_a_job_carries_is_shown_as_the_database_holds_it(database: str, site: Site) -> None:
    for result in ('"done"', "null", "1.10", None):
        rows(database, "select soniq.enqueue('work', %s, headers => '{\"rate\": 0.10}')", EXACT)
        rows(
            database,
            """
            select soniq.complete(job.job_id, job.attempt, %s::jsonb)
            from soniq.claim(soniq.register_runner('vm')) as job
            """,
            result,
        )
    for job, result in ((1, '"done"'), (2, "null"), (3, "1.10"), (4, None)):
        page = site.page(f"/jobs/{job}")
        assert texts(page, ".//section[@aria-labelledby='result']/pre") == [result] * (job < 4)
        args = text(one(page, ".//section[@aria-labelledby='args']/pre"))
        assert '"sum": 1.10,' in args
        assert '"id": 12345678901234567890,' in args
        assert '"at": 12345678901234567890.123456789,' in args
        assert f'"large": 1{"0" * 400}.5,' in args
        assert f'"larger": 1{"0" * 5000},' in args
        assert text(one(page, ".//section[@aria-labelledby='headers']/pre")) == '{ "rate": 0.10 }'
    rows(database, "select soniq.schedule('nightly', cron => '@daily', args => %s)", EXACT)
    args = text(one(site.page("/schedule?name=nightly"), ".//pre"))
    assert '"sum": 1.10,' in args

    rows(database, "select soniq.enqueue('work')")
    assert text(one(site.page("/jobs/5"), ".//section[@aria-labelledby='args']/pre")) == "{}"


def test_the_api_tells_each_digit_and_depth(database: str, site: Site) -> None:
    rows(database, "select soniq.enqueue('work', %s, headers => '{\"rate\": 0.10}')", EXACT)
    answer = site.get("/api/jobs/1")
    assert answer.headers["content-type"] == "application/json"
    told = json.loads(answer.text, parse_int=str, parse_float=str)
    assert told["args"] == json.loads(EXACT, parse_int=str, parse_float=str)
    assert told["headers"] == {"rate": "0.10"}
    assert told["result"] is None
    for depth in (300, 3000):
        deep = '{"a": ' * depth + "1" + "}" * depth
        [(job_id,)] = rows(database, "select soniq.enqueue('work', %s)", deep)
        assert f'"args":{deep},' in site.get(f"/api/jobs/{job_id}").text
        page = site.page(f"/jobs/{job_id}")
        assert text(one(page, ".//section[@aria-labelledby='args']/pre")) == deep


# Schedules.


def test_the_last_runs_say_how_far_back_they_were_looked_for(database: str, site: Site) -> None:
    rows(database, "select soniq.schedule('rare', cron => '@daily')")
    rows(database, "select soniq.schedule('frequent', cron => '@daily')")
    rows(database, "select soniq.run_schedule_now('rare') from generate_series(1, 3)")
    rows(database, "select soniq.enqueue_many('work', array_fill('{}'::jsonb, array[1999]))")
    rows(database, "select soniq.run_schedule_now('frequent') from generate_series(1, 12)")
    rows(database, "select soniq.run_schedule_now('rare')")

    def last(name: str) -> Element:
        return one(site.page(f"/schedule?name={name}"), ".//section[@aria-labelledby='last']")

    section = last("rare")
    assert [row[0] for row in table(section)] == ["2015"]
    [(reached,)] = rows(
        database,
        "select to_char(enqueued_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') from soniq.jobs where id = 16",
    )
    assert f"Searched back to {reached} UTC." in texts(section, ".//span")
    further = site.page(links(section)["Jobs of that name further back"])
    assert [row[0] for row in table(further)] == ["3", "2", "1"]
    # Ten that were found are all that are shown, and less than was looked through is all there is.
    assert [row[0] for row in table(last("frequent"))] == [str(n) for n in range(2014, 2004, -1)]
    assert "Searched back" not in text(last("frequent"))
    rows(database, "select soniq.cancel(id) from soniq.jobs where job_name = 'work'")
    rows(database, "delete from soniq.finished_jobs where id < 100")
    assert [row[0] for row in table(last("rare"))] == ["2015", "3", "2", "1"]
    assert "Searched back" not in text(last("rare"))
