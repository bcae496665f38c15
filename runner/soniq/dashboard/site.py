"""What every request of one dashboard shares, and how it is asked for."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.types import Scope

from soniq.dashboard.access import Access, Visitor
from soniq.dashboard.reaching import Reach
from soniq.dashboard.refusals import Refusal
from soniq.metrics import DatabaseMetrics


@dataclass(frozen=True, slots=True)
class Site:
    """One dashboard: whom it lets in, the way to its database, and the address of that without a password."""

    access: Access
    reach: Reach
    metrics: DatabaseMetrics
    place: str


def site_of(request: Request) -> Site:
    """The dashboard that a request came to."""
    site: Site = request.app.state.site
    return site


def enter(request: Request) -> None:
    """Lets in who may come in; a dependency of all that is not for anybody. Raises Refusal for the others."""
    visitor = site_of(request).access.visitor(request)
    if visitor is None:
        raise Refusal(
            401,
            "unauthorized",
            "Nobody has signed in.",
            "Sign in, or send Authorization: Bearer with the key of SONIQ_DASHBOARD_API_KEY."
            if site_of(request).access.has_key
            else f"Come by the proxy that sets {site_of(request).access.trusted_header}.",
        )
    request.state.visitor = visitor


def visitor_of(request: Request) -> Visitor | None:
    """Who sent it, if they were let in."""
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    return visitor


def acting_visitor(request: Request, site: Site, token: str | None) -> str:
    """The name of who acts. Raises Refusal where they may not, or another site has sent the request."""
    visitor = visitor_of(request)
    assert visitor is not None, "only routes that ask enter() act"
    site.access.check_action(request, visitor, token)
    return visitor.name


def path_below(scope: Scope) -> str:
    """The path that was asked for, below where the dashboard is mounted."""
    return str(scope["path"]).removeprefix(str(scope.get("root_path", "")).rstrip("/"))


def path_to(request: Request, route: str, /, **parameters: Any) -> str:
    """The path of one of our pages, wherever the dashboard is mounted."""
    root = str(request.scope.get("root_path", "")).rstrip("/")
    return root + str(request.app.url_path_for(f"page.{route}", **parameters))
