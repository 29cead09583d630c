"""The page's views: each asks the daemon, and shapes what it says for a template, or as JSON; no sockets, no markup."""

from __future__ import annotations

import re
import secrets
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from bgjob import BgjobError, Client
from bgjob.answers import OutputPart, is_for_review
from bgjob.errors import (
    BehindFailedError,
    DaemonUnavailableError,
    ElsewhereError,
    ErrorGroupNotFoundError,
    GroupNotFoundError,
    InvalidStateError,
    JobNotFoundError,
    PermissionDeniedError,
    ScheduleNotFoundError,
    StorageUnavailableError,
)
from bgjob.words import FINAL, EntryType, Status

from .addresses import CLASS, ID, NAME, PER_PAGE, SAID, SCHEDULE, STATUSES, TYPES, View, place_of, since_of
from .console import say
from .errors import ErrorViews
from .events import Feed
from .exchange import Request, Response, as_json, html, plain, redirect
from .groups import GroupViews
from .guard import Guard
from .keys import busiest
from .lists import MOST_COUNTED, MOST_NEWER, id_in, key_behind, later_than, rows_told, told_newer
from .printed import Seen, shown_of
from .pulse import PATIENCE, Pulse
from .render import Renderer
from .schedules import ScheduleViews
from .settings import Settings
from .stacks import Stacks
from .steps import again_as, steps_of
from .values import values_of

_MOST_ENTRIES: Final = 100
_MOST_ATTEMPTS: Final = 20
_MOST_OUTPUT: Final = 64 * 1024
_PATIENCE: Final = 3.0
_PATIENCE_FOR_MANY: Final = 10.0
"""Seconds for an answer; of a thousand schedules it takes a second, in which the daemon does other things as well."""

_NUMBER: Final = re.compile(r"#?([1-9][0-9]{0,17})")

_Values = dict[str, Any]

_ERRORS: Final[Mapping[type[BgjobError], tuple[int, str]]] = {
    DaemonUnavailableError: (503, "away"),
    StorageUnavailableError: (503, "storage"),
    JobNotFoundError: (404, "no_job"),
    ScheduleNotFoundError: (404, "no_schedule"),
    GroupNotFoundError: (404, "no_group"),
    ErrorGroupNotFoundError: (404, "no_error"),
    BehindFailedError: (409, "behind_failed"),
    ElsewhereError: (409, "elsewhere"),
    InvalidStateError: (409, "too_late"),
    PermissionDeniedError: (403, "denied"),
    BgjobError: (502, "refused"),
}
"""What the daemon's answer becomes: the status, and what broken.html tells; the first that fits."""


_DIGITS: Final = 19
"""Ids have fewer."""


class Page:
    """Answers requests; thread-safe. Each action is told on the console, with the address that it came from."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = Client(settings.socket, timeout=_PATIENCE)
        self._slow = Client(
            settings.socket, timeout=_PATIENCE
        )  # behind whose answers the other views do not wait
        self._pulse = Pulse(Client(settings.socket, timeout=PATIENCE).ping)
        self._guard = Guard(settings, (settings.token or secrets.token_hex(16)).encode())
        self._render = Renderer()
        self._feed = Feed(settings.socket)
        self._stacks = Stacks()
        many = Client(settings.socket, timeout=_PATIENCE_FOR_MANY)
        self.schedules = ScheduleViews(many, settings.per_page, self._shown, self._done)
        self.errors = ErrorViews(self._slow, settings.per_page, self._shown)
        self.groups = GroupViews(self._client, self._slow, settings.per_page, self._shown, self._done)

    def respond(self, request: Request) -> Response:
        """The answer, whatever happens; who has not logged in keeps no connection."""
        refusal = self._guard.refusal(request)
        if refusal is not None:
            return replace(refusal, is_last=True)
        return replace(self._answer(request), is_last=not self._guard.is_known(request))

    def _answer(self, request: Request) -> Response:
        try:
            return self._routed(request)
        except BgjobError as error:
            status, what = next(told for kind, told in _ERRORS.items() if isinstance(error, kind))
            return self._broken(request, status, what, reason=str(error), **_in_the_way(error))
        except Exception:  # a bug of the page's must not take the connection's other requests with it
            told = f"bug: {request.path!r}: {traceback.format_exc().rstrip()}"
            say(self._settings, told, EntryType.FAILURE)
            return self._broken(request, 500, "bug")

    def _routed(self, request: Request) -> Response:
        others = []
        for method, pattern, view in _ROUTES:
            found = pattern.fullmatch(request.path)
            if found is not None:
                if method == request.method:
                    return view(self, request, *found.groups())
                others.append("GET, HEAD" if method == "GET" else method)
        if others:
            return plain("that address takes another method", 405, Allow=", ".join(others))
        return self._broken(request, 404, "nothing_here")

    # Lists

    def log(self, request: Request) -> Response:
        """The log, newest first."""
        view = View.of("/", request.query, TYPES, self._settings.per_page)
        type = view.status if view.status != SAID else ""
        is_said = view.status == SAID
        every = partial(self._client_for(view).logs, type=type or None, said=is_said, search=view.q or None)
        ask = partial(every, until=view.until or None)
        if "newer_than" in request.query:
            after = id_in(request.query["newer_than"])
            return told_newer(ask(after=after, limit=MOST_NEWER).items)
        found = ask(before=key_behind(view), limit=view.per, count=MOST_COUNTED)
        newer = () if view.is_first else ask(after=view.upto, limit=view.per).items
        listed = self._listed(view, found, newer, self._client.logs, _id_of)
        if view.is_first and view.until:
            later = every(after=found.items[0]["id"], limit=view.per).items if found.items else ()
            listed |= {"newest": view.but(until=""), "newer": later_than(view, later)}
        return self._shown(request, "log.html", {"entries": found.items, **listed, "kinds": TYPES})

    def jobs(self, request: Request) -> Response:
        """The jobs, newest first: by their ends where all have ended."""
        view = View.of("/jobs", request.query, STATUSES, self._settings.per_page)
        status = [view.status] if view.status else None
        since = since_of(view.since, time.time()) if view.since else None
        ask = partial(
            self._client_for(view).list,
            status=status,
            search=view.q or None,
            since=since,
            schedule=view.schedule or None,
            group=view.group,
            key=view.key or None,
            host=view.host or None,
            error=view.error,
        )
        is_by_end = view.status in FINAL
        key_of: Callable[[Any], Any] = _end_of if is_by_end else _id_of
        if "newer_than" in request.query:
            told = request.query["newer_than"]
            after = told if is_by_end else id_in(told)
            return told_newer([job for job in ask(limit=MOST_NEWER).items if key_of(job) > after])
        found = ask(before=key_behind(view), limit=view.per, count=MOST_COUNTED)
        all_of = partial(self._client.list, status=status) if is_by_end else self._client.list
        listed = self._listed(view, found, (), all_of, key_of)
        moves = any(job["status"] == "running" for job in found.items)
        return self._shown(
            request, "jobs.html", {"jobs": found.items, **listed, "kinds": STATUSES, "moves": moves}
        )

    def _client_for(self, view: View) -> Client:
        """The one to ask for this list: what is narrowed down may take looking for."""
        narrows = view.q or view.status or view.until or view.since or view.key or view.host or view.error
        return self._slow if narrows else self._client

    def _listed(
        self,
        view: View,
        found: Any,
        newer: Any,
        all_of: Callable[..., Any],
        key_of: Callable[[Any], Any],
    ) -> _Values:
        """What both lists show of where they are. `newer` are the rows of the page before, oldest first.

        Its `top` is the key of the newest that is known now: what comes later is counted as newer.
        """
        older = found.next is not None
        newest = (
            found.items if view.is_first and found.is_complete and not view.until else all_of(limit=1).items
        )
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
            self._client.get(int(found[1]), limit=1)
        except JobNotFoundError:
            return None
        return int(found[1])

    # One job

    def job(self, request: Request, job_id: str) -> Response:
        """A job with its latest attempts, the end of what the last of them printed, and what it waits for.

        Of output and log only what is behind what has been `seen`, where that is told.
        """
        job = self._client.get(int(job_id), limit=_MOST_ATTEMPTS).snapshot
        attempts = job["attempts"][::-1]
        seen = Seen.of(request.query.get("seen", ""))
        entries = self._entries(int(job_id), seen.entry)
        parts, elsewhere = self._parts(int(job_id)) if attempts else ([], None)
        has_ended = Status(job["status"]).is_final
        printed = shown_of(parts, seen, is_whole=has_ended)
        values = {
            "job": job,
            "why": self._client.why(int(job_id)) if is_for_review(job) or not has_ended else None,
            "is_for_review": is_for_review(job),
            "attempts": attempts,
            "left_out": attempts[-1]["number"] - 1 if attempts else 0,
            "entries": entries.items if seen.entry else entries.items[::-1],
            "entries_after": seen.entry,
            "has_older_entries": not seen.entry and entries.next is not None,
            "output": printed.text,
            "output_of": printed.number,
            "output_before": printed.begin,
            "output_end": printed.end,
            "output_elsewhere": elsewhere,
            **self.groups.neighbours(int(job_id)),
            "again_as": again_as(self._client, job),
            **steps_of(self._client, job),
            **values_of(self._client, job),
            "can_retry": job["status"] in ("failed", "cancelled") and not is_for_review(job),
            "can_cancel": not has_ended,
            "is_asked": request.query.get("ask") == "cancel",
            "looked": self._stacks.shown(job),
        }
        return self._shown(request, "job.html", values)

    def _parts(self, job_id: int) -> tuple[Sequence[OutputPart], str | None]:
        """The end of what the latest attempt printed, or the host that alone knows it."""
        try:
            return self._slow.output_parts(job_id, tail=_MOST_OUTPUT), None
        except ElsewhereError as error:
            return [], str(error.parameters["host"])

    def _entries(self, job_id: int, after: int) -> Any:
        """The latest of a job, newest first; behind one that has been seen, oldest first."""
        if after:
            return self._client.logs(id=job_id, after=after, limit=_MOST_ENTRIES)
        return self._client.logs(id=job_id, limit=_MOST_ENTRIES)

    def system(self, request: Request) -> Response:
        """What needs somebody, slots, queues with their busiest keys, classes with what holds for their jobs, versions.

        As long as no code is loaded nobody is asked for the classes: the answer would take until it is.
        """
        stats = self._client.stats()
        has_code = stats["code_version"] is not None
        values = {
            "needed": self._client.needs(),
            "classes": self._client.classes() if has_code else None,
            "limits": self._client.limits() if has_code else {},
            "busiest_keys": busiest(self._client, stats["queues"]),
        }
        return self._shown(request, "system.html", values, stats)

    def alerts(self, request: Request) -> Response:
        """What was raised of what needs somebody, newest first, and told."""
        before = request.query.get("before", "")
        is_id = before.isascii() and before.isdecimal() and len(before) < _DIGITS
        older = (int(before) or None) if is_id else None
        page = self._client.alerts(before=older, limit=self._settings.per_page)
        values = {"alerts": page.items, "older": page.next, "is_first": older is None}
        return self._shown(request, "alerts.html", values)

    def hosts(self, request: Request) -> Response:
        """The hosts that work from the database, whichever is asked."""
        return self._shown(request, "hosts.html", {"hosts": self._client.hosts()})

    # Actions

    def retry(self, request: Request, job_id: str) -> Response:
        self._client.retry(int(job_id), anyway="anyway" in request.form)
        return self._done(request, f"/jobs/{job_id}", f"retry of job {job_id}")

    def cancel(self, request: Request, job_id: str) -> Response:
        """Ends a job that waits; who would stop one that runs is asked first, unless the form says that it is to be."""
        if (
            "stops" not in request.form
            and self._client.get(int(job_id), limit=1).snapshot["status"] == Status.RUNNING
        ):
            return redirect(f"/jobs/{job_id}?ask=cancel")
        self._client.cancel(int(job_id))
        return self._done(request, f"/jobs/{job_id}", f"cancel of job {job_id}")

    def stack(self, request: Request, job_id: str) -> Response:
        """Asks a job where it is, and leads to its page, which tells that."""
        self._stacks.keep(int(job_id), self._slow.stack(int(job_id)))
        return self._done(request, f"/jobs/{job_id}", f"look at job {job_id}")

    def pause(self, request: Request, queue: str) -> Response:
        self._client.pause(queue)
        return self._done(request, "/system", f"pause of queue {queue}")

    def resume(self, request: Request, queue: str) -> Response:
        self._client.resume(queue)
        return self._done(request, "/system", f"resume of queue {queue}")

    def hold_class(self, request: Request, name: str) -> Response:
        self._client.hold_class(name)
        return self._done(request, "/system", f"hold of class {name}")

    def resume_class(self, request: Request, name: str) -> Response:
        self._client.resume_class(name)
        return self._done(request, "/system", f"resume of class {name}")

    def _done(self, request: Request, place: str, what: str) -> Response:
        say(self._settings, f"{what} by {request.peer}")
        return redirect(place)

    # The rest

    def login(self, request: Request) -> Response:
        """Takes the token out of the address, so that it stays in nobody's history, and leads on to what was asked for.

        In the form a person may paste the whole address.
        """
        place = place_of(request.query.get("next", ""))
        token = request.query.get("token")
        if token is None or not self._guard.is_token(token.strip().rpartition("token=")[2]):
            told = {"is_wrong": token is not None, "place": place}
            return html(self._page("login.html", told, None), 200 if token is None else 403)
        return (
            redirect(place, Set_Cookie=self._guard.cookie(request))
            if self._settings.token
            else redirect(place)
        )

    def events(self, request: Request) -> Response:
        """A stream of words that something has changed."""
        stream = self._feed.try_stream()
        if stream is None:
            return plain("too many browsers follow this page", 503, Retry_After="10")
        told = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        return Response(200, b"", told, stream)

    def healthz(self, request: Request) -> Response:
        """Whether the page, and the daemon behind it, answer."""
        return plain("ok") if self._pulse.is_there() else plain("the daemon does not answer", 503)

    def metrics(self, request: Request) -> Response:
        """How the daemon stands, for Prometheus; that it is away is told in the same way, for somebody to be woken."""
        from .metrics import exposition  # here, for it is slow to import and most pages are never asked

        try:
            stats = self._client.stats(counts=True)
            hosts = [] if stats.get("hosts") is None else self._client.hosts()
        except DaemonUnavailableError:
            stats, hosts = None, []
        body, kind = exposition(stats, request.headers.get("accept", ""), time.time(), hosts)
        return Response(200, body, {"Content-Type": kind})

    def static(self, request: Request, version: str, name: str) -> Response:
        found = self._render.file(name)
        if found is None or f"/static/{version}" != self._render.static:
            return plain("there is no such file", 404)
        content, kind = found
        return Response(
            200, content, {"Content-Type": kind, "Cache-Control": "public, max-age=31536000, immutable"}
        )

    # Shaping

    def _shown(
        self, request: Request, template: str, values: _Values, stats: Mapping[str, Any] | None = None
    ) -> Response:
        stats = self._client.stats() if stats is None else stats
        if request.wants_json:
            return as_json(
                {name: value for name, value in values.items() if name != "view"} | {"stats": stats}
            )
        return html(self._page(template, values, stats))

    def _broken(self, request: Request, status: int, what: str, **values: Any) -> Response:
        if request.wants_json:
            return as_json({"error": what, **values}, status)
        since = self._feed.away_since() if what == "away" else None
        told = {
            "what": what,
            "reason": None,
            "before": None,
            "back": _form_of(request),
            "since": since,
        } | values
        return html(self._page("broken.html", told, None), status)

    def _page(self, template: str, values: _Values, stats: Mapping[str, Any] | None) -> str:
        common = {
            "now": time.time(),
            "stats": stats,
            "actions": self._settings.actions,
            "form_token": self._guard.form_token,
        }
        return self._render.render(template, **common, **values)


def _form_of(request: Request) -> str | None:
    """The view whose form sent the request; None where no form did."""
    if request.method != "POST":
        return None
    is_on_system = request.path.startswith(("/queues/", "/classes/"))
    return "/system" if is_on_system else request.path.rpartition("/")[0]


def _in_the_way(error: BgjobError) -> _Values:
    """What a job comes after that ended badly, "12" or "group 5", where a retry was refused for it."""
    return {"before": str(error.parameters.get("before", ""))} if isinstance(error, BehindFailedError) else {}


def _id_of(row: Mapping[str, Any]) -> int:
    return int(row["id"])


def _end_of(job: Mapping[str, Any]) -> str:
    return str(job["finished_at"])


def _share(reached: int, top: int) -> str:
    """How much of what is newest first a search has been through that got down to this id: "12%"."""
    return f"{100 * (top - reached + 1) // max(1, top)}%"


def _of_schedules(view: Callable[..., Response]) -> Callable[..., Response]:
    return lambda page, request, *name: view(page.schedules, request, *map(unquote, name))


def _of_groups(view: Callable[..., Response]) -> Callable[..., Response]:
    return lambda page, request, *number: view(page.groups, request, *map(int, number))


def _of_errors(view: Callable[..., Response]) -> Callable[..., Response]:
    return lambda page, request, *number: view(page.errors, request, *map(int, number))


_ROUTES: Final[tuple[tuple[str, re.Pattern[str], Callable[..., Response]], ...]] = tuple(
    (method, re.compile(pattern), view)
    for method, pattern, view in (
        ("GET", r"/", Page.log),
        ("GET", r"/jobs", Page.jobs),
        ("GET", rf"/jobs/({ID})", Page.job),
        ("GET", rf"/jobs/({ID})/graph", _of_groups(GroupViews.graph)),
        ("POST", rf"/jobs/({ID})/retry", Page.retry),
        ("POST", rf"/jobs/({ID})/cancel", Page.cancel),
        ("POST", rf"/jobs/({ID})/stack", Page.stack),
        ("POST", rf"/queues/({NAME})/pause", Page.pause),
        ("POST", rf"/queues/({NAME})/resume", Page.resume),
        ("POST", rf"/classes/({CLASS})/hold", Page.hold_class),
        ("POST", rf"/classes/({CLASS})/resume", Page.resume_class),
        ("GET", r"/errors", _of_errors(ErrorViews.overview)),
        ("GET", rf"/errors/({ID})", _of_errors(ErrorViews.one)),
        ("GET", r"/groups", _of_groups(GroupViews.overview)),
        ("GET", rf"/groups/({ID})", _of_groups(GroupViews.one)),
        ("POST", rf"/groups/({ID})/retry", _of_groups(GroupViews.retry)),
        ("POST", rf"/groups/({ID})/cancel", _of_groups(GroupViews.cancel)),
        ("POST", rf"/groups/({ID})/seal", _of_groups(GroupViews.seal)),
        ("GET", r"/schedules", _of_schedules(ScheduleViews.overview)),
        ("GET", rf"/schedules/({SCHEDULE})", _of_schedules(ScheduleViews.one)),
        ("POST", rf"/schedules/({SCHEDULE})/run", _of_schedules(ScheduleViews.run)),
        ("POST", rf"/schedules/({SCHEDULE})/pause", _of_schedules(ScheduleViews.pause)),
        ("POST", rf"/schedules/({SCHEDULE})/resume", _of_schedules(ScheduleViews.resume)),
        ("GET", r"/system", Page.system),
        ("GET", r"/hosts", Page.hosts),
        ("GET", r"/alerts", Page.alerts),
        ("GET", r"/login", Page.login),
        ("GET", r"/events", Page.events),
        ("GET", r"/healthz", Page.healthz),
        ("GET", r"/metrics", Page.metrics),
        ("GET", r"/static/([0-9a-f]{16})/([A-Za-z0-9._-]{1,64})", Page.static),
    )
)


def routes() -> Iterator[tuple[str, str]]:
    """Method and pattern of each address, for tests that must miss none."""
    for method, pattern, _ in _ROUTES:
        yield method, pattern.pattern
