"""The dashboard's API: what it answers, what it refuses and how, and that its OpenAPI says the same."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from conftest import StartRunner, WriteJobs, rows
from dashboard_site import KEY, running_dashboard
from dead_letters import bury
from hypothesis import HealthCheck, Phase, given, settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance
from soniq.dashboard import dashboard
from starlette.testclient import TestClient
from waiting import wait_for

BEARER = {"Authorization": f"Bearer {KEY}"}
HOST = "http://dashboard.example"
BEYOND_JAVASCRIPT = 2**53 + 1


@pytest.fixture
def api(database: str) -> Iterator[TestClient]:
    application = dashboard(database, api_key=KEY, write=True)
    with TestClient(application, base_url=f"{HOST}/api", headers=BEARER) as client:
        yield client


def error_of(answer: Any, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    error: dict[str, str] = answer.json()["error"]
    assert set(error) == {"code", "message", "remedy"}
    assert error["message"]
    assert error["remedy"]
    return error


# Looking.


def test_ids_arrive_whole_in_javascript(database: str, api: TestClient) -> None:
    rows(database, f"alter table soniq.jobs alter column id restart with {BEYOND_JAVASCRIPT}")
    [letter] = bury(database, 1)
    assert letter == BEYOND_JAVASCRIPT
    assert api.get("jobs").json()["jobs"][0]["id"] == str(letter)
    assert api.get(f"jobs/{letter}").json()["id"] == str(letter)
    assert api.get("dead-letters").json()["dead_letters"][0]["id"] == str(letter)
    answer = api.post("dead-letters/replay", json={"ids": [str(letter)]}).json()
    assert answer["first"] == [{"dead_letter_id": str(letter), "job_id": str(letter + 1)}]


def test_a_job_tells_everything(
    database: str, api: TestClient, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs("""
        from soniq import Job, Soniq
        app = Soniq()

        @app.job(retry_delay=0.05)
        async def greet(name: str, job: Job) -> dict[str, str]:
            if job.attempt == 1:
                raise ValueError("not yet")
            return {"hello": name}
    """)
    [(job_id,)] = rows(
        database,
        """
        select soniq.enqueue(
          'greet', '{"name": "Ada"}', headers => '{"trace": "7"}', tenant => 'acme', dedup_key => 'greet Ada'
        )
        """,
    )
    start_runner(database, poll_interval=0.1)
    wait_for(lambda: rows(database, "select from soniq.finished_jobs"))
    job = api.get(f"jobs/{job_id}").json()
    [error] = job.pop("errors")
    assert (error["type"], error["message"], error["attempt"]) == ("ValueError", "not yet", 1)
    assert "Traceback" in error["traceback"]
    assert {
        "id": str(job_id),
        "status": "done",
        "job_name": "greet",
        "args": {"name": "Ada"},
        "headers": {"trace": "7"},
        "result": {"hello": "Ada"},
        "tenant": "acme",
        "dedup_key": "greet Ada",
        "attempt": 2,
        "timeout": 300.0,
    }.items() <= job.items()


def test_what_there_is(database: str, api: TestClient) -> None:
    rows(database, "select soniq.enqueue('work', queue => 'mail'), soniq.tick()")
    rows(
        database,
        "select soniq.schedule('nightly', cron => '0 3 * * *', timezone => 'Europe/Paris')",
    )
    [(runner,)] = rows(database, "select soniq.register_runner('vm', pid => 7, queues => '{mail}')")
    rows(database, "select soniq.claim(%s)", runner)

    [queue] = api.get("queues").json()["queues"]
    assert (queue["queue"], queue["ready"], queue["processing"]) == ("mail", 0, 1)
    [known] = api.get("runners").json()["runners"]
    assert (known["runner_id"], known["host"], known["queues"]) == (str(runner), "vm", ["mail"])
    assert [job["job_name"] for job in known["jobs"]] == ["work"]
    [schedule] = api.get("schedules").json()["schedules"]
    assert (schedule["name"], schedule["state"], schedule["every"]) == ("nightly", "active", None)

    for span, points in (("hour", 60), ("day", 144), ("week", 168)):
        stats = api.get("stats", params={"span": span}).json()
        assert len(stats["history"]) == points
        assert stats["history"][0]["done"] is None, "nobody looked then"
        assert stats["summary"]["done"] == 0
        assert stats["runners"]["alive"] == 1
    rows(database, "select soniq.pause_queue('idle'), soniq.enqueue('work', queue => 'idle')")
    kinds = [each["kind"] for each in api.get("stats").json()["concerns"]]
    assert kinds == ["queue_paused"]


def test_metrics_for_prometheus_and_for_grafana(database: str, api: TestClient) -> None:
    rows(database, "select soniq.enqueue('work', queue => 'mail')")
    answer = api.get("metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {each.name: each for each in text_string_to_metric_families(answer.text)}
    assert families["soniq_database_metrics_up"].samples[0].value == 1
    ready = {"queue": "mail", "state": "ready"}
    assert [s.value for s in families["soniq_queue_jobs"].samples if s.labels == ready] == [1]

    told = api.get("metrics", params={"format": "json"}).json()["metrics"]
    assert {"name": "soniq_queue_jobs", "labels": ready, "value": 1.0} in told
    lag = [each["value"] for each in told if each["name"] == "soniq_tick_lag_seconds"]
    assert lag == [None], "JSON has no infinity"


def test_health_is_asked_in_each_way_that_probes_ask(api: TestClient) -> None:
    for method in ("GET", "HEAD"):
        assert api.request(method, "health", headers={"Authorization": ""}).status_code == 200


def test_what_was_estimated_is_shown_as_an_estimate_wherever_it_stands(
    database: str, api: TestClient
) -> None:
    rows(
        database,
        """
        select
        from soniq.enqueue_many(
          'work', array_fill(jsonb_build_object('text', repeat('x', 900)), array[12000]), queue => 'mail'
        )
        """,
    )
    rows(database, "select soniq.tick()")
    [queue] = api.get("queues").json()["queues"]
    assert queue["is_estimate"]
    ready = f'<abbr title="estimated from a sample">≈</abbr>{queue["ready"]:,}'
    for path, times in (("/", 2), ("/queues", 2), ("/queue?name=mail", 1)):
        assert api.get(HOST + path).text.count(ready) == times, path


# Lists.


def all_pages(api: TestClient, path: str, key: str, **wanted: str) -> tuple[list[int], int]:
    """The ids of a list, from its first page to its last, and how many pages that took."""
    ids: list[int] = []
    pages = 0
    while True:
        found = api.get(path, params=wanted).json()
        ids += [int(each["id"]) for each in found[key]]
        pages += 1
        if found["before"] is None:
            return ids, pages
        wanted["before"] = found["before"]


def test_a_list_goes_on_where_it_ended(database: str, api: TestClient) -> None:
    ids = [
        i for (i,) in rows(database, "select soniq.enqueue('work') from generate_series(1, 120)")
    ]
    assert all_pages(api, "jobs", "jobs") == (ids[::-1], 3)
    # What comes in meanwhile moves nothing.
    first = api.get("jobs").json()
    rows(database, "select soniq.enqueue('more') from generate_series(1, 30)")
    second = api.get("jobs", params={"before": first["before"]}).json()
    assert [int(job["id"]) for job in second["jobs"]] == ids[-51:-101:-1]

    letters = bury(database, 120)
    assert all_pages(api, "dead-letters", "dead_letters") == (letters[::-1], 3)


def refreshed(client: TestClient, page: str) -> str:
    """What a page is when it has fetched itself anew."""
    [address] = re.findall(r'id="live" hx-get="([^"]*)"', page)
    return client.get(HOST + unescape(address)).text


def listed(page: str) -> list[int]:
    return [int(each) for each in re.findall(r'<tr id="(?:job|letter)-(\d+)"', page)]


def test_a_page_of_jobs_keeps_newer_ones_out_and_says_that_they_are_there(
    database: str, api: TestClient
) -> None:
    for queue in ("mail", "mail", "other"):
        rows(database, "select soniq.enqueue('work', queue => %s)", queue)
    whole, filtered = (api.get(HOST + path).text for path in ("/jobs", "/jobs?queue=mail&since=2h"))
    assert (listed(whole), listed(filtered)) == ([3, 2, 1], [2, 1])
    for page in (whole, filtered, refreshed(api, whole), refreshed(api, filtered)):
        assert "The latest are shown." in page
        assert "Newer jobs" not in page
    rows(database, "select soniq.enqueue('work', queue => 'other')")
    for page, ids, latest in (
        (whole, [3, 2, 1], "/jobs"),
        (refreshed(api, whole), [3, 2, 1], "/jobs"),
    ):
        page = refreshed(api, page)
        assert listed(page) == ids
        assert f'Newer jobs are there. <a href="{latest}">Show them</a>' in page
        assert "Back to the latest" not in page
    assert "The latest are shown." in refreshed(api, filtered), "it does not match"
    rows(database, "select soniq.enqueue('work', queue => 'mail')")
    page = refreshed(api, filtered)
    assert listed(page) == [2, 1]
    assert '<a href="/jobs?queue=mail&amp;since=2h">Show them</a>' in page
    assert listed(api.get(HOST + "/jobs?queue=mail&since=2h").text) == [5, 2, 1]
    # A later page has nothing newer.
    page = refreshed(api, api.get(HOST + "/jobs?before=3").text)
    assert listed(page) == [2, 1]
    assert "Newer jobs" not in page
    assert "The latest are shown." not in page
    # Of very many that have come in, not all are looked through.
    filtered = api.get(HOST + "/jobs?queue=mail&since=2h").text
    for count, told in ((49, "The latest are shown."), (1, "Newer jobs may match.")):
        rows(database, "select soniq.enqueue('more') from generate_series(1, %s)", count)
        assert told in refreshed(api, filtered)
    assert error_of_page(api.get(HOST + "/jobs?pinned=x")) == "pinned is &#39;x&#39;"


def error_of_page(answer: Any) -> str:
    assert answer.status_code == 422
    [message] = re.findall(r"<h1>A value is wrong</h1>\s*<p>([^<]*)</p>", answer.text)
    return str(message)


def test_a_page_of_what_waits_or_runs_is_always_of_now(database: str, api: TestClient) -> None:
    rows(database, "select soniq.enqueue('work'), soniq.register_runner('vm')")
    queued = api.get(HOST + "/jobs?status=queued").text
    processing = api.get(HOST + "/jobs?status=processing").text
    assert (listed(queued), listed(processing)) == ([1], [])
    rows(database, "select soniq.claim(1)")
    rows(database, "select soniq.enqueue('work') from generate_series(1, 2)")
    queued, processing = refreshed(api, queued), refreshed(api, processing)
    assert (listed(queued), listed(processing)) == ([3, 2], [1])
    rows(database, "select soniq.claim(1)")
    queued, processing = refreshed(api, queued), refreshed(api, processing)
    assert (listed(queued), listed(processing)) == ([3], [2, 1])
    for page in (queued, processing):
        assert "Back to the latest" not in page


def test_a_page_of_dead_letters_keeps_newer_ones_out_and_says_that_they_are_there(
    database: str, api: TestClient
) -> None:
    first = bury(database, 2)
    address = f"{HOST}/dead-letters/list?name=mail"
    page = refreshed(api, api.get(address).text)
    assert listed(page) == first[::-1]
    assert "The latest are shown." in page
    bury(database, 1, job="bills")
    assert "The latest are shown." in refreshed(api, page)
    newer = bury(database, 1)
    page = refreshed(api, page)
    assert listed(page) == first[::-1]
    link = '<a href="/dead-letters/list?name=mail">Show them</a>'
    assert f"Newer dead letters are there. {link}" in page
    # Where none of those that it showed is left, it begins anew.
    rows(database, "select soniq.delete_dead_letters(ids => %s)", first)
    page = refreshed(api, page)
    assert listed(page) == newer
    assert "The latest are shown." in page


def test_a_rare_job_is_found_by_going_on(database: str, api: TestClient) -> None:
    [(rare,)] = rows(database, "select soniq.enqueue('rare', queue => 'rare')")
    rows(database, "select soniq.enqueue('common') from generate_series(1, 4100)")
    first = api.get("jobs", params={"queue": "rare"}).json()
    assert first["jobs"] == []
    assert first["searched_to"] is not None
    assert int(first["before"]) == rare + 2101
    assert all_pages(api, "jobs", "jobs", queue="rare") == ([rare], 3)
    # And by the links of the page.
    page, links = "/jobs?queue=rare", 0
    while found := re.search(r'href="([^"]*)">Search further back', api.get(HOST + page).text):
        page, links = unescape(found[1]), links + 1
    assert links == 2
    assert f'id="job-{rare}"' in api.get(HOST + page).text


def test_many_schedules_and_queues_are_shown_page_by_page(database: str, api: TestClient) -> None:
    rows(
        database,
        """
        select soniq.schedule('nightly ' || lpad(n::text, 3, '0'), cron => '@daily')
        from generate_series(1, 201) as n
        """,
    )
    rows(
        database,
        """
        select soniq.enqueue('work', queue => 'queue ' || lpad(n::text, 3, '0'))
        from generate_series(1, 101) as n
        """,
    )
    for path, name, last in (("schedules", "nightly", "201"), ("queues", "queue", "101")):
        first = api.get(f"{HOST}/{path}").text
        assert f">{name} 001<" in first
        assert f">{name} {last}<" not in first
        [further] = re.findall(rf'href="([^"]*)">More {path}', first)
        second = api.get(HOST + unescape(further)).text
        assert re.findall(rf">({name} \d+)<", second) == [f"{name} {last}"]
    assert len(api.get("schedules").json()["schedules"]) == 201


def test_each_filter_of_jobs(database: str, api: TestClient) -> None:
    for statement in (
        "select soniq.enqueue('a', '{\"to\": \"Ada\"}', queue => 'q', tenant => 't')",
        "select soniq.enqueue('b', '{\"to\": \"Bob\"}', delay => '1 day')",
        "select soniq.cancel(soniq.enqueue('c'))",
        "select soniq.claim(soniq.register_runner('x'), queues => '{q}')",
    ):
        rows(database, statement)
    [dead] = bury(database, 1)
    rows(
        database,
        "update soniq.jobs set enqueued_at = enqueued_at - interval '3 hours' where id = 2",
    )
    for wanted, expected in (
        ({"status": "queued"}, [2]),
        ({"status": "processing"}, [1]),
        ({"status": "cancelled"}, [3]),
        ({"status": "done"}, []),
        ({"status": "dead_letter"}, [dead]),
        ({"queue": "q"}, [1]),
        ({"name": "b"}, [2]),
        ({"tenant": "t"}, [1]),
        ({"text": "ada"}, [1]),
        ({"text": '"to"'}, [2, 1]),
        ({"until": "2h"}, [2]),
        ({"since": "2h"}, [dead, 3, 1]),
        ({"since": "4h", "until": "2h"}, [2]),
        ({"since": "2h", "queue": "q", "text": "Ada", "status": "processing"}, [1]),
        ({"before": str(dead)}, [3, 2, 1]),
    ):
        found = api.get("jobs", params=wanted).json()["jobs"]
        assert [int(job["id"]) for job in found] == expected, wanted


def test_what_was_enqueued_long_ago_is_found_at_once(database: str, api: TestClient) -> None:
    rows(database, "select soniq.enqueue('work') from generate_series(1, 9000)")
    rows(
        database,
        "update soniq.jobs set enqueued_at = enqueued_at - (9000 - id) * interval '1 minute'",
    )
    found = api.get("jobs", params={"until": "100h"}).json()
    newest = int(found["jobs"][0]["id"])
    assert abs(newest - (9000 - 6000)) <= 1
    assert len(found["jobs"]) == 50
    assert api.get("jobs", params={"until": "8d"}).json()["jobs"] == []


def test_a_list_of_many_at_work_says_which_were_looked_through(
    database: str, api: TestClient
) -> None:
    rows(database, "select soniq.register_runner('x', concurrency => 2000)")
    for count, is_partial in ((1999, False), (1, True)):
        rows(
            database,
            "select soniq.enqueue_many('work', array_fill('{}'::jsonb, array[%s]))",
            count,
        )
        rows(database, "select soniq.claim(1, max_jobs => %s)", count)
        found = api.get("jobs", params={"status": "processing"}).json()
        assert len(found["jobs"]) == 50
        assert found["is_partial"] is is_partial
    assert "only those with the latest deadlines" in api.get(HOST + "/jobs?status=processing").text
    assert "only those with the latest" not in api.get(HOST + "/jobs?status=queued").text


def test_each_filter_of_dead_letters(database: str, api: TestClient) -> None:
    mail = bury(database, 2)
    bills = bury(database, 1, job="bills", error="no money")
    untold = bury(database, 1, job="untold")
    rows(database, "update soniq.dead_letter_jobs set errors = '[{}]' where id = %s", untold[0])
    rows(database, "select soniq.replay_dead_letters(ids => array[%s::bigint])", mail[0])
    for wanted, expected in (
        ({}, [*untold, *bills, *mail[::-1]]),
        ({"name": "mail"}, mail[::-1]),
        ({"queue": "bills_queue"}, bills),
        ({"error_type": "ValueError", "error_pattern": "no money"}, bills),
        ({"error_type": "", "error_pattern": ""}, untold),
        ({"name": ""}, [*untold, *bills, *mail[::-1]]),
        ({"waiting": "true"}, [*untold, *bills, mail[1]]),
        ({"since": "1h"}, [*untold, *bills, *mail[::-1]]),
        ({"until": "1h"}, []),
    ):
        found = api.get("dead-letters", params=wanted).json()["dead_letters"]
        assert [int(letter["id"]) for letter in found] == expected, wanted
    groups = api.get("dead-letters/groups").json()["groups"]
    assert [(each["job_name"], each["letters"], each["share"]) for each in groups] == [
        ("untold", 1, 1 / 3),
        ("bills", 1, 1 / 3),
        ("mail", 1, 1 / 3),
    ]


# Acting.


def test_jobs_are_cancelled_and_retried(database: str, api: TestClient) -> None:
    rows(database, "select soniq.enqueue('work', delay => '1 day')")
    assert api.post("jobs/1/retry").json() == {"id": "1", "runs_as": "1"}
    assert api.post("jobs/1/cancel").json() == {"id": "1", "status": "cancelled"}
    assert api.post("jobs/1/cancel").json()["status"] == "cancelled", "as it was"
    assert "is cancelled" in error_of(api.post("jobs/1/retry"), 409)["message"]
    for path in ("jobs/99/cancel", "jobs/99/retry"):
        assert error_of(api.post(path), 404)["message"] == "There is no job 99."
    rows(database, "select soniq.enqueue('work')")
    rows(database, "select soniq.claim(soniq.register_runner('x'))")
    assert "is processing" in error_of(api.post("jobs/2/retry"), 409)["message"]
    refused = error_of(api.post("jobs/2/cancel"), 409)
    assert refused["message"] == "Job 2 is processing."
    assert refused["remedy"] == "Only queued jobs can be cancelled."


def test_queues_and_schedules(database: str, api: TestClient) -> None:
    queue = "a/b?c%d"
    path = "queues/a%2Fb%3Fc%25d"
    assert api.post(f"{path}/pause").json() == {"queue": queue, "paused": True, "changed": True}
    assert api.post(f"{path}/pause").json()["changed"] is False
    assert rows(database, "select queue from soniq.queues where paused") == [(queue,)]
    assert api.post(f"{path}/resume").json() == {"queue": queue, "paused": False, "changed": True}
    assert error_of(api.post(f"queues/{'x' * 101}/pause"), 422)["code"] == "SQ002"

    rows(database, "select soniq.schedule('nightly', cron => '0 3 * * *', allow_overlap => false)")
    assert api.post("schedules/nightly/pause").json() == {
        "name": "nightly",
        "paused": True,
        "changed": True,
    }
    assert api.post("schedules/nightly/resume").json()["changed"] is True
    assert api.post("schedules/nightly/run").json() == {"name": "nightly", "job_id": "1"}
    assert api.post("schedules/nightly/run").json() == {"name": "nightly", "job_id": None}
    error = error_of(api.post("schedules/weekly/run"), 404)
    assert error["code"] == "SQ020"
    assert "weekly" in error["message"]


def test_those_replayed_are_deleted_only_where_they_are_meant(
    database: str, api: TestClient
) -> None:
    mail = bury(database, 3)
    rows(database, "select soniq.replay_dead_letters(ids => %s)", mail[:2])
    shown = HOST + "/dead-letters/delete?name=mail"
    assert "Delete 1 dead letter?" in api.get(shown + "&waiting=true").text
    assert "and that were not replayed before" in api.get(shown + "&waiting=true").text
    assert "Delete 3 dead letters?" in api.get(shown).text
    assert "also those replayed before" in api.get(shown).text
    given = {"job_name": "mail", "only_waiting": True}
    assert api.post("dead-letters/delete", json=given).json()["count"] == 1
    assert api.post("dead-letters/delete", json={"job_name": "mail"}).json()["count"] == 2


def test_letters_that_wait_in_a_queue_are_found_below_many_others(
    database: str, api: TestClient
) -> None:
    bills = bury(database, 1, job="bills")
    bury(database, 501)
    wanted = {"queue": "bills_queue", "waiting": "true"}
    found = api.get("dead-letters", params=wanted).json()
    assert [int(each["id"]) for each in found["dead_letters"]] == bills
    assert found["before"] is None
    assert "Replay more than 200 dead letters?" in api.get(HOST + "/dead-letters/replay").text
    assert "Replay 1 dead letter?" in api.get(HOST + "/dead-letters/replay?name=bills").text


def test_dead_letters_are_taken_after_a_dry_run(database: str, api: TestClient) -> None:
    mail, bills = bury(database, 30), bury(database, 2, job="bills")
    dry = api.post("dead-letters/replay", json={"everything": True, "dry_run": True}).json()
    assert (dry["action"], dry["dry_run"], dry["count"]) == ("replay", True, 32)
    assert dry["by_job"] == [
        {"job_name": "mail", "queue": "mail_queue", "count": 30},
        {"job_name": "bills", "queue": "bills_queue", "count": 2},
    ]
    assert [int(each["dead_letter_id"]) for each in dry["first"]] == mail[:20]
    assert rows(database, "select from soniq.jobs") == []

    done = api.post("dead-letters/replay", json={"job_name": "bills"}).json()
    assert (done["dry_run"], done["count"]) == (False, 2)
    assert [int(each["dead_letter_id"]) for each in done["first"]] == bills
    assert api.post("dead-letters/replay", json={"job_name": "bills"}).json()["count"] == 0
    some = {"error_type": "ValueError", "queue": "mail_queue", "max_letters": 10}
    assert api.post("dead-letters/delete", json=some).json()["count"] == 10
    assert api.post("dead-letters/delete", json={"ids": mail}).json()["count"] == 20
    assert rows(database, "select count(*) from soniq.dead_letter_jobs") == [(2,)]


def test_a_time_that_says_no_zone_is_in_utc_wherever_the_dashboard_runs(
    database: str, tmp_path: Path
) -> None:
    [letter] = bury(database, 1)
    # Read in New York's time, these would be four or five hours later.
    [(hour_ago, in_an_hour)] = rows(
        database,
        """
        select to_char(died - interval '1 hour', form), to_char(died + interval '1 hour', form)
        from (select dead_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS' from soniq.dead_letter_jobs)
          as letter (died, form)
        """,
    )
    with running_dashboard(
        database, tmp_path, dashboard_api_key=KEY, dashboard_write="true", TZ="America/New_York"
    ) as site:
        told = httpx.get(
            f"{site.address}/api/dead-letters",
            params={"since": hour_ago, "until": in_an_hour},
            headers=BEARER,
        ).json()
        assert [each["id"] for each in told["dead_letters"]] == [str(letter)]
        for given, count in (
            ({"since": hour_ago}, 1),
            ({"before": hour_ago}, 0),
            ({"before": in_an_hour}, 1),
            ({"since": hour_ago, "before": in_an_hour}, 1),
        ):
            answer = httpx.post(
                f"{site.address}/api/dead-letters/replay",
                json={**given, "dry_run": True},
                headers=BEARER,
            )
            assert answer.json().get("count") == count, (given, answer.text)


def test_many_are_taken_in_batches(database: str, api: TestClient) -> None:
    bury(database, 2500)
    assert api.post("dead-letters/replay", json={"everything": True}).json()["count"] == 2500
    assert rows(database, "select count(distinct enqueued_at), count(*) from soniq.jobs") == [
        (3, 2500)
    ]


# Refusing.


@pytest.mark.parametrize(
    ("path", "status", "message", "remedy"),
    [
        ("jobs/0", 422, "job_id: Input should be greater than or equal to 1", ""),
        ("jobs/many", 422, "job_id: Input should be a valid integer", ""),
        (f"jobs/{2**63}", 422, "job_id: Input should be less than or equal to", ""),
        ("jobs/7", 404, "There is no job 7.", "older than the retention"),
        ("jobs?status=gone", 422, "status: Input should be 'queued', 'processing'", ""),
        ("jobs?since=yesterday", 422, "since is 'yesterday'", "as in 15m, 2h or 7d"),
        ("jobs?since=99999999999d", 422, "since is '99999999999d'", "as in 15m, 2h or 7d"),
        ("jobs?until=999999w", 422, "until is '999999w'", "as in 15m, 2h or 7d"),
        ("jobs?until=9999-12-31T23:59:59", 422, "until is '9999-12-31T23:59:59'", "2 to 9998"),
        ("jobs?since=0001-01-01", 422, "since is '0001-01-01'", "of the years 2 to 9998"),
        ("dead-letters?until=9999-12-31", 422, "until is '9999-12-31'", "of the years 2 to 9998"),
        ("jobs?queue=%00", 422, "queue: Value error, no text in the database has a NUL", ""),
        ("jobs?before=-1", 422, "before: Input should be greater than", ""),
        ("stats?span=year", 422, "span: Input should be 'hour', 'day' or 'week'", ""),
        ("metrics?format=xml", 422, "format: Input should be 'prometheus' or 'json'", ""),
        ("nothing", 404, "There is no such page.", ""),
    ],
)
def test_what_is_wrong_is_named(
    api: TestClient, path: str, status: int, message: str, remedy: str
) -> None:
    error = error_of(api.get(path), status)
    assert message in error["message"]
    assert remedy in error["remedy"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("{", 400, "JSON decode error"),
        ("[]", 422, "body"),
        ("{}", 422, "no dead letters are selected"),
        (
            '{"everything": true, "queue": "x"}',
            422,
            "everything is true, and a part of it is given",
        ),
        ('{"ids": []}', 422, "ids: List should have at least 1 item"),
        ('{"ids": [0]}', 422, "ids.0: Input should be greater than or equal to 1"),
        ('{"nam": "x"}', 422, "nam: Extra inputs are not permitted"),
        ('{"job_name": "\\u0000"}', 422, "invalid byte sequence"),
        ('{"since": "2030-01-02T00:00:00Z", "before": "2030-01-01T00:00:00Z"}', 422, "since"),
        ('{"since": "0001-01-01T00:00:00+10:00"}', 422, "since: Value error, give a time of the"),
        ('{"before": "9999-12-31T23:59:59-10:00"}', 422, "of the years 2 to 9998"),
        ('{"everything": true, "max_letters": 0}', 422, "max_letters: Input should be greater"),
    ],
)
def test_a_selection_that_is_none(api: TestClient, body: str, status: int, message: str) -> None:
    for action in ("replay", "delete"):
        answer = api.post(
            f"dead-letters/{action}", content=body, headers={"Content-Type": "application/json"}
        )
        assert message in error_of(answer, status)["message"]


def test_times_at_the_ends_of_what_may_be_given(database: str, api: TestClient) -> None:
    [letter] = bury(database, 1)
    ends = {"since": "0002-01-01", "until": "9998-12-31T23:59:59-12:00"}
    for path, key in (("jobs", "jobs"), ("dead-letters", "dead_letters")):
        for name, time in ends.items():
            found = api.get(path, params={name: time}).json()[key]
            assert [each["id"] for each in found] == [str(letter)], (path, name)
            assert api.get(f"{HOST}/jobs", params={name: time}).status_code == 200
    body = {"since": ends["since"], "before": ends["until"], "dry_run": True}
    assert api.post("dead-letters/replay", json=body).json()["count"] == 1


def test_only_what_is_there_may_be_asked_for(api: TestClient) -> None:
    assert error_of(api.delete("jobs"), 405)["message"] == "Method Not Allowed"


# OpenAPI.


def test_the_api_does_as_its_document_says(database: str) -> None:
    bury(database, 3)
    for statement in (
        "select soniq.enqueue('work', queue => 'mail') from generate_series(1, 3)",
        "select soniq.schedule('nightly', cron => '0 3 * * *')",
        "select soniq.claim(soniq.register_runner('vm'), queues => '{mail}')",
        "select soniq.tick()",
    ):
        rows(database, statement)
    application = dashboard(database, api_key=KEY, write=True)
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", application, headers=BEARER)
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation: Any = result.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=6,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def try_it(case: Any) -> None:
            # What a name or a time may be, the database decides, finer than a schema says.
            case.call_and_validate(headers=BEARER, excluded_checks=[positive_data_acceptance])

        try_it()
        tried += 1
    assert tried == 19
