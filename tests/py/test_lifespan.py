"""lifespan(): a web application that enqueues, started and stopped as its server does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import rows
from fastapi import FastAPI
from soniq import Soniq
from soniq.asgi import lifespan
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def serve(application: Any, requests: int) -> list[str]:
    """What an ASGI server does: lifespan startup, requests, lifespan shutdown."""
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    living = asyncio.create_task(application(scope, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert await from_app.get() == {"type": "lifespan.startup.complete"}
    answers = []
    for _ in range(requests):
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any], sent: list[dict[str, Any]] = sent) -> None:
            sent.append(message)

        request = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/orders",
            "query_string": b"",
            "headers": [],
            "state": dict(state),
        }
        await application(request, receive, send)
        answers.append(b"".join(message.get("body", b"") for message in sent).decode())
    await to_app.put({"type": "lifespan.shutdown"})
    assert await from_app.get() == {"type": "lifespan.shutdown.complete"}
    await living
    return answers


Handle = Callable[[Request], Awaitable[PlainTextResponse]]
Make = Callable[[Handle, Any], Any]


def on_starlette(handle: Handle, living: Any) -> Any:
    return Starlette(routes=[Route("/orders", handle, methods=["POST"])], lifespan=living)


def on_fastapi(handle: Handle, living: Any) -> Any:
    application = FastAPI(lifespan=living)
    application.post("/orders", response_class=PlainTextResponse)(handle)
    return application


frameworks = pytest.mark.parametrize("make", [on_starlette, on_fastapi])


@frameworks
def test_the_pool_opens_when_needed_and_closes_with_the_application(
    database: str, make: Make
) -> None:
    jobs = Soniq(database)

    async def place_order(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(await jobs.enqueue("send_welcome")))

    application = make(place_order, lifespan(jobs))
    assert asyncio.run(serve(application, 2)) == ["1", "2"]
    assert rows(database, "select count(*) from soniq.jobs") == [(2,)]
    assert (
        rows(
            database,
            "select from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid() and backend_type = 'client backend'",
        )
        == []
    ), "its connections are closed"


@frameworks
def test_it_starts_while_the_database_is_away(make: Make) -> None:
    async def nothing(request: Request) -> PlainTextResponse:
        return PlainTextResponse("")

    jobs = Soniq("postgresql://nobody@127.0.0.1:1/nowhere")
    application = make(nothing, lifespan(jobs))
    assert asyncio.run(serve(application, 0)) == []


@frameworks
def test_a_lifespan_of_ones_own_goes_around_it(database: str, make: Make) -> None:
    jobs = Soniq(database)
    events: list[str] = []

    @asynccontextmanager
    async def own(application: Starlette) -> AsyncIterator[dict[str, str]]:
        events.append(type(application).__name__)
        yield {"greeting": "hello"}
        events.append(f"job {await jobs.enqueue('goodbye')}")

    async def greet(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.greeting)

    application = make(greet, lifespan(jobs, around=own))
    assert asyncio.run(serve(application, 1)) == ["hello"]
    assert events == [type(application).__name__, "job 1"]
