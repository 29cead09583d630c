"""Looks at the daemon for `bgjob top`, on threads of its own: every so often, when a job changes, after each wish."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from bgjob.client import Client
from bgjob.commands.errors import named
from bgjob.commands.top import many, wishes
from bgjob.commands.top.many import Counted
from bgjob.commands.top.one_job import OneError, OneJob
from bgjob.commands.top.scene import Kind, Look, Meter, Name, Scene, rates_of
from bgjob.commands.top.wishes import Wish
from bgjob.errors import (
    BgjobError,
    ElsewhereError,
    ErrorGroupNotFoundError,
    JobNotFoundError,
    MethodNotFoundError,
    PermissionDeniedError,
)
from bgjob.words import Status

_FAILED: Final = 50
_ATTEMPTS: Final = 20
_JOBS_OF_ERROR: Final = 10
_OUTPUT: Final = 8 * 1024
_SOONEST: Final = 0.25
"""Seconds between two looks at least, however many jobs change."""

_SHARE: Final = 10.0
"""How many times as long as a look took it is until the next one, at least: a daemon has more to do than to be seen."""

_LATEST: Final = 5.0
"""Seconds after which a change is looked at, however long the look before took."""

_LONGEST: Final = 86_400.0
_PAUSE: Final = 1.0


class Wanted(NamedTuple):
    """What is looked at besides: only jobs with this in class or method, the errors, all of one job or error."""

    only: str = ""
    errors: bool = False
    one: Name | None = None


def look_at(client: Client, wanted: Wanted = Wanted()) -> Look:  # noqa: B008  # it is frozen
    """How the daemon stands now. Raises what a client raises."""
    failed = client.list(status=Status.FAILED.value, search=wanted.only or None, limit=_FAILED)
    errors = client.errors(limit=_FAILED).items if wanted.errors else None
    stats = client.stats()
    one = None if wanted.one is None else _try_one(client, wanted.one, stats.get("code_version"))
    return Look(stats, client.running(), failed.items, _needs(client), errors, one, wanted.one)


def _needs(client: Client) -> list[dict[str, Any]]:
    """None of a daemon that tells none, for it is an earlier one."""
    try:
        return client.needs().needs
    except MethodNotFoundError:
        return []


def _try_one(client: Client, name: Name, code: str | None) -> OneJob | OneError | None:
    """None where it is gone."""
    try:
        if name[0] is Kind.ERROR:
            return _error(client, int(name[1]), code)
        return _job(client, int(name[1]))
    except (JobNotFoundError, ErrorGroupNotFoundError):
        return None


def _error(client: Client, id: int, code: str | None) -> OneError:
    return OneError(client.error(id), named(client.list(error=id, limit=_JOBS_OF_ERROR)), code)


def _job(client: Client, id: int) -> OneJob:
    return OneJob(client.get(id, limit=_ATTEMPTS).snapshot, client.why(id), _end_of(client, id))


def _end_of(client: Client, job_id: int) -> str:
    try:
        parts = client.output_parts(job_id, tail=_OUTPUT)
        return b"".join(part.data for part in parts).decode("utf-8", "replace")
    except ElsewhereError as error:
        return f"what it prints is on host {error.parameters['host']}"


def pause_after(took: float, was_answered: bool) -> float:
    """Seconds from a look until the next at the earliest; time without a daemon is no work of the daemon's."""
    return min(max(_SOONEST, _SHARE * took), _LATEST) if was_answered else _SOONEST


class _Changed:
    """Said to the one who looks: a job has changed, or the daemon is back."""


class Lookout:
    """Keeps a scene up to date. `scene` and `message` are replaced whole; `ring` is called after each change."""

    def __init__(self, address: str | None, every: float, first: Look, ring: Callable[[], None]) -> None:
        self._client = _Telling(address, self)
        self._every = min(max(every, _SOONEST), _LONGEST)
        self._ring = ring
        self._meter = Meter()
        self._orders: queue.SimpleQueue[Wish | _Changed] = queue.SimpleQueue()
        self._is_told = False
        self._wanted = Wanted()
        self._messages: queue.SimpleQueue[str | Counted] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self.scene = self._scene_of(first)

    def start(self) -> None:
        """Begin; the threads end with the process, as a daemon that says nothing cannot hold them up."""
        for work in (self._look_on, self._watch):
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:
            self._failure = failure
            self._ring()

    def raise_failure(self) -> None:
        """Raises what has ended one of the threads, if anything has: nothing a daemon says should."""
        if self._failure is not None:
            raise self._failure

    def carry_out(self, wish: Wish) -> None:
        """Ask it of the daemon, when the one who looks is free; what comes of it is a message."""
        self._orders.put(wish)

    def try_message(self) -> str | Counted | None:
        """What came of a wish, if that is news: in words, or what is to be asked before more is done."""
        try:
            return self._messages.get_nowait()
        except queue.Empty:
            return None

    def on_away(self, why: str) -> None:
        """The daemon does not answer."""
        self.scene = self.scene._replace(away=why)
        self._ring()

    def on_change(self) -> None:
        """There is news to look for."""
        if not self._is_told:
            self._is_told = True
            self._orders.put(_Changed())

    # The one who looks

    def _look_on(self) -> None:
        soonest = time.monotonic()
        due = soonest + self._every
        while True:
            try:
                order = self._orders.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                self._is_told = False
                began_at = time.monotonic()
                was_answered = self._look()
                now = time.monotonic()
                soonest = now + pause_after(now - began_at, was_answered)
                due = max(soonest, now + self._every)
                continue
            if isinstance(order, _Changed):
                due = min(due, soonest)
            else:
                self._messages.put(self._told_of(order))
                self._ring()
                due = time.monotonic()

    def _look(self) -> bool:
        """Whether the daemon has answered."""
        try:
            self.scene = self._scene_of(look_at(self._client, self._wanted))
        except BgjobError as error:
            self.on_away(_why(error))
            return False
        self._ring()
        return True

    def _scene_of(self, look: Look) -> Scene:
        at, now = time.time(), time.monotonic()
        return Scene(look, at, self._meter.take(look.attempts, at, now), rates_of(look.stats, at))

    def _told_of(self, wish: Wish) -> str | Counted:
        try:
            return self._answer(wish)
        except BgjobError as error:
            return _why(error)

    def _answer(self, wish: Wish) -> str | Counted:
        match wish:
            case wishes.Cancel(job_id):
                self._client.cancel(job_id)
                return f"job {job_id} is to be cancelled"
            case wishes.Retry(job_id):
                self._client.retry(job_id)
                return f"job {job_id} is to run again"
            case wishes.Pause(name):
                self._client.pause(name)
                return f"queue {name} is paused; p resumes it"
            case wishes.Resume(name):
                self._client.resume(name)
                return f"queue {name} is resumed"
            case wishes.Count(meant):
                return Counted(meant, self._client.matching(meant.filter, meant.to))
            case wishes.DoToAll(counted):
                return self._done(counted)
            case _:
                self._wanted = _wanted_by(wish, self._wanted)
                return ""

    def _done(self, counted: Counted) -> str:
        meant, matched = counted
        do = self._client.retry_matching if meant.to == many.RETRY else self._client.cancel_matching
        return many.done(meant, do(meant.filter, as_of=matched.as_of, expected=matched.jobs))

    # The one who watches

    def _watch(self) -> None:
        while True:
            try:
                for _ in self._client.watch():
                    self.on_change()
            except BgjobError as error:
                self.on_away(_why(error))
            time.sleep(_PAUSE)


def _wanted_by(wish: Wish, wanted: Wanted) -> Wanted:
    match wish:
        case wishes.Search(only):
            return wanted._replace(only=only)
        case wishes.Read(name):
            return wanted._replace(one=name)
        case wishes.Errors(are_wanted):
            return wanted._replace(errors=are_wanted)
        case _:
            return wanted


def _why(error: BgjobError) -> str:
    if isinstance(error, PermissionDeniedError):
        return f"not allowed: {error.parameters.get('reason', error)}"
    return str(error)


class _Telling(Client):
    """A client that tells its lookout when the daemon goes away, and when it is back."""

    def __init__(self, address: str | None, lookout: Lookout) -> None:
        super().__init__(address)
        self._lookout = lookout

    def on_away(self, error: BgjobError) -> None:
        self._lookout.on_away(_why(error))

    def on_back(self) -> None:
        self._lookout.on_change()
