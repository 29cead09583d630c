"""What running a job's call again asks for: the submission that it is, by a daemon's rules; nothing is stored here."""

from __future__ import annotations

import json
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError
from bgjob.request_values import given as told
from bgjob.submission_rules import is_key
from bgjob.testing.submissions import Submission


def request_of(given: JsonObject) -> tuple[Any, ...]:
    """What tells it from another with the same key. Raises InvalidParameterError for a field of a wrong shape."""
    for name in ("from_step", "idempotency_key"):
        if given.get(name) is not None and not is_key(given[name]):
            raise InvalidParameterError(parameter=name)
    parameters = given.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InvalidParameterError(parameter="parameters")
    return "again", given["id"], json.dumps(parameters, sort_keys=True), given.get("from_step")


def call_of(given: JsonObject, source: JsonObject, retry_count: int, unique_while: str | None) -> JsonObject:
    """The job in the fields of Submit: what it was submitted with, but for what is not taken over."""
    options = {name: source[name] for name in _TAKEN_OVER}
    options |= {"unique_while": unique_while, "idempotency_key": given.get("idempotency_key")}
    return {
        "class_name": source["class_name"],
        "method_name": source["method_name"],
        "parameters": source["parameters"] | (given.get("parameters") or {}),
        "retry_count": retry_count,
        "options": told(options),
    }


_TAKEN_OVER: Final = (
    *("queue", "priority", "timeout", "max_retries", "retry_delay", "backoff", "unique_key", "key"),
    "labels",
)


def submission(given: JsonObject, source: JsonObject, checked: Submission) -> Submission:
    """What was found to be right, as the job that it makes."""
    policy = {**checked.policy, "max_retry_delay": source["max_retry_delay"]}
    return checked._replace(
        policy=policy, occurrence=source["occurrence"], again_of=source["id"], asked=request_of(given)
    )
