"""Forms that act: their fields, and whether they may."""

from starlette.datastructures import FormData
from starlette.requests import Request

from soniq.dashboard.access import TOKEN_FIELD
from soniq.dashboard.refusals import bad_value
from soniq.dashboard.site import acting_visitor, site_of


async def acting_form(request: Request) -> tuple[str, FormData]:
    """Who acts, and what they have sent. Raises Refusal where they may not."""
    form = await request.form(max_files=0, max_fields=10_000)
    return acting_visitor(request, site_of(request), text_of(form, TOKEN_FIELD)), form


def text_of(form: FormData, name: str) -> str:
    """A field; empty where it is missing. Raises Refusal for what no text in the database can be."""
    value = form.get(name)
    text = value if isinstance(value, str) else ""
    if "\0" in text:
        raise bad_value(f"{name} has a character that no text in the database has", "Leave it out.")
    return text
