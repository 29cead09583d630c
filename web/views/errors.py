"""The views of errors, whichever jobs have met them: shapes what the daemon says; no sockets, no markup."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from bgjob.changes_told import MOST_CHANGES, just_before
from bgjob.errors_told import age_of, kind_of, retrying_of, where
from bgjob.traits_told import common_of
from bgjob.words import ErrorSort

from ..addresses import PER_PAGE, View, since_of
from ..exchange import Request, Response
from ..lists import rows_told
from ..narrowing import chips
from ..trends import DAY, HOUR, hours_of
from .means import Means

NEW: Final = "new"
SPANS: Final = ("1h", "24h", "7d")
_SORTS: Final = (("", "Last seen"), (ErrorSort.FAILED, "Most failed"), (ErrorSort.NEWEST, "Newest"))
_AT: Final = {"": "last_at", ErrorSort.FAILED: "failed", ErrorSort.NEWEST: "first_at"}
"""By the order what a place begins with."""

_MOST_JOBS: Final = 25

Told = dict[str, Any]


class ErrorViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def overview(self, request: Request) -> Response:
        """The errors, those first that were met last, have failed most jobs, or are newest."""
        view = self._means.view("/errors", request.query, (NEW,))
        stats = self._means.slow.stats()
        found = self._means.slow.errors(
            since=since_of(view.since, time.time()) if view.since else None,
            class_name=view.class_name or None,
            new=view.status == NEW,
            sort=view.sort or None,
            before=f"{view.at} {view.upto + 1}" if view.upto is not None and view.at else None,
            limit=view.per,
        )
        last = found.items[-1] if found.next is not None else None
        values = {
            "errors": [with_hours(self._means, told_of(one, stats), time.time()) for one in found.items],
            "view": view,
            "chips": [one for one in chips(view) if one.words == "Class"],
            "spans": SPANS,
            "sorts": _SORTS,
            "place": rows_told(view, len(found.items), None),
            "older": None if last is None else _behind(view, last),
            "newest": None if view.is_first else view.but(),
            "per_page": sorted({*PER_PAGE, view.per}),
        }
        return self._means.shown(request, "errors.html", values, stats)

    def one(self, request: Request, number: int) -> Response:
        """An error with what was different, its classes, its newest traceback, and the jobs that have met it."""
        stats, client = self._means.slow.stats(), self._means.slow
        read = client.error(number, traits=True)
        jobs = client.list(error=number, limit=_MOST_JOBS)
        error = with_hours(self._means, told_of(read.error, stats), time.time())
        values = {
            "error": error,
            "classes": sorted(read.classes.items(), key=lambda one: -one[1]),
            "met_by": read.met_by,
            "common": [one._asdict() for one in common_of(read.traits)] if read.traits else [],
            "compared": read.traits["attempts"] if read.traits else 0,
            "completed": read.traits["completed"] if read.traits else None,
            "after": just_before(error["first_at"], client.changes(limit=MOST_CHANGES).items),
            "next_retry": read.next_retry,
            "traceback": read.traceback,
            "jobs": jobs.items,
            "has_more_jobs": jobs.next is not None,
        }
        return self._means.shown(request, "error.html", values, stats)


def told_of(error: Told, stats: Mapping[str, Any]) -> Told:
    """The error, with how it reads."""
    told = {"kind": kind_of(error), "where": where(error), "age": age_of(error, stats["code_version"])}
    return error | told | {"retrying_told": retrying_of(error)}


def with_hours(means: Means, error: Told, now: float) -> Told:
    """The error, with how many attempts it has ended in each of the last 24 hours."""
    points = means.trends.trend(f"error:{error['id']}", HOUR, now - DAY, now)
    return error | {"hours": hours_of(points, "attempts", now)}


def _behind(view: View, last: Told) -> str:
    return view.but(page=view.page + 1, upto=last["id"] - 1, at=str(last[_AT[view.sort]]))
