"""What a collector of traces is told of an attempt, in the words of OpenTelemetry's conventions for messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bgjob.words import Outcome

MOST: Final = 1000
"""Characters of a text of somebody else's."""

_FINE: Final = frozenset({Outcome.COMPLETED, Outcome.CANCELLED, Outcome.SNOOZED, Outcome.SUSPENDED})

Value = str | int | float


@dataclass(frozen=True, slots=True)
class SpanPlace:
    """A span among all: the ids of its trace and itself, as hex digits."""

    trace: str
    span: str


@dataclass(frozen=True, slots=True)
class AttemptSpan:
    """An attempt as a span, below its `parent` or, where it has a trace of its own, with a `link`; times in whole
    nanoseconds since the epoch. `error` says how it ended badly; None: it did not.
    """

    place: SpanPlace
    parent: SpanPlace | None
    link: SpanPlace | None
    name: str
    start: int
    end: int
    attributes: Mapping[str, Value]
    error: str | None


def try_span(job: Mapping[str, Any], attempt: Mapping[str, Any]) -> AttemptSpan | None:
    """The span of an attempt; both as Get tells them. None while it runs, where it began nothing, where its job belongs
    to no trace, and where whoever began that has it sampled not.
    """
    is_over = attempt["started_at"] is not None and attempt["finished_at"] is not None
    own, submitted_in = attempt.get("traceparent"), job.get("traceparent")
    if not is_over or own is None or submitted_in is None or not _is_sampled(own):
        return None
    place, submit = _place_of(own), _place_of(submitted_in)
    is_near = place.trace == submit.trace
    start = max(0, _nanoseconds(attempt["started_at"]))
    return AttemptSpan(
        place=place,
        parent=submit if is_near else None,
        link=None if is_near else submit,
        name=f"run {_text(job['class_name'])}::{_text(job['method_name'])}",
        start=start,
        end=max(start, _nanoseconds(attempt["finished_at"])),
        attributes=dict(_attributes(job, attempt)),
        error=None if attempt["outcome"] in _FINE else _text(attempt["error_message"] or attempt["outcome"]),
    )


def _attributes(job: Mapping[str, Any], attempt: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    yield "messaging.system", "bgjobd"
    yield "messaging.operation.name", "run"
    yield "messaging.operation.type", "process"
    yield "messaging.destination.name", _text(job["queue"])
    yield "messaging.message.id", str(job["id"])
    yield "bgjobd.class", _text(job["class_name"])
    yield "bgjobd.method", _text(job["method_name"])
    yield "bgjobd.attempt", attempt["number"]
    yield "bgjobd.outcome", _text(attempt["outcome"])
    waited = _try_waited(job, attempt)
    if waited is not None:
        yield "bgjobd.wait", waited
    if attempt["outcome"] not in _FINE:
        yield "error.type", _text(attempt["error_class"] or attempt["error_type"] or attempt["outcome"])
    for name, key in _OF_ATTEMPT.items():
        if attempt.get(key) is not None:
            yield name, _text(attempt[key]) if isinstance(attempt[key], str) else attempt[key]


_OF_ATTEMPT: Final = {
    "process.pid": "pid",
    "process.exit.code": "exit_code",
    "host.name": "host",
    "bgjobd.signal": "signal",
    "bgjobd.code_version": "code_version",
}


def _try_waited(job: Mapping[str, Any], attempt: Mapping[str, Any]) -> float | None:
    """Seconds from being due to the start; None where that is not known, as of a retry."""
    if attempt.get("waited") is not None:
        return float(attempt["waited"])
    if attempt["number"] != 1 or job["scheduled_at"] is not None:
        return None
    return max(0, _nanoseconds(attempt["started_at"]) - _nanoseconds(job["created_at"])) / 1e9


def _place_of(traceparent: str) -> SpanPlace:
    _, trace, span, _ = traceparent.split("-")
    return SpanPlace(trace, span)


def _is_sampled(traceparent: str) -> bool:
    return int(traceparent.rpartition("-")[2], 16) & 1 == 1


def _nanoseconds(moment: str) -> int:
    at = datetime.fromisoformat(moment)
    since = at - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _text(text: str) -> str:
    """The beginning of it, and no half of a character, which no collector takes."""
    return text[:MOST].encode("utf-8", "replace").decode()
