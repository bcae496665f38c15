"""Who may come in, and who may act: by a key, a proxy's header, and cookies and tokens made of the key."""

import hashlib
import hmac
import ipaddress
import logging
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import Response

from soniq.dashboard.refusals import Refusal
from soniq.settings import check_access

log = logging.getLogger("soniq.dashboard")

COOKIE = "soniq_session"
TOKEN_FIELD = "token"
TOKEN_HEADER = "X-Soniq-Token"
SESSION_LASTS = 12 * 3600
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sent a request. by: nobody asked (open), a bearer, a browser's session, or a proxy."""

    name: str
    by: str


class Access:
    """What the settings say about coming in.

    write: whether anybody may act. api_key: what lets programs and people in. trusted_header: in which a proxy says who
    has signed in. With neither, everybody who reaches the dashboard may look. hosts: the names by which it may be asked
    for then, beside localhost and IP addresses; None: any.

    Raises BadSettings where everybody could act.
    """

    def __init__(
        self,
        *,
        write: bool,
        api_key: str | None,
        trusted_header: str | None,
        hosts: Collection[str] | None = None,
    ) -> None:
        check_access(write=write, api_key=api_key, trusted_header=trusted_header)
        self.write = write
        self.has_key = api_key is not None
        self.trusted_header = trusted_header
        self.hosts = hosts
        self._api_key = (api_key or "").encode()
        # Of the key, so that several processes and one that was started anew understand each other's cookies.
        secret = self._api_key if api_key else secrets.token_bytes(32)
        self._secret = hmac.digest(secret, b"soniq dashboard", "sha256")

    @property
    def is_open(self) -> bool:
        """Whether nobody has to say who they are."""
        return not self.has_key and self.trusted_header is None

    def check_host(self, request: HTTPConnection) -> None:
        """Raises Refusal where nobody has to sign in, and a name is asked for that another site may have given us.

        Whoever has such a name lead to their server, and then to this one, reads by a browser's script what is shown.
        """
        if self.hosts is None or not self.is_open:
            return
        host = request.headers.get("host", "")
        name = _without_port(host)
        if not (name in {"localhost", *self.hosts} or _is_address(name)):
            raise Refusal(
                421,
                "unknown_host",
                f"This dashboard is open to all who reach it, and so does not answer as {_printable(host)!r}.",
                "Ask for it at localhost or its IP address, or set SONIQ_DASHBOARD_API_KEY, with which it answers by"
                " any name.",
            )

    def visitor(self, request: HTTPConnection) -> Visitor | None:
        """Who sends a request; None where that has to be told first. Raises Refusal for a wrong key, or two names."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self.has_key and scheme.lower() == "bearer":
            self.check_key(request, given.strip())
            return Visitor("a program with the key", "bearer")
        if name := self._named_by_proxy(request):
            return Visitor(_printable(name), "proxy")
        if self.has_key and self._is_session(request.cookies.get(COOKIE, "")):
            return Visitor("somebody with the key", "session")
        return Visitor("somebody", "open") if self.is_open else None

    def check_key(self, request: HTTPConnection, given: str) -> None:
        """Raises Refusal for a wrong key, and notes where it came from; takes as long for it as for the right one."""
        if self.has_key and hmac.compare_digest(given.encode(errors="replace"), self._api_key):
            return
        log.warning(
            "a wrong key came from %s", request.client.host if request.client else "nowhere"
        )
        raise Refusal(
            401,
            "unauthorized",
            "The key is not the right one.",
            "Send that of SONIQ_DASHBOARD_API_KEY.",
        )

    def sign_in(self, response: Response, request: HTTPConnection) -> None:
        """Gives a browser a session."""
        told = f"{int(time.time()) + SESSION_LASTS}.{secrets.token_urlsafe(16)}"
        self._set_cookie(response, request, f"{told}.{self._sign('session', told)}", SESSION_LASTS)

    def sign_out(self, response: Response, request: HTTPConnection) -> None:
        """Ends it."""
        self._set_cookie(response, request, "", 0)

    def token(self, request: HTTPConnection) -> str:
        """What the forms of a page carry, so that no other site can send them."""
        return self._sign(
            "token", f"{request.cookies.get(COOKIE, '')}\n{self._proxy_says(request)}"
        )

    def check_action(self, request: HTTPConnection, visitor: Visitor, token: str | None) -> None:
        """Raises Refusal unless this visitor may act, and this request comes of their own will."""
        if not self.write:
            raise Refusal(
                403,
                "read_only",
                "This dashboard only shows.",
                "Start it with SONIQ_DASHBOARD_WRITE=true, and a key or a trusted header, to act by it.",
            )
        if visitor.by != "bearer":
            self.check_origin(request)
            self.check_token(request, token)

    def check_token(self, request: HTTPConnection, token: str | None) -> None:
        """Raises Refusal for a form that is not of a page of ours, or of one too old."""
        if not hmac.compare_digest(
            (token or "").encode(errors="replace"), self.token(request).encode()
        ):
            raise Refusal(
                403,
                "bad_token",
                "This form is too old, or not of this dashboard.",
                "Load the page again, and send the form anew.",
            )

    def check_origin(self, request: HTTPConnection) -> None:
        """Raises Refusal for what another site has a browser send."""
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            raise Refusal(
                403,
                "bad_origin",
                f"The request comes from {_printable(origin)}, and this is {request.headers.get('host')}.",
                "Act on the dashboard's own pages; a proxy has to pass the Host header on.",
            )

    def _named_by_proxy(self, request: HTTPConnection) -> str:
        if self.trusted_header is None:
            return ""
        names = request.headers.getlist(self.trusted_header)
        if len(names) > 1:
            # One of them is the proxy's, and nothing tells which.
            raise Refusal(
                400,
                "bad_request",
                f"{self.trusted_header} is there {len(names)} times, so nothing tells who has signed in.",
                "The proxy has to set it in place of what comes from outside, not beside that.",
            )
        # Starlette takes headers to be Latin-1.
        return "".join(names).encode("latin-1").decode(errors="replace").strip()

    def _proxy_says(self, request: HTTPConnection) -> str:
        return request.headers.get(self.trusted_header, "") if self.trusted_header else ""

    def _is_session(self, cookie: str) -> bool:
        told, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(
            signature.encode(errors="replace"), self._sign("session", told).encode()
        ):
            return False
        return int(told.partition(".")[0]) > time.time()

    def _sign(self, purpose: str, text: str) -> str:
        message = f"{purpose}\n{text}".encode(errors="replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()

    def _set_cookie(
        self, response: Response, request: HTTPConnection, value: str, seconds: int
    ) -> None:
        response.set_cookie(
            COOKIE,
            value,
            max_age=seconds,
            path=request.scope.get("root_path") or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _printable(text: str) -> str:
    """A text that a client sends, as the log may have it."""
    return "".join(each if each.isprintable() else "?" for each in text)[:LONGEST_NAME]
