"""The page: each request to its view, and what the daemon refuses, or a bug, as an answer; no sockets, no markup."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from bgjob import BgjobError
from bgjob.errors import (
    BehindFailedError,
    ChangedError,
    DaemonUnavailableError,
    ElsewhereError,
    ErrorGroupNotFoundError,
    GroupNotFoundError,
    InvalidStateError,
    JobNotFoundError,
    NotApprovedError,
    PermissionDeniedError,
    ScheduleNotFoundError,
    StorageUnavailableError,
)
from bgjob.words import EntryType

from ..console import say
from ..exchange import Request, Response, as_json, html, plain, redirect
from ..settings import Settings
from .many import address_of
from .means import Means, Values
from .routes import ROUTES, Views

_ERRORS: Final[Mapping[type[BgjobError], tuple[int, str]]] = {
    DaemonUnavailableError: (503, "away"),
    StorageUnavailableError: (503, "storage"),
    JobNotFoundError: (404, "no_job"),
    ScheduleNotFoundError: (404, "no_schedule"),
    GroupNotFoundError: (404, "no_group"),
    ErrorGroupNotFoundError: (404, "no_error"),
    ChangedError: (409, "changed"),
    NotApprovedError: (404, "no_class"),
    BehindFailedError: (409, "behind_failed"),
    ElsewhereError: (409, "elsewhere"),
    InvalidStateError: (409, "too_late"),
    PermissionDeniedError: (403, "denied"),
    BgjobError: (502, "refused"),
}
"""What the daemon's answer becomes: the status, and what broken.html tells; the first that fits."""


class Page:
    """Answers requests; thread-safe. Each action is told on the console, with the address that it came from."""

    def __init__(self, settings: Settings) -> None:
        self.means = Means(settings)
        self.views = Views(self.means)

    def respond(self, request: Request) -> Response:
        """The answer, whatever happens; who has not logged in keeps no connection.

        Places are without the base path in here: it is taken off what is asked for, and put before where that leads on.
        """
        settings = self.means.settings
        place = settings.try_place(request.path)
        if place is None:
            refusal = self.means.guard.refusal_outside(request)
            return replace(refusal or _outside(settings, request.path), is_last=True)
        answer = self._allowed(replace(request, path=place))
        if "Location" not in answer.headers:
            return answer
        leads_to = settings.at(answer.headers["Location"])
        return replace(answer, headers={**answer.headers, "Location": leads_to})

    def _allowed(self, request: Request) -> Response:
        refusal = self.means.guard.refusal(request)
        if refusal is not None:
            return replace(refusal, is_last=True)
        return replace(self._answer(request), is_last=not self.means.guard.is_known(request))

    def _answer(self, request: Request) -> Response:
        try:
            return self._routed(request)
        except BgjobError as error:
            status, what = next(told for kind, told in _ERRORS.items() if isinstance(error, kind))
            return self._broken(request, status, what, reason=str(error), **_in_the_way(error))
        except Exception:  # a bug of the page's must not take the connection's other requests with it
            told = f"bug: {request.path!r}: {traceback.format_exc().rstrip()}"
            say(self.means.settings, told, EntryType.FAILURE)
            return self._broken(request, 500, "bug")

    def _routed(self, request: Request) -> Response:
        others = []
        for method, pattern, view in ROUTES:
            found = pattern.fullmatch(request.path)
            if found is not None:
                if method == request.method:
                    return view(self.views, request, *found.groups())
                others.append("GET, HEAD" if method == "GET" else method)
        if others:
            return plain("that address takes another method", 405, Allow=", ".join(others))
        return self._broken(request, 404, "nothing_here")

    def _broken(self, request: Request, status: int, what: str, **values: Any) -> Response:
        if request.wants_json:
            return as_json({"error": what, **values}, status)
        since = self.means.feed.away_since() if what == "away" else None
        told = {
            "what": what,
            "reason": None,
            "before": None,
            "back": _form_of(request),
            "since": since,
        } | values
        return html(self.means.page("broken.html", told, None), status)


def _outside(settings: Settings, path: str) -> Response:
    """What is not below the base; the way there, for who has asked for nothing else."""
    if path in ("/", settings.base_path):
        return redirect(settings.at("/"))
    return plain(f"there is nothing here: the page is at {settings.at('/')}", 404)


def _form_of(request: Request) -> str | None:
    """The view whose form sent the request; None where no form did."""
    if request.method != "POST":
        return None
    if request.path in ("/jobs/retry", "/jobs/cancel"):
        return address_of(request.form, request.path.rpartition("/")[2])
    is_on_system = request.path.startswith(("/queues/", "/classes/"))
    return "/system" if is_on_system else request.path.rpartition("/")[0]


def _in_the_way(error: BgjobError) -> Values:
    """What a job comes after that ended badly, "12" or "group 5", where a retry was refused for it."""
    return {"before": str(error.parameters.get("before", ""))} if isinstance(error, BehindFailedError) else {}
