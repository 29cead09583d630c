"""Which jobs a wish about many of them is about: a value, and what it is on the socket; what it can be about at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from bgjob.codec import JsonObject
from bgjob.request_values import class_or_none, given, plain_time
from bgjob.words import BEHIND, BLOCKED, RETRYING, SCHEDULED, SNOOZED, WAITING, Status

if TYPE_CHECKING:
    from datetime import datetime, timedelta

BY_INDEX: Final = ("status", "class_name", "error", "bulk", "schedule", "group", "key", "label", "again_of")
"""What a filter needs one of, or it would be about all jobs that there are."""

RETRIED: Final = (Status.FAILED, Status.CANCELLED)
WAITS: Final = (SCHEDULED, RETRYING, SNOOZED, BLOCKED, BEHIND, WAITING)
CANCELLED: Final = (Status.PENDING, Status.RUNNING, *WAITS)
"""Of jobs of which statuses each can be asked; those that wait are pending, whatever for."""


class Filter(NamedTuple):
    """Jobs, by names that `list` has; None stands for any. One of BY_INDEX has to be named."""

    status: str | Sequence[str] | None = None
    queue: str | None = None
    class_name: str | type | None = None
    method_name: str | None = None
    since: datetime | str | None = None
    schedule: str | None = None
    group: int | None = None
    key: str | None = None
    again_of: int | None = None
    bulk: int | None = None
    host: str | None = None
    error: int | None = None
    label: str | None = None
    until: datetime | str | None = None
    longer_than: float | timedelta | None = None
    outcome: str | None = None

    def as_json(self) -> JsonObject:
        """What is given of it."""
        told = self._asdict() | {"class_name": class_or_none(self.class_name)}
        told |= {name: plain_time(told[name]) for name in ("since", "until", "longer_than")}
        if self.status is not None:
            told["status"] = [self.status] if isinstance(self.status, str) else list(self.status)
        return given(told)
