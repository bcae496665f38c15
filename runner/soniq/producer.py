"""Enqueueing from Python on whatever connection the caller has, so that the job joins its transaction.

A call is written in the parameter style of each driver. A driver is recognised by the module that defines the
connection's class, so none has to be installed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

from soniq.arguments import to_json
from soniq.errors import BadDeclaration
from soniq.job import seconds_to_interval

# JSON goes as text: a connection whose jsonb codec encodes for itself would encode it a second time.
SQL_TYPES = {
    "job_name": "text",
    "args": "text",
    "queue": "text",
    "priority": "integer",
    "scheduled_at": "timestamptz",
    "delay": "interval",
    "max_attempts": "integer",
    "timeout": "interval",
    "dedup_key": "text",
    "headers": "text",
    "tenant": "text",
}
JSON = ("args", "headers")


@dataclass(frozen=True, slots=True)
class EnqueueCall:
    """The parameters of one soniq.enqueue() call; options left out are not among them."""

    parameters: dict[str, Any]

    @classmethod
    def of(
        cls,
        *,
        job_name: str,
        args: Mapping[str, Any] | None,
        scheduled_at: datetime | None,
        delay: float | timedelta | None,
        timeout: float | timedelta | None,
        headers: Mapping[str, Any] | None,
        **others: Any,
    ) -> "EnqueueCall":
        """Turns Python values into what the drivers send; refuses what no database could accept."""
        if scheduled_at is not None and scheduled_at.tzinfo is None:
            raise BadDeclaration(
                f"scheduled_at {scheduled_at.isoformat()} has no time zone: give an aware datetime,"
                " as in datetime.now(timezone.utc)"
            )
        given = {
            "job_name": job_name,
            "args": _as_json(f"args of {job_name}", {} if args is None else args),
            "scheduled_at": scheduled_at,
            "delay": None if delay is None else seconds_to_interval("delay", delay),
            "timeout": None if timeout is None else seconds_to_interval("timeout", timeout),
            "headers": _as_json(f"headers of {job_name}", headers) if headers else None,
            **others,
        }
        return cls({name: value for name, value in given.items() if value is not None})

    def sql(self, placeholder: Callable[[int, str], str]) -> str:
        """The statement, with each parameter written as placeholder(position, name) gives it."""
        arguments = []
        for position, name in enumerate(self.parameters, 1):
            value = f"cast({placeholder(position, name)} as {SQL_TYPES[name]})"
            if name in JSON:
                value = f"cast({value} as jsonb)"
            arguments.append(f"{name} => {value}")
        return f"select soniq.enqueue({', '.join(arguments)})"


@dataclass(frozen=True, slots=True)
class Question:
    """A query for one value, with job_name as its only parameter."""

    text: str
    job_name: str

    @property
    def parameters(self) -> dict[str, Any]:
        """As in EnqueueCall."""
        return {"job_name": self.job_name}

    def sql(self, placeholder: Callable[[int, str], str]) -> str:
        """As in EnqueueCall."""
        return self.text.format(job_name=f"cast({placeholder(1, 'job_name')} as text)")


# Asked before the other: an error would undo the transaction that the job is to join.
MAY_READ_JOB_TYPES = (
    "select pg_catalog.has_table_privilege('soniq.job_types', 'select') and {job_name} is not null"
)
IS_JOB_TYPE = "select exists (select from soniq.job_types where job_name = {job_name})"


Call = EnqueueCall | Question


async def ask(connection: Any, call: Call) -> Any:
    """Makes the call on a connection of any kind and returns its value; commits nothing."""
    match _driver_of(connection):
        case ("asyncpg", _):
            sql = call.sql(lambda position, _: f"${position}")
            return await connection.fetchval(sql, *call.parameters.values())
        case ("psycopg", "AsyncConnection"):
            cursor = await connection.execute(call.sql(_pyformat), call.parameters)
            return (await cursor.fetchone())[0]
        case ("sqlalchemy", "AsyncConnection" | "AsyncSession" | "async_scoped_session"):
            return (await connection.execute(*_for_sqlalchemy(call))).scalar_one()
    return ask_sync(connection, call)


def ask_sync(connection: Any, call: Call) -> Any:
    """ask() for synchronous code, on a synchronous connection. Raises BadDeclaration for any other."""
    kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
    match _driver_of(connection):
        case ("psycopg", "Connection"):
            return connection.execute(call.sql(_pyformat), call.parameters).fetchone()[0]
        case ("sqlalchemy", "Connection" | "Session" | "scoped_session"):
            return connection.execute(*_for_sqlalchemy(call)).scalar_one()
        case (_, _):
            raise BadDeclaration(
                f"connection is a {kind}, which has to be awaited: await app.enqueue(...), or give"
                " enqueue_sync() a synchronous connection of psycopg 3 or SQLAlchemy"
            )
    raise BadDeclaration(
        f"connection is a {kind}: give a connection of asyncpg or psycopg 3,"
        " or a connection or session of SQLAlchemy"
    )


def connect_sync(url: str) -> Any:
    """A psycopg connection that commits each statement, to be used in a with block; None without psycopg."""
    try:
        psycopg = import_module("psycopg")
    except ImportError:
        return None
    return psycopg.connect(url, autocommit=True, connect_timeout=10)


def _for_sqlalchemy(call: Call) -> tuple[Any, dict[str, Any]]:
    from sqlalchemy import text

    return text(call.sql(lambda _, name: f":{name}")), call.parameters


def _pyformat(_: int, name: str) -> str:
    return f"%({name})s"


def _driver_of(connection: Any) -> tuple[str, str] | None:
    """The package and class that make a connection what it is, also for a subclass of the user's."""
    for cls in type(connection).__mro__:
        package = cls.__module__.partition(".")[0]
        if package == "asyncpg" or (
            package in ("psycopg", "sqlalchemy")
            and cls.__name__.lstrip("_").removesuffix("[Any]")
            in (
                "AsyncConnection",
                "AsyncSession",
                "Connection",
                "Session",
                "async_scoped_session",
                "scoped_session",
            )
        ):
            return package, cls.__name__
    return None


def _as_json(what: str, given: Mapping[str, Any]) -> str:
    if not isinstance(given, Mapping):
        raise BadDeclaration(
            f"{what} are a {type(given).__name__}: give a mapping of values by name"
        )
    try:
        return to_json(given)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadDeclaration(f"{what} are not JSON: {error}") from error
