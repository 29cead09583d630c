"""The rows of the outbox by Django's ORM, as the steps of a flush want them; when there is one stands in `flushing`."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connections, transaction
from django.db.models import Q
from django.utils import timezone

from bgjob.django.models import OutboxRow
from bgjob.outbox.rows import KEY_TAKEN, PORTION
from bgjob.outbox.steps import (
    Again,
    CountWaiting,
    Delete,
    FindOtherTable,
    Place,
    Refusal,
    TakeBehind,
    TakeKeys,
    TakeLeft,
    Turn,
    Wanted,
)


class Table:
    """The rows of a backend in a database, or of all; what a flush wants of them."""

    def __init__(self, using: str, alias: str | None) -> None:
        rows = OutboxRow.objects.using(using)
        self._rows: Any = rows.all() if alias is None else rows.filter(backend=alias)
        self._using = using
        self._transaction: ExitStack | None = None

    @property
    def has_row_locks(self) -> bool:
        """Whether a row can be taken, so that others leave it."""
        features = connections[self._using].features
        locks = features.has_select_for_update_skip_locked and features.supports_select_for_update_with_limit
        return bool(locks)

    def run(self, step: Wanted | Turn) -> list[tuple[Any, ...]]:
        """Carry out a step; the rows that it gives."""
        match step:
            case Turn():
                self._turn(step)
            case TakeKeys(keys):
                return self._taken(Q(key__in=keys))
            case TakeLeft(before, after, place):
                left = Q(created_at__lt=_as_stored(before)) | Q(created_at__gt=_as_stored(after))
                return self._taken(left & _behind(place))
            case TakeBehind(place):
                return self._taken(_behind(place))
            case Delete(keys):
                self._rows.filter(key__in=keys)._raw_delete(self._using)  # no signal either
            case Refusal(key, why):
                self._rows.filter(key=key).update(refused=why)
            case Again(keys):
                return self._again(keys)
            case CountWaiting():
                return [(self._rows.filter(refused=None).count(),)]
            case FindOtherTable():
                pass  # its own knows backends
        return []

    def _turn(self, turn: Turn) -> None:
        """The transaction is this one's own: there may be a test's around it."""
        if turn is Turn.BEGIN:
            self._transaction = ExitStack()
            self._transaction.enter_context(transaction.atomic(using=self._using))
        elif self._transaction is not None:
            ended, self._transaction = self._transaction, None
            if turn is Turn.ROLL_BACK:
                transaction.set_rollback(True, using=self._using)
            ended.close()

    def _taken(self, which: Q) -> list[tuple[Any, ...]]:
        rows = self._rows.filter(which, refused=None).order_by("created_at", "key")
        rows = rows.select_for_update(skip_locked=True) if self.has_row_locks else rows
        return list(rows.values_list("key", "request", "created_at")[:PORTION])

    def _again(self, keys: Any) -> list[tuple[Any, ...]]:
        rows = self._rows.exclude(refused=None)
        rows = rows.filter(key__in=keys) if keys else rows.exclude(refused__startswith=KEY_TAKEN)
        found = list(rows.values_list("key"))
        rows.update(refused=None)
        return found


def _behind(place: Place | None) -> Q:
    if place is None:
        return Q()
    at, key = place
    return Q(created_at__gt=at) | Q(created_at=at, key__gt=key)


def _as_stored(at: datetime) -> datetime:
    return at if settings.USE_TZ else timezone.make_naive(at, timezone.get_default_timezone())
