"""Signing in with the key, and out; the document of the API."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from soniq.dashboard.pages.forms import page_before, text_of
from soniq.dashboard.refusals import Refusal
from soniq.dashboard.rendering import own_address, page
from soniq.dashboard.site import enter, path_to, site_of

router = APIRouter()


@router.post("/sign-in", name="page.sign_in")
async def sign_in(request: Request) -> Response:
    """Takes the key, and gives a session for it."""
    access = site_of(request).access
    access.check_origin(request)
    form = await request.form(max_files=0)
    given = text_of(form, "key")
    try:
        access.check_key(request, given)
    except Refusal as refusal:
        return page(
            request,
            "sign_in.html",
            None,
            status=401,
            refusal=refusal,
            wrong=True,
            before=await page_before(request),
        )
    response = RedirectResponse(own_address(request, text_of(form, "next")), 303)
    access.sign_in(response, request)
    return response


@router.post("/sign-out", name="page.sign_out", dependencies=[Depends(enter)])
async def sign_out(request: Request) -> Response:
    """Ends the session."""
    access = site_of(request).access
    access.check_origin(request)
    access.check_token(request, text_of(await request.form(max_files=0), "token"))
    response = RedirectResponse(path_to(request, "overview"), 303)
    access.sign_out(response, request)
    return response


@router.get("/api/openapi.json", name="page.openapi", dependencies=[Depends(enter)])
async def openapi(request: Request) -> Response:
    """What the API takes and answers, below wherever it is mounted."""
    root = request.scope.get("root_path", "")
    document: dict[str, Any] = {**request.app.openapi(), "servers": [{"url": root or "/"}]}
    return JSONResponse(document)
