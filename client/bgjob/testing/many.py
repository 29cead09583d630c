"""What a stand-in makes of a wish about all jobs that match, by the daemon's rules, and tells of it as a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from bgjob.codec import JsonObject
from bgjob.errors import BgjobError, ChangedError, InvalidParameterError
from bgjob.filters import BY_INDEX, CANCELLED, RETRIED
from bgjob.testing.listing import LARGEST_PAGE, PAGE, check_outcome, is_listed, times_of
from bgjob.testing.submissions import instant, try_seconds
from bgjob.words import INTERFACE, ChangeKind, Status

Ask = Callable[[list[int]], object]


class ManyAnswers:
    """The methods about all that match; `retry` and `cancel` ask it of jobs, or raise."""

    def __init__(self, rows: Mapping[int, JsonObject], retry: Ask, cancel: Ask) -> None:
        self._rows = rows
        self._retry = retry
        self._cancel = cancel
        self._changes: list[JsonObject] = []
        self.answers: dict[str, Callable[[JsonObject], JsonObject]] = {
            f"{INTERFACE}.Matching": self._matching,
            f"{INTERFACE}.RetryMatching": self._retry_matching,
            f"{INTERFACE}.CancelMatching": self._cancel_matching,
            f"{INTERFACE}.Changes": self._page,
        }

    def _matching(self, given: JsonObject) -> JsonObject:
        is_retry = given["to"] == "retry"
        as_of = _moment(given.get("as_of"))
        rows = self._found(given["filter"], is_retry, as_of)
        at = sorted(row["finished_at" if is_retry else "created_at"] for row in rows)
        careful = Counter(row["class_name"] for row in rows if row["max_retries"] == 0)
        classes = Counter(row["class_name"] for row in rows)
        return {
            "count": len(rows),
            "running": sum(row["status"] == Status.RUNNING for row in rows),
            "at_most_once": careful.total(),
            "classes": [
                {"class_name": name, "count": count, "at_most_once": careful[name]}
                for name, count in sorted(classes.items(), key=lambda one: (-one[1], one[0]))
            ],
            "oldest": at[0] if at else None,
            "newest": at[-1] if at else None,
            "as_of": as_of,
        }

    def _retry_matching(self, given: JsonObject) -> JsonObject:
        rows = self._expected(given, is_retry=True)
        meant = [row["id"] for row in rows if given.get("at_most_once") or row["max_retries"] > 0]
        done, change = self._ask(self._retry, meant, ChangeKind.RETRIED_MANY, given)
        return {"retried": done, "left_out": len(rows) - done, "change": change}

    def _cancel_matching(self, given: JsonObject) -> JsonObject:
        rows = self._expected(given, is_retry=False)
        meant = [row["id"] for row in rows if row["cancel_requested_at"] is None]
        done, change = self._ask(self._cancel, meant, ChangeKind.CANCELLED_MANY, given)
        return {"cancelled": done, "left_out": len(rows) - done, "change": change}

    def _expected(self, given: JsonObject, is_retry: bool) -> list[JsonObject]:
        rows = self._found(given["filter"], is_retry, _moment(given["as_of"]))
        if len(rows) > given["expected"] * 1.1:
            raise ChangedError(count=len(rows))
        return rows

    def _ask(self, ask: Ask, ids: list[int], kind: ChangeKind, given: JsonObject) -> tuple[int, int | None]:
        """Of each by itself; how many it is done of, and the change."""
        change, done = len(self._changes) + 1, 0
        for job_id in ids:
            before = self._rows[job_id].get("bulk")
            self._rows[job_id]["bulk"] = change
            try:
                ask([job_id])
                done += 1
            except BgjobError:
                self._rows[job_id]["bulk"] = before
        if not done:
            return 0, None
        what = {
            "filter": given["filter"],
            "as_of": given["as_of"],
            "expected": given["expected"],
            "host": None,
        }
        what |= {"done": done, "left_out": given["expected"] - done, "is_over": True}
        self._changes.append({"id": change, "at": instant(), "kind": str(kind), "what": what, "who": None})
        return done, change

    def _found(self, wanted: JsonObject, is_retry: bool, as_of: str) -> list[JsonObject]:
        if all(wanted.get(name) is None for name in BY_INDEX):
            raise InvalidParameterError(parameter="filter")
        known = RETRIED if is_retry else CANCELLED
        status = wanted.get("status") or (["failed"] if is_retry else ["pending", "running"])
        for place, word in enumerate(status):
            if word not in known:
                raise InvalidParameterError(parameter=f"filter.status.{place}")
        given = {**wanted, "status": status, **times_of(wanted, "filter.")}
        check_outcome(wanted, "filter.")
        at = "finished_at" if is_retry else "created_at"
        rows = [row for row in self._rows.values() if is_listed(row, given, instant())]
        return [row for row in rows if (row[at] or "") <= as_of]

    def _page(self, given: JsonObject) -> JsonObject:
        limit = given.get("limit", PAGE)
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidParameterError(parameter="limit")
        before = given.get("before", len(self._changes) + 1)
        found = [one for one in reversed(self._changes) if one["id"] < before]
        following = found[limit - 1]["id"] if len(found) > limit else None
        return {"changes": found[:limit], "next": following}


def _moment(text: str | None) -> str:
    if text is None:
        return instant()
    at = try_seconds(text)
    if at is None:
        raise InvalidParameterError(parameter="as_of")
    return instant(at)
