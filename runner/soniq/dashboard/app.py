"""The dashboard as an ASGI application: pages, API, static files, and what is around each answer."""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import soniq
from soniq.dashboard.access import Access
from soniq.dashboard.api import api, for_anybody
from soniq.dashboard.pages import pages
from soniq.dashboard.pages.forms import page_before
from soniq.dashboard.reaching import Reach
from soniq.dashboard.refusals import Refusal
from soniq.dashboard.rendering import page
from soniq.dashboard.site import Site, path_below, site_of
from soniq.database import masked
from soniq.metrics import DatabaseMetrics

log = logging.getLogger("soniq.dashboard")

STATIC = Path(__file__).parent / "static"
LARGEST_BODY = 1024 * 1024
HEADERS = {
    # No inline script or style, and nothing from elsewhere: what gets into a page by a job's args can do nothing there.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer, with which browsers do not say where a form comes from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
DESCRIPTION = (
    "What Soniq is doing, and acting on it. Ids are strings, since JavaScript's numbers end at 2^53; durations are"
    ' seconds, times ISO 8601. Whatever is refused answers {"error": {"code", "message", "remedy"}}.'
)


def dashboard(
    database_url: str,
    *,
    write: bool = False,
    api_key: str | None = None,
    trusted_header: str | None = None,
    hosts: Collection[str] | None = None,
) -> FastAPI:
    """The dashboard of the Soniq in a database, as an ASGI application to be served or mounted.

        app.mount("/soniq", dashboard("postgresql://user@host/database"))

    Its login needs soniq_observer to look, and soniq_admin to see into jobs and to act on them. It connects when first
    asked, and closes its connections when its lifespan ends, which a mounted one's does with the process.

    write: lets people act; takes one of the following.
    api_key: 16 characters or more, without which nothing is shown: people sign in with it, programs send it as
        Authorization: Bearer.
    trusted_header: the header in which a proxy says who has signed in; nothing is shown to requests without it.
    hosts: with neither of these, the names by which it answers beside localhost and IP addresses, so that no name of
        another site leads scripts here; None: any.

    Raises BadSettings where everybody could act, or a key or header is not one.
    """
    site = Site(
        access=Access(write=write, api_key=api_key, trusted_header=trusted_header, hosts=hosts),
        reach=Reach(database_url),
        metrics=DatabaseMetrics(database_url),
        place=masked(database_url),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await site.reach.close()
            await site.metrics.close()

    app = FastAPI(
        title="Soniq",
        version=soniq.__version__,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.site = site
    app.include_router(for_anybody)
    app.include_router(api)
    app.include_router(pages)
    app.mount("/static", StaticFiles(directory=STATIC), name="page.static")
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_middleware(Around)
    return app


class Around:
    """Puts headers on each answer, also to what went wrong; knows where it may be asked for, and how much is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size = 0
        has_begun = False
        is_static = path_below(scope).startswith("/static/")
        kept = "public, max-age=3600" if is_static else "no-store"
        added = [
            (name.lower().encode(), value.encode())
            for name, value in {**HEADERS, "Cache-Control": kept}.items()
        ]

        async def receive_some() -> Message:
            nonlocal size
            if size > LARGEST_BODY:
                raise _too_large()
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST_BODY:
                raise _too_large()
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        try:
            site_of(Request(scope)).access.check_host(Request(scope))
            await self._app(scope, receive_some, send_with_headers)
        # Here and not by a handler of the application's, whose answer would come from outside of this.
        except Exception as error:
            if has_begun:
                raise
            answer = await _refused(Request(scope), error)
            await answer(scope, receive, send_with_headers)


def _too_large() -> Refusal:
    return Refusal(
        413,
        "too_large",
        f"The request has more than {LARGEST_BODY} bytes.",
        "Send less at once.",
    )


async def _refused(request: Request, error: Exception) -> Response:
    """Whatever goes wrong, as a page, or in the API as JSON."""
    refusal = _refusal(error)
    if refusal.status == 500:
        log.error("%s %r failed", request.method, request.url.path, exc_info=error)
    if refusal.status == 503 and error.__cause__ is not None:
        log.warning("%s", refusal)
    headers = dict(getattr(error, "headers", None) or {})
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
        # A link from elsewhere comes without the cookie, which a page of ours that loads itself anew is given.
        if request.headers.get("sec-fetch-site") == "cross-site" and request.method == "GET":
            headers["Refresh"] = "0"
    if path_below(request.scope).startswith("/api/"):
        told = {"code": refusal.code, "message": refusal.message, "remedy": refusal.remedy}
        return JSONResponse({"error": told}, refusal.status, headers)
    response = page(
        request,
        "sign_in.html" if refusal.status == 401 else "refused.html",
        None,
        status=refusal.status,
        refusal=refusal,
        wrong=False,
        before=await page_before(request) if request.method == "POST" else None,
    )
    response.headers.update(headers)
    return response


def _refusal(error: Exception) -> Refusal:
    match error:
        case Refusal():
            return error
        case RequestValidationError():
            is_unreadable = any(each["type"] == "json_invalid" for each in error.errors())
            return Refusal(
                400 if is_unreadable else 422,
                "bad_request" if is_unreadable else "bad_value",
                _problems(error.errors()),
                "Correct what is named; /api/openapi.json tells what is taken.",
            )
        # Raised while FastAPI read a body, which tells of it in its own way.
        case HTTPException(__cause__=Refusal() as refusal):
            return refusal
        case HTTPException(status_code=404):
            return Refusal(
                404, "not_found", "There is no such page.", "See the pages that there are."
            )
        case HTTPException():
            return Refusal(
                error.status_code, "bad_request", str(error.detail), "Correct the request."
            )
        case _:
            return Refusal(
                500,
                "internal_error",
                "Something went wrong in the dashboard itself.",
                "Its log says what; please report it.",
            )


def _problems(errors: Sequence[Any]) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in errors)[:2000]
