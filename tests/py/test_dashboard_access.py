"""Who may come in to the dashboard, who may act, and what each database role gets to see."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from conftest import ROOT, rows
from dashboard_site import KEY, SCRIPT, running_dashboard, token_of
from dead_letters import bury
from fastapi import FastAPI
from pgbouncer import name_of as name_of_database
from pgbouncer import throwaway_pgbouncer
from psycopg import sql
from soniq.dashboard import dashboard
from soniq.errors import BadSettings
from soniq_command import environment, refused, soniq
from starlette.testclient import TestClient
from testing.server import Server
from waiting import wait_for

HOST = "http://dashboard.example"


@contextmanager
def visiting(url: str, **options: object) -> Iterator[TestClient]:
    """A client of a dashboard in this process, which follows no redirect by itself."""
    with TestClient(
        dashboard(url, **options),  # type: ignore[arg-type]
        base_url=HOST,
        follow_redirects=False,
        raise_server_exceptions=False,
    ) as client:
        yield client


@contextmanager
def signed_in(url: str, **options: object) -> Iterator[TestClient]:
    with visiting(url, api_key=KEY, write=True, **options) as client:
        answer = client.post("/sign-in", data={"key": KEY, "next": "/jobs"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
        yield client


def token(client: TestClient) -> str:
    return token_of(client.get("/").text)


# Settings.


def test_nobody_can_be_let_act_without_a_word_on_who_may(database: str) -> None:
    told = (
        "SONIQ_DASHBOARD_WRITE is true, and nothing tells who may act: set SONIQ_DASHBOARD_API_KEY to a"
        " long secret, as of `openssl rand -hex 32`, or SONIQ_DASHBOARD_TRUSTED_HEADER"
    )
    assert told in refused(database, 10, "dashboard", dashboard_write="true")
    with pytest.raises(BadSettings, match="nothing tells who may act"):
        dashboard(database, write=True)


def test_what_is_no_key_or_header_is_told_without_the_key(database: str) -> None:
    said = refused(
        database, 10, "dashboard", dashboard_api_key="short", dashboard_trusted_header="a b"
    )
    assert "SONIQ_DASHBOARD_API_KEY is ***: give a secret of 16 characters or more" in said
    assert "SONIQ_DASHBOARD_TRUSTED_HEADER is 'a b': give the name of an HTTP header" in said
    assert "short" not in said
    with pytest.raises(BadSettings, match=r"api_key is '\*\*\*': give a secret of 16 characters"):
        dashboard(database, api_key="short")
    with pytest.raises(BadSettings, match="trusted_header is 'a b': give the name of an HTTP"):
        dashboard(database, trusted_header="a b")


def test_a_port_or_host_that_cannot_be_had(database: str, tmp_path: Path) -> None:
    with running_dashboard(database, tmp_path) as site:
        said = refused(database, 10, "dashboard", dashboard_port=site.port)
        assert f"SONIQ_DASHBOARD_PORT {site.port}, where this machine lets nobody listen" in said
    assert "192.0.2.1" in refused(database, 10, "dashboard", dashboard_host="192.0.2.1")
    assert "SONIQ_DASHBOARD_PORT is '0'" in refused(database, 10, "dashboard", dashboard_port=0)


def test_unless_told_otherwise_only_this_machine_reaches_it(database: str, tmp_path: Path) -> None:
    with running_dashboard(database, tmp_path) as site:
        assert f"the dashboard is at http://127.0.0.1:{site.port}, only to look" in site.log
        # Another address of this machine, at which whoever listens on all of them answers.
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.2:{site.port}/api/health")


def test_a_wrong_address_or_schema_is_told_at_the_start(empty_database: str) -> None:
    said = refused(empty_database.replace("@/", "@nowhere.invalid/"), 14, "dashboard")
    assert "cannot reach the database" in said
    assert "Soniq's schema cannot be used" in refused(empty_database, 15, "dashboard")


def test_without_its_packages_it_says_what_to_install(database: str) -> None:
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['uvicorn'] = None; from soniq.cli import main; main(['dashboard'])",
        ],
        env=environment(database, {}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 1
    assert "run: pip install soniq[dashboard]" in finished.stderr
    assert "Traceback" not in finished.stderr


# Coming in.


def test_without_a_key_everybody_may_look_and_nobody_act(database: str) -> None:
    bury(database, 1)
    with visiting(database) as client:
        page = client.get("/queues")
        assert page.status_code == 200
        assert "read-only" in page.text
        assert '<form method="post"' not in page.text
        for path in ("/queues/pause", "/api/queues/mail_queue/pause", "/dead-letters/replay"):
            answer = client.post(path, data={"name": "mail_queue"})
            assert answer.status_code == 403
            assert "This dashboard only shows." in answer.text
            assert "SONIQ_DASHBOARD_WRITE=true" in answer.text
    assert rows(database, "select from soniq.queues") == []


def test_an_open_dashboard_answers_to_no_name_that_another_site_could_have(
    database: str, tmp_path: Path
) -> None:
    with running_dashboard(database, tmp_path, dashboard_host="0.0.0.0") as site:
        warning = "whoever reaches 0.0.0.0 from other machines sees what is there: set SONIQ_DASHBOARD_API"
        assert warning in site.log
        for host in ("127.0.0.1", f"localhost:{site.port}", "LOCALHOST", "[::1]:80", "192.0.2.7:1"):
            for path in ("/", "/api/stats"):
                assert httpx.get(site.address + path, headers={"Host": host}).status_code == 200
        for host in (
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "[x",
        ):
            for path in ("/", "/api/stats", "/api/health", "/static/live.js"):
                answer = httpx.get(site.address + path, headers={"Host": host})
                assert answer.status_code == 421, (host, path)
                assert "set SONIQ_DASHBOARD_API_KEY, with which it answers by" in answer.text
                assert "content-security-policy" in answer.headers
            told = httpx.get(f"{site.address}/api/stats", headers={"Host": host}).json()["error"]
            assert told["code"] == "unknown_host"
            assert f"does not answer as {host!r}" in told["message"]
    with running_dashboard(database, tmp_path) as site:
        assert "WARNING" not in site.log


def test_by_which_names_a_dashboard_answers(database: str) -> None:
    with visiting(database, hosts=["dashboard.example"]) as client:
        assert client.get("/queues").status_code == 200
        assert client.get("http://other.example/queues").status_code == 421
    with visiting(database, hosts=["other.example"], api_key=KEY) as client:
        assert client.get("/queues").status_code == 401
    with visiting(database, hosts=["other.example"], trusted_header="X-User") as client:
        assert client.get("/queues", headers={"X-User": "ada"}).status_code == 200
    # Within an application of somebody's own, that is theirs to say.
    with visiting(database) as client:
        assert client.get("http://other.example/queues").status_code == 200


PUBLIC = ("/api/health", "/static/style.css", "/static/live.js", "/static/icon.svg")
PRIVATE = ("/", "/queues", "/jobs", "/jobs/1", "/dead-letters", "/schedules", "/runners")


def test_with_a_key_nothing_is_shown_to_who_has_none(database: str) -> None:
    with visiting(database, api_key=KEY) as client:
        for path in PUBLIC:
            assert client.get(path).status_code == 200, path
        for path in PRIVATE:
            answer = client.get(path)
            assert answer.status_code == 401
            assert "<label>Key<input" in answer.text
            assert "postgresql://" not in answer.text, "nor where the database is"
        document = client.get("/api/openapi.json", headers={"Authorization": f"Bearer {KEY}"})
        for path, operations in document.json()["paths"].items():
            if path == "/api/health":
                continue
            for method in operations:
                address = re.sub(r"{\w+}", "1", path)
                answer = client.request(method, address, json={"everything": True})
                assert answer.status_code == 401, (method, address)
                assert answer.json()["error"]["code"] == "unauthorized"
                assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/api/openapi.json").status_code == 401


def test_a_session_is_not_the_key_and_ends(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with visiting(database, api_key=KEY) as client:
        wrong = client.post("/sign-in", data={"key": KEY + "x", "next": "/jobs"})
        assert wrong.status_code == 401
        assert "The key is not the right one." in wrong.text
        assert 'name="next" value="/jobs"' in wrong.text, "where to go is not forgotten"
        assert "set-cookie" not in wrong.headers

        given = client.post("/sign-in", data={"key": KEY, "next": "/jobs"})
        cookie = given.headers["set-cookie"]
        assert KEY not in cookie
        assert {"httponly", "samesite=strict", "path=/"} <= {
            part.strip().lower() for part in cookie.split(";")
        }
        assert client.get("/jobs").status_code == 200

        session = client.cookies["soniq_session"]
        until, rest = session.split(".", 1)
        for forged in (f"{int(until) + 1}.{rest}", session[:-1], "", "x.y.z", KEY):
            assert status_of_session(client, "/jobs", forged) == 401, forged
        monkeypatch.setattr("time.time", lambda: int(until) + 1.0)
        assert client.get("/jobs").status_code == 401


def test_after_a_session_has_ended_signing_in_leads_to_the_page_of_the_form(database: str) -> None:
    with visiting(database, api_key=KEY, write=True) as client:
        fields = {"name": "mail", "next": "/queues?search=mail"}
        asked = client.post("/queues/pause", data=fields)
        assert asked.status_code == 401
        assert "Nobody has signed in any more, so nothing was done." in asked.text
        assert 'name="next" value="/queues?search=mail"' in asked.text
        asked = client.post("/jobs/1/cancel", headers={"Referer": f"{HOST}/jobs/1"})
        assert 'name="next" value="/jobs/1"' in asked.text
        asked = client.get("/queues?search=x")
        assert 'name="next" value="/queues?search=x"' in asked.text
        assert "nothing was done" not in asked.text


def status_of_session(client: TestClient, path: str, session: str) -> int:
    client.cookies.clear()
    return int(client.get(path, headers={"Cookie": f"soniq_session={session}"}).status_code)


def test_signing_out(database: str) -> None:
    with signed_in(database) as client:
        page = client.get("/").text
        assert "Sign out" in page
        assert client.post("/sign-out", data={"token": "x"}).status_code == 403
        assert client.post("/sign-out", data={"token": token_of(page)}).status_code == 303
        assert client.get("/").status_code == 401


def test_a_session_leads_to_pages_of_the_dashboard_only(database: str) -> None:
    with visiting(database, api_key=KEY) as client:
        for address in (
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "javascript:x",
            "",
        ):
            answer = client.post("/sign-in", data={"key": KEY, "next": address})
            assert answer.headers["location"] == "/", address


def test_over_https_the_cookie_never_travels_without(database: str) -> None:
    with visiting(database, api_key=KEY) as client:
        answer = client.post("https://dashboard.example/sign-in", data={"key": KEY})
        assert "secure" in answer.headers["set-cookie"].lower()


def test_programs_send_the_key(database: str) -> None:
    with visiting(database, api_key=KEY, write=True) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        assert client.get("/api/queues").status_code == 200
        assert client.post("/api/queues/mail/pause").json() == {
            "queue": "mail",
            "paused": True,
            "changed": True,
        }
        client.headers["Authorization"] = f"Bearer {KEY}x"
        answer = client.get("/api/queues")
        assert (answer.status_code, answer.json()["error"]["message"]) == (
            401,
            "The key is not the right one.",
        )


def test_a_proxy_says_who_acts(database: str, caplog: pytest.LogCaptureFixture) -> None:
    with visiting(database, trusted_header="X-Forwarded-User", write=True) as client:
        answer = client.get("/queues")
        assert answer.status_code == 401
        assert "Come by the proxy that sets X-Forwarded-User." in answer.text
        client.headers["X-Forwarded-User"] = "ada\x1b@example.org"
        rows(database, "select soniq.enqueue('any', queue => 'mail')")
        page = client.get("/queues")
        assert "ada?@example.org" in page.text
        with caplog.at_level("INFO", "soniq.dashboard"):
            answer = client.post(
                "/queues/pause", data={"name": "mail", "token": token_of(page.text)}
            )
            assert answer.status_code == 303
        assert "ada?@example.org paused the queue 'mail'" in caplog.text
        # A token is of one person.
        client.headers["X-Forwarded-User"] = "bob@example.org"
        stolen = client.post("/queues/pause", data={"name": "x", "token": token_of(page.text)})
        assert stolen.status_code == 403
        assert "This form is too old, or not of this dashboard." in stolen.text


def test_a_proxy_s_header_is_read_as_proxies_write_it_and_trusted_only_once(database: str) -> None:
    with visiting(database, trusted_header="X-Forwarded-User") as client:
        page = client.get("/queues", headers={b"X-Forwarded-User": "Žofie Łąka".encode()})
        assert "Žofie Łąka" in page.text
        for names in (("ada", "eve"), ("eve", "ada"), ("ada", ""), ("ada", "ada")):
            for path in ("/queues", "/api/queues"):
                answer = client.get(path, headers=[("X-Forwarded-User", name) for name in names])
                assert answer.status_code == 400
                assert "X-Forwarded-User is there 2 times" in answer.text
                assert "The proxy has to set it in place of what comes from outside" in answer.text


def test_wrong_keys_are_logged_with_where_they_came_from(database: str, tmp_path: Path) -> None:
    wrong = f"{KEY}x"
    with running_dashboard(database, tmp_path, dashboard_api_key=KEY) as site:
        bearer = {"Authorization": f"Bearer {wrong}"}
        assert httpx.get(f"{site.address}/api/queues", headers=bearer).status_code == 401
        assert httpx.post(f"{site.address}/sign-in", data={"key": wrong}).status_code == 401
        assert site.log.count("WARNING soniq.dashboard: a wrong key came from 127.0.0.1\n") == 2
        httpx.post(f"{site.address}/sign-in", data={"key": KEY})
        httpx.get(site.address)
        assert site.log.count("a wrong key") == 2
        assert KEY not in site.log


# Requests that other sites have a browser send.


def test_another_site_cannot_act(database: str) -> None:
    with signed_in(database) as client:
        right = token(client)
        for headers, given, message in (
            ({}, "", "This form is too old, or not of this dashboard."),
            ({}, "0" * 64, "This form is too old, or not of this dashboard."),
            ({"Origin": "https://evil.example"}, right, "The request comes from https://evil.exam"),
            ({"Origin": "null"}, right, "The request comes from null"),
            ({"Origin": "http://["}, right, "The request comes from http://["),
        ):
            for path in ("/queues/pause", "/api/queues/mail/pause"):
                answer = client.post(
                    path,
                    data={"name": "mail", "token": given},
                    headers={**headers, "X-Soniq-Token": given},
                )
                assert answer.status_code == 403
                assert message in answer.text
        assert rows(database, "select from soniq.queues") == []
        own = {"Origin": HOST, "X-Soniq-Token": right}
        assert client.post("/api/queues/mail/pause", headers=own).status_code == 200
        answer = client.post("/queues/resume", data={"name": "mail", "token": right}, headers=own)
        assert answer.status_code == 303
        assert rows(database, "select paused from soniq.queues") == [(False,)]


def test_other_sites_cannot_sign_somebody_in(database: str) -> None:
    with visiting(database, api_key=KEY) as client:
        answer = client.post(
            "/sign-in", data={"key": KEY}, headers={"Origin": "https://evil.example"}
        )
        assert answer.status_code == 403


def test_each_answer_has_the_headers_that_keep_scripts_out(database: str) -> None:
    with visiting(database) as client:
        for path in ("/", "/nowhere", "/api/jobs", "/api/nowhere", "/static/style.css"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
        assert client.get("/").headers["cache-control"] == "no-store"
        page = client.get("/").text
        assert not re.search(r"<script(?![^>]*\bsrc=)|\bstyle=|\bon\w+=|javascript:", page)


def test_what_goes_wrong_inside_is_answered_as_all_else(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with visiting(database) as client:
        well = {path: client.get(path).headers for path in ("/queues", "/api/queues")}
        rows(database, "alter view soniq.queue_counts rename to gone")
        for path, headers in well.items():
            answer = client.get(path)
            assert answer.status_code == 500
            assert "Something went wrong in the dashboard itself." in answer.text
            assert "queue_counts" not in answer.text
            assert set(answer.headers) == set(headers)
            for name in ("content-security-policy", "cache-control", "x-content-type-options"):
                assert answer.headers[name] == headers[name]
        assert answer.json()["error"]["code"] == "internal_error"
    assert "GET '/api/queues' failed" in caplog.text
    assert 'relation "soniq.queue_counts" does not exist' in caplog.text


def test_a_request_has_an_end(database: str) -> None:
    with signed_in(database) as client:
        large = b'{"job_name": "' + b"x" * 1_100_000
        headers = {"Content-Type": "application/json"}
        answer = client.post("/api/dead-letters/replay", content=large, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["error"] == {
            "code": "too_large",
            "message": "The request has more than 1048576 bytes.",
            "remedy": "Send less at once.",
        }
        answer = client.post("/queues/pause", data={"name": "x" * 1_100_000})
        assert answer.status_code == 413
        assert "The request has more than 1048576 bytes." in answer.text
        answer = client.post("/queues/pause", data={f"x{n}": "" for n in range(10_001)})
        assert answer.status_code == 400
        assert "Too many fields" in answer.text


# Roles of the database.


@pytest.fixture
def login(database: str) -> Iterator[str]:
    """A login of this test's own, with nothing granted; its address."""
    name = f"dashboard_{uuid4().hex[:8]}"
    run(database, "create role {0} login", name)
    yield database.replace("tester@", f"{name}@")
    rows(database, "drop role " + name)


def run(database: str, statement: str, name: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Literal(name)))


def name_of(login: str) -> str:
    return login.partition("://")[2].partition("@")[0]


PAGES = (
    "/",
    "/queues",
    "/queue?name=mail_queue",
    "/jobs",
    "/dead-letters",
    "/schedules",
    "/runners",
)


def test_an_observer_sees_where_jobs_are_and_nothing_of_what_they_carry(
    database: str, login: str
) -> None:
    [letter] = bury(database, 1)
    rows(
        database, "select soniq.enqueue('mail', '{\"to\": \"secret-ada\"}', queue => 'mail_queue')"
    )
    rows(
        database,
        "select soniq.schedule('digest', cron => '@daily', args => '{\"to\": \"secret-ada\"}')",
    )
    run(database, "grant soniq_observer to {0}", name_of(login))
    with visiting(login, api_key=KEY, write=True) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        for path in (
            *PAGES,
            f"/jobs/{letter}",
            "/schedule?name=digest",
            "/jobs?status=dead_letter",
        ):
            answer = client.get(path)
            assert answer.status_code == 200, path
            for hidden in ("secret-ada", "is bad", "ValueError"):
                assert hidden not in answer.text, path
        assert "looking only" in client.get("/").text
        assert "Cancel job" not in client.get("/jobs/2").text
        assert str(letter) in client.get("/jobs?status=dead_letter").text
        job = client.get(f"/api/jobs/{letter}").json()
        assert job["status"] == "dead_letter"
        assert not {"args", "headers", "errors", "result", "dedup_key"} & set(job)
        for method, path in (
            ("POST", "/api/jobs/2/cancel"),
            ("POST", "/api/queues/mail_queue/pause"),
            ("GET", "/api/dead-letters"),
            ("GET", "/dead-letters/list"),
            ("GET", "/jobs?text=ada"),
        ):
            answer = client.request(method, path)
            assert answer.status_code == 403, path
            assert "soniq_admin" in answer.text
        told = client.post("/api/jobs/2/cancel").json()["error"]
        assert told["message"] == "The database refuses: permission denied for function cancel"
        assert told["remedy"].startswith("Watching takes the role soniq_observer, to see into jobs")


def test_an_admin_sees_jobs_whole_and_acts(database: str, login: str) -> None:
    [letter] = bury(database, 1)
    run(database, "grant soniq_admin to {0}", name_of(login))
    with visiting(login, api_key=KEY, write=True) as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        for path in (*PAGES, f"/jobs/{letter}", "/dead-letters/list", "/dead-letters/replay"):
            assert client.get(path).status_code == 200, path
        assert "is bad" in client.get(f"/jobs/{letter}").text
        assert client.post(f"/api/jobs/{letter}/retry").json() == {
            "id": str(letter),
            "runs_as": str(letter + 1),
        }


def test_secret_args_stay_secret(database: str) -> None:
    rows(database, "select soniq.register_job_type('charge', secret_args => '{card}')")
    rows(database, 'select soniq.enqueue(\'charge\', \'{"card": "4111", "sum": 7}\')')
    with visiting(database) as client:
        for path in ("/jobs", "/jobs/1", "/api/jobs", "/api/jobs/1", "/jobs?text=sum"):
            assert "***" in client.get(path).text
            assert "4111" not in client.get(path).text
        assert "charge" not in client.get("/jobs?text=4111").text.partition("<section")[2]


def test_a_login_without_rights_is_told_what_to_grant(database: str, login: str) -> None:
    with visiting(login) as client:
        for path in PAGES:
            answer = client.get(path)
            assert answer.status_code == 403, path
            assert "permission denied for schema soniq" in answer.text
            assert "grant this user one of them" in answer.text
        run(database, "grant soniq_producer to {0}", name_of(login))
        assert client.get("/").status_code == 403
        run(database, "grant soniq_observer to {0}", name_of(login))
        assert client.get("/").status_code == 200


def test_a_tenant_s_login_meets_its_own_jobs_only(database: str, login: str) -> None:
    for tenant in ("acme", "bolt"):
        rows(database, "select soniq.enqueue('work', tenant => %s)", tenant)
    run(database, "grant soniq_observer, soniq_admin to {0}", name_of(login))
    run(database, "select soniq.bind_tenant({1}, 'acme')", name_of(login))
    try:
        with visiting(login) as client:
            overview = client.get("/")
            assert overview.status_code == 200
            assert "The overview is for the whole system" in overview.text
            assert "Runners</a>" not in overview.text
            jobs = client.get("/api/jobs").json()["jobs"]
            assert [job["tenant"] for job in jobs] == ["acme"]
            assert client.get("/jobs/2").status_code == 404
            for path in ("/jobs", "/jobs/1", "/dead-letters", "/dead-letters/list", "/schedules"):
                assert client.get(path).status_code == 200, path
            for path in ("/queues", "/runners", "/api/stats", "/api/metrics?format=json"):
                answer = client.get(path)
                assert answer.status_code == 403, path
                assert "is for the whole system" in answer.text
                assert "Use a login that is bound to no tenant." in answer.text
            assert client.get("/api/queues").json()["error"]["code"] == "SQ027"
    finally:
        run(database, "select soniq.unbind_tenant({1})", name_of(login))


# The database goes away.


def test_while_the_database_is_away_it_says_so_and_recovers(
    own_server: Server, tmp_path: Path
) -> None:
    url = own_server.url().replace("tester@", "tester:swordfish@")
    with running_dashboard(url, tmp_path) as site:
        assert httpx.get(site.address).status_code == 200
        own_server.stop()
        answer = httpx.get(site.address)
        assert answer.status_code == 503
        assert "The database is away" in answer.text
        assert "This page tries again by itself." in answer.text
        told = httpx.get(f"{site.address}/api/jobs")
        assert (told.status_code, told.json()["error"]["code"]) == (503, "database_away")
        health = httpx.get(f"{site.address}/api/health")
        assert (health.status_code, health.json()["error"]["message"]) == (
            503,
            "The database does not answer: see the dashboard's log",
        )
        own_server.start()
        wait_for(lambda: httpx.get(f"{site.address}/api/health").status_code == 200)
        page = httpx.get(site.address)
        assert page.status_code == 200
        assert "swordfish" not in page.text + answer.text + told.text + site.log
        assert "tester:***@" in page.text
        assert site.stop() == 0


NOBODY_THERE = "postgresql://tester@127.0.0.1:1/nothing"


@pytest.mark.parametrize(
    ("action", "fields", "referer", "leads_to"),
    [
        ("/queues/pause", {"next": "/queues?search=x"}, "", "/queues?search=x"),
        ("/jobs/7/cancel", {}, f"{HOST}/jobs/7", "/jobs/7"),
        ("/jobs/7/cancel", {}, "https://elsewhere.example/jobs/7", "/"),
        ("/jobs/7/cancel", {}, f"{HOST}/sign-in", "/"),
        ("/jobs/7/cancel", {"next": "/queues/pause"}, "", "/"),
        ("/dead-letters/replay", {"next": "/dead-letters/list"}, "", "/dead-letters/list"),
    ],
)
def test_after_a_form_that_nobody_answered_a_page_leads_back(
    action: str, fields: dict[str, str], referer: str, leads_to: str
) -> None:
    with signed_in(NOBODY_THERE) as client:
        given = {"name": "mail", "token": token(client), **fields}
        answer = client.post(action, data=given, headers={"Referer": referer})
        assert answer.status_code == 503
        assert "Whether it was done is not known" in answer.text
        assert f'href="{leads_to}">Back to the page before' in answer.text
        assert "data-reload" not in answer.text
        assert "Try again" not in answer.text
        assert 'data-reload="/queues"' in client.get("/queues").text


def test_through_a_pooler_in_transaction_mode(server: Server, database: str) -> None:
    [letter] = bury(database, 1)
    rows(database, "select soniq.schedule('digest', cron => '@daily')")
    with (
        throwaway_pgbouncer(server, pool_size=2) as bouncer,
        visiting(bouncer.url(name_of_database(database)), api_key=KEY, write=True) as client,
    ):
        client.headers["Authorization"] = f"Bearer {KEY}"
        for path in (*PAGES, f"/jobs/{letter}", "/dead-letters/list", "/schedule?name=digest"):
            for _ in range(3):
                assert client.get(path).status_code == 200, path
        assert client.post(f"/api/jobs/{letter}/retry").json()["runs_as"] == str(letter + 1)
        assert "soniq_queue_jobs{" in client.get("/api/metrics").text


# Mounted.


def test_the_page_of_the_manual_mounts_it(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/dashboard.md").read_text()
    [example] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.setenv("SONIQ_DATABASE_URL", database)
    names: dict[str, FastAPI] = {}
    exec(example, names)
    with TestClient(names["app"]) as client:
        assert client.get("/ops/soniq/").status_code == 200
    for image in re.findall(r"\((screenshots/\S+)\)", page):
        assert (ROOT / "docs" / image).stat().st_size < 200_000


def test_below_a_path_of_another_application(database: str) -> None:
    rows(database, "select soniq.enqueue('any', queue => 'mail')")
    shop = FastAPI()
    shop.mount("/ops/soniq", dashboard(database, api_key=KEY, write=True))
    with TestClient(shop, base_url=HOST, follow_redirects=False) as client:
        page = client.get("/ops/soniq/")
        assert 'action="/ops/soniq/sign-in"' in page.text
        answer = client.post("/ops/soniq/sign-in", data={"key": KEY, "next": "/ops/soniq/queues"})
        assert answer.headers["location"] == "/ops/soniq/queues"
        assert "path=/ops/soniq;" in answer.headers["set-cookie"].lower()
        page = client.get("/ops/soniq/queues")
        for link in re.findall(r'(?:href|src|action|hx-get)="([^"]*)"', page.text):
            assert link.startswith("/ops/soniq") or link == "#main", link
            if "/static/" in link or "action" not in link:
                assert client.get(link.partition("#")[0] or "/ops/soniq/").status_code in (200, 405)
        answer = client.post(
            "/ops/soniq/queues/pause", data={"name": "mail", "token": token_of(page.text)}
        )
        assert answer.headers["location"] == "/ops/soniq/queues"
        assert "The queue mail is paused." in client.get("/ops/soniq/queues").text
        assert "is paused." not in client.get("/ops/soniq/queues").text, "it is told once"
        document = client.get("/ops/soniq/api/openapi.json").json()
        assert document["servers"] == [{"url": "/ops/soniq"}]
        assert client.get("/ops/soniq/api/nowhere").json()["error"]["code"] == "not_found"


def test_whatever_a_name_is_it_stays_text(database: str) -> None:
    rows(
        database,
        "select soniq.enqueue(%s, jsonb_build_object(%s::text, %s::text), queue => %s, dedup_key => %s)",
        SCRIPT,
        SCRIPT,
        SCRIPT,
        SCRIPT,
        SCRIPT,
    )
    rows(database, "select soniq.schedule(%s, cron => '@daily')", SCRIPT)
    bury(database, 1, job="<script>x</script>", error="<script>% </script>")
    query = {"name": SCRIPT, "queue": SCRIPT, "text": SCRIPT, "search": SCRIPT, "since": SCRIPT}
    with visiting(database) as client:
        for path in (
            *PAGES,
            "/jobs/1",
            "/jobs/2",
            "/queue",
            "/schedule",
            "/dead-letters/list",
            "/jobs/<script>",
        ):
            for given in ({}, query, {"name": SCRIPT}):
                text = client.get(path, params=given).text
                assert len(re.findall("<script", text)) == 3, (path, given)


# What is not ours.


def test_what_is_vendored_is_what_npm_has() -> None:
    static = ROOT / "runner/soniq/dashboard/static"
    listed = re.findall(
        r"^\| `(\S+)` \|.*\| \[0BSD\]\((\S+)\) \| `([0-9a-f]{64})` \|$",
        (static / "licences/README.md").read_text(),
        re.MULTILINE,
    )
    assert {name for name, _, _ in listed} == {path.name for path in static.glob("*.min.js")}
    for name, licence, digest in listed:
        assert hashlib.sha256((static / name).read_bytes()).hexdigest() == digest
        assert "Zero-Clause BSD" in (static / "licences" / licence).read_text()


def test_a_key_is_printed_by_no_command(database: str) -> None:
    told = soniq(database, "config", dashboard_api_key=KEY, jobs_modules="jobs")
    assert "SONIQ_DASHBOARD_API_KEY = ***  (SONIQ_DASHBOARD_API_KEY)" in told.out
    assert KEY not in told.out + told.err
