"""What becomes of the rows of the outbox: which are submitted when, by whom, and what is written down of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.module_loading import import_string

from bgjob import _task_clients, errors, text
from bgjob.client import Job
from bgjob.connections import try_substitute
from bgjob.django.models import OutboxRow
from bgjob.outbox.rows import OWNERS_TIME, PORTION, Fate, Row, fate, sentence, submission

Tell: TypeAlias = Callable[[Job], None]
"""Called with a job that has been stored."""

PATIENCE: Final = 2.0
"""Seconds that somebody waits for an answer whose job is safe in its row."""

_REST: Final = 1.0
"""Seconds in which a process does not ask a daemon again that takes nothing."""

_log = logging.getLogger("bgjob.outbox")


class Flushed(NamedTuple):
    """What a flush came to: how many rows were submitted, how many refused for good, how many of those that were tried
    stay. `trouble` is the last reason why one does; `is_cut_short`: none can be submitted at present.
    """

    submitted: int = 0
    refused: int = 0
    waiting: int = 0
    trouble: Exception | None = None
    is_cut_short: bool = False

    def and_then(self, other: Flushed) -> Flushed:
        """Both of them, one after the other."""
        return Flushed(
            self.submitted + other.submitted,
            self.refused + other.refused,
            self.waiting + other.waiting,
            other.trouble or self.trouble,
            other.is_cut_short,
        )


def after_commit(row: Row, sender: Sender, tell: Tell, using: str) -> None:
    """Submit the row of this process, then a portion of those that others have left."""
    if not sender.is_at_rest and not _flush(sender, [row.key], using, tell).is_cut_short:
        left(sender, using)


def left(sender: Sender, using: str) -> None:
    """Submit a portion of what was left by others."""
    rows = _waiting(sender.alias, using, nobodys())
    _flush(sender, [row.key for row in rows[:PORTION]], using)


def nobodys() -> datetime:
    """Until when what was written is not with the process any more that did so."""
    now: datetime = timezone.now()
    return now - timedelta(seconds=OWNERS_TIME)


def everything(using: str, until: datetime | None = None) -> Flushed:
    """Submit all that has stayed, or what was written until then, past what waits."""
    whole = Flushed()
    waiting = OutboxRow.objects.using(using).filter(refused=None)
    for alias in waiting.order_by("backend").values_list("backend", flat=True).distinct():
        try:
            sender = Sender(alias)
        except ImproperlyConfigured as error:
            tell_of_waiting(error)
            whole = whole.and_then(Flushed(trouble=error))
        else:
            whole = whole.and_then(_everything_of(sender, using, until))
    return whole


def _everything_of(sender: Sender, using: str, until: datetime | None) -> Flushed:
    whole = Flushed()
    rows = _waiting(sender.alias, using, until)
    page = list(rows[:PORTION])
    while page and not whole.is_cut_short:
        whole = whole.and_then(_flush(sender, [row.key for row in page], using))
        last = page[-1]
        behind = Q(created_at__gt=last.created_at) | Q(created_at=last.created_at, key__gt=last.key)
        page = list(rows.filter(behind)[:PORTION])
    return whole


def _waiting(alias: str, using: str, until: datetime | None) -> Any:
    """The rows of a backend that are not refused, the oldest first, without what they ask for."""
    rows = OutboxRow.objects.using(using).filter(backend=alias, refused=None)
    rows = rows.order_by("created_at", "key").only("created_at")
    return rows if until is None else rows.filter(created_at__lte=until)


def _flush(sender: Sender, keys: Sequence[str], using: str, tell: Tell | None = None) -> Flushed:
    """Submit these rows, and write down what becomes of them.

    Where the database can lock them for that, those that another is at are left to that one; elsewhere nothing is
    locked while the daemon is asked, for a second submit is the same job.
    """
    if not keys:
        return Flushed()
    rows = OutboxRow.objects.using(using).filter(key__in=keys, refused=None).order_by("created_at", "key")
    can_lock = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using) if can_lock else nullcontext():
        ends = list(sender.ends_of(rows.select_for_update(skip_locked=True) if can_lock else rows))
        _write_down(ends, using)
    for end in ends:
        if end.job is not None:
            (tell or sender.teller(end.row))(end.job)
    return _flushed(ends)


def _write_down(ends: Sequence[End], using: str) -> None:
    rows = OutboxRow.objects.using(using)
    rows.filter(key__in=[end.row.key for end in ends if end.fate is Fate.DELETED]).delete()
    for end in ends:
        if end.fate is Fate.REFUSED:
            rows.filter(key=end.row.key).update(refused=sentence(end.error))
            told = (text.one_line(end.row.key), text.one_line(str(end.error)))
            _log.error("The job %s of the outbox is refused: %s", *told)


def _flushed(ends: Sequence[End]) -> Flushed:
    waiting = [end for end in ends if end.fate in (Fate.WAITS, Fate.ALL_WAIT)]
    trouble = waiting[-1].error if waiting else None
    if trouble is not None:
        tell_of_waiting(trouble)
    submitted, refused = (sum(end.fate is fate for end in ends) for fate in (Fate.DELETED, Fate.REFUSED))
    return Flushed(submitted, refused, len(waiting), trouble, any(end.fate is Fate.ALL_WAIT for end in ends))


def tell_of_waiting(why: Exception | None) -> None:
    """A line in the log, where nobody else hears of it."""
    _log.warning("Jobs wait in the outbox: %s", text.one_line(str(why)))


# Whoever takes them


class End(NamedTuple):
    """What the submit of a row came to: its job, or an error."""

    row: Row
    fate: Fate
    job: Job | None
    error: Exception | None


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
    def is_at_rest(self) -> bool:
        """Whether the daemon took nothing a moment ago: whoever has much to submit waits for it once."""
        is_at_rest = time.monotonic() < _at_rest_until.get(self._client._path, 0.0)
        return is_at_rest and try_substitute() is None

    def ends_of(self, rows: Iterable[OutboxRow]) -> Iterator[End]:
        """Of each row, until none can be submitted."""
        for row in rows:
            end = self.end_of(Row(row.key, row.request))
            yield end
            if end.fate is Fate.ALL_WAIT:
                return

    def end_of(self, row: Row) -> End:
        """Submit a row."""
        try:
            call = submission(row)
        except ValueError as error:
            return End(row, Fate.REFUSED, None, error)
        try:
            job = Job(self._client, self._client._call(call))
        except (errors.RequestError, errors.DaemonUnavailableError, errors.ProtocolError) as error:
            end = End(row, fate(error), None, error)
        else:
            end = End(row, Fate.DELETED, job, None)
        if end.fate is Fate.ALL_WAIT:
            _at_rest_until[self._client._path] = time.monotonic() + _REST
        return end

    def teller(self, row: Row) -> Tell:
        """Who tells of a row that another process has left."""
        backend = self._backend
        return (lambda job: None) if backend is None else lambda job: backend.tell_left(row, job)


_at_rest_until: dict[str, float] = {}


def _backend(alias: str) -> Any:
    params = getattr(settings, "TASKS", {}).get(alias, {})
    made = import_string(params["BACKEND"])(alias, params) if "BACKEND" in params else None
    if not hasattr(made, "tell_left"):
        raise ImproperlyConfigured(
            f"rows of the outbox are for TASKS[{alias!r}], which is no backend of bgjob"
        )
    return made
