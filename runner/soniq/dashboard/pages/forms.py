"""Forms that act: their fields, whether they may, and which page they were on."""

from contextlib import suppress

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from soniq.dashboard.access import TOKEN_FIELD
from soniq.dashboard.refusals import Refusal, bad_value
from soniq.dashboard.rendering import own_address
from soniq.dashboard.site import acting_visitor, site_of

MOST_FIELDS = 10_000


async def acting_form(request: Request) -> tuple[str, FormData]:
    """Who acts, and what they have sent. Raises Refusal where they may not."""
    form = await request.form(max_files=0, max_fields=MOST_FIELDS)
    return acting_visitor(request, site_of(request), text_of(form, TOKEN_FIELD)), form


def text_of(form: FormData, name: str) -> str:
    """A field; empty where it is missing. Raises Refusal for what no text in the database can be."""
    value = form.get(name)
    text = value if isinstance(value, str) else ""
    if "\0" in text:
        raise bad_value(f"{name} has a character that no text in the database has", "Leave it out.")
    return text


async def page_before(request: Request) -> str:
    """The page that a form was on, as its field or else the browser says; the overview where neither does."""
    given = ""
    # Of a form that cannot be read, or not again: RuntimeError tells that a part of it is gone.
    with suppress(HTTPException, Refusal, ClientDisconnect, RuntimeError):
        given = text_of(await request.form(max_files=0, max_fields=MOST_FIELDS), "next")
    host, _, path = request.headers.get("referer", "").partition("://")[2].partition("/")
    if not given and host == request.headers.get("host"):
        given = f"/{path}"
    return own_address(request, given)
