"""The views of the whole daemon: what needs somebody, alerts, hosts, and what is asked of queues and classes."""

from __future__ import annotations

from bgjob.changes_told import MOST_CHANGES
from bgjob.hosts_told import with_old_code

from ..addresses import place_of
from ..exchange import Request, Response
from ..keys import busiest
from ..lists import id_in
from .means import Means


class SystemViews:
    """Of one page."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def overview(self, request: Request) -> Response:
        """What needs somebody, slots, queues with their busiest keys, classes with what holds for their jobs, versions.

        As long as no code is loaded nobody is asked for the classes: the answer would take until it is.
        """
        stats = self._means.client.stats()
        has_code = stats["code_version"] is not None
        values = {
            "needed": self._means.client.needs(),
            "classes": self._means.client.classes() if has_code else None,
            "limits": self._means.client.limits() if has_code else {},
            "busiest_keys": busiest(self._means.client, stats["queues"]),
        }
        return self._means.shown(request, "system.html", values, stats)

    def alerts(self, request: Request) -> Response:
        """What was raised of what needs somebody, newest first, and told."""
        before = id_in(request.query.get("before", "")) or None
        page = self._means.client.alerts(before=before, limit=self._means.settings.per_page)
        values = {"alerts": page.items, "older": page.next, "is_first": before is None}
        return self._means.shown(request, "alerts.html", values)

    def hosts(self, request: Request) -> Response:
        """The hosts that work from the database, whichever is asked; those first that live with old code."""
        hosts = self._means.client.hosts()
        old = with_old_code(hosts, self._means.client.changes(limit=MOST_CHANGES).items)
        told = [{**one, "has_old_code": one["name"] in old} for one in hosts]
        told.sort(key=lambda one: not one["has_old_code"])
        return self._means.shown(request, "hosts.html", {"hosts": told})

    # What is asked for

    def pause(self, request: Request, queue: str) -> Response:
        self._means.client.pause(queue)
        return self._means.done(request, _place(request), f"pause of queue {queue}")

    def resume(self, request: Request, queue: str) -> Response:
        self._means.client.resume(queue)
        return self._means.done(request, _place(request), f"resume of queue {queue}")

    def hold_class(self, request: Request, name: str) -> Response:
        self._means.client.hold_class(name)
        return self._means.done(request, _place(request), f"hold of class {name}")

    def resume_class(self, request: Request, name: str) -> Response:
        self._means.client.resume_class(name)
        return self._means.done(request, _place(request), f"resume of class {name}")


def _place(request: Request) -> str:
    """Where the form stood, if it says so."""
    told = request.form.get("next")
    return "/system" if told is None else place_of(told)
