"""What a submission may say, by the daemon's rules, and the job that it makes; what its names mean stays out."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from bgjob import codec
from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError, TooLargeError
from bgjob.keys import is_made_here
from bgjob.labels import distinct
from bgjob.submission_rules import check_names, check_shape, is_key, is_seconds
from bgjob.testing.ties import Ties
from bgjob.words import Backoff, IfHeld, Status

MAX_RETRIES_CAP: Final = 100
MAX_PARAMETERS: Final = 64 * 1024
"""Bytes of them as JSON."""

_MAX_SCHEDULE_NAME: Final = 128
_PART_OF_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Submission(NamedTuple):
    """A job as it was asked for, in the fields of Submit; `policy` is what its class says where the caller does not.

    Where it was asked of a schedule, that one and when; where it runs a job's call again, of which, and what was asked.
    """

    given: JsonObject
    policy: JsonObject
    ties: Ties = Ties()  # nothing changes it
    schedule: str | None = None
    occurrence: str | None = None
    again_of: int | None = None
    asked: tuple[Any, ...] | None = None

    @property
    def options(self) -> JsonObject:
        return dict(self.given.get("options") or {})

    @property
    def parameters(self) -> JsonObject:
        return self.given.get("parameters") or {}

    @property
    def key(self) -> str | None:
        return self.options.get("idempotency_key")

    @property
    def unique_key(self) -> tuple[str, str, str] | None:
        """Which counts within class and method; the classes' own keys are a daemon's configuration."""
        key = self.options.get("unique_key")
        return None if key is None else (self.given["class_name"], self.given["method_name"], key)

    @property
    def callers_options(self) -> JsonObject:
        """Those that the caller gave, without the key that every submit has."""
        is_callers = self.key is None or not is_made_here(self.key)
        return {n: value for n, value in self.options.items() if n != "idempotency_key" or is_callers}

    @property
    def told_options(self) -> JsonObject:
        """The same, with ids in the place of names of the request; for one that has its place."""
        ties = self.ties
        told: JsonObject = {"after": [node.asked for node in ties.after]} if ties.after else {}
        if ties.takes:
            told["take"] = {
                name: {"of": take.of.asked, "pointer": take.pointer} for name, take in ties.takes.items()
            }
        if ties.group is not None:
            told["group"] = {"id": ties.group.id}
        return self.callers_options | told

    @property
    def request(self) -> tuple[Any, ...]:
        """What tells it from another one with the same key."""
        if self.asked is not None:
            return self.asked
        options = {n: value for n, value in self.options.items() if n not in _NOT_ASKED}
        text = json.dumps(self.parameters, sort_keys=True)
        names = (self.given["class_name"], self.given["method_name"])
        return (*names, text, self.given.get("retry_count") or 0, options)

    def row(self, job_id: int) -> JsonObject:
        """The job as it is stored; what nobody says is a daemon's default."""
        at = time.time()
        now = instant(at)
        return {
            "id": job_id,
            "class_name": self.given["class_name"],
            "method_name": self.given["method_name"],
            "parameters": {**self.parameters},
            "status": Status.PENDING,
            "retry_count": self.given.get("retry_count") or 0,
            **_terms(self.policy | self.options, at),
            "turn": 0,
            "created_at": now,
            "updated_at": now,
            "idempotency_key": self.key,
            **dict.fromkeys(_NOT_YET),
            "schedule": self.schedule,
            "occurrence": self.occurrence,
            "again_of": self.again_of,
            "crashes": 0,
            "is_blocked": False,
            "is_behind": False,
            "steps": 0,
            "waiting_on": None,
            "waits_for": 0,
            "sensitive": [],
            "attempts": [],
        }


def _terms(options: JsonObject, at: float) -> JsonObject:
    """The terms of a job that is submitted at this time, as they are stored."""
    timeout = options.get("timeout")
    return {
        "max_retries": options.get("max_retries", 3),
        "retry_delay": float(options.get("retry_delay", 5.0)),
        "backoff": options.get("backoff", Backoff.CONSTANT),
        "max_retry_delay": float(options.get("max_retry_delay", 3600.0)),
        "queue": options.get("queue", "default"),
        "priority": options.get("priority", 0),
        "timeout": None if timeout is None else float(timeout),
        "scheduled_at": _scheduled_at(options, at),
        "expires_at": _expires_at(options, at),
        "unique_key": options.get("unique_key"),
        "key": options.get("key"),
        "host_wanted": options.get("host"),
        "traceparent": options.get("traceparent"),
        "labels": distinct(options.get("labels") or []),
    }


_NOT_ASKED: Final = frozenset({"idempotency_key", "traceparent"})
"""What a repeat of the request may have otherwise."""

_NOT_YET: Final = (
    *("started_at", "finished_at", "cancel_requested_at", "result", "error"),
    *("submitted_uid", "submitted_gid", "submitted_pid", "submitted_by_job"),
    *("if_failed", "cancelled_after", "group_id", "takes"),
    *("review_since", "settled_at", "settled_uid", "expected", "bulk"),
)


def one_by_one(given: JsonObject) -> list[JsonObject]:
    """The jobs of a submission in bulk. Raises InvalidParameterError for what is asked of all, and for keys."""
    common = {name: given.get(name) for name in ("class_name", "method_name", "retry_count", "options")}
    check_shape(common)
    for name in ("after", "take"):
        if (common["options"] or {}).get(name) is not None:
            raise InvalidParameterError(parameter=f"options.{name}")
    for place, key in enumerate(given["keys"]):
        if not is_key(key):
            raise InvalidParameterError(parameter=f"keys.{place}")
    check_meaning(common["options"] or {})
    return [
        common | {"parameters": parameters, "options": (common["options"] or {}) | {"idempotency_key": key}}
        for parameters, key in zip(given["each"], given["keys"], strict=True)
    ]


def check_names_and_size(given: JsonObject) -> None:
    """Raises InvalidNameError, TooLargeError."""
    check_names(given["class_name"], given["method_name"])
    size = len(codec.to_json(given.get("parameters") or {}).encode())
    if size > MAX_PARAMETERS:
        raise TooLargeError(limit=MAX_PARAMETERS, size=size)


def may_be_put(name: str) -> bool:
    """Whether a schedule may be put under this name."""
    parts = name.split("/")
    is_named = len(parts) > 1 and len(name) <= _MAX_SCHEDULE_NAME and name[0].isalpha()
    return is_named and all(_PART_OF_NAME.fullmatch(part) for part in parts)


def check_meaning(options: JsonObject) -> None:
    """Raises InvalidParameterError for options that have the right type, and still mean nothing."""
    if (options.get("max_retries") or 0) > MAX_RETRIES_CAP:
        raise InvalidParameterError(parameter="options.max_retries")
    at = options.get("at")
    if at is not None and options.get("delay") is not None:
        raise InvalidParameterError(parameter="options.delay")
    if at is not None and try_seconds(at) is None:
        raise InvalidParameterError(parameter="options.at")
    _check_expiry(options)
    _check_unique(options)


def _check_expiry(options: JsonObject) -> None:
    by = options.get("expires_at")
    if by is not None and options.get("expires_in") is not None:
        raise InvalidParameterError(parameter="options.expires_in")
    if by is not None and try_seconds(by) is None:
        raise InvalidParameterError(parameter="options.expires_at")
    now = time.time()
    starts, ends = _scheduled_at(options, now), _expires_at(options, now)
    if starts is not None and ends is not None and starts >= ends:
        raise InvalidParameterError(parameter=f"options.{'delay' if options.get('at') is None else 'at'}")


def _check_unique(options: JsonObject) -> None:
    has_key = options.get("unique_key") is not None
    odd = [name for name in _BESIDE_KEY if not has_key and options.get(name) is not None]
    if not odd and options.get("at_latest") is not None and options.get("if_held") != IfHeld.REPLACE:
        odd = ["at_latest"]
    if odd:
        raise InvalidParameterError(parameter=f"options.{odd[0]}")


_BESIDE_KEY: Final = ("unique_while", "unique_for", "if_held", "at_latest")


def _expires_at(options: JsonObject, now: float) -> str | None:
    if options.get("expires_at") is not None:
        return instant(try_seconds(options["expires_at"]))
    return instant(now + options["expires_in"]) if options.get("expires_in") else None


def try_end_of_pause(given: JsonObject) -> str | None:
    """When a queue goes on by itself; None where that is left open. Raises InvalidParameterError."""
    now = time.time()
    seconds, at = given.get("resumes_in"), given.get("resumes_at")
    if seconds is not None and (at is not None or not is_seconds(seconds) or seconds <= 0):
        raise InvalidParameterError(parameter="resumes_in")
    if at is None:
        return None if seconds is None else instant(now + seconds)
    moment = try_seconds(at) if isinstance(at, str) else None
    if moment is None or moment <= now:
        raise InvalidParameterError(parameter="resumes_at")
    return instant(moment)


def instant(seconds: float | None = None) -> str:
    """This instant since the epoch, or now, as times are stored."""
    at = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _scheduled_at(options: JsonObject, now: float) -> str | None:
    if options.get("at") is not None:
        return instant(try_seconds(options["at"]))
    return instant(now + options["delay"]) if options.get("delay") else None


def try_seconds(text: str) -> float | None:
    """Seconds since the epoch of a date and time with its offset; None for what is none."""
    try:
        at = datetime.fromisoformat(text)
        return None if at.tzinfo is None else at.timestamp()
    except (ValueError, OverflowError):
        return None
