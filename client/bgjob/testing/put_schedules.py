"""The schedules that an application puts, in place of a daemon's: kept, told, and run where that is asked for.

When they occur only a daemon knows: nothing of them occurs here, and `cron` is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bgjob import submission_rules
from bgjob.amounts import span_text, try_span
from bgjob.codec import JsonObject
from bgjob.errors import (
    InvalidNameError,
    InvalidParameterError,
    InvalidParametersError,
    ScheduleNotFoundError,
)
from bgjob.testing import submissions
from bgjob.testing.submissions import Submission, instant
from bgjob.words import INTERFACE

_PAGE: Final = 50
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "missed": ("run_once", "skip", "run_all"),
    "overlap": ("skip", "allow", "wait", "cancel"),
}
"""Of each key the default first."""

_SPANS: Final = ("every", "late", "jitter", "timeout", "retry_delay", "expires_in")
_OPTIONS: Final = (
    *("queue", "priority", "timeout", "max_retries", "retry_delay", "backoff"),
    *("unique_key", "expires_in", "key", "host", "labels"),
)
KEYS: Final = frozenset(
    (*("job", "parameters", "cron", "zone", "starting", "missed_limit"), *_WORDS, *_SPANS, *_OPTIONS)
)
"""What a definition may have."""


@dataclass(frozen=True, slots=True)
class _Put:
    """A schedule, what it submits, and the jobs that were asked of it, the newest last."""

    definition: JsonObject
    wanted: Submission
    paused_at: str | None = None
    jobs: list[JsonObject] = field(default_factory=list)

    @property
    def occurrences(self) -> list[JsonObject]:
        """What became of it, newest first."""
        return [_occurrence(job) for job in reversed(self.jobs)]


class PutSchedules:
    """`answers` has the methods about schedules.

    `checked` makes a submission of a job's fields, or raises its refusal; `submit` stores it and may run it.
    """

    def __init__(
        self, checked: Callable[[JsonObject], Submission], submit: Callable[[Submission], JsonObject]
    ) -> None:
        self._checked = checked
        self._submit = submit
        self._put: dict[str, _Put] = {}
        self.answers: Mapping[str, Callable[[JsonObject], JsonObject]] = {
            f"{INTERFACE}.Schedules": self._schedules,
            f"{INTERFACE}.PutSchedule": self._put_schedule,
            f"{INTERFACE}.DeleteSchedule": self._delete_schedule,
            f"{INTERFACE}.RunSchedule": self._run_schedule,
            f"{INTERFACE}.PauseSchedule": lambda given: self._set_paused(given, instant()),
            f"{INTERFACE}.ResumeSchedule": lambda given: self._set_paused(given, None),
            f"{INTERFACE}.Occurrences": self._occurrences,
            f"{INTERFACE}.Backfill": self._backfill,
        }

    def _schedules(self, given: JsonObject) -> JsonObject:
        name = given.get("name")
        wanted = sorted(self._put) if name is None else [name]
        return {"schedules": [_told(one, self._named({"name": one})) for one in wanted], "next": None}

    def _put_schedule(self, given: JsonObject) -> JsonObject:
        name, definition = given["name"], given["definition"]
        if not submissions.may_be_put(name):
            raise InvalidNameError(field="name", value=name)
        wanted = self._wanted(definition)
        before = self._put.get(name)
        new = _Put(definition, wanted)
        self._put[name] = (
            new if before is None else replace(new, paused_at=before.paused_at, jobs=before.jobs)
        )
        return {"created": before is None}

    def _delete_schedule(self, given: JsonObject) -> JsonObject:
        self._named(given)
        del self._put[given["name"]]
        return {}

    def _run_schedule(self, given: JsonObject) -> JsonObject:
        put = self._named(given)
        of_now = put.wanted._replace(schedule=given["name"], occurrence=instant())
        job = self._submit(of_now)
        put.jobs.append(job)
        return {"id": job["id"]}

    def _set_paused(self, given: JsonObject, at: str | None) -> JsonObject:
        self._put[given["name"]] = replace(self._named(given), paused_at=at)
        return {}

    def _occurrences(self, given: JsonObject) -> JsonObject:
        before, limit = given.get("before"), given.get("limit") or _PAGE
        found = [one for one in self._named(given).occurrences if before is None or one["at"] < before]
        page = found[:limit]
        return {"occurrences": page, "next": page[-1]["at"] if len(found) > limit else None}

    def _backfill(self, given: JsonObject) -> JsonObject:
        """None has occurred, so none has no job."""
        self._named(given)
        return {"count": 0, "ids": []}

    def _named(self, given: JsonObject) -> _Put:
        """Raises ScheduleNotFoundError: those of a configuration are not here."""
        put = self._put.get(given["name"])
        if put is None:
            raise ScheduleNotFoundError(name=given["name"])
        return put

    def _wanted(self, definition: JsonObject) -> Submission:
        """What it submits. Raises InvalidParametersError for what is wrong with a key, and the refusals of a submit."""
        problems = [{"path": key, "message": message} for key, message in _problems(definition)]
        if problems:
            raise InvalidParametersError(problems=problems)
        class_name, _, method_name = definition["job"].partition("::")
        names = {"class_name": class_name, "method_name": method_name}
        options = {name: definition[name] for name in _OPTIONS if definition.get(name) is not None}
        spans = {name: try_span(options[name]) for name in _SPANS if name in options}
        job = {**names, "parameters": definition.get("parameters") or {}, "options": options | spans}
        try:
            submission_rules.check_shape(job)
            return self._checked(job)
        except InvalidParameterError as error:
            key = error.parameters["parameter"].removeprefix("options.")
            raise InvalidParametersError(problems=[{"path": key, "message": "cannot be this"}]) from None


def _problems(definition: JsonObject) -> Iterator[tuple[str, str]]:
    """What is wrong with it as far as that can be seen without knowing when it occurs: the key, and what it must be."""
    yield from ((key, "is no key of a schedule") for key in definition if key not in KEYS)
    job = definition.get("job")
    if not isinstance(job, str) or "::" not in job:
        yield "job", 'must be a class and its method, such as "myapp.jobs.Report::build"'
    if (definition.get("cron") is None) is (definition.get("every") is None):
        yield "definition", 'must have cron, such as "30 2 * * *", or every, such as "15m", and not both'
    for key, words in _WORDS.items():
        if definition.get(key, words[0]) not in words:
            yield key, f"must be one of {', '.join(words)}"
    for key in _SPANS:
        if definition.get(key) is not None and try_span(definition[key]) is None:
            yield key, 'must be a time, in seconds or such as "500ms", "5m" or "14d"'


def _told(name: str, put: _Put) -> JsonObject:
    """The schedule as Schedules has it; what is to come is not known."""
    definition = put.definition
    every = try_span(definition.get("every"))
    occurrences = put.occurrences
    return {
        "name": name,
        "job": definition["job"],
        "parameters": definition.get("parameters") or {},
        "cron": definition.get("cron"),
        "every": every,
        "zone": None if every is not None else definition.get("zone") or "UTC",
        "description": definition.get("cron") if every is None else f"Every {span_text(every)}",
        **{key: definition.get(key, words[0]) for key, words in _WORDS.items()},
        "jitter": try_span(definition.get("jitter")),
        "paused_at": put.paused_at,
        "next": [],
        "last": occurrences[0] if occurrences else None,
        **dict.fromkeys(("refused", "uid", "made_by")),
    }


def _occurrence(job: JsonObject) -> JsonObject:
    at = job["occurrence"]
    own: dict[str, Any] = {"at": at, "until": at, "count": 1, "dealt_at": at}
    return {**own, "verdict": "asked", "reason": None, "job_id": job["id"], "status": job["status"]}
