"""For producers that are web applications: FastAPI, Starlette and whatever else takes a lifespan."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from soniq.app import Soniq

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def lifespan(soniq_app: Soniq, *, around: Lifespan | None = None) -> Lifespan:
    """What closes a Soniq app's connections when a web application stops.

        app = FastAPI(lifespan=lifespan(soniq_app))

    The pool opens when an enqueue first needs a connection, so the application also starts while the database is away.

    around: a lifespan of your own; it is left before the connections close, so it may enqueue to its end. What it
        yields is passed on.
    """

    @asynccontextmanager
    async def live(application: Any) -> AsyncIterator[Any]:
        try:
            if around is None:
                yield None
            else:
                async with around(application) as state:
                    yield state
        finally:
            await soniq_app.close()

    return live
