"""The views of groups and graphs, and what is asked of a group: shapes what the daemon says; no sockets, no markup."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from bgjob import Client
from bgjob.answers import Graph, Page
from bgjob.errors import JobNotFoundError, MethodNotFoundError
from bgjob.words import Status

from ..addresses import PER_PAGE
from ..exchange import Request, Response, redirect
from ..graph import GROUP, JOB, Told, neighbours
from ..lists import MOST_COUNTED, MOST_NEWER, id_in, key_behind, rows_told, told_newer
from .means import Means

STATES: Final = ("open", "sealed", "completed", "failed")
_MOST_DRAWN: Final = 200
_NEAR: Final = 100
_MOST_NEAR: Final = 1000
"""Jobs of a graph that a daemon is asked for: to be drawn; to find those beside one, at first, and where it is full."""

_MOST_RETRIED: Final = 1000

_REST: Final = (Status.PENDING, Status.RUNNING, Status.COMPLETED)


class GroupViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def overview(self, request: Request) -> Response:
        """The groups, newest first."""
        view = self._means.view("/groups", request.query, STATES)
        ask = partial(self._means.slow.groups, state=view.status or None)
        if "newer_than" in request.query:
            after = id_in(request.query["newer_than"])
            return told_newer([one for one in ask(limit=MOST_NEWER).items if one["id"] > after])
        found = ask(before=key_behind(view), limit=view.per)
        newest = found.items if view.is_first else ask(limit=1).items
        values = {
            "groups": found.items,
            "view": view,
            "kinds": STATES,
            "place": rows_told(view, len(found.items), None),
            "older": view.but(page=view.page + 1, upto=found.next - 1) if found.next is not None else None,
            "newest": None if view.is_first else view.but(),
            "top": newest[0]["id"] if newest else 0,
            "per_page": sorted({*PER_PAGE, view.per}),
        }
        return self._means.shown(request, "groups.html", values)

    def one(self, request: Request, number: int) -> Response:
        """A group with some of its members, those first that failed or were cancelled."""
        group = self._means.client.group(number).snapshot
        jobs = self._members(group)
        groups = self._nested(group) if group["total"] > len(jobs) else Page([], None)
        values = {
            "group": group,
            "jobs": jobs,
            "groups": groups.items,
            "has_more_groups": groups.next is not None,
            **self._after_group(number, jobs or self._first_of(groups)),
            "can_retry": group["failed"] > 0,
            "can_retry_cancelled": not group["failed"]
            and any(one["status"] == Status.CANCELLED for one in jobs),
            "can_cancel": group["unfinished"] > 0,
            "can_seal": group["state"] == "open",
            "is_asked": request.query.get("ask") == "cancel",
        }
        return self._means.shown(request, "group.html", values)

    def _members(self, group: Told) -> list[Told]:
        """Each once, though it may have been retried from one question to the next."""
        found: dict[int, Told] = {}
        for status in ((Status.FAILED,), (Status.CANCELLED,), _REST):
            room = self._means.settings.per_page - len(found)
            if room and (status == _REST or group[status[0]]):
                listed = self._means.slow.list(group=group["id"], status=status, limit=room)
                found |= {one["id"]: one for one in listed}
        return [*found.values()]

    def _nested(self, group: Told) -> Page[Told]:
        """Groups in it, the newest ones, of these those first that failed."""
        found = self._means.slow.groups(group=group["id"], limit=self._means.settings.per_page)
        return Page(sorted(found.items, key=lambda one: one["state"] != "failed"), found.next)

    def _first_of(self, groups: Page[Told]) -> list[Told]:
        """A job in the first of these; as a rule there is one."""
        return [job for one in groups.items[:1] for job in self._means.slow.list(group=one["id"], limit=1)]

    # What comes after what

    def graph(self, request: Request, job_id: int) -> Response:
        """What a job comes after and what comes after it, and so on."""
        found = self._means.slow.graph(job_id, limit=_MOST_DRAWN, count=MOST_COUNTED)
        drawn = found.jobs[:_MOST_DRAWN]
        values = {"job_id": job_id, **found._asdict(), "jobs": drawn, "most_counted": MOST_COUNTED}
        return self._means.shown(request, "graph.html", values)

    def _after_group(self, number: int, members: Sequence[Told]) -> dict[str, Any]:
        """What comes after the group, as the graph of one of its jobs tells; of one that has none that is not told."""
        found = Graph([], [], [], is_whole=True)
        if members:
            with suppress(JobNotFoundError):  # it was removed a moment ago
                found = self._means.client.graph(members[0]["id"], limit=_NEAR)
        told = neighbours(found, (GROUP, number))["comes_before"]
        of = members[0]["id"] if members else None
        return {"comes_before": told, "has_more_beside": not found.is_whole, "member": of}

    # What is asked for

    def retry(self, request: Request, number: int) -> Response:
        """Of those that failed; where the form says so, of those that were cancelled."""
        if "cancelled" in request.form:
            found = self._means.slow.list(group=number, status=Status.CANCELLED, limit=_MOST_RETRIED)
            if found:
                self._means.client.retry(*(one["id"] for one in found))
            return self._means.done(
                request, f"/groups/{number}", f"retry of {len(found)} cancelled members of group {number}"
            )
        self._means.client.retry_group(number)
        return self._means.done(request, f"/groups/{number}", f"retry of group {number}")

    def seal(self, request: Request, number: int) -> Response:
        self._means.client.seal_group(number)
        return self._means.done(request, f"/groups/{number}", f"seal of group {number}")

    def cancel(self, request: Request, number: int) -> Response:
        """Ends what has not ended; whoever did not say so in the form is asked first."""
        if "stops" not in request.form:
            return redirect(f"/groups/{number}?ask=cancel")
        self._means.client.cancel_group(number)
        return self._means.done(request, f"/groups/{number}", f"cancel of group {number}")


def beside(client: Client, job_id: int) -> dict[str, Any]:
    """What a job comes after itself, and what comes after that.

    Nothing, where the daemon is older than this page, which an upgrade may put under it.
    """
    try:
        found = client.graph(job_id, limit=_NEAR)
        if _is_cut(found, job_id, _NEAR):
            found = client.graph(job_id, limit=_MOST_NEAR)
    except MethodNotFoundError:
        found = Graph([], [], [], is_whole=True)
    return neighbours(found, (JOB, job_id)) | {"has_more_beside": _is_cut(found, job_id, _MOST_NEAR)}


def _is_cut(found: Graph, job_id: int, limit: int) -> bool:
    """Whether there may be more beside the job: a daemon tells of half of the limit, where there are more in all."""
    beside = {one["after"] for one in found.edges if one["job_id"] == job_id and one["of"] == JOB}
    beside |= {one["job_id"] for one in found.edges if (one["of"], one["after"]) == (JOB, job_id)}
    return not found.is_whole and len(beside) >= (limit - 1) // 2
