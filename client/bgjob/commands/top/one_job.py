"""What `bgjob top` shows of one job: why it stands so, attempts, traceback, the end of what it prints; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from bgjob import text

_MOST_ATTEMPTS: Final = 5
_TRACEBACK: Final = 8
"""How many lines of it are shown at most: its end says what it was."""


class OneJob(NamedTuple):
    """A job as Get tells it, with the sentence of `why`, and the end of what its latest attempt has printed."""

    job: Mapping[str, Any]
    why: str
    output: str


def lines_of(one: OneJob, at: float, room: int) -> list[str]:
    """At most so many lines; of the output as much as there is room for, the latest."""
    above = [*_head(one), *_attempts(one.job, at), *_traceback(one.job)][: max(0, room)]
    left = room - len(above) - 2
    printed = one.output.splitlines()
    if left < 1 or not printed:
        return above
    return [*above, "", f"output of attempt {_latest(one.job)['number']}", *printed[-left:]]


def _head(one: OneJob) -> Iterator[str]:
    yield ""
    yield f"job {one.job['id']}  {text.target(one.job)}  {one.job['status']}  queue {one.job['queue']}"
    yield one.why
    yield ""


def _attempts(job: Mapping[str, Any], at: float) -> Iterator[str]:
    for attempt in job["attempts"][-_MOST_ATTEMPTS:]:
        began, ended = attempt["started_at"], attempt["finished_at"]
        took = (
            ""
            if began is None
            else text.about((at if ended is None else text.instant(ended)) - text.instant(began))
        )
        error = attempt["error_message"] or ""
        told = [
            f"attempt {attempt['number']}",
            attempt["outcome"] or "runs",
            took,
            text.progress(attempt["progress"]),
        ]
        yield "  ".join([*filter(None, told), *([error] if error else [])])


def _traceback(job: Mapping[str, Any]) -> list[str]:
    latest = _latest(job)
    told = (latest.get("traceback") or "").splitlines()
    return ["", *told[-_TRACEBACK:]] if told else []


def _latest(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return job["attempts"][-1] if job["attempts"] else {"number": 0}
