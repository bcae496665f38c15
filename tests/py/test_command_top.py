"""`soniq top`, at a real terminal and without one."""

import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import pytest
from conftest import ROOT, StartRunner, WriteJobs, rows
from dead_letters import bury
from soniq_command import SONIQ, done, environment, refused, soniq
from terminal import Terminal
from testing.server import Server
from waiting import wait_for

ENTERS_SCREEN, LEAVES_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
TICKED = "select from soniq.chores where chore = 'absent_runners' and due_at > '-infinity'"


class OpenTop(Protocol):
    """Starts `soniq top` at a terminal: open_top(database, "--interval", "0.1", lines=24, columns=80)."""

    def __call__(self, url: str, *flags: str, **settings: Any) -> Terminal:
        """Settings in capitals are the environment's."""


@pytest.fixture
def open_top() -> Iterator[OpenTop]:
    opened: list[Terminal] = []

    def start(url: str, *flags: str, **settings: Any) -> Terminal:
        size = {name: settings.pop(name) for name in ("lines", "columns") if name in settings}
        command: list[str | Path] = [SONIQ, "top", "--interval", "0.1", *flags]
        opened.append(Terminal(command, environment(url, settings), **size))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def note_history(url: str, queue: str, minutes: dict[int, int]) -> None:
    """Has so many jobs done in the minutes so long ago."""
    for ago, jobs in minutes.items():
        rows(
            url,
            """
            insert into soniq.history
            values (
              %s, '1 minute', date_trunc('minute', now()) - make_interval(mins => %s), %s,
              0, 0, 0, 0, '0', '{}', '{}'
            )
            """,
            queue,
            ago,
            jobs,
        )


def fill(url: str) -> None:
    """Three queues: `mail` is deepest, `bills` is oldest and paused, `fax` has one job for later and was busy.

    A minute may end before it is looked at.
    """
    rows(url, "select soniq.enqueue('mail', queue => 'mail') from generate_series(1, 12)")
    rows(
        url,
        "select soniq.enqueue('bill', queue => 'bills', scheduled_at => now() - interval '3 hours')",
    )
    rows(url, "select soniq.pause_queue('bills')")
    rows(url, "select soniq.enqueue('fax', queue => 'fax', delay => '1 hour')")
    note_history(url, "fax", {4: 0, 3: 40, 2: 80, 1: 1234})


def order(shown: str, names: tuple[str, ...] = ("mail", "bills", "fax")) -> list[str]:
    """The queues in the order in which they are listed."""
    queues = shown.partition("QUEUES")[2].partition("RUNNERS")[0]
    found = re.findall(r"^(\w+) +~?[\d.,]+k? ", queues, re.MULTILINE)
    return [name for name in found if name in names]


def test_one_frame_without_a_terminal(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    empty = done(database, "top").out
    assert "no queues: nothing was ever enqueued" in empty
    assert "no runner is registered, so nothing runs: start one, with soniq worker" in empty
    assert "never ticked" in empty
    assert "FAILURES" not in empty

    fill(database)
    bury(database, 3, error="it is bad")
    rows(database, "select soniq.deregister_runner(runner_id) from soniq.runners")
    write_jobs("""
        import asyncio
        from soniq import Soniq
        app = Soniq()

        @app.job(queue="slow")
        async def brood():
            await asyncio.sleep(60)
    """)
    runner = start_runner(database, concurrency=3, queues="slow")
    rows(database, "select soniq.enqueue('brood', queue => 'slow') from generate_series(1, 2)")
    wait_for(lambda: rows(database, "select from soniq.jobs where status = 'processing' offset 1"))
    wait_for(lambda: rows(database, TICKED))

    said = done(database, "top").out
    assert "\x1b" not in said, "plain text, for it is read through a pipe"
    assert max(map(len, said.splitlines())) <= 80
    assert re.search(
        r"^soniq top  tester@/test_\d+\?host=.* schema 0\.1\.0  \d\d:\d\d:\d\d$", said, re.M
    )
    assert re.search(r"^runners 1 alive   slots 2 of 3   tick lag [\d.]+s$", said, re.M)
    assert re.search(
        r"^!   The queue bills is paused, with 1 job waiting, the oldest for", said, re.M
    )
    assert order(said) == ["mail", "bills", "fax"]
    assert re.search(
        r"^QUEUES +ready +later +running +oldest +done/min +last 10m +dead$", said, re.M
    )
    assert re.search(r"^bills +1 +0 +0 +3h +0 +▁{10} +0 +paused$", said, re.M)
    assert re.search(r"^fax +0 +1 +0 +- +(1,234 +▁{7}▂▂█|0 +▁{6}▂▂█▁) +0$", said, re.M)
    assert re.search(r"^mail_queue +0 +0 +0 +- +0 +▁{10} +3$", said, re.M)
    assert re.search(rf"^\S+:{runner.pid} +2/3 +[\d.]+s +brood x2 [\d.]+s$", said, re.M)
    assert re.search(r"^mail +3 +[\d.]+s +ValueError: it is bad$", said, re.M)
    page = (ROOT / "docs/development.md").read_text()
    heads = re.findall(r"^(?:QUEUES|RUNNERS|FAILURES) .*$", page, re.M)
    assert len(heads) == 3
    for head in heads:
        assert " ".join(head.split()) in " ".join(said.split()), "as in the manual"
    assert order(done(database, "top", "--order", "age").out) == ["bills", "mail", "fax"]
    assert order(done(database, "top", "--order", "name").out) == ["bills", "fax", "mail"]

    narrow = done(database, "top", COLUMNS="40").out
    assert max(map(len, narrow.splitlines())) <= 40
    assert order(narrow) == ["mail", "bills", "fax"]

    told = done(database, "top", "--json").json
    assert [each["queue"] for each in told["queues"]] == [
        "bills",
        "fax",
        "mail",
        "mail_queue",
        "slow",
    ]
    assert ", 0, 40, 80, 1234, 0" in str(told["queues"][1]["done_by_minute"])
    assert told["runners"][0]["runs"][0]["jobs"] == 2
    assert told["dead_letter_groups"][0]["letters"] == 3
    assert "queue_paused" in [each["kind"] for each in told["concerns"]]
    assert told["schema_version"] == "0.1.0"


def test_at_a_terminal(database: str, open_top: OpenTop) -> None:
    fill(database)
    bury(database, 1)
    top = open_top(database, COLUMNS=80, LINES=24)  # of when it began
    top.wait_for(lambda shown: order(shown) == ["mail", "bills", "fax"])
    top.type("2")
    top.wait_for(lambda shown: order(shown) == ["bills", "mail", "fax"])
    top.type("3")
    top.wait_for(lambda shown: order(shown) == ["bills", "fax", "mail"])
    top.type("1")
    top.wait_for(lambda shown: order(shown) == ["mail", "bills", "fax"])

    top.type("p")
    top.wait_for("PAUSED")
    rows(database, "select soniq.enqueue('fax', queue => 'fax') from generate_series(1, 20)")
    top.type("p")
    shown = top.wait_for(lambda shown: order(shown) == ["fax", "mail", "bills"])
    assert "PAUSED" not in shown

    wait_for_parts(top, "QUEUES", "RUNNERS", "FAILURES", "last 10m")
    top.resize(9, 60)
    wait_for_parts(top, "QUEUES")
    top.resize(5, 60)
    wait_for_parts(top)
    top.resize(3, 20)
    wait_for_parts(top)
    top.resize(40, 160)
    wait_for_parts(top, "QUEUES", "RUNNERS", "FAILURES", "last 30m")

    assert top.settings != top.mode
    top.type("q")
    assert top.exit_code() == 0
    assert top.written.count(LEAVES_SCREEN) == 1
    assert top.settings == top.mode


def wait_for_parts(top: Terminal, *parts: str) -> None:
    """Waits for a frame from the first line to the last, with these parts and no others."""

    def is_there(shown: str) -> bool:
        lines = shown.splitlines()
        found = re.findall(r"^QUEUES|^RUNNERS|^FAILURES|last \d+m", shown, re.MULTILINE)
        return (
            lines[0].startswith("soniq top")
            and lines[-1].startswith("q quit  p pause")
            and sorted(found) == sorted(parts)
        )

    top.wait_for(is_there)


def test_what_matters_most_stays_on_narrow_terminals(database: str, open_top: OpenTop) -> None:
    fill(database)
    bury(database, 3, job="greetings")
    note_history(database, "bills", {1: 123_456, 0: 123_456})
    top = open_top(database, columns=120)
    queue, bills = "greetings_queue", "bills +1 "
    for columns, *lines in (
        (
            120,
            "QUEUES +ready +later +running +oldest +done/min +last 30m +dead",
            rf"{queue} +0 +0 +0 +- +0 +▁{{29,30}} +3",
            rf"{bills}+0 +0 +3h +123k +▁{{27,29}}█+ +0 +paused",
        ),
        (
            90,
            "QUEUES +ready +later +running +oldest +done/min +last 10m +dead",
            rf"{queue} +0 +0 +0 +- +0 +▁{{10}} +3",
            rf"{bills}+0 +0 +3h +123k +▁+█+ +0 +paused",
        ),
        (
            80,
            "QUEUES +ready +later +running +oldest +done/min +dead",
            f"{queue} +0 +0 +0 +- +0 +3",
            f"{bills}+0 +0 +3h +123k +0 +paused",
        ),
        (
            60,
            "QUEUES +ready +later +running +oldest +dead",
            f"{queue} +0 +0 +0 +- +3",
            f"{bills}+0 +0 +3h +0 +paused",
        ),
        (
            55,
            "QUEUES +ready +running +oldest +dead",
            f"{queue} +0 +0 +- +3",
            f"{bills}+0 +3h +0 +paused",
        ),
        (40, "QUEUES +ready +oldest +dead", "greetings_… +0 +- +3", f"{bills}+3h +0 +paused"),
    ):
        top.resize(24, columns)
        for line in lines:
            wait_for_line(top, line)
    wait_for_line(top, "RUNNERS +slots +heard of +runs")


def wait_for_line(terminal: Terminal, pattern: str) -> None:
    """Waits until a line is just so."""
    terminal.wait_for(lambda shown: re.search(f"^{pattern}$", shown, re.MULTILINE))


def test_more_queues_than_lines_are_scrolled(database: str, open_top: OpenTop) -> None:
    make_queues(database, 60)
    top = open_top(database, "--order", "name")
    shown = top.wait_for(lambda shown: "QUEUES 1-" in shown and "q quit" in shown)
    seen = re.findall(r"^q\d\d\d", shown, re.M)
    assert seen[0] == "q001"
    top.type("j")
    shown = top.wait_for("QUEUES 2-")
    assert "q001" not in shown
    top.type("\x1b[B\x1b[B\x1b[A")
    top.wait_for("QUEUES 3-")
    top.type("k")
    top.wait_for("QUEUES 2-")
    top.type("\x1b[6~")
    top.wait_for(f"QUEUES {2 + len(seen)}-")
    top.type("\x1b[6~" * 9)
    shown = top.wait_for("-60/60")
    assert len(re.findall(r"^q\d\d\d", shown, re.M)) == len(seen), "the last page is full"
    top.type("\x1b[5~")
    top.wait_for(lambda shown: "-60/60" not in shown)
    top.type("\x1b[H")
    top.wait_for("QUEUES 1-")
    top.type("?x\x1b")  # what means nothing does nothing
    top.send(signal.SIGTERM)
    assert top.exit_code() == 0
    assert LEAVES_SCREEN in top.written


def test_where_queues_get_fewer_than_lines_none_is_hidden(database: str, open_top: OpenTop) -> None:
    make_queues(database, 30)
    top = open_top(database, "--order", "name")
    top.wait_for("QUEUES 1-")
    top.type("\x1b[6~" * 9)
    top.wait_for("-30/30")
    top.resize(30, 80)
    # Each with its history, which is read for those only that are seen.
    listed = re.compile(r"^q\d\d\d .* 0  ▁{10} +0$", re.MULTILINE)
    top.wait_for(lambda shown: "QUEUES 8-30/30" in shown and len(listed.findall(shown)) == 23)
    top.type("k")
    top.wait_for("QUEUES 7-29/30")
    rows(database, "delete from soniq.lanes where queue > 'q010'")
    top.wait_for(lambda shown: "QUEUES  " in shown and len(listed.findall(shown)) == 10)


def make_queues(url: str, number: int) -> None:
    """Queues from q001 on, with a job each."""
    rows(
        url,
        """
        select soniq.enqueue('x', queue => format('q%%s', to_char(each, 'FM000')), delay => '1 hour')
        from generate_series(1, %s) as each
        """,
        number,
    )


def test_the_database_goes_away_and_comes_back(own_server: Server, open_top: OpenTop) -> None:
    rows(own_server.url(), "select soniq.enqueue('x', queue => 'kept', delay => '1 hour')")
    top = open_top(own_server.url())
    top.wait_for("kept")
    own_server.stop()
    shown = top.wait_for(lambda shown: re.search(r"AWAY since \d\d:\d\d:\d\d \(\d", shown))
    assert "kept" in shown, "what was known last stays"
    assert "Traceback" not in shown
    own_server.start()
    top.wait_for(lambda shown: "AWAY" not in shown and "kept" in shown)
    top.type("\x03")
    assert top.exit_code() == 0
    assert LEAVES_SCREEN in top.written
    assert b"Traceback" not in top.written


def test_ctrl_z_where_no_shell_could_have_it_go_on(database: str, open_top: OpenTop) -> None:
    top = open_top(database)
    top.wait_for("QUEUES")
    for times in (1, 2):
        top.type("\x1a")
        wait_for_written(top, ENTERS_SCREEN, 1 + times)
        see_it_obey(top)
    top.type("q")
    assert top.exit_code() == 0
    assert top.settings == top.mode


def test_ctrl_z_leaves_the_terminal_to_the_shell_meanwhile(database: str) -> None:
    # dash, since bash would itself put right what is left wrong.
    with closing(Terminal(["dash", "-i"], environment(database, {"PS1": "shell> "}))) as shell:
        shell.wait_for("shell>")
        shell.type(f"{shlex.quote(str(SONIQ))} top\n")
        shell.wait_for("QUEUES")
        assert shell.settings != shell.mode
        for times in (1, 2):
            shell.type("\x1a")
            wait_for_written(shell, b"Stopped", times)
            assert shell.written.count(LEAVES_SCREEN) == times
            assert shell.written.rindex(LEAVES_SCREEN) < shell.written.rindex(b"Stopped")
            assert shell.settings == shell.mode
            shell.type("fg\n")
            wait_for_written(shell, ENTERS_SCREEN, 1 + times)
            see_it_obey(shell)
        shell.type("q")
        wait_for_written(shell, b"shell> ", 4)
        assert shell.settings == shell.mode


def wait_for_written(terminal: Terminal, what: bytes, times: int) -> None:
    """Waits until it has been written so many times."""
    terminal.wait_for(lambda _: terminal.written.count(what) == times)


def see_it_obey(top: Terminal) -> None:
    """Keys do what they should."""
    top.type("p")
    top.wait_for("PAUSED")
    top.type("p")
    top.wait_for(lambda shown: "PAUSED" not in shown)


def test_terminals_that_can_less(database: str, open_top: OpenTop) -> None:
    fill(database)
    plain = open_top(database, NO_COLOR="1")
    plain.wait_for("mail  ")
    plain.type("q")
    assert plain.exit_code() == 0
    # 30 to 47 would be colours; bold and dim are none.
    assert not re.search(rb"\x1b\[(\d+;)*[34]\d[;m]", plain.written)
    dumb = open_top(database, TERM="dumb")
    assert dumb.exit_code() == 0
    assert b"\x1b" not in dumb.written
    assert order(dumb.shown + dumb.written.decode()) != []


def test_who_may_see_what(database: str) -> None:
    bury(database, 2)
    for name in ("top_observer", "top_admin", "top_nobody"):
        rows(database, f"create role {name} login")
    rows(database, "grant soniq_observer to top_observer")
    rows(database, "grant soniq_admin to top_admin")
    rows(database, "grant soniq_runner to top_nobody")
    try:
        seen = done(re.sub("//.*@", "//top_observer@", database), "top").out
        assert "mail_queue" in seen
        assert "FAILURES" not in seen
        assert (
            done(re.sub("//.*@", "//top_observer@", database), "top", "--json").json[
                "dead_letter_groups"
            ]
            is None
        )
        assert "ValueError: order" in done(re.sub("//.*@", "//top_admin@", database), "top").out
        said = refused(re.sub("//.*@", "//top_nobody@", database), 17, "top")
        assert "watching takes the role soniq_observer, to see into jobs" in said
    finally:
        for name in ("top_observer", "top_admin", "top_nobody"):
            rows(database, f"drop role {name}")


def test_what_it_cannot_begin_with(database: str, open_top: OpenTop, tmp_path: Path) -> None:
    top = open_top("postgresql://me:secret@127.0.0.1:1/x")
    assert top.exit_code() == 14
    assert b"cannot reach the database at postgresql://me:***@127.0.0.1:1/x" in top.written
    assert b"secret" not in top.written
    assert b"Traceback" not in top.written
    assert top.written.index(LEAVES_SCREEN) < top.written.index(b"cannot reach"), "where it stays"
    assert "0 is not in the range 0.1<=x<=3600" in refused(database, 2, "top", "--interval", "0")
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['rich'] = None\n")
    said = soniq(database, "top", PYTHONPATH=str(tmp_path))
    assert said.code == 1
    assert "rich cannot be imported, and this needs it: pip install 'soniq[top]'" in said.err
    assert done(database, "top", "--json", PYTHONPATH=str(tmp_path)).json["queues"] == []


def test_errors_cannot_play_with_the_terminal(database: str) -> None:
    bury(database, 1, error="\x1b[2J[red]%")
    said = done(database, "top").out
    assert "\x1b" not in said
    assert "ValueError: \\x1b[2J[red]1" in said
