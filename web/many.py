"""The views of a wish about all jobs that match a filter, and of what was changed: no sockets, no markup."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from bgjob import Client, Filter
from bgjob.answers import Matched
from bgjob.changes_told import sentence
from bgjob.errors import InvalidParameterError
from bgjob.words import STATUS_WORDS, ChangeKind

from .addresses import STATUSES, View, moment_of, since_of
from .exchange import Request, Response, redirect
from .lists import id_in

RETRY: Final = "retry"
CANCEL: Final = "cancel"
SPREADS: Final = (0, 60, 600)
"""Seconds over which the starts of what is retried may be spread."""

_RETRIED: Final = ("failed", "cancelled")
_ENDED: Final = ("completed", *_RETRIED, "review")
_CANCELLED: Final = tuple(word for word in STATUS_WORDS if word not in _ENDED)
_NAMES: Final = ("schedule", "group", "key", "host", "error", "bulk")
"""What a list and a filter call alike."""

_BY_INDEX: Final = ("schedule", "group", "key", "error", "bulk")

_Told = dict[str, Any]


def wishes_for(view: View) -> tuple[str, ...]:
    """What can be asked of all jobs of such a list: nothing where a search, which may be cut short, picks them."""
    if view.q:
        return ()
    if view.status:
        of_status = {RETRY: view.status in _RETRIED, CANCEL: view.status in _CANCELLED}
        return tuple(wish for wish, can in of_status.items() if can)
    return (RETRY, CANCEL) if any(getattr(view, name) for name in _BY_INDEX) else ()


def fields_of(view: View) -> dict[str, str]:
    """The view's filter as the fields of a form."""
    names = ("q", "status", "since", *_NAMES)
    return {name: str(getattr(view, name)) for name in names if getattr(view, name)}


class ManyViews:
    """Of one page, which has the client, that waits as long as many jobs take. `shown` makes a view of values, `done`
    leads on after what was asked for.
    """

    def __init__(
        self,
        client: Client,
        per_page: int,
        shown: Callable[[Request, str, _Told], Response],
        done: Callable[[Request, str, str], Response],
    ) -> None:
        self._client = client
        self._per_page = per_page
        self._shown = shown
        self._done = done

    def ask(self, request: Request, wish: str) -> Response:
        """How many match, which those are and what happens to them; nothing is done yet."""
        view = self._view(request.query)
        since = since_of(view.since, time.time()) if view.since else None
        try:
            matched = None if view.q else self._client.matching(_filter_of(view, since), wish)
        except InvalidParameterError:
            matched = None
        values: _Told = {
            "wish": wish,
            "view": view,
            "fields": fields_of(view),
            "since_at": since,
            "matched": None if matched is None else matched._asdict(),
            "meant": 0 if matched is None else _meant(matched, wish),
            "spreads": SPREADS,
        }
        return self._shown(request, "many.html", values)

    def carry_out(self, request: Request, wish: str) -> Response:
        """Asks it of all that were counted, and leads to their list."""
        form = request.form
        view, as_of, since = self._view(form), moment_of(form.get("as_of", "")), form.get("since_at") or None
        if view.q or as_of is None or (view.since and since is None):
            return redirect(address_of(form, wish))
        wanted, expected = _filter_of(view, since), id_in(form.get("expected", ""))
        if wish == RETRY:
            spread, is_careless = form.get("spread", ""), "at_most_once" in form
            seconds = int(spread) if spread in map(str, SPREADS) else 0
            done = self._client.retry_matching(
                wanted, as_of=as_of, expected=expected, spread=seconds, at_most_once=is_careless
            )
        else:
            done = self._client.cancel_matching(wanted, as_of=as_of, expected=expected)
        place = View("/jobs", self._per_page, per=self._per_page, bulk=done.change).but()
        told = f"{wish} of {done.done} jobs, {done.left_out} left out, of all that match {urlencode(fields_of(view))}"
        return self._done(request, place if done.change else address_of(form, wish), told)

    def try_sentence(self, change: int | None) -> str | None:
        """What was done by this change; None where there is none, or it is known no more."""
        if change is None:
            return None
        found = self._client.changes(before=change + 1, limit=1).items
        return sentence(found[0]) if found and found[0]["id"] == change else None

    def changes(self, request: Request) -> Response:
        """What was changed, and by whom, newest first."""
        before = id_in(request.query.get("before", "")) or None
        page = self._client.changes(before=before, limit=self._per_page)
        told = [
            one | {"sentence": sentence(one), "bulk": one["id"] if one["kind"] in _OF_MANY else None}
            for one in page.items
        ]
        values = {"changes": told, "older": page.next, "is_first": before is None}
        return self._shown(request, "changes.html", values)

    def _view(self, given: Mapping[str, str]) -> View:
        return View.of("/jobs", given, STATUSES, self._per_page)


_OF_MANY: Final = (ChangeKind.RETRIED_MANY, ChangeKind.CANCELLED_MANY)


def address_of(form: Mapping[str, str], wish: str) -> str:
    """The view whose form this was."""
    fields = fields_of(View.of("/jobs", form, STATUSES, 10))
    return f"/jobs/{wish}?{urlencode(fields)}" if fields else f"/jobs/{wish}"


def _filter_of(view: View, since: str | None) -> Filter:
    names = {name: getattr(view, name) or None for name in _NAMES}
    return Filter(status=view.status or None, since=since, **names)


def _meant(matched: Matched, wish: str) -> int:
    """Of how many it is asked where nobody says that it is to be of those, too, that may be tried but once."""
    return matched.jobs - (matched.at_most_once if wish == RETRY else 0)
