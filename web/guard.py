"""Who may ask what of the page: Host, login and origin; pure, and before anything else is looked at."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final
from urllib.parse import quote, urlencode

from .exchange import Request, Response, plain, redirect
from .settings import Settings

OPEN: Final = frozenset({"/login", "/healthz"})
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_AGE: Final = 400 * 86_400
_LOG_IN: Final = (
    "log in first: the daemon's console has the address; programs send the token, which is in state_dir/web.token, as "
    "Authorization: Bearer TOKEN"
)


class Guard:
    """Of one page; `secret` is behind the token of its forms."""

    def __init__(self, settings: Settings, secret: bytes) -> None:
        self._settings = settings
        self.form_token = hmac.new(secret, b"forms", hashlib.sha256).hexdigest()

    def refusal(self, request: Request) -> Response | None:
        """Why the request is not answered; None where it may be."""
        return self.refusal_outside(request) or self._no_login(request) or self._no_action(request)

    def refusal_outside(self, request: Request) -> Response | None:
        """The same of what is not below the base path, for which nobody has to log in."""
        return self._wrong_host(request) or self._from_elsewhere(request)

    def _wrong_host(self, request: Request) -> Response | None:
        """DNS rebinding: a stranger's name that leads here is no name of ours."""
        found = _HOST.fullmatch(request.headers.get("host", ""))
        if found is None:
            return plain("the request names no host that could be this one", 400)
        if not self._is_own(found[1].lower(), found[2]):
            return plain("this page does not go by that name", 421)
        return None

    def _is_own(self, host: str, port: str | None) -> bool:
        if self._is_anyones:
            return True
        names = {*_LOOPBACK, self._settings.host.lower(), f"[{self._settings.host.lower()}]"}
        return self._settings.port in (0, int(port or 80)) and host in names

    @property
    def _is_anyones(self) -> bool:
        """Whether whoever reaches the page may call it what they like: a web server in between has a name, a port and
        TLS of its own.
        """
        return self._settings.is_unix or self._settings.allow_remote

    def _from_elsewhere(self, request: Request) -> Response | None:
        """What another site's page asks for by itself, were it only to keep this one busy; a link that a person
        follows is none of that, but one that is fetched before anybody does.
        """
        told = [request.headers.get(f"sec-fetch-{name}") for name in ("site", "mode", "dest")]
        is_followed = told[1:] == ["navigate", "document"] and "sec-purpose" not in request.headers
        is_persons = told[0] in (None, "same-origin", "none") or is_followed
        if is_persons and self._is_own_origin(request):
            return None
        return plain(
            "that came from another site's page, or through a web server that does not hand on the Host", 403
        )

    def _no_login(self, request: Request) -> Response | None:
        is_open = request.path in OPEN or request.path.startswith("/static/")
        if is_open or self.is_known(request) or self._only_measures(request):
            return None
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return redirect(_login_for(request))
        return plain(_LOG_IN, 401)

    def is_known(self, request: Request) -> bool:
        """Whether the peer has shown the token, as a cookie or as a bearer's."""
        bearer = _try_bearer(request)
        shown = request.cookies(cookie_name(request)) if bearer is None else [bearer]
        return self._settings.token is None or any(map(self.is_token, shown))

    def _only_measures(self, request: Request) -> bool:
        """Whether it asks for the metrics, with the token that is good for these alone."""
        token, shown = self._settings.metrics_token, _try_bearer(request)
        if request.path != "/metrics" or token is None or shown is None:
            return False
        return hmac.compare_digest(shown.encode(), token.encode())

    def is_token(self, shown: str) -> bool:
        token = self._settings.token
        return token is None or hmac.compare_digest(shown.encode(), token.encode())

    def cookie(self, request: Request) -> str:
        """The header that keeps a login; links from elsewhere may show a page, and what acts is no link."""
        name = cookie_name(request)
        return f"{name}={self._settings.token}; Path={self._settings.at('/')}; HttpOnly; SameSite=Lax; Max-Age={_AGE}"

    def _no_action(self, request: Request) -> Response | None:
        """A form of this page, sent by a person; not one of another site's, nor a link."""
        if request.method != "POST":
            return None
        if not self._settings.actions:
            return plain("actions are switched off; [web] actions = true allows them", 403)
        if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            return plain("only a form of this page can do that", 403)
        is_ours = request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
        token = request.form.get("token", "")
        if not is_ours or not hmac.compare_digest(token.encode(), self.form_token.encode()):
            return plain("that came from another page, or from one that is too old; open it again", 403)
        return None

    def _is_own_origin(self, request: Request) -> bool:
        origin = request.headers.get("origin")
        schemes = ("http", "https") if self._is_anyones else ("http",)
        return origin is None or origin in [f"{scheme}://{request.headers['host']}" for scheme in schemes]


def cookie_name(request: Request) -> str:
    """That of the login; browsers keep one jar for all ports of a host, and another page may have a port of its own."""
    found = _HOST.fullmatch(request.headers["host"])
    return f"bgjobd_login_{found[2] or 80}" if found else "bgjobd_login"


def _try_bearer(request: Request) -> str | None:
    """The token that a program sends, None where it sends none."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else None


def _login_for(request: Request) -> str:
    """The login that leads on to what was asked for."""
    query = f"?{urlencode(request.query)}" if request.query else ""
    place = quote(request.path, safe="/%") + query
    return "/login" if place == "/" else f"/login?{urlencode({'next': place})}"
