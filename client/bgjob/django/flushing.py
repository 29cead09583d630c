"""Flushes of the outbox: when there is one, who submits the rows of a backend, and who hears of it. What becomes of a
row says `bgjob.outbox.flushing`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.utils.module_loading import import_string

from bgjob import _task_clients
from bgjob.calls import Call
from bgjob.client import Job
from bgjob.codec import JsonObject
from bgjob.connections import try_substitute
from bgjob.django.models import OutboxRow
from bgjob.django.table import Table
from bgjob.errors import BgjobError
from bgjob.outbox import flushing
from bgjob.outbox.flushing import Bookmark, Flush, Flushed
from bgjob.outbox.outboxes import answer, carried_out, is_attempt, logged, not_flushed
from bgjob.outbox.rows import Fate, fate
from bgjob.outbox.steps import Turn, Wanted

T = TypeVar("T")

OnStored: TypeAlias = Callable[[Job], None]
"""Called with a job that has been stored."""

PATIENCE: Final = 2.0
"""Seconds that somebody waits for an answer whose job is safe in its row."""

_REST: Final = 1.0
"""Seconds in which a process does not ask a daemon again that takes nothing."""

_log = logging.getLogger("bgjob.outbox")


# After a commit


class _Own(NamedTuple):
    """A row of the transaction that is open: who submits it, and who hears of that."""

    sender: Sender
    on_stored: OnStored


_owns: WeakKeyDictionary[Any, dict[str, _Own]] = WeakKeyDictionary()
"""By connection and key, of the transaction that has begun last."""


def at_commit(key: str, sender: Sender, on_stored: OnStored, using: str) -> None:
    """Have the commit of the transaction that is open submit this row, together with its others."""
    connection = connections[using]
    own = _owns.setdefault(connection, {})
    if not connection.run_on_commit:  # others were rolled back, or are of a commit whose hooks run just now
        own = _owns[connection] = {}
    own[key] = _Own(sender, on_stored)
    transaction.on_commit(lambda: _on_commit(key, own, using), using=using, robust=True)


def _on_commit(key: str, rows: dict[str, _Own], using: str) -> None:
    """The first of a commit submits all rows of it, by backend."""
    if key not in rows:
        return
    if connections[using].in_atomic_block:  # a test's commit, which is of this row alone
        own = {key: rows.pop(key)}
    else:
        own = rows.copy()
        rows.clear()
    for sender in {one.sender.alias: one.sender for one in own.values()}.values():
        if not sender.has_just_failed:
            of_backend = {key: one for key, one in own.items() if one.sender.alias == sender.alias}
            flush(sender, using, {key: one.on_stored for key, one in of_backend.items()})


def flush(sender: Sender, using: str, own: MutableMapping[str, OnStored] | None = None) -> None:
    """Submit these rows, and a portion of what was left by others; a line of the log tells what is in the way."""
    own = {} if own is None else own
    bookmark = None if is_attempt() else _bookmarks.setdefault((using, sender.alias), Bookmark())
    carrier = _Carrier(sender, using, own)
    try:
        flushed = carrier.carry_out(
            lambda rules: flushing.after_commit(rules, own, bookmark, datetime.now(UTC))
        )
    except Exception as error:
        flushed = not_flushed(error)
    logged(flushed)


_bookmarks: dict[tuple[str, str], Bookmark] = {}
"""By database and backend."""


# For the command


def all_rows(using: str) -> Flushed:
    """Submit every row of each backend, past those that wait."""
    whole = Flushed()
    waiting = OutboxRow.objects.using(using).filter(refused=None)
    for alias in waiting.order_by("backend").values_list("backend", flat=True).distinct():
        try:
            carrier = _Carrier(Sender(alias), using, {})
        except ImproperlyConfigured as error:
            count = waiting.filter(backend=alias).count()
            whole = whole.and_then(Flushed(waiting=count, trouble=error))
        else:
            whole = whole.and_then(carrier.carry_out(flushing.all_rows))
    return whole


def again(keys: list[str], using: str) -> bool:
    """Have these rows be submitted again, or all that were refused; whether all of these had been, else none is."""
    return carried_out(flushing.again(keys), Table(using, None).run, lambda call: None)


# How steps are carried out


class _Carrier:
    """Carries out a flush of a backend's rows, of which `own` tells who hears of those that are this process's."""

    def __init__(self, sender: Sender, using: str, own: MutableMapping[str, OnStored]) -> None:
        self.table = Table(using, sender.alias)
        self._sender = sender
        self._own = own
        self._stored: list[tuple[JsonObject, Job]] = []

    def carry_out(self, steps: Callable[[Flush], flushing.Steps]) -> Flushed:
        """What it comes to; what raises on the way rolls back. What stands in for a daemon runs jobs over the very
        connection, so no transaction is open meanwhile.
        """
        has_row_locks = self.table.has_row_locks and try_substitute() is None
        return carried_out(steps(Flush(has_row_locks, time.monotonic)), self._run, self._ask)

    def _run(self, step: Wanted | Turn) -> list[tuple[Any, ...]]:
        rows = self.table.run(step)
        if step is Turn.COMMIT:
            self._call_back()
        return rows

    def _ask(self, call: Call[Any]) -> Any:
        ended = self._sender.answer(call)
        if isinstance(ended, int):  # a submit's
            self._stored.append((call.parameters, self._sender.job(ended)))
        return ended

    def _call_back(self) -> None:
        stored, self._stored = self._stored, []
        for asked, job in stored:
            on_stored = self._own.get(asked["options"]["idempotency_key"])
            try:
                if on_stored is None:
                    self._sender.announce(asked)
                else:
                    on_stored(job)
            except Exception:  # the job is stored, and others are to be
                _log.exception("Nobody was told that a job of the outbox is stored")


class Sender:
    """Submits rows of a backend to its daemon, which may take `patience` seconds for an answer, or as long as the
    backend says; an empty alias is for the daemon that `bgjob.run_background_job` asks. Raises ImproperlyConfigured.
    """

    def __init__(self, alias: str, patience: float | None = None) -> None:
        self.alias = alias
        self._backend = _backend(alias) if alias else None
        daemon = (None, 30.0) if self._backend is None else self._backend.daemon
        self._client = _task_clients.hurried_client(daemon, daemon[1] if patience is None else patience)

    @property
    def address(self) -> str | None:
        """That of a daemon that was named; None for the one of this machine."""
        return None if self._backend is None else self._backend.daemon[0]

    @property
    def has_just_failed(self) -> bool:
        """Whether the daemon took nothing a moment ago: whoever has much to submit waits for it once."""
        has_just_failed = time.monotonic() < _not_asked_until.get(self._client._path, 0.0)
        return has_just_failed and try_substitute() is None

    def answer(self, call: Call[T]) -> T | BgjobError:
        """What the daemon answers, or the error with which that ends."""
        ended = answer(self._client, call)
        if isinstance(ended, BgjobError) and fate(ended) is Fate.ALL_WAIT:
            _not_asked_until[self._client._path] = time.monotonic() + _REST
        return ended

    def job(self, job_id: int) -> Job:
        """A job of this daemon's."""
        return Job(self._client, job_id)

    def announce(self, asked: JsonObject) -> None:
        """Tell of a job that another process has left, by what was asked for it."""
        if self._backend is not None:
            self._backend.announce(asked)


_not_asked_until: dict[str, float] = {}


def _backend(alias: str) -> Any:
    params = getattr(settings, "TASKS", {}).get(alias, {})
    made = import_string(params["BACKEND"])(alias, params) if "BACKEND" in params else None
    if not hasattr(made, "announce"):
        raise ImproperlyConfigured(
            f"rows of the outbox are for TASKS[{alias!r}], which is no backend of bgjob"
        )
    return made
