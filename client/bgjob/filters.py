"""Which jobs a wish about many of them is about: a value, and what it is on the socket."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from bgjob.codec import JsonObject

if TYPE_CHECKING:
    from datetime import datetime


class Filter(NamedTuple):
    """Jobs, by names that `list` has; None stands for any. It has to name a status, class, error, bulk, schedule,
    group, key, label or `again_of`: what an index knows.
    """

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
        told = self._asdict()
        if self.status is not None:
            told["status"] = [self.status] if isinstance(self.status, str) else list(self.status)
        if isinstance(self.class_name, type):
            told["class_name"] = f"{self.class_name.__module__}.{self.class_name.__qualname__}"
        for name in ("since", "until"):
            if told[name] is not None and not isinstance(told[name], str):
                told[name] = told[name].isoformat()
        if isinstance(self.longer_than, timedelta):
            told["longer_than"] = self.longer_than.total_seconds()
        return {name: value for name, value in told.items() if value is not None}
