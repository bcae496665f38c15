"""Arguments and annotations: what is checked when a job is enqueued and when it runs, and what is converted."""

import asyncio
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pydantic
import pytest
from conftest import StartRunner, WriteJobs, rows
from soniq import Soniq, SoniqError
from soniq.arguments import Unfit, make_converter
from test_misbehaving import run


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Address(pydantic.BaseModel):
    street: str
    number: int


@dataclass
class Point:
    x: int


def converted(annotation: Any, value: Any) -> Any:
    converter = make_converter(annotation, "here")
    return value if converter is None else converter(value)


A_UUID = "00000000-0000-0000-0000-00000000002a"


@pytest.mark.parametrize(
    ("annotation", "given", "wanted"),
    [
        (int, 1, 1),
        (float, 1, 1.0),
        (float, 0.5, 0.5),
        (str, "1", "1"),
        (bool, True, True),
        (None, None, None),
        (Any, {"a": 1}, {"a": 1}),
        (object, 1, 1),
        ("Unresolved", 1, 1),
        (list, [1, "a"], [1, "a"]),
        (dict, {"a": 1}, {"a": 1}),
        (list[int], [1, 2], [1, 2]),
        (list[Any], [1, "a"], [1, "a"]),
        (dict[str, date], {"a": "2031-02-03"}, {"a": date(2031, 2, 3)}),
        (int | None, None, None),
        (int | None, 3, 3),
        (list[UUID | None], [A_UUID, None], [UUID(A_UUID), None]),
        (date | str, "2031-02-03", date(2031, 2, 3)),
        (date | str, "some day", "some day"),
        (datetime, "2031-02-03T04:05:06Z", datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)),
        (time, "04:05", time(4, 5)),
        (Decimal, "1.10", Decimal("1.10")),
        (Decimal, 1.1, Decimal("1.1")),
        (UUID, A_UUID, UUID(A_UUID)),
        (Colour, "blue", Colour.BLUE),
        (Literal["a", 1], 1, 1),
        (Annotated[int, "a remark"], 1, 1),
        # Beyond the basics, so pydantic's.
        (set[int], [1, 1], {1}),
        (tuple[int, str], [1, "a"], (1, "a")),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (Address, {"street": "High", "number": 1}, Address(street="High", number=1)),
        (list[Point], [{"x": 1}], [Point(1)]),
    ],
)
def test_what_fits_is_converted(annotation: Any, given: Any, wanted: Any) -> None:
    answer = converted(annotation, given)
    assert answer == wanted
    assert type(answer) is type(wanted)


@pytest.mark.parametrize(
    ("annotation", "given", "message"),
    [
        (int, True, "is True (bool), not an int"),
        (int, 1.0, "is 1.0 (float), not an int"),
        (int, "1", "is '1' (str), not an int"),
        (int, None, "is None (null), not an int"),
        (float, "1", "is '1' (str), not a number"),
        (float, 10**400, "too large for a float"),
        (str, 1, "is 1 (int), not a str"),
        (bool, 1, "is 1 (int), not a bool"),
        (list[int], {"a": 1}, "is {'a': 1} (dict), not a list"),
        (list[int], [1, "a"], "at [1] is 'a' (str), not an int"),
        (dict[str, list[int]], {"a": [None]}, "at ['a'] at [0] is None (null), not an int"),
        (int | None, "a", "is 'a' (str), not an int"),
        (int | str, None, "is None (null), not int | str"),
        (datetime, "tomorrow", "is 'tomorrow' (str), not a datetime as text"),
        (date, 20310203, "is 20310203 (int), not a date as text"),
        (UUID, "42", "is '42' (str), not a UUID as text"),
        (Decimal, "ten", "is 'ten' (str), not a Decimal as text"),
        (Colour, "green", "is 'green' (str), not one of 'red', 'blue'"),
        (Colour, {}, "is {} (dict), not one of"),
        (Literal["a", 1], True, "is True (bool), not one of 'a', 1"),
        (str, ["x" * 200], "xxx... (list), not a str"),
        (Address, {"street": "High"}, "not Address: ['number'] Field required"),
        (Annotated[int, pydantic.Field(gt=0)], 0, "Input should be greater than 0"),
    ],
)
def test_what_does_not_fit_is_told(annotation: Any, given: Any, message: str) -> None:
    with pytest.raises(Unfit) as refusal:
        converted(annotation, given)
    assert message in str(refusal.value)


def test_without_pydantic_models_are_refused_and_the_rest_is_taken_as_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    app = Soniq()
    for annotation in (Point, list[Point], Point | None):

        async def move(to: Any) -> None:
            pass

        move.__annotations__["to"] = annotation
        with pytest.raises(
            SoniqError, match=r"the parameter to is annotated with .*Point.* install"
        ) as e:
            app.job(move)
        assert "soniq[pydantic]" in str(e.value)
    assert converted(set[int], [1]) == [1]
    assert converted(Annotated[int, "a remark"], 1) == 1


app = Soniq()


@app.job
async def ship(
    order: int,
    due: date,
    colour: Colour = Colour.RED,
    to: Address | None = None,
    note: str = None,  # type: ignore[assignment]  # noqa: RUF013
) -> None:
    """Never run here."""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"order": 1}, "missing due"),
        ({"order": 1, "due": date(2031, 2, 3), "wieght": 2}, "unknown wieght"),
        (
            {"order": "1", "due": "some day"},
            "order is '1' (str), not an int; due is 'some day' (str), not a date as text",
        ),
        ({"order": 1, "due": "2031-02-03", "to": {"street": 1, "number": 1}}, "to is"),
    ],
)
def test_an_enqueue_through_a_handler_is_checked_at_once(
    args: dict[str, Any], message: str
) -> None:
    with pytest.raises(SoniqError) as refusal:
        asyncio.run(app.enqueue(ship, args))
    assert "test_arguments.ship cannot take these args: " in str(refusal.value)
    assert message in str(refusal.value)


def test_an_enqueue_takes_what_handlers_convert_back(database: str) -> None:
    async def work() -> None:
        own = Soniq(database)
        own.job(ship)
        address = Address(street="High", number=1)
        due = date(2031, 2, 3)
        await own.enqueue(
            ship, {"order": 1, "due": due, "colour": Colour.BLUE, "to": address, "note": None}
        )
        await own.enqueue("by name", {"due": due, "price": Decimal("1.10"), "id": UUID(A_UUID)})
        await own.close()

    asyncio.run(work())
    assert rows(database, "select args from soniq.jobs order by id") == [
        (
            {
                "order": 1,
                "due": "2031-02-03",
                "colour": "blue",
                "to": {"street": "High", "number": 1},
                "note": None,
            },
        ),
        ({"due": "2031-02-03", "price": "1.10", "id": A_UUID},),
    ]


def test_a_schedules_args_are_checked_where_it_is_declared() -> None:
    own = Soniq()
    with pytest.raises(SoniqError, match="cannot take these args: missing day"):

        @own.periodic(every=60, args={"dya": 1})
        async def report(day: date) -> None:
            pass


HANDLERS = """
    from datetime import date, datetime
    from decimal import Decimal
    from pydantic import BaseModel
    from soniq import Job, Soniq
    app = Soniq()

    class Address(BaseModel):
        street: str

    @app.job
    async def asynchronous(job: Job, due: date, to: Address, price: Decimal | None = None):
        return [type(due).__name__, type(to).__name__, type(price).__name__, job.args["due"]]

    @app.job
    def synchronous(due: datetime, **amounts: int):
        return [due.isoformat(), sum(amounts.values())]
"""


def test_a_run_gets_converted_arguments_or_is_invalid(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    start_runner(database).wait_for_log("jobs at once")
    done = run(database, "asynchronous", due="2031-02-03", to={"street": "High"}, price="1.10")
    assert done["result"] == ["date", "Address", "Decimal", "2031-02-03"], "job.args stays JSON"
    done = run(database, "synchronous", due="2031-02-03T04:05:06+00:00", a=1, b=2)
    assert done["result"] == ["2031-02-03T04:05:06+00:00", 3]

    invalid = run(database, "synchronous", due="2031-02-03T04:05:06", a=1, b="2")
    assert (invalid["reason"], invalid["attempt"]) == ("invalid_arguments", 1)
    assert invalid["errors"][0]["message"] == (
        "jobs.synchronous cannot take these args: b is '2' (str), not an int (it takes due)"
    )
    invalid = run(database, "asynchronous", due="2031-02-03", to={})
    assert invalid["reason"] == "invalid_arguments"
    assert (
        "to is {} (dict), not Address: ['street'] Field required"
        in (invalid["errors"][0]["message"])
    )
