"""The views of schedules, and what is asked of one: shapes what the daemon says; no sockets, no markup."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from bgjob import Client
from bgjob.text import instant

from ..addresses import PER_PAGE, View, moment_of, place_of, quoted
from ..exchange import Request, Response
from ..strip import Told, kind_of, meetings
from .means import Means

STATES: Final = ("failed", "refused", "paused")
_NEXT: Final = 10
_MOST_PAST: Final = 100
_MOST_NEXT: Final = 100
_MOST_NEXT_IN_ALL: Final = 5_000
"""Occurrences that a daemon is asked for; as a list, and to be drawn, of one schedule and of all."""

_KEPT: Final = 60.0


class ScheduleViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._client = means.many
        self._coming = _Coming(means.many)

    def overview(self, request: Request) -> Response:
        """The schedules by name, those of one page with what became of their latest occurrences."""
        view = self._means.view("/schedules", request.query, STATES)
        now = time.time()
        found = self._coming.schedules(now)
        fitting = [one for one in found if _fits(one, view)]
        behind = view.upto or 0
        here = [self._with_past(one) for one in fitting[behind : behind + view.per]]
        last = behind + len(here)
        values = {
            "schedules": here,
            "total": len(found),
            "meetings": asdict(meetings(found, now)) if len(found) > 1 else None,
            "view": view,
            "kinds": STATES,
            "place": f"{behind + 1:,}–{last:,} of {len(fitting):,}" if here else "",
            "before": view.but(page=view.page - 1, upto=max(0, behind - view.per) if view.page > 2 else None),
            "following": view.but(page=view.page + 1, upto=last) if last < len(fitting) else None,
            "per_page": sorted({*PER_PAGE, view.per}),
        }
        return self._means.shown(request, "schedules.html", values)

    def one(self, request: Request, name: str) -> Response:
        """A schedule with its next occurrences, and what became of the others, newest first."""
        [schedule] = self._client.schedules(next=_MOST_NEXT, name=name)
        before = moment_of(request.query.get("before", ""))
        page = self._client.occurrences(name, before=before, limit=self._means.settings.per_page)
        further = f"/schedules/{quoted(name)}?before={page.next}"
        values = {
            "schedule": self._with_past(schedule),
            "coming": schedule["next"][:_NEXT],
            "occurrences": page.items,
            "before": before,
            "older": None if page.next is None else self._means.settings.at(further),
        }
        return self._means.shown(request, "schedule.html", values)

    def _with_past(self, schedule: Told) -> dict[str, Any]:
        """The schedule with its latest occurrences, and whether there are `earlier` ones."""
        page = self._client.occurrences(schedule["name"], limit=_MOST_PAST)
        return {**schedule, "occurrences": page.items, "earlier": page.next is not None}

    # What is asked for

    def run(self, request: Request, name: str) -> Response:
        job = self._client.run_schedule(name)
        return self._means.done(request, _place(request, name), f"run of schedule {name} (job {job.id})")

    def pause(self, request: Request, name: str) -> Response:
        self._client.pause_schedule(name)
        return self._means.done(request, _place(request, name), f"pause of schedule {name}")

    def resume(self, request: Request, name: str) -> Response:
        self._client.resume_schedule(name)
        return self._means.done(request, _place(request, name), f"resume of schedule {name}")


def _place(request: Request, name: str) -> str:
    """Where the form stood: the list says so, a schedule's own page has nothing to say."""
    told = request.form.get("next")
    return f"/schedules/{quoted(name)}" if told is None else place_of(told)


def _fits(schedule: Told, view: View) -> bool:
    """Whether it is among those that are looked for."""
    text = f"{schedule['name']} {schedule['job']}".casefold()
    return view.q.casefold() in text and (not view.status or view.status in _states(schedule))


def _states(schedule: Told) -> Iterator[str]:
    last = schedule["last"]
    if last is not None and kind_of(last) == "failed":
        yield "failed"
    if schedule["refused"] is not None:
        yield "refused"
    if schedule["paused_at"] is not None:
        yield "paused"


class _Coming:
    """Remembers for a minute which occurrences are to come: to tell of many takes the daemon longer than all else here.

    What may change is asked for each time, and all anew where the next of any is not the one that is remembered.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked_at = -math.inf
        self._remembered: dict[str, list[Told]] = {}

    def schedules(self, now: float) -> list[dict[str, Any]]:
        """All, as they stand, each with its occurrences of the day to come, as far as they are not too many."""
        found = self._client.schedules(next=1)
        if not (0 <= now - self._asked_at < _KEPT and all(self._is_known(one, now) for one in found)):
            many = max(1, min(_MOST_NEXT, _MOST_NEXT_IN_ALL // max(1, len(found))))
            self._remembered = {one["name"]: one["next"] for one in self._client.schedules(next=many)}
            self._asked_at = now
        return [{**one, "next": self._following(one, now)} for one in found]

    def _is_known(self, schedule: Told, now: float) -> bool:
        return bool(self._following(schedule, now)[:1] == schedule["next"])

    def _following(self, schedule: Told, now: float) -> list[Told]:
        """Those that are remembered; of one that goes on by seconds the next says all."""
        if schedule["every"] is not None:
            return [*schedule["next"]]
        remembered = self._remembered.get(schedule["name"], ())
        return [one for one in remembered if instant(one["at"]) > now]
