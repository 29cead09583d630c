"""The views of errors, whichever jobs have met them: shapes what the daemon says; no sockets, no markup."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from bgjob.errors_told import age_of, kind_of, where

from ..addresses import PER_PAGE, View, since_of
from ..exchange import Request, Response
from ..lists import rows_told
from ..trends import DAY, HOUR, hours_of
from .means import Means

NEW: Final = "new"
SPANS: Final = ("1h", "24h", "7d")
_MOST_JOBS: Final = 25

Told = dict[str, Any]


class ErrorViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def overview(self, request: Request) -> Response:
        """The errors, those that were met last first."""
        view = View.of("/errors", request.query, (NEW,), self._means.settings.per_page)
        stats = self._means.slow.stats()
        found = self._means.slow.errors(
            since=since_of(view.since, time.time()) if view.since else None,
            new=view.status == NEW,
            before=None if view.upto is None else f"{view.at} {view.upto + 1}",
            limit=view.per,
        )
        last = found.items[-1] if found.next is not None else None
        older = None if last is None else _behind(view, last)
        values = {
            "errors": [with_hours(self._means, told_of(one, stats), time.time()) for one in found.items],
            "view": view,
            "kinds": (NEW,),
            "spans": SPANS,
            "place": rows_told(view, len(found.items), None),
            "older": older,
            "newest": None if view.is_first else view.but(),
            "per_page": sorted({*PER_PAGE, view.per}),
        }
        return self._means.shown(request, "errors.html", values, stats)

    def one(self, request: Request, number: int) -> Response:
        """An error with its classes, its newest traceback, and the jobs that have met it."""
        stats = self._means.slow.stats()
        read = self._means.slow.error(number)
        jobs = self._means.slow.list(error=number, limit=_MOST_JOBS)
        values = {
            "error": with_hours(self._means, told_of(read.error, stats), time.time()),
            "classes": sorted(read.classes.items(), key=lambda one: -one[1]),
            "traceback": read.traceback,
            "jobs": jobs.items,
            "has_more_jobs": jobs.next is not None,
        }
        return self._means.shown(request, "error.html", values, stats)


def told_of(error: Told, stats: Mapping[str, Any]) -> Told:
    """The error, with how it reads."""
    age = age_of(error, stats["code_version"])
    return error | {"kind": kind_of(error), "where": where(error), "age": age}


def with_hours(means: Means, error: Told, now: float) -> Told:
    """The error, with how many attempts it has ended in each of the last 24 hours."""
    points = means.trends.trend(f"error:{error['id']}", HOUR, now - DAY, now)
    return error | {"hours": hours_of(points, "attempts", now)}


def _behind(view: View, last: Told) -> str:
    return view.but(page=view.page + 1, upto=last["id"] - 1, at=last["last_at"])
