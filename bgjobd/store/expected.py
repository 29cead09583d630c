"""What is expected of jobs and attempts that run, told beside them as the socket has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from bgjob.codec import JsonObject
from bgjob.words import Status
from bgjobd.core.expectation import Expectation, HowFar, Usual, try_expected
from bgjobd.core.job import Job
from bgjobd.host.clock import from_text
from bgjobd.store.engines import Execute
from bgjobd.store.method_usage import usual_of
from bgjobd.store.rows import parsed


def with_expected(execute: Execute, rows: Sequence[JsonObject], now: float) -> list[JsonObject]:
    """Jobs or attempts, each with what is `expected` of it: None of one that does not run, or where little is known.

    Keys: class_name, method_name, started_at, progress; `status` unless all run.
    """
    running = [row for row in rows if _runs(row)]
    usual = usual_of(execute, {(row["class_name"], row["method_name"]) for row in running}) if running else {}
    return [row | {"expected": _told(row, usual, now) if _runs(row) else None} for row in rows]


def of_stored(
    execute: Execute, job: JsonObject, attempts: Sequence[JsonObject], now: float
) -> JsonObject | None:
    """What is expected of a job of these columns, whose latest attempt is the last."""
    latest = attempts[-1] if attempts else {"started_at": None, "progress": None}
    began = {"started_at": latest["started_at"] or job["started_at"], "progress": latest["progress"]}
    told: JsonObject | None = with_expected(execute, [job | began], now)[0]["expected"]
    return told


def try_expected_of(execute: Execute, job: Job, began_at: float | None, now: float) -> Expectation | None:
    """What is expected of a job whose latest attempt began then."""
    call = job.call.class_name, job.call.method_name
    since = job.started_at if began_at is None else began_at
    return _expected(usual_of(execute, [call]).get(call), since, parsed(job.progress), now)


def _runs(row: JsonObject) -> bool:
    return bool(row.get("status", Status.RUNNING) == Status.RUNNING)


def _told(row: JsonObject, usual: dict[tuple[str, str], Usual], now: float) -> JsonObject | None:
    since = None if row["started_at"] is None else from_text(row["started_at"])
    found = _expected(usual.get((row["class_name"], row["method_name"])), since, row["progress"], now)
    return None if found is None else as_json(found)


def as_json(expected: Expectation) -> JsonObject:
    """The same as the socket has it: to the millisecond, as times are."""
    told: JsonObject = asdict(expected)
    return told | {name: None if told[name] is None else round(told[name], 3) for name in _ROUNDED}


_ROUNDED: Final = ("p50", "p95", "left", "times")


def _expected(
    usual: Usual | None, since: float | None, progress: JsonObject | None, now: float
) -> Expectation | None:
    if since is None:
        return try_expected(usual)
    how_far = None
    if progress is not None:
        after = max(0.0, from_text(progress["at"]) - since)
        how_far = HowFar(progress["fraction"], progress.get("told") or 1, after)
    return try_expected(usual, max(0.0, now - since), how_far)
