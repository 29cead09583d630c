"""What answers in place of a daemon: one that records jobs, and one that also runs them at once; what a job is, how
one is run and what a submission may say are elsewhere.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from bgjob import calls, codec
from bgjob.codec import JsonObject, Request
from bgjob.errors import (
    BgjobError,
    IdempotencyConflictError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    JobNotFoundError,
    MethodNotApprovedError,
    NotApprovedError,
)
from bgjob.testing import submissions
from bgjob.testing.arguments import misfits
from bgjob.testing.attempts import attempt, tell_failed_hook
from bgjob.testing.put_schedules import PutSchedules
from bgjob.testing.submissions import Submission, instant, try_seconds
from bgjob.testing.submitted import Jobs, SubmittedJob, copied
from bgjob.testing.targets import target_of
from bgjob.words import FINAL, INTERFACE, SCHEDULED, SERVICE, STATUS_WORDS, Outcome, Status

MAX_SNOOZES: Final = 5
"""How often a job may ask for a snooze, which nobody waits for here, before it fails."""

_PAGE: Final = 50
_LARGEST_PAGE: Final = 1000
_LARGEST_COUNT: Final = 100_000


class NothingRunsError(BgjobError):
    """The end of a job was waited for that is only recorded."""

    def __init__(self, job_id: int) -> None:
        super().__init__(
            f"job {job_id} is only recorded and will never end; use bgjob.testing.inline() to run jobs"
        )


class NotAnsweredError(BgjobError, NotImplementedError):
    """A method was called that needs a daemon."""

    def __init__(self, method: str) -> None:
        super().__init__(f"bgjob.testing does not answer {method}; that needs a daemon")


class Recorder:
    """Answers what a daemon would that starts nothing. The lock is never held while code of the application runs."""

    def __init__(self, approved: Iterable[str | type] | None) -> None:
        self.jobs = Jobs()
        self._approved = None if approved is None else {calls.class_name_of(cls) for cls in approved}
        self._rows: dict[int, JsonObject] = {}
        self._by_key: dict[str, tuple[JsonObject, Submission]] = {}
        self._lock = threading.Lock()
        self._answers: dict[str, Callable[[JsonObject], JsonObject]] = {
            f"{INTERFACE}.Submit": self._submit,
            f"{INTERFACE}.SubmitMany": self._submit_many,
            f"{INTERFACE}.Get": self._get,
            f"{INTERFACE}.Wait": self._wait,
            f"{INTERFACE}.List": self._list,
            f"{INTERFACE}.Cancel": self._cancel,
            f"{INTERFACE}.Retry": self._retry,
            f"{INTERFACE}.Running": lambda given: {"attempts": self._running()},
            f"{INTERFACE}.Why": lambda given: {"sentence": _why(self._row(given["id"]))},
            f"{INTERFACE}.Pause": lambda given: {},
            f"{INTERFACE}.Resume": lambda given: {},
            **{
                f"{INTERFACE}.{name}": answer
                for name, answer in PutSchedules(self._checked, self._submit_of_schedule).answers.items()
            },
            f"{SERVICE}.GetInfo": lambda given: _INFO,
        }

    def answer(self, request: Request) -> JsonObject:
        received = _received(request)
        answer = self._answers.get(received.method)
        if answer is None:
            raise NotAnsweredError(received.method)
        return copied(answer(received.parameters))

    def stream(self, request: Request) -> Iterable[JsonObject]:
        received = _received(request)
        if received.method != f"{INTERFACE}.Watch":
            raise NotAnsweredError(received.method)
        ids = received.parameters.get("ids")
        return [{"job": None}] if ids is None else [{"job": _summary(self._row(one))} for one in ids]

    # What the two do differently

    def _policy(self, given: JsonObject) -> JsonObject:
        """What the class says where the caller does not. Raises the refusal of what could not run.

        Who imports no class knows nothing of it.
        """
        return {}

    def _run(self, row: JsonObject) -> None:
        """Bring a pending job to its end."""

    # The methods

    def _submit(self, given: JsonObject) -> JsonObject:
        job = {name: value for name, value in given.items() if name != "check_only"}
        submissions.check_shape(job)
        wanted = self._checked(job)
        if given.get("check_only"):
            return {"id": 0, "created": False}
        ((row, is_new),) = self._store([wanted])
        if is_new:
            self._run(row)
        return {"id": row["id"], "created": is_new}

    def _submit_of_schedule(self, wanted: Submission) -> JsonObject:
        ((row, _),) = self._store([wanted])
        self._run(row)
        return row

    def _submit_many(self, given: JsonObject) -> JsonObject:
        is_bulk = given.get("each") is not None
        jobs = submissions.one_by_one(given) if is_bulk else given["jobs"]
        name, key = ("each", "keys.{}") if is_bulk else ("jobs", "jobs.{}.options.idempotency_key")
        for index, job in enumerate(jobs):
            submissions.check_shape(job, f"{name}.{index}.")
        wanted = [self._checked_one_of_many(f"{name}.{index}", job) for index, job in enumerate(jobs)]
        stored = self._store(wanted, key)
        for row, is_new in stored:
            if is_new:
                self._run(row)
        return {"ids": [row["id"] for row, _ in stored]}

    def _get(self, given: JsonObject) -> JsonObject:
        _check_page(given)
        row = self._named(given)
        known = row["attempts"]
        earlier = known if given.get("before") is None else known[: given["before"] - 1]
        page = earlier[-(given.get("limit") or len(earlier)) :]
        has_more = len(page) < len(earlier)
        return {"job": {**row, "attempts": page}, "next": page[0]["number"] if has_more else None}

    def _wait(self, given: JsonObject) -> JsonObject:
        row = self._named(given)
        if row["status"] == Status.PENDING:  # for ever, whatever time is given
            raise NothingRunsError(row["id"])
        return {"job": row, "next": None}

    def _list(self, given: JsonObject) -> JsonObject:
        given = {**given, "since": _check_list(given)}
        limit = given.get("limit") or _PAGE
        now = instant()
        with self._lock:
            matching = [row for row in self._rows.values() if _is_listed(row, given, now)]
            place = self._place(given)
        place_of = _end_of if _is_by_end(given) else _id_of
        matching.sort(key=place_of, reverse=True)
        rows = [row for row in matching if place is None or place_of(row) < place]
        page = rows[:limit]
        last = page[-1] if len(rows) > limit else None
        total = None if given.get("count") is None else min(given["count"], len(matching))
        return {
            "jobs": [_listed(row) for row in page],
            "next": None if last is None else last["id"],
            "next_at": last["finished_at"] if last is not None and _is_by_end(given) else None,
            "is_complete": True,
            "total": total,
        }

    def _place(self, given: JsonObject) -> tuple[str, int] | None:
        """Behind which the page begins; None for the first one."""
        before, before_at = given.get("before"), given.get("before_at")
        if before is None:
            return None
        if not _is_by_end(given):
            return "", before
        earlier = [row for row in self._rows.values() if row["id"] <= before]
        return before_at or (_end_of(earlier[-1])[0] if earlier else ""), before

    def _cancel(self, given: JsonObject) -> JsonObject:
        now = instant()
        with self._lock:
            for row in self._rows_in(given["ids"], (Status.PENDING, Status.RUNNING)):
                row["cancel_requested_at"] = row["cancel_requested_at"] or now
                if row["status"] == Status.PENDING:
                    row.update(status=Status.CANCELLED, finished_at=now, updated_at=now)
        return {"ids": given["ids"]}

    def _retry(self, given: JsonObject) -> JsonObject:
        with self._lock:
            rows = self._rows_in(given["ids"], (Status.FAILED, Status.CANCELLED))
            for row in rows:
                row.update(status=Status.PENDING, retry_count=0, finished_at=None, error=None)
                row.update(cancel_requested_at=None, scheduled_at=None, updated_at=instant())
        for row in rows:
            self._run(row)
        return {"ids": given["ids"]}

    def _running(self) -> list[JsonObject]:
        """The attempts that run in this process just now, such as the one that asks."""
        with self._lock:
            return [_running(row) for row in self._rows.values() if row["status"] == Status.RUNNING]

    # Submissions

    def _checked(self, given: JsonObject) -> Submission:
        """Raises the refusal of a submission whose shape is right, in the daemon's order."""
        submissions.check_names_and_size(given)
        if self._approved is not None and given["class_name"] not in self._approved:
            raise NotApprovedError(class_name=given["class_name"])
        policy = self._policy(given)
        submissions.check_meaning(given.get("options") or {})
        return Submission(given, policy)

    def _checked_one_of_many(self, place: str, given: JsonObject) -> Submission:
        """The same, where a refusal tells the job's place in the list."""
        try:
            return self._checked(given)
        except InvalidParameterError as error:
            parameter = error.parameters["parameter"]
            raise InvalidParameterError(parameter=f"{place}.{parameter}") from None
        except InvalidParametersError as error:
            problems = [{**one, "path": place.replace(".", "/")} for one in error.parameters["problems"]]
            raise InvalidParametersError(problems=problems) from None

    def _store(self, wanted: Sequence[Submission], key_place: str = "") -> list[tuple[JsonObject, bool]]:
        """The jobs, and whether each is a new one; all or, where a key stands for another request, none.

        `key_place` is where the request has each one's key.
        """
        stored: list[tuple[JsonObject, bool]] = []
        new: dict[int, tuple[JsonObject, Submission]] = {}
        by_key: dict[str, tuple[JsonObject, Submission]] = {}
        with self._lock:
            for index, one in enumerate(wanted):
                known = self._try_known(key_place.format(index), one, by_key)
                row = one.row(len(self._rows) + len(new) + 1) if known is None else known
                stored.append((row, known is None))
                if known is None:
                    new[row["id"]] = row, one
                    by_key |= {} if one.key is None else {one.key: (row, one)}
            self._by_key |= by_key
            for job_id, (row, one) in new.items():
                self._rows[job_id] = row
                self.jobs.append(SubmittedJob(row, one.callers_options))
        return stored

    def _try_known(
        self, place: str, wanted: Submission, here: dict[str, tuple[JsonObject, Submission]]
    ) -> JsonObject | None:
        """The job that this key made before, `here` in the same submission or earlier. Raises where it is another."""
        row, earlier = here.get(wanted.key or "") or self._by_key.get(wanted.key or "") or (None, wanted)
        if row is None or earlier.request == wanted.request:
            return row
        if wanted.key in here:
            raise InvalidParameterError(parameter=place)
        raise IdempotencyConflictError(id=row["id"])

    # Jobs

    def _named(self, given: JsonObject) -> JsonObject:
        """The job by its id or by its idempotency key. Raises InvalidParameterError, JobNotFoundError."""
        job_id, key = given.get("id"), given.get("key")
        if (job_id is None) is (key is None):
            raise InvalidParameterError(parameter="id" if key is None else "key")
        if key is None:
            return self._row(given["id"])
        if key not in self._by_key:
            raise JobNotFoundError(id=0, key=key)
        return self._by_key[key][0]

    def _row(self, job_id: int) -> JsonObject:
        row = self._rows.get(job_id)
        if row is None:
            raise JobNotFoundError(id=job_id)
        return row

    def _rows_in(self, ids: Collection[int], allowed: Collection[Status]) -> list[JsonObject]:
        """These jobs, if all have one of the statuses. Raises JobNotFoundError, InvalidStateError."""
        if not ids:
            raise InvalidParameterError(parameter="ids")
        rows = [self._row(job_id) for job_id in dict.fromkeys(ids)]
        for row in rows:
            if row["status"] not in allowed:
                raise InvalidStateError(id=row["id"], status=str(row["status"]))
        return rows


class Runner(Recorder):
    """Answers what a daemon would that is done at once."""

    def _policy(self, given: JsonObject) -> JsonObject:
        target = target_of(given["class_name"])
        function = target.try_method(given["method_name"])
        if function is None:
            names = {"class_name": given["class_name"], "method_name": given["method_name"]}
            raise MethodNotApprovedError(**names)
        problems = misfits(function, given.get("parameters") or {}, target.tasks.get(given["method_name"]))
        if problems:
            raise InvalidParametersError(problems=problems)
        return target.policy

    def _run(self, row: JsonObject) -> None:
        target = target_of(row["class_name"])
        snoozes = 0
        while row["status"] == Status.PENDING:
            outcome = attempt(row, target, may_snooze=snoozes < MAX_SNOOZES)
            snoozes += outcome is Outcome.SNOOZED
        if row["status"] == Status.FAILED:
            tell_failed_hook(row, target)


_INFO: Final = {
    "vendor": "bgjobd",
    "product": "bgjob.testing",
    "version": "",
    "url": "",
    "interfaces": [SERVICE, INTERFACE],
}


def _received(request: Request) -> Request:
    """The request as it arrives at a daemon: through JSON, read as strictly. Raises what a client or a daemon does."""
    try:
        return codec.parse_request(calls.frame_of(request)[:-1])
    except codec.IntegerOutOfRangeError as error:
        raise InvalidParameterError(parameter=error.parameter) from None


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
    *("schedule", "occurrence", "is_blocked"),
)
_USAGE: Final = ("max_rss", "cpu_user", "cpu_system", "output_bytes")


def _summary(row: JsonObject) -> JsonObject:
    attempts = row["attempts"]
    return {
        **{name: row[name] for name in _SUMMARY},
        "attempt": len(attempts),
        "outcome": attempts[-1]["outcome"] if attempts else None,
        "progress": attempts[-1]["progress"] if attempts else None,
    }


def _listed(row: JsonObject) -> JsonObject:
    """The summary as List has it: with what the latest attempt used, which is not known here."""
    return _summary(row) | dict.fromkeys(_USAGE)


def _running(row: JsonObject) -> JsonObject:
    """The attempt as Running has it: it has no process of its own that could be measured."""
    attempt = row["attempts"][-1]
    of_job = ("class_name", "method_name", "queue", "timeout")
    of_attempt = ("job_id", "number", "pid", "started_at", "progress")
    return {
        **{name: row[name] for name in of_job},
        **{name: attempt[name] for name in of_attempt},
        **dict.fromkeys(("cpu", "memory")),
    }


def _why(row: JsonObject) -> str:
    """What a daemon would say, in fewer words: here nothing waits for anything."""
    return f"job {row['id']} {_WHY[row['status']].format(attempt=len(row['attempts']), **row)}"


_WHY: Final = {
    Status.PENDING: "is only recorded and will never run: there is no daemon here",
    Status.RUNNING: "runs: attempt {attempt} began at {started_at}, in this process",
    Status.COMPLETED: "completed at {finished_at}, by attempt {attempt}",
    Status.FAILED: "failed at {finished_at}: {error} (attempt {attempt})",
    Status.CANCELLED: "was cancelled at {finished_at}",
}


def _is_by_end(given: JsonObject) -> bool:
    """Whether a list has nothing but jobs that have ended."""
    return bool(given.get("status")) and FINAL.issuperset(given["status"])


def _end_of(row: JsonObject) -> tuple[str, int]:
    return row["finished_at"] or row["updated_at"], row["id"]


def _id_of(row: JsonObject) -> tuple[str, int]:
    return "", row["id"]


def _check_list(given: JsonObject) -> str | None:
    """Raises InvalidParameterError. `since`, as times are stored."""
    for index, word in enumerate(given.get("status") or ()):
        if word not in STATUS_WORDS:
            raise InvalidParameterError(parameter=f"status.{index}")
    _check_page(given)
    if not 1 <= given.get("count", _LARGEST_COUNT) <= _LARGEST_COUNT:
        raise InvalidParameterError(parameter="count")
    if given.get("since") is None:
        return None
    since = try_seconds(given["since"])
    if since is None:
        raise InvalidParameterError(parameter="since")
    return instant(since)


def _check_page(given: JsonObject) -> None:
    if given.get("before", 1) < 1:
        raise InvalidParameterError(parameter="before")
    if not 1 <= given.get("limit", _PAGE) <= _LARGEST_PAGE:
        raise InvalidParameterError(parameter="limit")


def _is_listed(row: JsonObject, given: JsonObject, now: str) -> bool:
    is_scheduled = row["status"] == Status.PENDING and (row["scheduled_at"] or "") > now
    words = {row["status"], SCHEDULED} if is_scheduled else {row["status"]}
    return (
        (given.get("status") is None or not words.isdisjoint(given["status"]))
        and all(
            given.get(name) in (None, row[name])
            for name in ("queue", "class_name", "method_name", "schedule")
        )
        and _has(row, (given.get("search") or "").casefold())
        and (given["since"] or "") <= row["finished_at" if _is_by_end(given) else "created_at"]
    )


def _has(row: JsonObject, needle: str) -> bool:
    """Whether class, method, error or a value of the parameters, in JSON on a line of its own, has this in it."""
    named = f"{row['class_name']}::{row['method_name']}\n{row['error'] or ''}"
    values = json.dumps(list(row["parameters"].values()), ensure_ascii=False, separators=("\n", "\n"))[1:-1]
    return needle in named.casefold() or codec.to_json(needle)[1:-1] in values.casefold()
