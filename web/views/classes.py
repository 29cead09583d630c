"""The views of classes: how each does against its own past, and one with its newest attempts; no sockets, no markup."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bgjob.answers import ClassStats
from bgjob.changes_told import MOST_CHANGES
from bgjob.errors import NotApprovedError
from bgjob.text import signature

from ..exchange import Request, Response
from ..scatter import MEASURES, Measure, cloud_of
from ..trends import (
    DAY,
    LAST_DAY,
    SHORT_HOUR,
    TWO_WEEKS,
    Span,
    changes_in,
    share,
    slots_of,
    text_of,
    usual_span,
)
from .errors import told_of, with_hours
from .means import Means

_SPANS: Final[Mapping[str, Span]] = {one.name: one for one in (SHORT_HOUR, LAST_DAY, TWO_WEEKS)}
_MOST_ERRORS: Final = 8
_SLOWEST: Final = 8
_MARKED: Final = frozenset({"started", "loaded", "class_held", "class_resumed"})
_LIMITS: Final[Mapping[str, str]] = {"time": "timeout", "memory": "memory", "cpu": "cpu"}
"""Which limit of a policy is one of what is measured."""

_NOTHING: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("ended", "completed", "failed", "memory"), 0),
    **dict.fromkeys(("p50", "p95", "waited_p95")),
    "cpu": 0.0,
}

Told = Mapping[str, Any]


class ClassViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def overview(self, request: Request) -> Response:
        """The classes that are approved, and those of which something has ended, the busiest first."""
        stats = self._means.slow.stats()
        described = self._described(stats)
        trends = {one["name"]: one for one in self._means.slow.class_trends()}
        nothing = {"day": _NOTHING, "before": _NOTHING, "hours": [0] * 24, "failed": [0] * 24}
        classes = [
            {**nothing, "name": name, **trends.get(name, {}), "described": described.get(name)}
            for name in trends.keys() | described.keys()
            if name
        ]
        classes.sort(key=lambda one: (-one["day"]["ended"], one["name"]))
        for one in classes:
            one["well"], one["well_before"] = (
                share(one[word]["completed"], one[word]["ended"]) for word in ("day", "before")
            )
        values = {"classes": classes, "has_code": stats["code_version"] is not None}
        return self._means.shown(request, "classes.html", values, stats)

    def _described(self, stats: Told) -> dict[str, Told]:
        """What is approved by name; nothing as long as no code is loaded, for that would take until it is."""
        if stats["code_version"] is None:
            return {}
        return {one["name"]: one for one in self._means.slow.classes()}

    def one(self, request: Request, name: str) -> Response:
        """A class: figures against its past, what ended, its newest attempts, its errors and what was slow.

        Raises NotApprovedError where nothing is known of it.
        """
        now, client = time.time(), self._means.slow
        stats, found = client.stats(), client.class_stats(name)
        described = self._described(stats).get(name)
        if described is None and stats["code_version"] is not None and not _is_known(found):
            raise NotApprovedError(class_name=name)
        span = self._span(request.query.get("span", ""), name, now)
        measure = MEASURES.get(request.query.get("of", ""), MEASURES["time"])
        slots = slots_of(self._points(name, span, now), span, now)
        changes = [one for one in client.changes(limit=MOST_CHANGES).items if _concerns(one, name)]
        values = {
            "name": name,
            "described": described,
            "calls": [signature(method) for method in described["methods"]] if described else [],
            "day": found.day,
            "before": found.before,
            "well": share(found.day["completed"], found.day["ended"]),
            "well_before": share(found.before["completed"], found.before["ended"]),
            "many": len(found.attempts),
            "errors": self._errors(name, stats, now),
            "slowest": _slowest(found),
            "span": span.name,
            "measure": measure.name,
        }
        if request.wants_json:
            return self._means.shown(request, "class.html", values | {"attempts": found.attempts}, stats)
        lately, limit = changes_in(changes, span, now), _limit(described, measure)
        cloud = cloud_of(found.attempts, measure, limit, changes_in(changes, TWO_WEEKS, now))
        drawn = {"chart": (slots, lately, span), "cloud": cloud, "limit": limit}
        choices = {"spans": list(_SPANS.values()), "measures": list(MEASURES.values())}
        return self._means.shown(request, "class.html", values | drawn | choices, stats)

    def _span(self, word: str, name: str, now: float) -> Span:
        spans = tuple(_SPANS.values())
        return _SPANS.get(word) or usual_span(self._points(name, TWO_WEEKS, now), spans, now)

    def _points(self, name: str, span: Span, now: float) -> Sequence[Told]:
        """What of the class ended in those of the slots in which anything did."""
        return self._means.trends.trend(f"class:{name}", span.step, span.begin(now), now)

    def _errors(self, name: str, stats: Told, now: float) -> list[dict[str, Any]]:
        """Those of the last 24 hours that the class has met, last seen first, with how often each hour."""
        begin = text_of(now - DAY)
        found = self._means.slow.errors(class_name=name, since=begin, limit=_MOST_ERRORS).items
        return [with_hours(self._means, told_of(one, stats), now) for one in found]


def _is_known(found: ClassStats) -> bool:
    """Whether anything of it has ended that is not forgotten."""
    return bool(found.attempts or found.day["ended"] or found.before["ended"])


def _concerns(change: Told, name: str) -> bool:
    """Whether it may explain how the class's attempts end."""
    return change["kind"] in _MARKED and change["what"].get("class", name) == name


def _limit(described: Told | None, measure: Measure) -> float | None:
    policy = None if described is None else described["policy"]
    field = _LIMITS.get(measure.name)
    limit: float | None = None if policy is None or field is None else policy[field]
    return limit


def _slowest(found: ClassStats) -> Sequence[Told]:
    known = [one for one in found.attempts if one["seconds"] is not None]
    return sorted(known, key=lambda one: -one["seconds"])[:_SLOWEST]
