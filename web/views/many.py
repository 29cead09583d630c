"""The views of a wish about all jobs that match a filter, and of what was changed: no sockets, no markup."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from bgjob import Client, Filter
from bgjob.answers import Matched
from bgjob.changes_told import sentence
from bgjob.errors import InvalidParameterError
from bgjob.filters import BY_INDEX, CANCELLED, RETRIED
from bgjob.words import ChangeKind

from ..addresses import STATUSES, View, moment_of
from ..exchange import Request, Response, redirect
from ..lists import id_in
from ..narrowing import asked, asked_as, fixed
from .means import Means, Values

RETRY: Final = "retry"
CANCEL: Final = "cancel"
SPREADS: Final = (0, 60, 600)
"""Seconds over which the starts of what is retried may be spread."""


def wishes_for(view: View) -> tuple[str, ...]:
    """What can be asked of all jobs of such a list: nothing where a search, which may be cut short, picks them."""
    if view.q:
        return ()
    if view.status:
        of_status = {RETRY: view.status in RETRIED, CANCEL: view.status in CANCELLED}
        return tuple(wish for wish, can in of_status.items() if can)
    has_index = any(asked_as(name) in BY_INDEX for name in view.narrowed_by)
    return (RETRY, CANCEL) if has_index else ()


def fields_of(view: View) -> dict[str, str]:
    """The view's filter as the fields of a form."""
    return ({"q": view.q} if view.q else {}) | {name: value for name, value in view.kept if name != "sort"}


class ManyViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def retry(self, request: Request) -> Response:
        """Asks whether all that match are to be retried."""
        return self._ask(request, RETRY, request.query)

    def cancel(self, request: Request) -> Response:
        """Asks whether all that match are to be cancelled."""
        return self._ask(request, CANCEL, request.query)

    def _ask(
        self, request: Request, wish: str, given: Mapping[str, str], was_in_vain: bool = False
    ) -> Response:
        """How many match, which those are and what happens to them; nothing is done yet, or could be."""
        view = fixed(self._view(given), time.time())
        wanted = _filter_of(view)
        try:
            matched = None if view.q else self._means.client.matching(wanted, wish)
        except InvalidParameterError:
            matched = None
        values: Values = {
            "wish": wish,
            "was_in_vain": was_in_vain,
            "view": view,
            "fields": fields_of(view),
            "filter": wanted.as_json(),
            "matched": None if matched is None else matched._asdict(),
            "meant": 0 if matched is None else _meant(matched, wish),
            "spreads": SPREADS,
        }
        return self._means.shown(request, "many.html", values)

    def carry_out_retry(self, request: Request) -> Response:
        """Retries all that were counted, and leads to their list."""
        form = request.form
        spread, is_careless = form.get("spread", ""), "at_most_once" in form
        seconds = int(spread) if spread in map(str, SPREADS) else 0
        return self._carry_out(request, RETRY, spread=seconds, at_most_once=is_careless)

    def carry_out_cancel(self, request: Request) -> Response:
        """Cancels all that were counted, and leads to their list."""
        return self._carry_out(request, CANCEL)

    def _carry_out(self, request: Request, wish: str, **terms: Any) -> Response:
        form = request.form
        view, as_of = self._view(form), moment_of(form.get("as_of", ""))
        if view.q or as_of is None or fixed(view, 0.0) != view:
            return redirect(address_of(form, wish))
        client = self._means.client
        of_wish = client.retry_matching if wish == RETRY else client.cancel_matching
        try:
            done = of_wish(_filter_of(view), as_of=as_of, expected=id_in(form.get("expected", "")), **terms)
        except InvalidParameterError:  # of all jobs, or such as cannot be asked that
            return replace(self._ask(request, wish, form), status=400)
        told = f"{wish} of {done.done} jobs, {done.left_out} left out, of all that match {urlencode(fields_of(view))}"
        self._means.tell(request, told)
        if not done.change:
            return replace(self._ask(request, wish, form, was_in_vain=True), status=409)
        return redirect(View("/jobs", view.default_per, per=view.default_per, bulk=done.change).but())

    def changes(self, request: Request) -> Response:
        """What was changed, and by whom, newest first."""
        before = id_in(request.query.get("before", "")) or None
        page = self._means.client.changes(before=before, limit=self._means.settings.per_page)
        told = [
            one | {"sentence": sentence(one), "bulk": one["id"] if one["kind"] in _OF_MANY else None}
            for one in page.items
        ]
        values = {"changes": told, "older": page.next, "is_first": before is None}
        return self._means.shown(request, "changes.html", values)

    def _view(self, given: Mapping[str, str]) -> View:
        return self._means.view("/jobs", given, STATUSES)


def try_sentence(client: Client, change: int | None) -> str | None:
    """What was done by this change; None where there is none, or it is known no more."""
    if change is None:
        return None
    found = client.changes(before=change + 1, limit=1).items
    return sentence(found[0]) if found and found[0]["id"] == change else None


_OF_MANY: Final = (ChangeKind.RETRIED_MANY, ChangeKind.CANCELLED_MANY)


def address_of(form: Mapping[str, str], wish: str) -> str:
    """The view whose form this was."""
    fields = fields_of(View.of("/jobs", form, STATUSES, 10))
    return f"/jobs/{wish}?{urlencode(fields)}" if fields else f"/jobs/{wish}"


def _filter_of(view: View) -> Filter:
    """By times that stand still."""
    wanted = asked(view, 0.0)
    return Filter(**{name: wanted[name] for name in Filter._fields if wanted.get(name) is not None})


def _meant(matched: Matched, wish: str) -> int:
    """Of how many it is asked where nobody says that it is to be of those, too, that may be tried but once."""
    return matched.jobs - (matched.at_most_once if wish == RETRY else 0)
