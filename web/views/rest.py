"""What is no view of the daemon's: the login, the stream of changes, health, metrics and static files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from bgjob import Client
from bgjob.errors import DaemonUnavailableError, NoAnswerError, StorageUnavailableError

from ..addresses import NOW, place_of
from ..exchange import Request, Response, html, plain, redirect
from ..pulse import PATIENCE, Pulse
from .means import Means


class OtherViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._pulse = Pulse(Client(means.settings.socket, timeout=PATIENCE).ping)

    def login(self, request: Request) -> Response:
        """Takes the token out of the address, so that it stays in nobody's history, and leads on to what was asked for,
        or to what there is now.

        In the form a person may paste the whole address.
        """
        place = place_of(request.query["next"]) if "next" in request.query else NOW
        token = request.query.get("token")
        if token is None or not self._means.guard.is_token(token.strip().rpartition("token=")[2]):
            told = {"is_wrong": token is not None, "place": place}
            return html(self._means.page("login.html", told, None), 200 if token is None else 403)
        return (
            redirect(place, Set_Cookie=self._means.guard.cookie(request))
            if self._means.settings.token
            else redirect(place)
        )

    def events(self, request: Request) -> Response:
        """A stream of words that something has changed."""
        stream = self._means.feed.try_stream()
        if stream is None:
            return plain("too many browsers follow this page", 503, Retry_After="10")
        told = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        return Response(200, b"", told, stream)

    def healthz(self, request: Request) -> Response:
        """Whether the page, and the daemon behind it, answer."""
        return plain("ok") if self._pulse.is_there() else plain("the daemon does not answer", 503)

    def metrics(self, request: Request) -> Response:
        """How the daemon stands, for Prometheus; that it is away is told in the same way, for somebody to be woken."""
        # Here, for it is slow to import and most pages are never asked.
        from ..metrics import Away, Standing, Unreadable, exposition

        client = self._means.client
        try:
            stats = client.stats(counts=True)
            hosts = [] if stats.get("hosts") is None else client.hosts()
            told: Away | Unreadable | Standing = Standing(stats, time.time(), hosts, self._try_needs())
        except DaemonUnavailableError:
            told = Away()
        except StorageUnavailableError:
            told = Unreadable()
        body, kind = exposition(told, request.headers.get("accept", ""))
        return Response(200, body, {"Content-Type": kind})

    def _try_needs(self) -> Sequence[Mapping[str, Any]] | None:
        """None where that takes the daemon too long, which is up all the same."""
        try:
            return self._means.slow.needs().needs
        except NoAnswerError:
            return None

    def static(self, request: Request, version: str, name: str) -> Response:
        found = self._means.render.file(name)
        if found is None or f"/static/{version}" != self._means.render.static:
            return plain("there is no such file", 404)
        content, kind = found
        return Response(
            200, content, {"Content-Type": kind, "Cache-Control": "public, max-age=31536000, immutable"}
        )
