"""The recipes in deploy/: what each can be held to without the system that it is for."""

import ast
import configparser
import contextlib
import getpass
import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import psycopg
import pytest
import yaml
from conftest import ROOT, StartRunner, WriteJobs, rows
from prometheus_client.parser import text_string_to_metric_families
from psycopg.rows import dict_row
from runner_process import RUNNER
from soniq.runner import LAST_WORDS
from soniq.settings import SETTINGS, Setting
from soniq_command import done, refused
from supervisor.options import ServerOptions  # type: ignore[import-untyped]
from test_metrics import free_port, get, is_served
from testing.server import dying_with_parent
from testing.tools import downloaded
from waiting import wait_for

DEPLOY = ROOT / "deploy"
MONITORING = DEPLOY / "monitoring"
KNOWN: dict[str, Setting] = {setting.variable: setting for setting in SETTINGS}
# The wait for handlers that ignore being cancelled, the last words to the database, and the closing of connections.
HANDING_BACK = 1 + 1 + LAST_WORDS + 2

PROMTOOL = downloaded("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None,
    reason="NOT TRIED: promtool is neither in build/, where script/test puts it, nor installed (apt: prometheus)",
)
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="NOT TRIED: systemd-analyze is not installed"
)
needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="NOT TRIED: kubectl is not installed"
)


def all_of(name: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((DEPLOY / name).read_text()) if each]


def run(*command: str | Path) -> str:
    finished = subprocess.run(
        command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


def check_settings(given: dict[str, str]) -> None:
    for name, value in given.items():
        assert name in KNOWN
        KNOWN[name].parse(value)


def test_every_setting_and_command_that_a_recipe_names_exists() -> None:
    commands = run(RUNNER.with_name("soniq"), "--help")
    named = 0
    for file in DEPLOY.rglob("*"):
        if not file.is_file() or "__pycache__" in file.parts:
            continue
        text = file.read_text()
        for variable in re.findall(r"\bSONIQ_[A-Z_]+\b", text):
            assert variable in KNOWN, f"{file}: {variable}"
            named += 1
        for command in re.findall(r"\[soniq, (\w+)\]|bin/soniq (\w+)", text):
            assert f"\n  {''.join(command)} " in commands, f"{file}: {command}"
            named += 1
    assert named > 20


# Monitoring.


@pytest.fixture
def served(database: str, write_jobs: WriteJobs, start_runner: StartRunner) -> str:
    """A real /metrics, with a job behind it."""
    write_jobs("from soniq import Soniq\napp = Soniq()\n\n@app.job\nasync def fine(): pass\n")
    rows(database, "select soniq.enqueue('fine')")
    port = free_port()
    start_runner(database, metrics_port=port)
    wait_for(lambda: is_served(port))
    wait_for(lambda: rows(database, "select from soniq.finished_jobs"))
    return get(port, "/metrics")[1]


def expressions() -> list[str]:
    rules = yaml.safe_load((MONITORING / "soniq.rules.yml").read_text())
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    dashboard = json.loads((MONITORING / "soniq.dashboard.json").read_text())
    targets = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])
    ]
    variables = [
        each["definition"] for each in dashboard["templating"]["list"] if each["type"] == "query"
    ]
    assert len(alerts) > 10
    assert len(targets) > 20
    return alerts + targets + variables


def test_what_alerts_and_dashboard_ask_for_is_there(served: str) -> None:
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(served):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    assert "soniq_runners" in labels
    for expression in expressions():
        selected = re.findall(r"\b((?:soniq|process)_\w+)(?:\{([^}]*)\})?", expression)
        assert selected, expression
        for name, selector in selected:
            assert name in labels, expression
            wanted = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert wanted <= labels[name], expression
        # What is taken apart by a label has that label.
        for by in re.findall(r"\bby \(([^)]+)\)", expression):
            known = set().union(*(labels[name] for name, _ in selected))
            assert {label.strip() for label in by.split(",")} <= known, expression


def test_an_alert_leads_to_a_chapter_that_exists() -> None:
    rules = yaml.safe_load((MONITORING / "soniq.rules.yml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
        assert anchor in anchors, rule["alert"]


@needs_promtool
def test_prometheus_takes_the_rules_and_they_fire(served: str) -> None:
    assert PROMTOOL
    assert "SUCCESS" in run(PROMTOOL, "check", "rules", MONITORING / "soniq.rules.yml")
    assert "SUCCESS" in run(PROMTOOL, "test", "rules", MONITORING / "soniq.rules.test.yml")
    # With the rules that it names, which lie beside it.
    said = run(PROMTOOL, "check", "config", MONITORING / "prometheus.yml")
    assert "SUCCESS: 1 rule files found" in said
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=served, capture_output=True, text=True, timeout=60
    )
    # 3: it would like other names. Anything else is an exposition that cannot be read.
    assert checked.returncode in (0, 3), checked.stderr


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    panels = json.loads((MONITORING / "soniq.dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_sql_exporter_tells_what_metrics_tells(database: str) -> None:
    for queue in ("mail", "bills"):
        rows(database, "select soniq.enqueue('any', queue => %s)", queue)
    rows(database, "select soniq.pause_queue('bills')")
    rows(database, "select soniq.schedule('due', 'any', every => '1 day')")
    rows(database, "select soniq.tick()")
    [collector] = all_of("sql-exporter/soniq.collector.yml")
    queries = {each["query_name"]: each["query"] for each in collector["queries"]}
    assert set(queries) == {metric["query_ref"] for metric in collector["metrics"]}
    told: dict[tuple[str, str], float] = {}
    for metric in collector["metrics"]:
        name = metric["metric_name"]
        assert (metric["type"] == "counter") == name.endswith("_total")
        assert ("value_label" in metric) == (len(metric["values"]) > 1)
        with psycopg.connect(database, row_factory=dict_row) as connection:
            found = connection.execute(queries[metric["query_ref"]]).fetchall()
        for row in found:
            labels = {key: row[key] for key in metric.get("key_labels", [])}
            for column in metric["values"]:
                if "value_label" in metric:
                    labels[metric["value_label"]] = column
                assert all(isinstance(value, str) for value in labels.values())
                told[name, json.dumps(labels, sort_keys=True)] = row[column]
    wanted = {
        (name, json.dumps(labels, sort_keys=True)): value
        for name, labels, value in rows(database, "select * from soniq.metrics()")
    }
    assert told.keys() == wanted.keys()
    # A NULL would be an error at each scrape.
    assert None not in told.values()
    lasting = [
        series
        for series in wanted
        if not re.search("_seconds|_total|_bytes|dead_rows|vacuum", series[0])
    ]
    assert {series: told[series] for series in lasting} == {
        series: wanted[series] for series in lasting
    }
    [config] = all_of("sql-exporter/sql_exporter.yml")
    assert config["target"]["collectors"] == [collector["collector_name"]]


# systemd, supervisor.


@needs_systemd
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text()
        assert "/opt/shop/venv/bin/soniq" in text
        programs = str(RUNNER.parent).replace(" ", r"\x20")  # the checkout's path may have spaces
        (tmp_path / unit.name).write_text(text.replace("/opt/shop/venv/bin", programs))
    said = run(
        "systemd-analyze",
        "verify",
        "--man=no",
        tmp_path / "soniq-setup.service",
        tmp_path / "soniq-runner@.service",
    )
    assert "soniq" not in said, said


def unit(name: str) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((DEPLOY / "systemd" / name).read_text())
    return parser["Service"]


def supervisord_conf(folder: Path, changes: Mapping[str, str]) -> Path:
    """A supervisord.conf that takes in ours, with the paths and the user of this machine and further changes."""
    text = (DEPLOY / "supervisor/soniq.conf").read_text()
    for old, new in {
        "/opt/shop/venv/bin/soniq-runner": f'"{RUNNER}"',  # there may be a space in it
        "directory = /opt/shop\n": f"directory = {folder}\n",
        "user = soniq\n": f"user = {getpass.getuser()}\n",
        "/var/log/soniq": str(folder),
        **changes,
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "soniq.conf").write_text(text)
    main = folder / "supervisord.conf"
    main.write_text(
        f"[supervisord]\nnodaemon = true\nuser = {getpass.getuser()}\n"
        f"logfile = {folder}/supervisord.log\npidfile = {folder}/supervisord.pid\n"
        "[include]\nfiles = soniq.conf\n"
    )
    return main


def two_free_ports() -> int:
    """All digits but the last of two ports that end in 4 and 5."""
    while True:
        digits = free_port() // 10
        with contextlib.suppress(OSError):
            for last in (4, 5):
                socket.create_server(("127.0.0.1", digits * 10 + last)).close()
            return digits


def test_supervisor_runs_two_and_lets_their_jobs_end(
    database: str, write_jobs: WriteJobs, tmp_path: Path
) -> None:
    module = write_jobs("""
        import asyncio, os
        from soniq import Soniq
        app = Soniq()

        @app.job
        async def until_told(file: str):
            open(file + ".started", "w").close()
            while not os.path.exists(file):
                await asyncio.sleep(0.01)
    """)
    digits = two_free_ports()
    # In a value of supervisor's, a % is written twice.
    url = database.replace("%", "%%")
    config = supervisord_conf(
        tmp_path,
        {
            f"directory = {tmp_path}\n": f"directory = {module.parent}\n",
            "postgresql://shop_runner@db.internal/shop": url,
            "shop.jobs": "jobs",
            "939%(process_num)d": f"{digits}%(process_num)d",
        },
    )
    supervisord = subprocess.Popen(
        [
            *dying_with_parent(signal.SIGTERM),
            *(RUNNER.with_name("supervisord"), "--configuration", config),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ports = [digits * 10 + last for last in (4, 5)]
        wait_for(lambda: all(map(is_served, ports)))
        wait_for(lambda: all(get(port, "/readyz")[0] == 200 for port in ports))
        told = tmp_path / "told"
        rows(
            database,
            "select soniq.enqueue('until_told', jsonb_build_object('file', %s::text))",
            str(told),
        )
        wait_for(told.with_name("told.started").exists)
        supervisord.send_signal(signal.SIGTERM)
        wait_for(
            lambda: rows(database, "select count(*) from soniq.runners") == [(1,)],
            what="the idle runner to be gone",
        )
        assert supervisord.poll() is None
        told.touch()
        assert supervisord.wait(20) == 0
        assert rows(database, "select status::text, attempt from soniq.finished_jobs") == [
            ("done", 1)
        ]
    finally:
        supervisord.terminate()
        supervisord.wait(60)


def test_whoever_stops_a_runner_waits_for_its_jobs(tmp_path: Path) -> None:
    default = float(KNOWN["SONIQ_SHUTDOWN_TIMEOUT"].default or 0)
    assert float(unit("soniq-runner@.service")["TimeoutStopSec"]) >= default + HANDING_BACK

    options = ServerOptions()
    options.realize(["-c", str(supervisord_conf(tmp_path, {}))])
    [group] = options.process_group_configs
    assert len(group.process_configs) == 2
    for program in group.process_configs:
        given = program.environment
        check_settings({k: v for k, v in given.items() if k.startswith("SONIQ_")})
        wanted = float(given["SONIQ_SHUTDOWN_TIMEOUT"]) + HANDING_BACK
        assert program.stopwaitsecs >= wanted
        assert program.stopsignal == signal.SIGTERM
        assert not program.stopasgroup
        assert program.killasgroup

    runner = compose()["services"]["runner"]
    wanted = float(runner["environment"]["SONIQ_SHUTDOWN_TIMEOUT"]) + HANDING_BACK
    assert float(runner["stop_grace_period"].removesuffix("s")) >= wanted

    pod, _, settings = deployment()
    wanted = float(settings["SONIQ_SHUTDOWN_TIMEOUT"]) + HANDING_BACK
    assert pod["terminationGracePeriodSeconds"] >= wanted


def test_what_a_restart_cannot_mend_is_not_restarted(
    empty_database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    final = set(map(int, unit("soniq-runner@.service")["RestartPreventExitStatus"].split()))
    write_jobs("", name="empty")
    wrong = start_runner(empty_database, concurrency="many")
    no_module = start_runner(empty_database, jobs_modules="nowhere")
    no_jobs = start_runner(empty_database, jobs_modules="empty")
    assert {wrong.exit_code(), no_module.exit_code(), no_jobs.exit_code()} <= final
    write_jobs("from soniq import Soniq\napp = Soniq()\n\n@app.job\nasync def fine(): pass\n")
    too_early = start_runner(empty_database)
    away = start_runner("postgresql://nobody@127.0.0.1:9/nowhere")
    assert not {too_early.exit_code(), away.exit_code()} & final


# Docker.


def compose() -> dict[str, Any]:
    [content] = all_of("docker/compose.yaml")
    return content


def test_compose_brings_things_up_in_order() -> None:
    services = compose()["services"]
    assert services["setup"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["runner"]["depends_on"] == {
        "setup": {"condition": "service_completed_successfully"}
    }
    for name in ("setup", "runner"):
        assert (DEPLOY / "docker" / services[name]["build"]["context"]).resolve() == ROOT, (
            "where the Dockerfile expects to be built"
        )
        assert (ROOT / services[name]["build"]["dockerfile"]).is_file()
    given = services["runner"]["environment"]
    check_settings({k: v for k, v in given.items() if k != "SONIQ_DATABASE_URL"})
    for module in given["SONIQ_JOBS_MODULES"].split(","):
        assert (DEPLOY / "docker/app" / f"{module}.py").is_file()


def test_the_image_is_given_all_that_the_package_is_made_of() -> None:
    lines = (DEPLOY / "docker/Dockerfile.dockerignore").read_text().split()
    admitted = {line[1:] for line in lines if line.startswith("!")}
    project = (ROOT / "pyproject.toml").read_text()
    included = project.partition("[tool.hatch.build.targets.wheel.force-include]")[2]
    for path in re.findall(r'^"([^"]+)" =', included.partition("\n[")[0], re.MULTILINE):
        assert path in admitted
    assert {"pyproject.toml", "README.md", "runner"} <= admitted
    assert all((ROOT / path).exists() for path in admitted)


def test_a_process_of_the_image_gets_its_signals() -> None:
    text = (DEPLOY / "docker/Dockerfile").read_text()
    assert re.search(r'^CMD \["soniq-runner"\]$', text, re.MULTILINE)
    assert "ENTRYPOINT" not in text
    settings = dict(re.findall(r"(SONIQ_\w+)=(\S+)", text))
    check_settings(settings)
    assert f":{settings['SONIQ_METRICS_PORT']}/healthz" in text
    assert f"EXPOSE {settings['SONIQ_METRICS_PORT']}" in text
    assert re.search(r"^USER \d+$", text, re.MULTILINE), "a number, or runAsNonRoot cannot tell"


def test_the_sample_modules_job_runs(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs((DEPLOY / "docker/app/shop_jobs.py").read_text(), name="shop_jobs")
    rows(database, "select soniq.enqueue('send_welcome', '{\"to\": \"ada@example.org\"}')")
    runner = start_runner(database, "--burst", jobs_modules="shop_jobs")
    assert runner.exit_code() == 0
    assert rows(database, "select result from soniq.finished_jobs") == [
        ({"greeted": "ada@example.org"},)
    ]


# Kubernetes.


def deployment() -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """The pod, its container and the settings given in it."""
    [runner] = [each for each in all_of("kubernetes/runner.yaml") if each["kind"] == "Deployment"]
    pod = runner["spec"]["template"]["spec"]
    [container] = pod["containers"]
    return (
        pod,
        container,
        {each["name"]: each["value"] for each in container["env"] if "value" in each},
    )


def test_kubernetes_probes_ask_what_a_runner_answers() -> None:
    _, container, settings = deployment()
    check_settings(settings)
    [port] = container["ports"]
    assert str(port["containerPort"]) == settings["SONIQ_METRICS_PORT"]
    assert container["command"] == ["soniq-runner"]
    for probe, path in (
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ):
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
        assert container[probe]["timeoutSeconds"] > 3, "/healthz takes that long to say no"


def test_kubernetes_selectors_select() -> None:
    runner, budget = all_of("kubernetes/runner.yaml")
    labels = runner["spec"]["template"]["metadata"]["labels"]
    for selector in (runner["spec"]["selector"], budget["spec"]["selector"]):
        assert selector["matchLabels"].items() <= labels.items()
    [setup] = all_of("kubernetes/setup.yaml")
    assert setup["spec"]["template"]["metadata"]["labels"] != labels
    assert budget["kind"] == "PodDisruptionBudget"
    assert runner["spec"]["replicas"] > budget["spec"]["maxUnavailable"]
    [container] = setup["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["soniq", "setup"]
    [kustomization] = all_of("kubernetes/kustomization.yaml")
    for name in kustomization["resources"]:
        assert (DEPLOY / "kubernetes" / name).is_file()


@pytest.mark.parametrize("name", ["runner.yaml", "setup.yaml"])
def test_kubernetes_schemas_take_the_resources(name: str) -> None:
    # Strictly: an API server only warns of a property that it does not know, and goes without it.
    for resource in all_of(f"kubernetes/{name}"):
        for version in ("1.31", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(resource, version, strict=True)
    misspelt = resource | {"spec": resource["spec"] | {"selektor": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, version, strict=True)


@needs_kubectl
def test_kustomize_takes_the_folder() -> None:
    made = run("kubectl", "kustomize", DEPLOY / "kubernetes")
    kinds = {each["kind"] for each in yaml.safe_load_all(made)}
    assert kinds == {"Deployment", "Job", "PodDisruptionBudget"}


# pg_cron.


def test_what_pg_cron_is_given_is_right_and_ticks(database: str) -> None:
    # Its interface as its manual has it; the real one needs to be loaded when a server starts.
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("""
            create schema cron;
            create table cron.job (jobname text primary key, schedule text, command text);
            create table cron.job_run_details (runid bigint, end_time timestamptz);
            create function cron.schedule(job_name text, schedule text, command text)
            returns bigint
            language sql
            begin atomic
              insert into cron.job values (job_name, schedule, command)
              on conflict (jobname) do update
              set schedule = excluded.schedule, command = excluded.command;
              select 1::bigint;
            end;
        """)
        for _ in range(2):
            connection.execute((DEPLOY / "pg_cron/soniq.sql").read_bytes())
        jobs = connection.execute("select jobname, command from cron.job").fetchall()
        assert len(jobs) == 2
        connection.execute("select soniq.schedule('due', 'any', every => '1 second')")
        connection.execute("update soniq.schedules set next_run_at = now()")
        connection.execute("insert into cron.job_run_details values (1, now() - interval '2 days')")
        for _, command in jobs:
            connection.execute(command)
        assert rows(database, "select job_name from soniq.jobs") == [("any",)]
        assert rows(database, "select from cron.job_run_details") == []


# The manual's pages about all this.

PAGES = (
    "production",
    "security",
    "postgresql",
    "troubleshooting",
    "testing",
    "migrating-from-celery",
    "migrating-from-rq",
    "migrating-from-procrastinate",
)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def statements(block: str) -> list[str]:
    return [each for each in re.split(r";(?: *--[^\n]*)?\n", block) if each.strip()]


@pytest.fixture
def roles(database: str) -> Iterator[None]:
    """The roles that the pages grant something to."""
    names = ("shop", "shop_runner", "shop_operator")
    for name in names:
        rows(database, f"create role {name} login")
    yield
    for name in names:
        rows(database, f"drop owned by {name}")  # what it was granted by itself
        rows(database, f"drop role {name}")


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize("page", PAGES)
def test_the_sql_of_a_page_runs(database: str, page: str) -> None:
    found = [
        statement
        for block in blocks(page, "sql")
        for statement in statements(block)
        if "create subscription" not in statement  # takes two servers: faults/test_copies.py
    ]
    assert found
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in found:
            connection.execute(statement.encode())


@pytest.mark.usefixtures("roles")
def test_the_grants_are_enough_to_enqueue_and_to_run(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for block in blocks("production", "sql")[:2]:
            connection.execute(block.encode())
    producer, runner = (database.replace("tester@", f"{name}@") for name in ("shop", "shop_runner"))
    write_jobs("""
        from soniq import Snooze, Soniq
        app = Soniq()

        @app.job
        @app.periodic(every=3600)
        async def fine(): pass

        @app.job(max_attempts=1)
        def broken(): raise ValueError

        @app.job
        async def later(): raise Snooze(600)
    """)
    port = free_port()
    started = start_runner(runner, metrics_port=port)
    wait_for(lambda: is_served(port))
    for name in ("fine", "broken", "later"):
        rows(producer, "select soniq.enqueue(%s)", name)
    wait_for(lambda: rows(database, "select from soniq.finished_jobs"))
    wait_for(lambda: rows(database, "select from soniq.dead_letter_jobs"))
    wait_for(lambda: rows(database, "select from soniq.jobs where status = 'queued'"))
    assert "soniq_database_metrics_up 1.0" in get(port, "/metrics")[1]
    assert started.stop() == 0
    assert "permission denied" not in started.log
    for url in (producer, runner):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            rows(url, "select from soniq.jobs")


WATCHING = (
    *("status", "inspect", "queues list", "schedules list", "schedules preview due"),
    "schedules preview --cron @daily",
)
LOOKING_INTO_JOBS = ("jobs list", "jobs show 1", "dead-letter list", "dead-letter export")
ACTING = (
    *("queues pause default", "queues resume default", "jobs cancel 1", "schedules pause due"),
    *("schedules resume due", "schedules run due", "dead-letter replay --all"),
    *("dead-letter delete --all --yes", "dead-letter prune --older-than 1d"),
)


@pytest.mark.usefixtures("roles")
def test_the_grants_are_enough_to_watch_and_to_act(database: str) -> None:
    watch, act = blocks("production", "sql")[2].split("\n\n")
    rows(database, "select soniq.enqueue('any')")
    rows(database, "select soniq.schedule('due', 'any', every => '1 day')")
    url = database.replace("tester@", "shop_operator@")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(watch.encode())
        for command in WATCHING:
            done(url, *command.split())
        for command in (*LOOKING_INTO_JOBS, *ACTING):
            said = refused(url, 17, *command.split())
            assert "permission denied" in said
            assert "to see into jobs and to act on them soniq_admin" in said
        connection.execute(f"revoke soniq_observer from shop_operator; {act}".encode())
        for command in (*WATCHING, *LOOKING_INTO_JOBS, *ACTING):
            done(url, *command.split())


@pytest.mark.parametrize("page", [*PAGES, "deployment"])
def test_the_python_of_a_page_is_python(page: str) -> None:
    for block in blocks(page, "python"):
        # Pieces of functions are shown, too.
        compile(block, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", [*PAGES, "deployment", "getting-started", "python"])
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (ROOT / "docs" / target).exists(), target
    for variable in re.findall(r"\bSONIQ_[A-Z_]*[A-Z]\b", text):
        assert variable in KNOWN or variable.startswith("SONIQ_TEST_"), variable


def test_troubleshooting_quotes_what_the_program_says() -> None:
    """Each quoted message, between its dots, is in the source."""
    source = "".join(
        file.read_text()
        for pattern in ("runner/soniq/**/*.py", "sql/*.sql")
        for file in ROOT.glob(pattern)
    )
    # Messages are broken into adjacent strings there, and formatted with %s, {...} or %.
    said = re.sub(r'"\s*\n\s*f?"', "", source)
    said += "permission denied for"  # PostgreSQL says that
    said += "coroutine 'Soniq.enqueue' was never awaited"  # and Python that
    text = (ROOT / "docs/troubleshooting.md").read_text()
    quoted = re.findall(r"^\| `([^`|]+)` ", text, re.MULTILINE) + re.findall(
        r"^(?:- )?`([^`]{25,})`", text, re.MULTILINE
    )
    quoted = [each for each in quoted if re.search(r"[a-z] [a-z]+ [a-z]", each)]
    assert len(quoted) > 35
    for message in quoted:
        for piece in re.split(r"'?\.\.\.'?|;|\b\d[\d.]*\b", message):
            if len(piece.strip(" ,;:'")) > 8:
                assert piece.strip(" ,;:'") in said, f"{message}: {piece}"


def test_the_tests_that_testing_shows_pass(database: str, tmp_path: Path) -> None:
    module, *tests = blocks("testing", "python")
    (tmp_path / "shop_jobs.py").write_text(module)
    for number, block in enumerate(tests):
        (tmp_path / f"test_page_{number}.py").write_text(block)
    # The plugin registers itself, where the package was installed since it has one.
    known = {each.name for each in importlib.metadata.entry_points(group="pytest11")}
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(() if "soniq" in known else ("-p", "soniq.pytest_plugin")),
        ],
        cwd=tmp_path,
        env={**os.environ, "SONIQ_TEST_DATABASE_URL": database, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "5 passed" in finished.stdout
