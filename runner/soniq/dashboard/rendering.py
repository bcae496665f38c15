"""Pages out of templates, and what each of them needs."""

from typing import Any
from urllib.parse import quote, unquote, urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Match

import soniq
from soniq.dashboard.access import TOKEN_FIELD
from soniq.dashboard.reaching import Rights
from soniq.dashboard.site import path_to, site_of, visitor_of
from soniq.dashboard.wording import FILTERS

# What was done, told on the next page and only there.
NOTICE = "soniq_notice"
NAVIGATION = (
    ("overview", "Overview"),
    ("queues", "Queues"),
    ("jobs", "Jobs"),
    ("dead_letters", "Dead letters"),
    ("schedules", "Schedules"),
    ("runners", "Runners"),
)
# What is not of the whole system.
FOR_TENANTS = ("jobs", "dead_letters", "schedules")

_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("soniq.dashboard"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(FILTERS)


def page(
    request: Request,
    template: str,
    rights: Rights | None,
    *,
    status: int = 200,
    here: str | None = None,
    **context: object,
) -> Response:
    """A page. here: the address from which it fetches itself anew, where that is not the one it came from."""
    site = site_of(request)
    notice = unquote(request.cookies.get(NOTICE, ""))
    visitor = visitor_of(request)

    def path(route: str, query: dict[str, str] | None = None, /, **parameters: Any) -> str:
        found = path_to(request, route, **parameters)
        return f"{found}?{urlencode(query)}" if query else found

    own = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    text = _templates.get_template(template).render(
        path=path,
        here=here or own,
        own=own,
        access=site.access,
        visitor=visitor,
        place=site.place,
        version=soniq.__version__,
        rights=rights,
        may_act=site.access.write and rights is not None and rights.acts,
        token=site.access.token(request),
        token_field=TOKEN_FIELD,
        notice=notice,
        navigation=[
            (route, label)
            for route, label in NAVIGATION
            if status != 401 and (rights is None or rights.tenant is None or route in FOR_TENANTS)
        ],
        **context,
    )
    response = HTMLResponse(text, status)
    if notice:
        response.delete_cookie(NOTICE, path=_cookie_path(request))
    return response


def back_to(request: Request, address: str, notice: str) -> Response:
    """Leads to an address of ours after something was done, where that is told."""
    response = RedirectResponse(address, 303)
    response.set_cookie(
        NOTICE,
        quote(notice[:1000]),
        max_age=60,
        path=_cookie_path(request),
        httponly=True,
        samesite="strict",
    )
    return response


def own_address(request: Request, given: str, otherwise: str = "overview") -> str:
    """An address that a form gave, if it is that of a page of this dashboard, else that of a route."""
    ours = given.startswith(_cookie_path(request).rstrip("/") + "/")
    is_odd = given.startswith("//") or "\\" in given or not given.isprintable()
    if not ours or is_odd or not _is_page(request, given):
        return path_to(request, otherwise)
    return given


def _is_page(request: Request, address: str) -> bool:
    """Whether a browser that is led there finds anything: not so where only forms are sent to."""
    path = unquote(address.partition("#")[0].partition("?")[0])
    asked = {**request.scope, "method": "GET", "path": path}
    return any(each.matches(dict(asked))[0] is Match.FULL for each in request.app.routes)


def _cookie_path(request: Request) -> str:
    return str(request.scope.get("root_path") or "/")
