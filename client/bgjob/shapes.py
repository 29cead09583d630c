"""The shapes of what a daemon answers, as far as they are read: who sits at the socket may be no daemon; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

from bgjob.errors import ProtocolError
from bgjob.words import INT_MAX, INT_MIN, Status

_STATED: Final = (
    "id: int, class_name: string, method_name: string, status: status, queue: string, priority: int, "
    "retry_count: int, max_retries: int, scheduled_at: ?moment, started_at: ?moment, "
    "finished_at: ?moment, created_at: moment, updated_at: moment, cancel_requested_at: ?moment, error: ?string, "
    "schedule: ?string, occurrence: ?moment, is_blocked: ?bool, group_id: ?int, key: ?string, is_behind: ?bool, "
    "steps: ?int, waiting_on: ?string, review_since: ?moment, labels: ?[]string"
)
_USED: Final = "max_rss: ?int, cpu_user: ?float, cpu_system: ?float, output_bytes: ?int"

SHAPES: Final[Mapping[str, str]] = {
    "Progress": "fraction: float, message: string, at: moment",
    "Expectation": "runs: int, p50: float, p95: float, memory_p95: ?int, left: ?float, times: ?float",
    "Attempt": (
        f"{_USED}, number: int, pid: ?int, started_at: ?moment, finished_at: ?moment, outcome: ?string, "
        "exit_code: ?int, signal: ?int, error_type: ?string, error_message: ?string, traceback: ?string, "
        "progress: ?Progress, error_class: ?string, host: ?string, error_group: ?int, waited: ?float"
    ),
    "Job": (
        f"{_STATED}, parameters: object, result: any, timeout: ?float, retry_delay: float, "
        "backoff: string, submitted_uid: ?int, submitted_pid: ?int, "
        "submitted_by_job: ?int, waits_for: ?int, if_failed: ?string, cancelled_after: ?string, "
        "takes: ?object, expires_at: ?moment, unique_key: ?string, turn: ?int, waits_until: ?moment, again_of: ?int, "
        "settled_at: ?moment, settled_uid: ?int, host_wanted: ?string, bulk: ?int, expected: ?Expectation, "
        "attempts: []Attempt"
    ),
    "Summary": f"{_STATED}, step: ?string, attempt: int, outcome: ?string, progress: ?Progress",
    "Listed": (
        f"{_STATED}, {_USED}, step: ?string, attempt: int, outcome: ?string, progress: ?Progress, host: ?string, "
        "is_held: ?bool, expected: ?Expectation"
    ),
    "Entry": (
        "id: int, job_id: int, attempt: ?int, attempts_allowed: ?int, type: string, message: string, "
        "created_at: moment, class_name: string, method_name: string"
    ),
    "RunningAttempt": (
        "job_id: int, number: int, class_name: string, method_name: string, queue: string, pid: ?int, "
        "started_at: ?moment, cpu: ?float, memory: ?int, progress: ?Progress, host: ?string, expected: ?Expectation"
    ),
    "Policy": (
        "queue: string, priority: int, slots: ?int, slots_everywhere: ?int, max_retries: int, retry_delay: float, "
        "backoff: string, max_retry_delay: float, crashes: ?int, timeout: ?float, memory: ?int, cpu: ?float, "
        "cpu_share: ?float, "
        "open_files: ?int, processes: ?int, file_size: ?int, nice: ?int, max_output: ?int, work_limit: ?int, "
        "user: ?string, group: ?string, writable: ?[]string, network: ?string, umask: ?string, unique: ?[]string, "
        "key: ?string, rate: ?string, unenforced: []string"
    ),
    "Method": "name: string, doc: string, schema: object, note: ?string",
    "Class": (
        "name: string, doc: string, methods: []Method, policy: ?Policy, unavailable: ?string, hint: ?string, "
        "held_until: ?moment, held_by: ?int, held: ?string"
    ),
    "QueueStats": (
        "name: string, pending: int, running: int, slots: ?int, slots_everywhere: ?int, paused: bool, "
        "oldest_pending: ?moment, blocked: ?int, resumes_at: ?moment, "
        "slots_per_key: ?int, rate_per_key: ?string, share: ?string, behind: ?int, waiting: ?int, "
        "due: ?int, later: ?int"
    ),
    "GroupState": (
        "id: int, name: ?string, total: int, unfinished: int, completed: int, failed: int, cancelled: int, "
        "state: string, sealed_at: ?moment, ended_at: ?moment, created_at: moment, group: ?int"
    ),
    "ErrorGroup": (
        "id: int, outcome: string, error_type: ?string, message: ?string, place: ?string, line: ?string, "
        "class_name: string, is_named: bool, name: ?string, first_at: moment, first_job: int, "
        "first_version: ?string, last_at: moment, last_job: int, last_attempt: int, last_version: ?string, "
        "attempts: int, failed: int, back_at: ?moment, is_new: bool, is_back: bool, "
        "classes: ?int, retrying: ?int, counted: ?int"
    ),
    "ErrorOfClass": "class_name: string, attempts: int, failed: int, retrying: int",
    "ErrorTrait": "of: string, value: ?string, attempts: int, others: int",
    "CompletedAttempt": "job_id: int, number: int, at: ?moment",
    "ErrorTraits": (
        "attempts: int, others: int, each: []ErrorTrait, seconds: ?float, usual: ?float, completed: ?CompletedAttempt"
    ),
    "TrendPoint": (
        "at: moment, name: string, completed: ?int, failed: ?int, retried: ?int, bad: ?[string]int, p50: ?float, "
        "p95: ?float, waited_p95: ?float, cpu: ?float, memory: ?int, pending: ?int, running: ?int, waited: ?float, "
        "attempts: ?int"
    ),
    "ClassFigures": (
        "ended: int, completed: int, failed: int, p50: ?float, p95: ?float, waited_p95: ?float, memory: int, cpu: float"
    ),
    "ClassTrend": "name: string, day: ClassFigures, before: ClassFigures, hours: []int, failed: []int",
    "AttemptMark": (
        "job_id: int, number: int, at: moment, seconds: ?float, memory: ?int, cpu: ?float, waited: ?float, "
        "outcome: string"
    ),
    "MatchedClass": "class_name: string, count: int, at_most_once: int",
    "ChangeEntry": "id: int, at: moment, kind: string, what: object, who: ?string",
    "LabelState": (
        "label: string, jobs: int, newest: int, pending: int, running: int, completed: int, failed: int, cancelled: int"
    ),
    "KeyState": "key: string, running: int, ready: int, behind: int, next_at: ?moment",
    "Host": (
        "name: string, id: ?int, term: ?int, is_own: bool, state: string, seen_at: moment, unseen_for: float, "
        "lost_after: ?float, slots: int, queues: []string, classes: []string, running: int, version: string, "
        "code_version: ?string, clock_difference: ?float, trouble: ?string, left_at: ?moment, lost_at: ?moment, "
        "drained_at: ?moment"
    ),
    "Need": "kind: string, subject: string, since: moment, sentence: string, hint: ?string",
    "Alert": (
        "id: int, rule: string, kind: string, subject: string, host: ?string, message: string, hint: ?string, "
        "since: moment, count: int, raised_at: moment, last_at: moment, cleared_at: ?moment, told_at: ?moment, "
        "end_told_at: ?moment, told_count: int, acknowledged_at: ?moment, acknowledged_uid: ?int"
    ),
    "Step": (
        "kind: string, name: string, turn: int, number: ?int, attempt: int, tries: int, began_at: moment, "
        "finished_at: ?moment, until: ?moment, size: int, result: any, timed_out: bool, unused_in: ?int, "
        "by_uid: ?int, token: string"
    ),
    "Frame": "file: string, line: int, name: string",
    "ThreadStack": "name: string, native_id: int, frames: []Frame, same: int",
    "TaskStack": "name: string, frames: []Frame, same: int",
    "ProcessState": "pid: int, state: string, waits_in: ?string, threads: int, cpu: float, children: []int",
    "Value": "number: int, attempt: int, step: ?string, at: moment, value: any",
    "SignalState": (
        "number: int, name: string, payload: any, sent_at: moment, uid: ?int, taken_by: ?string, size: int"
    ),
    "Edge": "of: string, after: int, job_id: int, standing: string",
    "Next": "at: moment, local: string, note: ?string",
    "Occurrence": (
        "at: moment, until: moment, count: int, verdict: string, reason: ?string, job_id: ?int, "
        "dealt_at: moment, status: ?status"
    ),
    "Schedule": (
        "name: string, job: string, parameters: object, cron: ?string, every: ?float, zone: ?string, "
        "description: string, missed: string, overlap: string, jitter: ?float, paused_at: ?moment, "
        "next: []Next, last: ?Occurrence, refused: ?string, "
        "uid: ?int, made_by: ?string"
    ),
    "Minute": "completed: int, failed: int",
    "ClassUsage": (
        "attempts: int, wall_p50: ?float, wall_p95: ?float, cpu_p50: ?float, cpu_p95: ?float, "
        "memory_p50: ?int, memory_p95: ?int, output_p50: ?int, output_p95: ?int"
    ),
    "Histogram": "buckets: []int, sum: float",
    "ClassCounts": "attempts: [string]int, jobs: [string]int, retries: int, seconds: Histogram",
    "OccurrenceCount": "verdict: string, reason: ?string, count: int",
    "ScheduleCounts": "occurrences: []OccurrenceCount, last_success: ?moment",
    "Counts": (
        "bounds: []float, classes: [string]ClassCounts, waits: [string]Histogram, "
        "schedules: ?[string]ScheduleCounts"
    ),
    "Stats": (
        "version: string, pid: int, started_at: moment, slots: int, code_version: ?string, "
        "python: ?string, loaded_at: ?moment, storage_trouble: ?string, database_bytes: int, jobs: [string]int, "
        "minutes: []Minute, oldest_pending: ?moment, queues: []QueueStats, usage: ?[string]ClassUsage, "
        "counts: ?Counts, held: ?[string]string, reload_failure: ?string, "
        "max_connections_per_uid: ?int, blocked: ?int, waiting: ?int, review: ?int, groups_open: ?int, hosts: ?int, "
        "schedules: ?int, refused_schedules: ?[string]string, clock_difference: ?float, drained_at: ?moment, "
        "oldest_snapshot: ?float, oldest_snapshot_pid: ?int"
    ),
}
"""What is read of each, in the words of the interface and more: a `moment` is a stored time, a `status` one we know.

What may be null may be missing, and is null then. So a later version adds nothing here that may not be null.
"""

_LATER: Final = frozenset({("Stats", "minutes")})
"""Fields that are never null and that the first daemons did not tell."""

_Check = Callable[[Any], None]


class _MisshapenError(Exception):
    """Something is not what it has to be; its argument is where, from the inside to the outside."""


def check(told: Any, kind: str, *place: str) -> None:
    """See to it that what an answer has in this place can be read as this kind. Raises ProtocolError."""
    try:
        _check_of(kind)(told)
    except _MisshapenError as error:
        raise misshapen(".".join([*place, *reversed(error.args)])) from None


def misshapen(name: str) -> ProtocolError:
    return ProtocolError(f"the daemon's answer has no valid {name!r}; is it a bgjobd of this version?")


def fields_of(shape: str) -> dict[str, str]:
    """The kinds of its fields, by name."""
    return dict(field.split(": ") for field in SHAPES[shape].split(", "))


@cache
def _check_of(kind: str) -> _Check:
    """What raises for a value that is none of this kind."""
    if kind in _PLAIN:
        return _plain(_PLAIN[kind])
    if kind == "moment":
        return _moment()
    if kind.startswith("[]"):
        return _list(_check_of(kind.removeprefix("[]")))
    if kind.startswith("[string]"):
        return _mapping(_check_of(kind.removeprefix("[string]")))
    return _object(
        [
            (name, field.startswith("?"), (kind, name) in _LATER, _check_of(field.removeprefix("?")))
            for name, field in fields_of(kind).items()
        ]
    )


def _plain(fits: Callable[[Any], bool]) -> _Check:
    def check(value: Any) -> None:
        if not fits(value):
            raise _MisshapenError

    return check


_STATUSES: Final = frozenset(Status)
_PLAIN: Final[Mapping[str, Callable[[Any], bool]]] = {
    "any": lambda value: True,
    "bool": lambda value: type(value) is bool,
    "int": lambda value: type(value) is int and INT_MIN <= value <= INT_MAX,
    "count": lambda value: type(value) is int and 0 <= value <= INT_MAX,
    "float": lambda value: type(value) in (int, float) and -INT_MAX <= value <= INT_MAX,  # sums stay finite
    "object": lambda value: type(value) is dict,
    "status": lambda value: isinstance(value, str) and value in _STATUSES,
    "string": lambda value: isinstance(value, str),
}


def _moment() -> _Check:
    read = datetime.fromisoformat

    def check(value: Any) -> None:
        if not isinstance(value, str) or not value.endswith("Z"):
            raise _MisshapenError
        try:
            read(value)
        except ValueError:
            raise _MisshapenError from None

    return check


def _list(check_one: _Check) -> _Check:
    def check(value: Any) -> None:
        if type(value) is not list:
            raise _MisshapenError
        for index, one in enumerate(value):
            _check_inner(check_one, one, str(index))

    return check


def _mapping(check_one: _Check) -> _Check:
    def check(value: Any) -> None:
        if type(value) is not dict:
            raise _MisshapenError
        for name, one in value.items():
            _check_inner(check_one, one, name)

    return check


def _object(fields: list[tuple[str, bool, bool, _Check]]) -> _Check:
    def check(value: Any) -> None:
        if type(value) is not dict:
            raise _MisshapenError
        for name, may_be_null, may_be_missing, check_field in fields:
            if name not in value and may_be_missing:
                continue
            if name not in value and not may_be_null:
                raise _MisshapenError(name)
            if value.setdefault(name, None) is not None or not may_be_null:
                _check_inner(check_field, value[name], name)

    return check


def _check_inner(check: _Check, value: Any, place: str) -> None:
    try:
        check(value)
    except _MisshapenError as error:
        raise _MisshapenError(*error.args, place) from None
