"""What a submit asks: a job with its options, several, or a flow, all or none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict

from bgjob import answers, predecessors, traces
from bgjob.answers import StoredMany
from bgjob.bulk import try_bulk
from bgjob.calls import Call, call_to
from bgjob.codec import JsonObject
from bgjob.errors import BgjobError
from bgjob.keys import new_keys
from bgjob.predecessors import AnyPredecessor, Predecessor, ResultOf
from bgjob.request_values import class_or_none, given, plain_time

if TYPE_CHECKING:
    from datetime import datetime, timedelta


_OF_A_JOB: Final = re.compile(r"jobs[./](\d{1,9})\b")


class Options(TypedDict, total=False):
    """What a caller may say of a job beyond its parameters; times are seconds, None is as good as nothing.

    `at` has an offset; `idempotency_key`: the same key and request give the same job. `after`: jobs and groups that it
    comes after, handles or ids of jobs; `if_failed` of these: "cancel", "run", "wait". `group`: that it is a member of.
    A job that has got no slot by `expires_at`, or for `expires_in`, is cancelled. Of a class and method one job at a
    time holds a `unique_key`, `unique_while` it is "unfinished" or "pending", or `unique_for` some time; another submit
    with it gets that job, unless `if_held` is "refuse" or "replace" (which `at_latest` bounds). Of the jobs of a queue
    with the same `key` so many run at once, or start in some time, as its configuration says. Of the hosts that work
    from the daemon's database `host` alone, by its name, starts the job. It belongs to the trace of `traceparent`, else
    to that of OpenTelemetry's current span, or of $TRACEPARENT. By its `labels`, ten at most, it is found.
    """

    delay: float | timedelta | None
    at: str | datetime | None
    priority: int | None
    queue: str | None
    timeout: float | timedelta | None
    max_retries: int | None
    retry_delay: float | timedelta | None
    backoff: str | None
    idempotency_key: str | None
    after: Iterable[AnyPredecessor] | None
    if_failed: str | None
    group: Predecessor | int | Mapping[str, Any] | None
    expires_in: float | timedelta | None
    expires_at: str | datetime | None
    unique_key: str | None
    unique_while: str | None
    unique_for: float | timedelta | None
    if_held: str | None
    at_latest: float | timedelta | None
    key: str | None
    host: str | None
    traceparent: str | None
    labels: Iterable[str] | None


def job_of(
    class_name: str | type,
    method_name: str,
    parameters: JsonObject | None,
    retry_count: int,
    options: Mapping[str, object],
) -> JsonObject:
    """A job with the fields of Submit."""
    return {
        "class_name": class_name,
        "method_name": method_name,
        "parameters": parameters,
        "retry_count": retry_count,
        "options": options,
    }


def submit(
    job: Mapping[str, Any], max_retries: int | None, retry_delay: float | None, check_only: bool = False
) -> Call[int]:
    """Store a job; its id. `job` has the fields of Submit; the retries are what the client's class sets, or None.

    With `check_only` nothing is stored, and the id is 0.
    """
    asked = submission(job, max_retries, retry_delay, new_keys(1)[0])
    return call_to("Submit", answers.job_id, **asked, check_only=check_only or None)._replace(needs_code=True)


def submit_anew(
    job: Mapping[str, Any], max_retries: int | None, retry_delay: float | None, check_only: bool = False
) -> Call[answers.Made]:
    """The same, with whether it made a job."""
    call = submit(job, max_retries, retry_delay, check_only)
    return call_to("Submit", answers.made, **call.parameters)._replace(needs_code=True)


def submit_many(
    jobs: Iterable[Mapping[str, Any]], max_retries: int | None, retry_delay: float | None
) -> Call[list[int]]:
    """Store several jobs, all or none; their ids. They are asked for in bulk where they can be."""
    wanted = list(jobs)
    bulk = try_bulk(wanted)
    if bulk is None:
        asked: JsonObject = {
            "jobs": [submission(job, max_retries, retry_delay, new_keys(1)[0]) for job in wanted]
        }
    else:
        asked = submission(bulk.common, max_retries, retry_delay, None)
        made = new_keys(len(wanted))
        asked |= {
            "each": bulk.each,
            "keys": [new if key is None else key for key, new in zip(bulk.keys, made, strict=True)],
        }
    return call_to("SubmitMany", answers.job_ids, **asked)._replace(needs_code=True)


def submit_flow(jobs: list[JsonObject], groups: list[JsonObject], seal: list[int]) -> Call[StoredMany]:
    """Store jobs, as `submission` makes them, and groups for them, all or none; seal groups of earlier requests."""
    asked = {"jobs": jobs, "groups": groups or None, "seal": seal or None}
    return call_to("SubmitMany", answers.stored_many, **asked)._replace(needs_code=True)


def place_of_job(error: BgjobError) -> int | None:
    """Which of the jobs of a request an error is about, where it tells."""
    told = getattr(error, "parameters", {})
    match told.get("problems"):
        case [{"path": path}, *_]:
            named = path
        case _:
            named = told.get("parameter")
    found = _OF_A_JOB.match(str(named))
    return None if found is None else int(found[1])


def submission(
    job: Mapping[str, Any], max_retries: int | None, retry_delay: float | None, key: str | None
) -> JsonObject:
    """The job as the daemon takes it: the class by its name, and the options that every submit has.

    The key, where the job has none, makes a repeat after a lost answer give the same job.
    """
    own = {"max_retries": max_retries, "retry_delay": retry_delay, "idempotency_key": key}
    own |= {"traceparent": traces.try_current()}
    options = given(own | given(job.get("options") or {}))
    parameters, taken = predecessors.split(job.get("parameters"))
    if taken:
        options["take"] = {**options.get("take", {}), **taken}
    plain = {name: _PLAIN.get(name, plain_time)(value) for name, value in options.items()}
    names = {"class_name": class_or_none(job.get("class_name")), "parameters": parameters}
    return {**given(job), **given(names), "options": plain}


def _sources(take: Any) -> Any:
    """What each parameter is taken from."""
    if not isinstance(take, Mapping):
        return take  # a daemon refuses it
    return {
        name: given({"of": predecessors.named(source.source), "pointer": source.pointer or None})
        if isinstance(source, ResultOf)
        else source
        for name, source in take.items()
    }


def _listed(values: Any) -> Any:
    return values if isinstance(values, str) else list(values)  # one text a daemon refuses


_PLAIN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "after": predecessors.all_named,
    "take": _sources,
    "group": predecessors.in_group,
    "labels": _listed,
}
"""The options that name other jobs and groups, and those that are lists."""
