"""The views of the log and of jobs as lists: each asks the daemon, and shapes what it says; no sockets, no markup."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from bgjob import Client
from bgjob.errors import JobNotFoundError
from bgjob.words import Outcome

from ..addresses import PER_PAGE, SAID, STATUSES, TYPES, View, since_of
from ..exchange import Request, Response
from ..lists import MOST_COUNTED, MOST_NEWER, id_in, key_behind, later_than, rows_told, told_newer
from ..narrowing import asked, chips, named, try_fixed
from .many import try_sentence, wishes_for
from .means import Means, Values

_NUMBER: Final = re.compile(r"#?([1-9][0-9]{0,17})")


class ListViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def log(self, request: Request) -> Response:
        """The log, newest first."""
        view = self._means.view("/", request.query, TYPES)
        is_said = view.status == SAID
        type = None if is_said else view.status or None
        every = partial(self._client_for(view).logs, type=type, said=is_said, search=view.q or None)
        ask = partial(every, until=since_of(view.until, time.time()) if view.until else None)
        if "newer_than" in request.query:
            after = id_in(request.query["newer_than"])
            return told_newer(ask(after=after, limit=MOST_NEWER).items)
        found = ask(before=key_behind(view), limit=view.per, count=MOST_COUNTED)
        newer = () if view.is_first else ask(after=view.upto, limit=view.per).items
        listed = self._listed(view, found, newer, self._means.client.logs, _id_of)
        if view.is_first and view.until:
            later = every(after=found.items[0]["id"], limit=view.per).items if found.items else ()
            listed |= {"newest": view.but(until=""), "newer": later_than(view, later)}
        own: Values = {"entries": found.items, "kinds": TYPES, "chips": chips(view)}
        return self._means.shown(request, "log.html", {**listed, **own})

    def jobs(self, request: Request) -> Response:
        """The jobs, newest first: by their ends where all have ended."""
        view = self._means.view("/jobs", request.query, STATUSES)
        wanted = asked(view, time.time())
        ask = partial(self._client_for(view).list, **wanted)
        key_of: Callable[[Any], Any] = _end_of if view.is_by_end else _id_of
        if "newer_than" in request.query:
            told = request.query["newer_than"]
            after = told if view.is_by_end else id_in(told)
            return told_newer([job for job in ask(limit=MOST_NEWER).items if key_of(job) > after])
        found = ask(before=key_behind(view), limit=view.per, count=MOST_COUNTED)
        in_order = {name: wanted[name] for name in ("status", "sort")} if view.is_by_end else {}
        all_of = partial(self._means.client.list, **in_order)
        listed = self._listed(view, found, (), all_of, key_of)
        moves = any(job["status"] == "running" for job in found.items)
        own: Values = {"chips": chips(view), "fixed": try_fixed(view, time.time())}
        own |= {"outcomes": tuple(Outcome), "views": named(self._means.settings.views, view)}
        own |= {
            "wishes": wishes_for(view) if found.items else (),
            "total": found.total if found.total and found.total < MOST_COUNTED else None,
            "change": try_sentence(self._means.client, view.bulk),
        }
        own |= {"jobs": found.items, "kinds": STATUSES, "moves": moves}
        return self._means.shown(request, "jobs.html", {**listed, **own})

    def _client_for(self, view: View) -> Client:
        """The one to ask for this list: what is narrowed down may take looking for."""
        return self._means.slow if view.is_narrowed else self._means.client

    def _listed(
        self,
        view: View,
        found: Any,
        newer: Any,
        all_of: Callable[..., Any],
        key_of: Callable[[Any], Any],
    ) -> Values:
        """What both lists show of where they are. `newer` are the rows of the page before, oldest first.

        Its `top` is the key of the newest that is known now: what comes later is counted as newer.
        """
        older = found.next is not None
        is_newest = view.is_first and found.is_complete and not view.until
        newest = found.items if is_newest else all_of(limit=1).items
        top = key_of(newest[0]) if newest else 0
        reached_at = getattr(found.next, "at", None) or ""
        before = newer[-1]["id"] if len(newer) == view.per and view.page > 2 else None
        return {
            "view": view,
            "is_complete": found.is_complete,
            "place": rows_told(view, len(found.items), found.total),
            "older": view.but(page=view.page + 1, upto=found.next - 1, at=reached_at) if older else None,
            "newer": view.but(page=view.page - 1, upto=before) if before else None,
            "newest": None if view.is_first else view.but(),
            "per_page": sorted({*PER_PAGE, view.per}),
            "named": self._named(view.q),
            "top": top,
            "searched": None if found.is_complete or not older or reached_at else _share(found.next, top),
            "searched_back_to": None if found.is_complete else reached_at or None,
        }

    def _named(self, text: str) -> int | None:
        """The job whose number somebody searches for: "#4711"; None where it names no job that there is."""
        found = _NUMBER.fullmatch(text)
        if found is None:
            return None
        try:
            self._means.client.get(int(found[1]), limit=1)
        except JobNotFoundError:
            return None
        return int(found[1])


def _id_of(row: Mapping[str, Any]) -> int:
    return int(row["id"])


def _end_of(job: Mapping[str, Any]) -> str:
    return str(job["finished_at"])


def _share(reached: int, top: int) -> str:
    """How much of what is newest first a search has been through that got down to this id: "12%"."""
    return f"{100 * (top - reached + 1) // max(1, top)}%"
