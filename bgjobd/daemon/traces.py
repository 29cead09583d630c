"""To which traces jobs of this daemon belong, as its configuration and its database have it; the rules are core's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bgjob.codec import JsonObject
from bgjobd.core.traces import Belonging, trace_of, traceparent
from bgjobd.host.clock import from_text
from bgjobd.store.committed import LogLine


class Traces:
    """What goes on so many seconds after its submit, `near()`, is of the trace of that still."""

    def __init__(self, near: Callable[[], float], database_id: Callable[[], str]) -> None:
        self._near = near
        self._database_id = database_id

    def try_trace(self, line: LogLine) -> str | None:
        """The trace that a line tells of; None where its job belongs to none."""
        if line.trace is None:
            return None
        return trace_of(line.trace, self._near(), self._database_id(), line.job_id)

    def told(self, job: Mapping[str, Any], attempts: Iterable[JsonObject]) -> list[JsonObject]:
        """The attempts as callers see them: each `span` as its process was told it, null where there is no trace."""
        return [
            {name: value for name, value in one.items() if name != "span"}
            | {"traceparent": self._try_traceparent(job, one)}
            for one in attempts
        ]

    def _try_traceparent(self, job: Mapping[str, Any], attempt: JsonObject) -> str | None:
        if job["traceparent"] is None:
            return None
        began = attempt["started_at"] or job["created_at"]
        place = Belonging(job["traceparent"], from_text(began) - from_text(job["created_at"]))
        return traceparent(place, attempt["span"], self._near(), self._database_id(), job["id"])
