"""What all views have: clients of the daemon, settings, and how an answer is made of values; knows no view."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from bgjob import Client

from ..addresses import View
from ..console import say
from ..events import Feed
from ..exchange import Request, Response, as_json, html, redirect
from ..guard import Guard
from ..remembered import Remembered
from ..render import Renderer
from ..settings import Settings

_PATIENCE: Final = 3.0
_PATIENCE_FOR_MANY: Final = 10.0
"""Seconds for an answer; of a thousand schedules it takes a second, in which the daemon does other things as well."""

Values = dict[str, Any]


class Means:
    """Of one page; thread-safe. Whoever asks `client` waits for no answer to `slow`, or to `many`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.guard = Guard(settings, (settings.token or secrets.token_hex(16)).encode())
        self.feed = Feed(settings.socket)
        self.client = Client(settings.socket, timeout=_PATIENCE)
        self.slow = Client(settings.socket, timeout=_PATIENCE)
        self.many = Client(settings.socket, timeout=_PATIENCE_FOR_MANY)
        self.trends = Remembered(self.slow.trend)
        self.render = Renderer(settings.base_path)

    def view(self, path: str, query: Mapping[str, str], statuses: tuple[str, ...]) -> View:
        """The list at this path that the query names."""
        return View.of(path, query, statuses, self.settings.per_page, self.settings.base_path)

    def shown(
        self, request: Request, template: str, values: Values, stats: Mapping[str, Any] | None = None
    ) -> Response:
        """A view of these values, as a page or as JSON."""
        stats = self.client.stats() if stats is None else stats
        if request.wants_json:
            return as_json(
                {name: value for name, value in values.items() if name != "view"} | {"stats": stats}
            )
        return html(self.page(template, values, stats))

    def page(self, template: str, values: Values, stats: Mapping[str, Any] | None) -> str:
        """The template with what all of them show."""
        common = {
            "now": time.time(),
            "stats": stats,
            "actions": self.settings.actions,
            "form_token": self.guard.form_token,
        }
        return self.render.render(template, **common, **values)

    def done(self, request: Request, place: str, what: str) -> Response:
        """Leads on after what was asked for, which is told."""
        self.tell(request, what)
        return redirect(place)

    def tell(self, request: Request, what: str) -> None:
        """Say on the console what was asked for, with the address that it came from."""
        say(self.settings, f"{what} by {request.peer}")
