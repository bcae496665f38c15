"""Cron against others that know it: the package cronsim, and an oracle that walks the clock minute by minute.

What is meant by an expression is in tests/sql/cron.sql; here are the many cases that nobody would write down.
"""

import random
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import pytest
from conftest import rows
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

ZONES = [
    "UTC",
    "Europe/London",
    "Europe/Dublin",  # winter is the time that is saved
    "America/New_York",
    "America/Santiago",  # at midnight
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kathmandu",  # never, 5:45 ahead
    "Africa/Casablanca",  # around Ramadan
    "Antarctica/Troll",  # by two hours
    "Pacific/Apia",  # had no 30 December 2011
]
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Question = tuple[str, datetime, str]  # expression, after, time zone


def cron_next(database: str, questions: Sequence[Question]) -> list[datetime | None]:
    """Asks Soniq, some thousands at a time."""
    answers: list[datetime | None] = []
    for start in range(0, len(questions), 5000):
        expressions, instants, zones = zip(*questions[start : start + 5000], strict=True)
        found = rows(
            database,
            """
            select soniq.cron_next(question.expression, question.after, question.timezone)
            from unnest(%s::text[], %s::timestamptz[], %s::text[])
              with ordinality as question (expression, after, timezone, number)
            order by question.number
            """,
            *(list(expressions), list(instants), list(zones)),
        )
        answers += [answer for (answer,) in found]
    return answers


# The oracle. It takes the rule as it is written: look at the clock on the wall, every minute.


class Fields(NamedTuple):
    """What an expression without names, backward ranges and the like allows."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    both_days: bool

    @property
    def follows_clock(self) -> bool:
        return len(self.hours) == 24

    def match(self, local: datetime) -> bool:
        """Whether it allows some second of a minute."""
        if not (
            local.minute in self.minutes and local.hour in self.hours and local.month in self.months
        ):
            return False
        day = local.day in self.days
        weekday = local.isoweekday() % 7 in self.weekdays
        return (day and weekday) if self.both_days else (day or weekday)


@cache
def parse(expression: str) -> Fields:
    texts = expression.split()
    if len(texts) == 5:
        texts = ["0", *texts]
    limits = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
    sets = [frozenset(_values(text, *limit)) for text, limit in zip(texts, limits, strict=True)]
    seconds, minutes, hours, days, months, weekdays = sets
    return Fields(
        seconds=seconds,
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=frozenset(weekday % 7 for weekday in weekdays),
        both_days=texts[3].startswith("*") or texts[5].startswith("*"),
    )


def _values(text: str, lowest: int, highest: int) -> Iterable[int]:
    for entry in text.split(","):
        span, _, step = entry.partition("/")
        first, _, last = span.partition("-")
        if first == "*":
            first, last = str(lowest), str(highest)
        yield from range(int(first), int(last or (highest if step else first)) + 1, int(step or 1))


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


class Clock:
    """The clock on the wall from `start` to `until`. It begins hours before what is asked.

    Clocks change at whole minutes, so the seconds of a minute go together.
    """

    def __init__(self, zone: str, start: datetime, until: datetime) -> None:
        info = ZoneInfo(zone)
        self.shown = [
            (instant, _local(instant, info))
            for instant in (start + number * MINUTE for number in range((until - start) // MINUTE))
        ]

    def fires(self, fields: Fields) -> list[datetime]:
        found: set[datetime] = set()
        fired: set[datetime] = set()
        before = self.shown[0][1] - MINUTE
        for instant, local in self.shown:
            if fields.match(local) and (fields.follows_clock or local not in fired):
                found.update(instant + second * SECOND for second in fields.seconds)
                fired.add(local)
            if local - before > MINUTE and not fields.follows_clock:
                count = (local - before) // MINUTE
                if any(fields.match(before + number * MINUTE) for number in range(1, count)):
                    found.add(instant)
            before = local
        return sorted(found)


def transitions(zone: str, start: datetime, until: datetime) -> list[datetime]:
    """When the clocks change, to the second."""
    info = ZoneInfo(zone)
    found = []
    instant = start
    while instant < until:
        low, high = instant, instant + 6 * HOUR
        old = _local(low, info) - low.replace(tzinfo=None)
        if _local(high, info) - high.replace(tzinfo=None) != old:
            while high - low > SECOND:
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                if _local(middle, info) - middle.replace(tzinfo=None) == old:
                    low = middle
                else:
                    high = middle
            found.append(high)
        instant += 6 * HOUR
    return found


@pytest.fixture(scope="session")
def changes() -> dict[str, list[datetime]]:
    """When the clocks change from 2024 to 2030, and in the years when Apia crossed the date line."""
    years = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC))
    found = {zone: transitions(zone, *years) for zone in ZONES}
    found["Pacific/Apia"] += transitions(
        "Pacific/Apia", datetime(2011, 1, 1, tzinfo=UTC), datetime(2012, 12, 31, tzinfo=UTC)
    )
    return found


def test_postgresql_and_python_know_the_same_time_zones(
    database: str, changes: dict[str, list[datetime]]
) -> None:
    """If they do not, one has an older tzdata, and the tests below fail for that reason alone."""
    asked = [
        (zone, instant)
        for zone, all_of_them in changes.items()
        for change in all_of_them
        for instant in (change - SECOND, change)
    ]
    found = rows(
        database,
        """
        select asked.instant at time zone asked.zone
        from unnest(%s::text[], %s::timestamptz[]) with ordinality as asked (zone, instant, number)
        order by asked.number
        """,
        *([zone for zone, _ in asked], [instant for _, instant in asked]),
    )
    assert [local for (local,) in found] == [
        _local(instant, ZoneInfo(zone)) for zone, instant in asked
    ]


AROUND_A_CHANGE = [
    "0 0 * * *",
    "30 1 * * *",
    "15 2 * * *",
    "30 2 * * *",
    "30 23 * * *",
    "0,30 1-3 * * *",
    "*/15 2 * * *",
    "* 1 * * *",
    "0 */2 * * *",
    "45 1-23/2 * * *",
    "30 2 * * 0",
    "0 0 * * 1-5",
    "30 1 */2 * 6-7",
    "20 2 1-7 3,4,10 0",
    "0 * * * *",
    "30 * * * *",
    "*/15 * * * *",
    "10 0-23 * * 0",
    "50 * * * 6",
    "15 30 2 * * *",
    "*/30 59 1,2 * * *",
    "45 29 0-3 * * *",
    "*/15 * * * * *",
    "30 */20 * * * 0,6",
]


def test_what_fires_around_each_change_of_the_clocks(
    database: str, changes: dict[str, list[datetime]]
) -> None:
    questions: list[Question] = []
    expected: list[tuple[datetime | None, datetime]] = []
    for zone, all_of_them in changes.items():
        for change in all_of_them:
            until = change + 8 * HOUR
            clock = Clock(zone, change - 6 * HOUR, until)
            for expression in AROUND_A_CHANGE:
                fires = clock.fires(parse(expression))
                for after in [
                    *(change + minutes * MINUTE for minutes in range(-150, 151, 50)),
                    *(change - SECOND, change - timedelta(microseconds=1), change + SECOND),
                ]:
                    questions.append((expression, after, zone))
                    expected.append(([*fires, None][bisect_right(fires, after)], until))
    wrong = [
        (*question, found, wanted)
        for question, found, (wanted, until) in zip(
            questions, cron_next(database, questions), expected, strict=True
        )
        if found is None or (found < until if wanted is None else found != wanted)
    ]
    assert len(questions) > 20_000
    assert wrong == []


# cronsim.


def _random_field(chance: random.Random, lowest: int, highest: int, restricted: float) -> str:
    if chance.random() > restricted:
        return "*"

    def value() -> int:
        return chance.randint(lowest, highest)

    def entry() -> str:
        kind = chance.randrange(6)
        first, last = sorted((value(), value()))
        step = chance.randint(1, (highest - lowest) // 2 + 1)
        if kind == 0:
            return f"*/{step}"
        if kind == 1:
            return f"{first}-{last}"
        if kind == 2:
            return f"{first}-{last}/{step}"
        if kind == 3:
            return f"{first}/{step}"
        return str(first)

    return ",".join(entry() for _ in range(chance.choice((1, 1, 1, 2, 3))))


def _random_expression(chance: random.Random) -> str:
    fields = [
        _random_field(chance, 0, 59, 0.8),
        _random_field(chance, 0, 23, 0.7),
        _random_field(chance, 1, 31, 0.2),
        _random_field(chance, 1, 12, 0.1),
        _random_field(chance, 0, 7, 0.3),
    ]
    if chance.random() < 0.1:
        fields.insert(0, _random_field(chance, 0, 59, 0.9))
    return " ".join(fields)


def _random_question(chance: random.Random, changes: dict[str, list[datetime]]) -> Question:
    zone = chance.choice(ZONES)
    if changes[zone] and chance.random() < 0.6:
        after = chance.choice(changes[zone]) + chance.randint(-30 * 3600, 4 * 3600) * SECOND
    else:
        after = datetime(2024, 1, 1, tzinfo=UTC) + chance.randint(0, 7 * 365 * 86400) * SECOND
    if chance.random() < 0.3:
        after += timedelta(microseconds=chance.randrange(1_000_000))
    return _random_expression(chance), after, zone


def _cronsim(expression: str, after: datetime, zone: str) -> tuple[datetime | None, bool]:
    """The instant that cronsim says, and whether it says so in a local time that there is."""
    try:
        local = next(
            CronSim(expression, after.astimezone(UTC if zone == "UTC" else ZoneInfo(zone)))
        )
    except (CronSimError, StopIteration):
        return None, True
    instant = local.astimezone(UTC)
    return instant, local.replace(tzinfo=None, fold=0) == _local(instant, ZoneInfo(zone))


def _cronsim_follows_clock(expression: str) -> bool:
    fields = expression.split()
    return len(fields) == 6 or fields[0].startswith("*") or fields[1].startswith("*")


def _changes_between(zone: str, earlier: datetime, later: datetime) -> bool:
    tz = ZoneInfo(zone)
    return earlier.astimezone(tz).utcoffset() != later.astimezone(tz).utcoffset()


def _oracle_agrees(question: Question, found: datetime | None, theirs: datetime | None) -> bool:
    """The oracle looks for two days, from an hour before the earlier of the two, and no further."""
    expression, after, zone = question
    earlier = min(answer for answer in (found, theirs) if answer is not None)
    start = max(after, earlier - HOUR)
    begin = (start - 5 * HOUR).replace(second=0, microsecond=0)
    until = begin + 2 * DAY
    fires = Clock(zone, begin, until).fires(parse(expression))
    wanted = [*fires, None][bisect_right(fires, start)]
    if wanted is None:
        return found is None or found >= until
    return found == wanted


# A case of each reason for which cronsim differs, so that none is looked for in vain.
DIFFERING: list[Question] = [
    ("*/15 2 * * *", datetime(2026, 3, 7, 12, tzinfo=UTC), "America/New_York"),
    ("45 1 * * *", datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "Europe/London"),
    ("0 5-5/6 * * *", datetime(2026, 1, 1, 6, tzinfo=UTC), "UTC"),
    ("* * 30 * *", datetime(2011, 12, 29, 22, tzinfo=UTC), "Pacific/Apia"),
    ("52 * * * *", datetime(2024, 4, 6, 14, 52, 45, tzinfo=UTC), "Australia/Lord_Howe"),
]


def test_cronsim_says_the_same_or_is_known_to_differ(
    database: str, changes: dict[str, list[datetime]]
) -> None:
    """Wherever they differ, the oracle has to agree with Soniq, and one of the known reasons to apply.

    1. cronsim follows Debian's cron, where an expression with a * at the start of its minute or hour follows the clock,
       and others are lists of times; it has all with seconds follow the clock. With Soniq the hours decide: all of them
       is hourly or finer. By Debian's rule, */15 2 * * * would not run at all in the night that has no two o'clock,
       and 0 0-23 * * * not in the repeated hour, although it is 0 * * * *.
    2. cronsim drops what tells the second of two times from the first, so that from half past one the second time its
       next quarter to two is the first one: before the time that was asked about.
    3. cronsim reads 5-5/6 as 5/6, which is 5-59/6. A range ends where it says, here and in Debian's cron.
    4. cronsim begins a day at 00:00 also where there is no such time, and takes that for a match: 30 December 2011 in
       Apia, which was not.
    5. cronsim moves the minute hand on to the next match as if no change ever touched it. On Lord Howe Island clocks go
       are changed by half an hour: what is due at 52 minutes past is due half an hour later again.
    """
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    questions = DIFFERING + [_random_question(chance, changes) for _ in range(20_000)]
    reasons: Counter[str] = Counter()
    unexplained = []
    for question, found in zip(questions, cron_next(database, questions), strict=True):
        expression, after, zone = question
        theirs, exists = _cronsim(*question)
        if found == theirs:
            reasons["none"] += 1
            continue
        fields = parse(expression)
        if fields.follows_clock != _cronsim_follows_clock(expression):
            reason = "another rule"
        elif theirs is not None and theirs <= after:
            reason = "not later"
        elif re.search(r"\b(\d+)-\1/", expression):
            reason = "range of one"
        elif not exists:
            reason = "no such time"
        elif zone == "Australia/Lord_Howe" and theirs and _changes_between(zone, after, theirs):
            reason = "half an hour"
        else:
            reason = ""
        if not reason or not _oracle_agrees(question, found, theirs):
            unexplained.append((*question, found, theirs, reason))
        reasons[reason] += 1
    print(reasons)
    assert unexplained == [], f"seed {seed}"
    assert set(reasons) == {
        "none",
        "another rule",
        "not later",
        "range of one",
        "no such time",
        "half an hour",
    }
    assert reasons["none"] > 0.9 * len(questions)


# Whatever the expression.


@st.composite
def _fields(draw: st.DrawFn, lowest: int, highest: int) -> str:
    """Values, ranges and steps of one field, simple ones first."""
    value = st.integers(lowest, highest)
    entry = st.one_of(
        st.just("*"),
        value.map(str),
        st.tuples(value, value).map(lambda ends: "{}-{}".format(*sorted(ends))),
        st.integers(1, highest).map("*/{}".format),
        st.tuples(value, st.integers(1, highest)).map(lambda parts: "{}/{}".format(*parts)),
    )
    return ",".join(draw(st.lists(entry, min_size=1, max_size=3)))


EXPRESSIONS = st.tuples(
    st.one_of(st.just(""), _fields(0, 59)),
    _fields(0, 59),
    _fields(0, 23),
    _fields(1, 31),
    _fields(1, 12),
    _fields(0, 7),
).map(lambda fields: " ".join(fields).strip())


def test_a_fire_is_the_next_one_from_every_instant_before_it(
    database: str, changes: dict[str, list[datetime]]
) -> None:
    """It is later than that instant, it matches or ends a gap, and there is none between."""
    instants = st.one_of(
        *(
            st.tuples(
                st.just(zone),
                st.builds(
                    lambda change, microseconds: change + timedelta(microseconds=microseconds),
                    st.sampled_from(changes[zone] or [datetime(2024, 2, 29, tzinfo=UTC)]),
                    st.integers(-2 * 86_400_000_000, 86_400_000_000),
                ),
            )
            for zone in ZONES
        )
    )
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("set timezone = 'America/New_York'")  # which must not matter

        def ask(expression: str, after: datetime, zone: str) -> datetime | None:
            row = connection.execute(
                "select soniq.cron_next(%s, %s, %s)", (expression, after, zone)
            ).fetchone()
            assert row is not None
            answer: datetime | None = row[0]
            return answer and answer.astimezone(UTC)

        @settings(max_examples=150, deadline=None)
        @given(EXPRESSIONS, instants, st.floats(0, 1, exclude_max=True))
        def check(expression: str, instant: tuple[str, datetime], part: float) -> None:
            zone, after = instant
            fire = ask(expression, after, zone)
            if fire is None:
                return
            assert fire > after
            between = after + (fire - after) * part
            if between < fire:
                assert ask(expression, between, zone) == fire
            assert ask(expression, fire - timedelta(microseconds=1), zone) == fire
            info = ZoneInfo(zone)
            shown = _local(fire, info)
            ends_a_gap = shown - _local(fire - SECOND, info) > SECOND
            assert parse(expression).match(shown) or (
                ends_a_gap and not parse(expression).follows_clock
            )

        check()


def test_what_never_fires_is_null_at_once(database: str) -> None:
    never = [
        f"* * {days} {months} {weekdays}"
        for days, months in [
            ("30", "2"),
            ("30,31", "2"),
            ("31", "4,6,9,11"),
            ("31", "2-6/2"),
            ("30-31", "2/12"),
        ]
        for weekdays in ["*", "*/2"]
    ]
    assert rows(
        database,
        """
        select never.expression
        from unnest(%s::text[]) as never (expression)
        cross join unnest(%s::text[]) as zone (name)
        where soniq.cron_next(never.expression, timezone => zone.name) is not null
        """,
        *(never, ZONES),
    ) == []  # fmt: skip


@pytest.mark.parametrize(
    "texts",
    [
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        st.text("0123456789 */-,"),
        st.lists(st.text("0123456789*/-,", min_size=1, max_size=6), min_size=5, max_size=6).map(
            " ".join
        ),
        st.lists(
            st.sampled_from(
                [
                    "*",
                    "1",
                    "59",
                    "60",
                    "0",
                    "-1",
                    "*/0",
                    "*/99999999999",
                    "1-5",
                    "5-1",
                    "mon",
                    "jan-DEC",
                    "L",
                    "?",
                    "5#1",
                    "@daily",
                    "1e3",
                ]
            ),
            min_size=5,
            max_size=6,
        ).map(" ".join),
    ],
    ids=["any text", "cron's characters", "five or six fields", "likely mistakes"],
)
def test_no_text_raises_anything_but_a_refusal(
    database: str, texts: st.SearchStrategy[str]
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("set statement_timeout = '5 s'")

        @settings(max_examples=300, deadline=None)
        @given(texts)
        def check(text: str) -> None:
            try:
                connection.execute(
                    "select soniq.cron_next(%s, timezone => 'Europe/London')", (text,)
                )
            except psycopg.Error as error:
                assert error.sqlstate == "SQ017"  # noqa: PT017 - what is right raises nothing

        check()
