"""The view of now: what needs somebody, what ended and was changed, what runs, and queues; no sockets, no markup."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from bgjob.answers import Page
from bgjob.changes_told import MOST_CHANGES
from bgjob.errors_told import retrying_of
from bgjob.labels import is_label
from bgjob.words import RETRYING, Status

from ..addresses import BY_ID
from ..exchange import Request, Response
from ..lists import MOST_COUNTED
from ..needing import shown_of
from ..trends import (
    DAY,
    HOUR,
    LAST_DAY,
    LAST_HOUR,
    TWO_WEEKS,
    Change,
    Slot,
    Span,
    changes_in,
    hours_of,
    share,
    slots_of,
    text_of,
    usual_span,
)
from .means import Means

_SPANS: Final[Mapping[str, Span]] = {one.name: one for one in (LAST_HOUR, LAST_DAY, TWO_WEEKS)}
_MOST_TOLD: Final = 5
_MOST_RUNNING: Final = 20
_MOST_OF_LABEL: Final = 10
_OF_LABEL: Final = (Status.FAILED, Status.PENDING)
_BY_ERROR: Final = frozenset({"new_error", "rising_error", "failed"})
_MOST_ERRORS: Final = 3
_MOST_CLASSES: Final = 3
_GOES_WELL: Final = 0.95
"""This share of what has ended has completed, where what needs nobody goes well."""

Told = Mapping[str, Any]
Listed = Page[dict[str, Any]]


class NowViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def overview(self, request: Request) -> Response:
        """All that a person asks first; of the jobs of a label, where one is asked for."""
        label = request.query.get("label", "")
        return self._of_label(request, label) if is_label(label) else self._of_all(request)

    def _of_all(self, request: Request) -> Response:
        now, client = time.time(), self._means.slow
        stats, running = client.stats(), client.running()
        span = _SPANS.get(request.query.get("span", "")) or usual_span(
            self._points(LAST_DAY, now), (LAST_HOUR, LAST_DAY), now
        )
        changes = client.changes(limit=MOST_CHANGES).items
        needed = client.needs()
        slots = self._slots(span, stats, now)
        lately = changes_in(changes, span, now)
        values = {
            "needs": self._with_classes(
                shown_of(needed.needs, changes, running, now, self._means.settings.at)
            ),
            "more": needed.more,
            **self._lately(stats),
            "span": _plain(span),
            "spans": [_plain(one) for one in _SPANS.values()],
            "ended": [_slot(one) for one in slots],
            "changes": [{"at": one.at, "told": one.told, "who": one.who} for one in lately[:_MOST_TOLD]],
            "running": self._running(running, stats),
            "more_running": max(0, len(running) - _MOST_RUNNING),
            "queues": self._queues(stats, now),
        }
        return self._means.shown(request, "now.html", values | _to_draw(request, slots, lately, span), stats)

    def _of_label(self, request: Request, label: str) -> Response:
        """What of these jobs failed, runs and waits; what is counted of all jobs alone is left to them."""
        client = self._means.slow
        stats, running, needed = client.stats(), client.running(label=label), client.needs()
        found = client.labels(prefix=label, limit=1).items
        standing = found[0] if found and found[0]["label"] == label else None
        values = {
            "label": label,
            "of_label": standing,
            "needing": len(needed.needs) + needed.more,
            "running": self._running(running, stats),
            "more_running": max(0, len(running) - _MOST_RUNNING),
            **self._of_each(label),
        }
        return self._means.shown(request, "now_label.html", values, stats)

    def _of_each(self, label: str) -> dict[str, dict[str, Any]]:
        """The newest of a label's jobs that failed, and of those that wait.

        By their ids, for those are the label's own: by their ends all that failed would be looked through. Both at
        once, for where there are neither that takes all the time that there is for looking.
        """
        ask = partial(self._means.slow.list, label=label, sort=BY_ID)
        both = ask(status=_OF_LABEL, limit=len(_OF_LABEL) * _MOST_OF_LABEL)
        return {status.value: _first_of(status, both, ask) for status in _OF_LABEL}

    def _slots(self, span: Span, stats: Told, now: float) -> list[Slot]:
        """What ended in each; of the last hour the daemon tells that with how it stands."""
        if span is LAST_HOUR:
            return slots_of(stats["minutes"], span, now)
        return slots_of(self._points(span, now), span, now)

    def _points(self, span: Span, now: float) -> Sequence[Told]:
        """What ended in those of its slots in which anything did."""
        return self._means.trends.trend("", span.step, span.begin(now), now)

    def _lately(self, stats: Told) -> dict[str, Any]:
        """How the last hour went, and where nothing failed in it, when something did before."""
        completed, failed = (
            sum(minute[word] for minute in stats["minutes"]) for word in ("completed", "failed")
        )
        latest = None
        if not failed:
            found = self._means.slow.list(status=Status.FAILED, limit=1).items
            latest = found[0]["finished_at"] if found else None
        return {
            "a_minute": (completed + failed) / max(1, len(stats["minutes"])),
            "well": share(completed, completed + failed),
            "goes_well": _GOES_WELL,
            "retrying": self._means.slow.list(status=RETRYING, limit=1, count=MOST_COUNTED).total,
            "most_counted": MOST_COUNTED,
            "failed_last": latest,
        }

    def _with_classes(self, needs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of the first errors among them how many attempts are of which classes, and how many jobs wait for a retry."""
        errors = [need for need in needs if need["kind"] in _BY_ERROR][:_MOST_ERRORS]
        for need in errors:
            read = self._means.slow.error(int(need["subject"]))
            told = sorted(read.classes.items(), key=lambda one: -one[1])
            need["classes"], need["retrying"] = told[:_MOST_CLASSES], retrying_of(read.error)
        return needs

    def _running(self, running: Sequence[Told], stats: Told) -> list[dict[str, Any]]:
        """What runs, the longest first, with the memory that its class may have."""
        most = {}
        if running and stats["code_version"] is not None:
            policies = {one["name"]: one["policy"] for one in self._means.slow.classes()}
            most = {name: policy["memory"] for name, policy in policies.items() if policy is not None}
        shown = sorted(running, key=lambda one: one["started_at"] or "9")[:_MOST_RUNNING]
        return [{**one, "memory_limit": most.get(one["class_name"])} for one in shown]

    def _queues(self, stats: Told, now: float) -> list[dict[str, Any]]:
        """The queues with how many of their jobs were pending in each of the last 24 hours."""
        by_name: dict[str, list[Told]] = {}
        for point in self._means.trends.trend("queues", HOUR, now - DAY, now):
            by_name.setdefault(point["name"], []).append(point)
        return [
            {**queue, "hours": hours_of(by_name.get(queue["name"], ()), "pending", now)}
            for queue in sorted(stats["queues"], key=lambda one: str(one["name"]))
        ]


def _first_of(status: Status, both: Listed, ask: Callable[..., Listed]) -> dict[str, Any]:
    """Those of this status, which are asked for where the others have left them no room, or may follow alone."""
    found, jobs = both, [job for job in both.items if job["status"] == status]
    if len(jobs) <= _MOST_OF_LABEL and both.is_complete and both.next is not None:
        found = ask(status=status, limit=_MOST_OF_LABEL)
        jobs = list(found.items)
    has_more = len(jobs) > _MOST_OF_LABEL or found.next is not None
    return {"jobs": jobs[:_MOST_OF_LABEL], "has_more": has_more, "is_complete": found.is_complete}


def _to_draw(request: Request, slots: list[Slot], changes: list[Change], span: Span) -> dict[str, Any]:
    """What a drawing is made of, and no program reads."""
    return {} if request.wants_json else {"chart": (slots, changes, span)}


def _plain(span: Span) -> dict[str, str]:
    return {"name": span.name, "words": span.words}


def _slot(slot: Slot) -> dict[str, Any]:
    return {"at": text_of(slot.at), "completed": slot.completed, "failed": slot.failed}
