"""How a stand-in tells of its jobs: summaries, and which of them a list has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

from bgjob import codec
from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError
from bgjob.testing.submissions import instant, try_seconds
from bgjob.words import BLOCKED, FINAL, MOST_OF_KEY, SCHEDULED, STATUS_WORDS, WAITING, Outcome, Status

PAGE: Final = 50
LARGEST_PAGE: Final = 1000

LARGEST_COUNT: Final = 100_000

_SUMMARY: Final = (
    *("id", "class_name", "method_name", "status", "queue", "priority", "retry_count", "max_retries"),
    *(
        "scheduled_at",
        "started_at",
        "finished_at",
        "created_at",
        "updated_at",
        "cancel_requested_at",
        "error",
    ),
    *("schedule", "occurrence", "is_blocked", "group_id", "key", "is_behind", "steps", "waiting_on"),
    *("review_since", "labels"),
)
_OF_PROCESS: Final = ("max_rss", "cpu_user", "cpu_system", "output_bytes", "host", "expected")


def summary(row: JsonObject) -> JsonObject:
    attempts = row["attempts"]
    return {
        **{name: row[name] for name in _SUMMARY},
        "attempt": len(attempts),
        "step": None,
        "outcome": attempts[-1]["outcome"] if attempts else None,
        "progress": attempts[-1]["progress"] if attempts else None,
    }


def _as_listed(row: JsonObject) -> JsonObject:
    """The summary as List has it: with what the latest attempt used, which is not known here, and no host."""
    return summary(row) | dict.fromkeys(_OF_PROCESS) | {"is_held": False}


def as_running(row: JsonObject) -> JsonObject:
    """The attempt as Running has it: it has no process of its own that could be measured."""
    attempt = row["attempts"][-1]
    of_job = ("class_name", "method_name", "queue", "timeout")
    of_attempt = ("job_id", "number", "pid", "started_at", "progress")
    return {
        **{name: row[name] for name in of_job},
        **{name: attempt[name] for name in of_attempt},
        **dict.fromkeys(("cpu", "memory", "host", "expected")),
    }


def jobs(rows: Collection[JsonObject], given: JsonObject) -> JsonObject:
    """The page that List answers of these jobs, which come oldest first. Raises InvalidParameterError."""
    given = {**given, **_check_list(given)}
    limit = given.get("limit") or PAGE
    now = instant()
    matching = [row for row in rows if is_listed(row, given, now)]
    place = _place(rows, given)
    place_of = _end_of if _is_by_end(given) else _id_of
    matching.sort(key=place_of, reverse=True)
    behind = [row for row in matching if place is None or place_of(row) < place]
    page = behind[:limit]
    last = page[-1] if len(behind) > limit else None
    total = None if given.get("count") is None else min(given["count"], len(matching))
    return {
        "jobs": [_as_listed(row) for row in page],
        "next": None if last is None else last["id"],
        "next_at": last["finished_at"] if last is not None and _is_by_end(given) else None,
        "is_complete": True,
        "total": total,
    }


def _place(rows: Collection[JsonObject], given: JsonObject) -> tuple[str, int] | None:
    """Behind which the page begins; None for the first one."""
    before, before_at = given.get("before"), given.get("before_at")
    if before is None:
        return None
    if not _is_by_end(given):
        return "", before
    earlier = [row for row in rows if row["id"] <= before]
    return before_at or (_end_of(earlier[-1])[0] if earlier else ""), before


def _has_ended(given: JsonObject) -> bool:
    """Whether a list has nothing but jobs that have ended."""
    is_asked = bool(given.get("status")) and FINAL.issuperset(given["status"])
    return is_asked or given.get("sort") == "ended"


def _is_by_end(given: JsonObject) -> bool:
    """Whether the latest end is first."""
    return _has_ended(given) and given.get("sort") != "id"


def _end_of(row: JsonObject) -> tuple[str, int]:
    return row["finished_at"] or row["updated_at"], row["id"]


def _id_of(row: JsonObject) -> tuple[str, int]:
    return "", row["id"]


def _check_list(given: JsonObject) -> JsonObject:
    """Raises InvalidParameterError. `since` and `until`, as times are stored."""
    for index, word in enumerate(given.get("status") or ()):
        if word not in STATUS_WORDS:
            raise InvalidParameterError(parameter=f"status.{index}")
    check_page(given)
    if not 1 <= given.get("count", LARGEST_COUNT) <= LARGEST_COUNT:
        raise InvalidParameterError(parameter="count")
    check_outcome(given)
    is_odd = given.get("sort") == "ended" and not FINAL.issuperset(given.get("status") or ())
    if is_odd or given.get("sort") not in (None, "id", "ended"):
        raise InvalidParameterError(parameter="sort")
    return times_of(given)


def check_outcome(given: JsonObject, within: str = "") -> None:
    """Raises InvalidParameterError, with its name behind `within`."""
    if given.get("outcome") not in (None, *Outcome):
        raise InvalidParameterError(parameter=f"{within}outcome")


def times_of(given: JsonObject, within: str = "") -> JsonObject:
    """The same of `since` and `until`, as times are stored."""
    return {name: _stored(given.get(name), f"{within}{name}") for name in ("since", "until")}


def _stored(text: str | None, name: str) -> str | None:
    at = None if text is None else try_seconds(text)
    if text is not None and at is None:
        raise InvalidParameterError(parameter=name)
    return None if at is None else instant(at)


def check_page(given: JsonObject) -> None:
    if given.get("before", 1) < 1:
        raise InvalidParameterError(parameter="before")
    if not 1 <= given.get("limit", PAGE) <= LARGEST_PAGE:
        raise InvalidParameterError(parameter="limit")


def is_listed(row: JsonObject, given: JsonObject, now: str) -> bool:
    is_scheduled = row["status"] == Status.PENDING and (row["scheduled_at"] or "") > now
    words = {row["status"], SCHEDULED} if is_scheduled else {row["status"]}
    if row["is_blocked"] and row["status"] == Status.PENDING:
        words = {row["status"], BLOCKED}
    if row["waiting_on"] is not None and row["status"] == Status.PENDING:
        words = {row["status"], WAITING}
    return (
        (given.get("status") is None or not words.isdisjoint(given["status"]))
        and all(
            given.get(name) in (None, row[name])
            for name in ("queue", "class_name", "method_name", "schedule", "key", "again_of", "bulk")
        )
        and given.get("group") in (None, row["group_id"])
        and given.get("host") is None
        and (given.get("label") is None or given["label"] in row["labels"])
        and given.get("error") in (None, *(attempt["error_group"] for attempt in row["attempts"]))
        and _has(row, (given.get("search") or "").casefold())
        and _is_within(row, given)
        and _went_so(row, given, now)
    )


def _is_within(row: JsonObject, given: JsonObject) -> bool:
    """Whether its end, or its submit, is in the time that is asked for."""
    at = row["finished_at"] if _has_ended(given) else row["created_at"]
    if at is None:
        return False
    return (given["since"] or "") <= at and (given["until"] is None or at < given["until"])


def _went_so(row: JsonObject, given: JsonObject, now: str) -> bool:
    """Whether its latest attempt took as long, and ended, as is asked for."""
    latest = row["attempts"][-1] if row["attempts"] else {}
    least, end = given.get("longer_than"), latest.get("finished_at") or now
    if least is not None and not latest.get("started_at"):
        return False
    if least is not None and (try_seconds(end) or 0.0) - (try_seconds(latest["started_at"]) or 0.0) <= least:
        return False
    return given.get("outcome") in (None, latest.get("outcome"))


def labels(rows: Iterable[JsonObject], given: JsonObject) -> JsonObject:
    """The labels of these jobs as Labels has them."""
    check_page(given)
    having: dict[str, list[JsonObject]] = {}
    for row in rows:
        for label in row["labels"]:
            having.setdefault(label, []).append(row)
    prefix, after = given.get("prefix") or "", given.get("after") or ""
    names = sorted(label for label in having if label.startswith(prefix) and label > after)
    page = names[: given.get("limit") or PAGE]
    following = page[-1] if len(page) < len(names) else None
    return {"labels": [_counted(label, having[label]) for label in page], "next": following}


def _counted(label: str, rows: list[JsonObject]) -> JsonObject:
    standings = Counter(row["status"] for row in rows[-_NEWEST:])
    told = {"label": label, "jobs": min(len(rows), MOST_OF_KEY), "newest": rows[-1]["id"]}
    return {**told, **{status.value: standings[status] for status in Status}}


_NEWEST: Final = 100


def _has(row: JsonObject, needle: str) -> bool:
    """Whether class, method, error or a value of the parameters, in JSON on a line of its own, has this in it."""
    named = f"{row['class_name']}::{row['method_name']}\n{row['error'] or ''}"
    values = json.dumps(list(row["parameters"].values()), ensure_ascii=False, separators=("\n", "\n"))[1:-1]
    return needle in named.casefold() or codec.to_json(needle)[1:-1] in values.casefold()
