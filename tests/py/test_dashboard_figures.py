"""What pages and API tell is what the database holds: over HTTP, read from the HTML."""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import psycopg
import pytest
from conftest import ROOT, rows
from dead_letters import bury
from html_page import links, one, pairs, parse, table, text, texts
from psycopg.rows import dict_row
from soniq.dashboard import dashboard
from soniq.dashboard.wording import NONE, duration, number, short_number
from starlette.testclient import TestClient

HOST = "http://dashboard.example"
NOON = datetime(2031, 1, 1, 12, tzinfo=UTC)


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


class Clock:
    """The time in a database, which goes on only when it is told to."""

    def __init__(self, url: str, at: datetime) -> None:
        self._url = url
        rows(url, "create table public.stopped_clock as select %s::timestamptz as moment", at)
        rows(url, "grant select on public.stopped_clock to public")
        rows(
            url,
            """
            create or replace function soniq.clock()
            returns timestamptz
            language sql
            volatile
            parallel safe
            as 'select moment from public.stopped_clock'
            """,
        )

    def wait(self, delay: str) -> None:
        """Lets so much time pass."""
        rows(self._url, "update public.stopped_clock set moment = moment + %s::interval", delay)


@pytest.fixture
def clock(database: str) -> Clock:
    """Noon on the first day of 2031."""
    return Clock(database, NOON)


def records(url: str, query: str, *parameters: object) -> list[dict[str, Any]]:
    """Rows by the names of their columns."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query.encode(), parameters).fetchall()


# The overview.

LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


def fill_history(url: str) -> None:
    """Two queues over a week, of which each span tells other numbers; for some time nothing ticked."""
    rows(
        url,
        """
        insert into soniq.history (
          queue, span, began_at, done, cancelled, failed, dead, most_ready, longest_wait, wait_times, run_times
        )
        select
          own.queue, each.span, date_bin(each.span, soniq.clock(), timestamptz 'epoch') - n * each.span,
          own.share * (each.size * 100 + mod(n * 7919, 83)), 1, own.share * (each.size + mod(n, 5)),
          own.share * mod(n, 3), own.share * mod(n * 104729, 19), n * interval '1 second',
          array_fill(0::bigint, array[each.size]) || array[60 * own.share, 30, 9, 1]::bigint[]
            || array_fill(0::bigint, array[19 - each.size]),
          array_fill(0::bigint, array[each.size + 2]) || array[60, 30 * own.share, 9, 1]::bigint[]
            || array_fill(0::bigint, array[17 - each.size])
        from (values ('', 3), ('mail', 2)) as own (queue, share)
        cross join (
          values (interval '1 minute', 90, 3), (interval '10 minutes', 200, 7), (interval '1 hour', 200, 12)
        ) as each (span, steps, size)
        cross join lateral generate_series(0, each.steps) as n
        where n not between 20 and 25
        """,
    )


def test_the_overview_s_figures_are_those_of_the_history(
    database: str, site: Site, clock: Clock
) -> None:
    fill_history(database)
    told = set()
    for span, length in LENGTHS.items():
        page = site.page(f"/?span={span}")
        [whole] = records(
            database, "select * from soniq.history(length => %s) where is_whole", length
        )
        tiles = pairs(page)
        assert tiles[f"Done, last {span}"] == number(whole["done"])
        assert tiles[f"Failed, last {span}"] == number(whole["failed"])
        assert tiles[f"Given up, last {span}"] == number(whole["dead"])
        times = one(page, ".//section[@aria-labelledby='times']")
        assert text(one(times, "h2")) == f"How long it takes, last {span}"
        assert table(times) == [
            [what, *(duration(whole[f"{column}_p{share}"]) for share in (50, 95, 99))]
            for what, column in (("waited", "wait"), ("ran", "run"))
        ]
        assert text(one(times, "p")) == (
            f"Longest wait seen: {duration(whole['longest_wait'])}."
            f" Most ready at once: {number(whole['most_ready'])}."
        )
        told.add((tiles[f"Done, last {span}"], *table(times)[0], *table(times)[1]))
    assert len(told) == 3, "each span has figures of its own"


def test_the_overview_tells_what_is_wrong_and_where_jobs_wait(
    database: str, site: Site, clock: Clock
) -> None:
    hold(database, "vm", 2, "30 s")
    rows(
        database,
        "select soniq.register_runner('gone', pid => 8, queues => '{other}', concurrency => 5)",
    )
    clock.wait("4 minutes")
    rows(database, "select soniq.heartbeat(1)")
    rows(
        database,
        "select soniq.enqueue_many('work', array_fill('{}'::jsonb, array[1200]), queue => 'deep')",
    )
    rows(database, "select soniq.enqueue('work', queue => 'paused'), soniq.pause_queue('paused')")
    rows(database, "select soniq.enqueue('work', queue => 'later', delay => '1 hour')")
    [(runner,)] = rows(database, "select soniq.register_runner('mailer', queues => '{mail}')")
    rows(database, "select soniq.enqueue('work', queue => 'mail')")
    clock.wait("2 minutes")
    rows(database, "select soniq.heartbeat(%s)", runner)
    rows(database, "select soniq.enqueue('work', queue => 'mail')")
    bury(database, 3, job="bills")

    page = site.page("/")
    state = one(page, ".//section[@aria-labelledby='state']")
    messages = [message for (message,) in rows(database, "select message from soniq.concerns")]
    assert len(messages) > 5
    assert texts(state, "./ol/li/span[2]") == messages[:3]
    assert texts(state, "./details/summary") == [f"{len(messages) - 3} more"]
    assert texts(state, "./details/ol/li/span[2]") == messages[3:]
    assert texts(state, "./ol/li/span[1]")[0] == "stands still"

    assert pairs(page)["Ready now"] == "1,203"
    assert pairs(page)["Runners alive"] == "3 1 silent or lost"
    assert pairs(page)["Slots in use"] == "2 of 1,007"
    [stats] = records(
        database,
        """
        select count(*) filter (where state = 'alive') as alive, sum(running) as running, sum(concurrency) as slots
        from soniq.runner_stats
        where state <> 'lost'
        """,
    )
    assert (stats["alive"], stats["running"], stats["slots"]) == (3, 2, 1007)

    shown = table(one(page, ".//section[@aria-labelledby='queues']"))
    queues = {each["queue"]: each for each in records(database, "select * from soniq.queue_counts")}
    assert [row[0].split()[0] for row in shown] == [
        "deep",
        "mail",
        "paused",
        "bills_queue",
        "vm",
        "later",
    ]
    assert set(queues) == {row[0].split()[0] for row in shown}
    for name, *cells in shown:
        queue = queues[name.split()[0]]
        assert cells == [
            duration(queue["oldest_ready_age"]),
            *(number(queue[what]) for what in ("ready", "processing", "scheduled", "dead_letters")),
        ]
    assert shown[0] == ["deep", "2 min", "1,200", "0", "0", "0"]
    assert shown[2][0] == "paused paused"
    assert shown[4][0] == "vm 2 overdue"


# Charts.


def on_axis(top: float) -> float:
    """What a chart reaches up to: the next of 1, 2, 5, 10, ... that is no less."""
    return next(
        step * 10.0**power
        for power in range(-6, 10)
        for step in (1, 2, 5)
        if step * 10.0**power >= top - 1e-9
    )


def bars(figure: Element, shade: str, moments: int) -> tuple[dict[int, float], dict[int, float]]:
    """Up to where a chart's bars of a colour reach and how high they are, as parts of its height, by their moments."""
    svg = one(figure, ".//svg")
    width, height = (float(each) for each in svg.get("viewbox", "").split()[2:])
    tops, heights = {}, {}
    for bar in svg.findall(f"rect[@class='{shade}']"):
        moment = round(float(bar.get("x", "")) / width * moments)
        tops[moment] = (height - float(bar.get("y", ""))) / height
        heights[moment] = float(bar.get("height", "")) / height
    return tops, heights


def points(figure: Element, shade: str, moments: int) -> dict[int, float]:
    """Where the points of its lines lie."""
    svg = one(figure, ".//svg")
    width, height = (float(each) for each in svg.get("viewbox", "").split()[2:])
    found = {}
    for line in svg.findall(f"path[@class='{shade}']"):
        for point in re.findall(r"([\d.]+) ([\d.]+)", line.get("d", "")):
            x, y = map(float, point)
            found[int(x / width * moments)] = (height - y) / height
    return found


@pytest.mark.parametrize("path", ["/", "/queue?name=mail"])
def test_a_chart_and_its_figures_tell_the_history(
    database: str, site: Site, clock: Clock, path: str
) -> None:
    fill_history(database)
    rows(database, "select soniq.enqueue('work', queue => 'mail')")
    queue = "mail" if "mail" in path else None
    for span, length in LENGTHS.items():
        page = site.page(f"{path}{'&' if '?' in path else '?'}span={span}")
        history = records(
            database,
            "select * from soniq.history(length => %s, queue => %s) where not is_whole",
            length,
            queue,
        )
        figures = {text(one(each, ".//span[@class='title']")): each for each in page.iter("figure")}
        step = {"hour": "a minute", "day": "in ten minutes", "week": "an hour"}[span]
        drawn = {
            f"Jobs done {step}": [("done", "done", column(history, "done"))],
            f"Failures {step}": [
                ("given up", "dead", column(history, "dead")),
                (
                    "to be retried",
                    "failed",
                    [both and both[0] - both[1] for both in failed(history)],
                ),
            ],
            "Wait until started": [
                ("p95", "p95", seconds(history, "wait_p95")),
                ("median", "p50", seconds(history, "wait_p50")),
            ],
        }
        if queue:
            drawn["Ready at most"] = [("ready", "ready", column(history, "most_ready"))]
        assert set(figures) == set(drawn)
        for title, series in drawn.items():
            is_time = title == "Wait until started"
            written, axis = (duration, duration) if is_time else (number, short_number)
            figure = figures[title]
            columns = [values for _, _, values in series]
            told = [
                [
                    f"{moment['began_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
                    *map(written, values),
                ]
                for moment, *values in zip(history, *columns, strict=True)
            ]
            assert table(figure) == told[::-1], title
            hovered = texts(figure, ".//rect[@class='column']/title")
            assert hovered == [
                " ".join(
                    [row[0].replace(":00 UTC", " UTC")]
                    + [
                        f"{name}: {value}"
                        for (name, _, _), value in zip(series, row[1:], strict=True)
                    ]
                )
                for row in told
            ]
            known = [
                [value for value in values if value is not None]
                for values in zip(*columns, strict=True)
            ]
            top = on_axis(max(max(each, default=0) if is_time else sum(each) for each in known))
            assert texts(figure, ".//span[@class='axis']/span") == [axis(top), "0"]
            below = [0.0] * len(history)
            for _, shade, values in series:
                expected = {
                    index: value / top
                    for index, value in enumerate(values)
                    if value is not None and (value or is_time)
                }
                if is_time:
                    shown = points(figure, shade, len(history))
                else:
                    tops, shown = bars(figure, shade, len(history))
                    on_others = {index: below[index] + each for index, each in expected.items()}
                    assert tops == pytest.approx(on_others, abs=0.001), (title, shade)
                    below = [expected.get(index, 0) + each for index, each in enumerate(below)]
                assert shown == pytest.approx(expected, abs=0.001), (title, shade)


def column(history: Sequence[dict[str, Any]], name: str) -> list[Any]:
    """What the history tells of one thing, moment by moment."""
    return [each[name] for each in history]


def seconds(history: Sequence[dict[str, Any]], name: str) -> list[float | None]:
    return [each[name] and each[name].total_seconds() for each in history]


def failed(history: Sequence[dict[str, Any]]) -> list[tuple[int, int] | None]:
    return [None if each["failed"] is None else (each["failed"], each["dead"]) for each in history]


# A job's timeline.


def timeline(page: Element) -> list[str]:
    """What has happened to a job, line by line; the end of the line is when, in UTC."""
    events = texts(page, ".//ol[@class='timeline']/li/div[@class='line']")
    return [re.sub(r" ?2031-01-01 (\d\d:\d\d:\d\d) UTC", r" at \1", each) for each in events]


def claimed(url: str, runner: int) -> tuple[int, int]:
    """The lease of the job that a runner gets."""
    [(job_id, attempt)] = rows(url, "select job_id, attempt from soniq.claim(%s)", runner)
    return job_id, attempt


def test_a_timeline_tells_each_attempt_in_order(database: str, site: Site, clock: Clock) -> None:
    rows(database, "select soniq.configure_queue('mail', max_attempts => 3)")
    [(first,), (other,)] = rows(
        database,
        """
        select soniq.register_runner('vm' || n, pid => 7, heartbeat_timeout => '10 min')
        from generate_series(1, 2) as n
        """,
    )
    [(job,)] = rows(database, "select soniq.enqueue('work', queue => 'mail', delay => '1 minute')")
    path = f"/jobs/{job}"
    assert timeline(site.page(path)) == [
        "Enqueued at 12:00:00",
        "Due in the queue mail at 12:01:00",
    ]

    clock.wait("90 s")
    lease = claimed(database, first)
    assert timeline(site.page(path)) == [
        "Enqueued at 12:00:00",
        f"Attempt 1 began by runner {first} at 12:01:30",
        "Has to be over or it is taken back at 12:06:30",
    ]
    runner = links(one(site.page(path), ".//section[@aria-labelledby='facts']"))["vm1:7"]
    assert text(one(site.page(runner), ".//h2")) == "alive vm1:7"

    clock.wait("5 s")
    error = {"type": "ValueError", "message": "no luck", "traceback": "Traceback:\n  in work"}
    rows(database, "select soniq.fail(%s, %s, %s)", *lease, json.dumps(error))
    [(due,)] = rows(database, "select to_char(scheduled_at, 'HH24:MI:SS') from soniq.jobs")
    page = site.page(path)
    failure = [
        "Attempt 1 began on vm1:7 at 12:01:30",
        "Attempt 1 failed after 5.0 s at 12:01:35",
    ]
    assert timeline(page) == [
        "Enqueued at 12:00:00",
        *failure,
        f"To be retried in the queue mail at {due}",
    ]
    told = one(page, ".//ol[@class='timeline']/li[3]")
    assert text(one(told, "./div[@class='error']")) == "ValueError no luck"
    assert text(one(told, "./details/summary")) == "Traceback of attempt 1"
    assert "".join(one(told, ".//pre").itertext()) == error["traceback"]

    # The runner is lost, and the job taken back.
    rows(database, "select soniq.retry(%s), soniq.heartbeat(%s)", job, first)
    clock.wait("25 s")
    claimed(database, first)
    clock.wait("11 minutes")
    rows(database, "select soniq.heartbeat(%s), soniq.tick()", other)
    failure += ["Attempt 2 began on vm1:7 at 12:02:00", "Attempt 2 failed after 11 min at 12:13:00"]
    page = site.page(path)
    assert timeline(page) == [
        "Enqueued at 12:00:00",
        *failure,
        "To be retried in the queue mail at 12:13:00",
    ]
    lost = text(one(page, ".//ol[@class='timeline']/li[5]/div[@class='error']"))
    assert lost.endswith("runner lost")

    # A snooze spends no attempt and leaves no trace but the number of the next.
    lease = claimed(database, other)
    rows(database, "select soniq.snooze(%s, %s, '10 s')", *lease)
    clock.wait("20 s")
    assert timeline(site.page(path)) == [
        "Enqueued at 12:00:00",
        *failure,
        "To be retried in the queue mail at 12:13:10",
    ]
    lease = claimed(database, other)
    clock.wait("1 s")
    rows(database, "select soniq.complete(%s, %s)", *lease)
    page = site.page(path)
    assert timeline(page) == [
        "Enqueued at 12:00:00",
        *failure,
        f"Attempt 4 began by runner {other} at 12:13:20",
        "Done after 1.0 s at 12:13:21",
    ]
    assert pairs(page)["Attempts"] == "4 of 4"
    assert pairs(page)["Runner"] == "vm2:7"
    rows(database, "delete from soniq.runners")
    assert pairs(site.page(path))["Runner"] == f"{other}, no longer on the list"


def test_a_timeline_tells_where_a_job_came_from_and_how_it_ended(
    database: str, site: Site, clock: Clock
) -> None:
    rows(database, "select soniq.schedule('nightly', job_name => 'work', every => '1 hour')")
    [(of_schedule,)] = rows(database, "select soniq.run_schedule_now('nightly')")
    [(runner,)] = rows(database, "select soniq.register_runner('vm')")
    clock.wait("1 s")
    rows(
        database,
        "select soniq.fail(%s, %s, '{\"type\": \"Bad\"}', 'permanent_failure')",
        *claimed(database, runner),
    )
    page = site.page(f"/jobs/{of_schedule}")
    assert timeline(page) == [
        "Enqueued by the schedule nightly at 12:00:00",
        "Attempt 1 began on vm:0 at 12:00:01",
        "Attempt 1 failed after 0 s at 12:00:01",
        "Given up permanent failure at 12:00:01",
    ]
    assert (
        text(one(page, ".//ol[@class='timeline']/li[3]/div[@class='error']"))
        == "Bad permanent failure"
    )
    facts = pairs(page)
    assert facts["Schedule"] == "nightly, due 2031-01-01 12:00:00 UTC"
    assert facts["Replayed"] == "never"
    schedule = site.page(links(page)["nightly"])
    assert text(one(schedule, ".//h1")) == "active nightly"

    clock.wait("1 minute")
    [(replay,)] = rows(
        database,
        "select job_id from soniq.replay_dead_letters(ids => array[%s::bigint])",
        of_schedule,
    )
    page = site.page(f"/jobs/{of_schedule}")
    assert f"as job {replay} (queued)" in pairs(page)["Replayed"]
    page = site.page(links(page)[str(replay)])
    assert timeline(page)[0] == f"Enqueued as a replay of dead letter {of_schedule} at 12:01:01"
    assert pairs(page)["Replay of"] == f"dead letter {of_schedule}"
    assert links(page)[str(of_schedule)] == f"/jobs/{of_schedule}"

    clock.wait("1 minute")
    rows(database, "select soniq.cancel(%s)", replay)
    assert timeline(site.page(f"/jobs/{replay}"))[1:] == ["Cancelled at 12:02:01"]
    assert "(cancelled)" in pairs(site.page(f"/jobs/{of_schedule}"))["Replayed"]


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


def test_runners_tell_when_they_were_heard_of_and_what_they_have_at_work(
    database: str, site: Site, clock: Clock
) -> None:
    quiet = hold(database, "quiet", 1, "10 minutes")
    clock.wait("150 s")
    busy = hold(database, "busy", 1, "20 minutes")
    clock.wait("30 s")
    rows(database, "select soniq.enqueue('later', queue => 'busy')")
    rows(database, "select soniq.claim(%s, queues => '{busy}')", busy)
    clock.wait("42 s")
    rows(database, "select soniq.heartbeat(%s)", busy)
    clock.wait("3 s")

    page = site.page("/runners")
    assert texts(page, ".//h2") == ["silent quiet:7", "alive busy:7"], "the worst first"
    cards = {card.get("id"): card for card in page.findall(".//ul[@class='runner-cards']/li")}
    silent, alive = cards[f"runner-{quiet}"], cards[f"runner-{busy}"]
    assert text(one(silent, "p")).startswith(
        "Heard of 3 min 45 s ago · up since 2031-01-01 12:00:00 UTC"
    )
    assert text(one(alive, "p")).startswith("Heard of 3.0 s ago · up since 2031-01-01 12:02:30 UTC")
    assert text(one(alive, ".//span[@class='count']")) == "2 of 1,000 slots in use"
    assert [row[:5] for row in table(silent)] == [["1", "work", "quiet", "1/10", "3 min 45 s"]]
    assert [row[:5] for row in table(alive)] == [
        ["2", "work", "busy", "1/10", "1 min 15 s"],
        ["3", "later", "busy", "1/10", "45 s"],
    ]
    deadlines = [
        each.get("datetime") for each in alive.findall(".//td[@data-label='deadline']/time")
    ]
    assert deadlines == ["2031-01-01T12:22:30.000Z", "2031-01-01T12:08:00.000Z"]

    told = {each["host"]: each for each in site.get("/api/runners").json()["runners"]}
    assert (told["quiet"]["state"], told["quiet"]["silent_for"]) == ("silent", 225.0)
    assert (told["busy"]["state"], told["busy"]["silent_for"]) == ("alive", 3.0)
    assert [(job["id"], job["running_for"]) for job in told["busy"]["jobs"]] == [
        ("2", 75.0),
        ("3", 45.0),
    ]


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
    assert re.search(
        r"Slots in use were counted 4\d s ago. What is at work is as of now.", text(page)
    )


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


def test_a_schedule_tells_its_next_runs_by_both_clocks_and_its_last_ones(
    database: str, site: Site, clock: Clock
) -> None:
    clock.wait("86 days")  # three days before clocks in London go forward
    rows(
        database,
        "select soniq.schedule('report', cron => '30 3 * * *', timezone => 'Europe/London', queue => 'reports')",
    )
    page = site.page("/schedule?name=report")
    upcoming = one(page, ".//section[@aria-labelledby='next']")
    assert texts(upcoming, ".//th")[:2] == ["Here", "Europe/London"]
    assert [row[:2] for row in table(upcoming)][:5] == [
        ["2031-03-29 03:30:00 UTC", "Sat 2031-03-29 03:30:00"],
        ["2031-03-30 02:30:00 UTC", "Sun 2031-03-30 03:30:00"],
        ["2031-03-31 02:30:00 UTC", "Mon 2031-03-31 03:30:00"],
        ["2031-04-01 02:30:00 UTC", "Tue 2031-04-01 03:30:00"],
        ["2031-04-02 02:30:00 UTC", "Wed 2031-04-02 03:30:00"],
    ]
    assert len(table(upcoming)) == 10
    assert text(one(page, ".//section[@aria-labelledby='last']/p")).startswith("None is known")
    [(runner,)] = rows(
        database, "select soniq.register_runner('vm', heartbeat_timeout => '20 days')"
    )
    for until_due in ("15 hours 30 minutes 1 s", "22 hours 59 minutes 58 s"):
        clock.wait(until_due)
        rows(database, "select soniq.tick()")
        lease = claimed(database, runner)
        clock.wait("2 s")
        rows(database, "select soniq.complete(%s, %s)", *lease)
    clock.wait("23 hours 59 minutes 58 s")
    rows(database, "select soniq.tick()")

    page = site.page("/schedule?name=report")
    assert table(one(page, ".//section[@aria-labelledby='last']")) == [
        ["3", "queued", "2031-03-31 02:30:00 UTC", NONE, NONE],
        ["2", "done", *(f"2031-03-30 02:{at} UTC" for at in ("30:00", "30:01", "30:03"))],
        ["1", "done", *(f"2031-03-29 03:{at} UTC" for at in ("30:00", "30:01", "30:03"))],
    ]
    assert links(page)["3"] == "/jobs/3"


# Dead letters.


def test_a_group_of_dead_letters_tells_since_when_and_until_when(
    database: str, site: Site, clock: Clock
) -> None:
    bury(database, 2, error="no such address")
    clock.wait("2 hours")
    bury(database, 1, error="no such address")
    bury(database, 1, job="bills", error="no money")
    clock.wait("90 s")
    latest = bury(database, 1, error="no such address")

    [mail, bills] = site.get("/api/dead-letters/groups").json()["groups"]
    assert (mail["letters"], bills["letters"]) == (4, 1)
    assert (mail["first_at"], mail["last_at"]) == ("2031-01-01T12:00:00Z", "2031-01-01T14:01:30Z")
    assert (bills["first_at"], bills["last_at"]) == ("2031-01-01T14:00:00Z", "2031-01-01T14:00:00Z")
    assert mail["latest_id"] == str(latest[0])

    page = site.page("/dead-letters")
    cards = page.findall(".//ul[@class='group-cards']/li")
    assert [text(one(card, ".//h2")) for card in cards] == ["mail", "bills"]
    shown = [[each.get("title") for each in card.iter("time")] for card in cards]
    assert shown == [
        ["2031-01-01 12:00:00.000 UTC", "2031-01-01 14:01:30.000 UTC"],
        ["2031-01-01 14:00:00.000 UTC", "2031-01-01 14:00:00.000 UTC"],
    ]
    for card, letters, share in zip(cards, (4, 1), ("80%", "20%"), strict=True):
        assert (
            text(one(card, ".//span[@class='count']")) == f"{letters} dead letters, {share} of all"
        )
        assert re.match(
            rf"{share} of all · first .* · last .* · latest \d+",
            text(one(card, ".//span[@class='muted']")),
        )
    overview = one(site.page("/"), ".//section[@aria-labelledby='failing']")
    assert texts(overview, ".//li/div[@class='line']") == ["mail4", "bills1"]
    assert [each.get("title") for each in overview.iter("time")] == [
        time for pair in shown for time in pair
    ]


# Lists.


def texts_in(source: Path) -> Iterator[str]:
    """All texts in a module, and the fixed parts of f-strings, but not its docstrings."""
    tree = ast.parse(source.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.value


def test_no_list_skips_what_it_has_shown_by_counting() -> None:
    sources = list((ROOT / "runner/soniq/dashboard").rglob("*.py"))
    parts = [each for source in sources for each in texts_in(source)]
    assert any("order by job.id desc" in each for each in parts)
    assert [each for each in parts if re.search(r"\boffset\b", each, re.IGNORECASE)] == []
