"""What the methods of org.bgjobd.Jobs take: a shape for the parameters of each, strict; no meaning is here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
)

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError, TooLargeError
from bgjob.labels import LABEL_LENGTHS, are_labels, distinct
from bgjob.traces import is_traceparent
from bgjob.words import KEY_LENGTHS, MAX_PREDECESSORS
from bgjobd.config.values import LONGEST_DURATION

MAX_PAGE: Final = 1000
MAX_COUNT: Final = 100_000
MAX_MARKS: Final = 500
MAX_PART: Final = 256 * 1024
MAX_OCCURRENCES: Final = 100
"""That are to come, of each schedule."""

_MOST_NAMES: Final = 100
"""More than any method has parameters, or any object in one has names."""

Seconds = Annotated[float, Field(ge=0, le=LONGEST_DURATION, allow_inf_nan=False)]
Id = Annotated[int, Field(ge=1)]
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Key = Annotated[str, Field(min_length=KEY_LENGTHS[0], max_length=KEY_LENGTHS[-1])]
Offset = Annotated[int, Field(ge=0)]


class Input(BaseModel):
    """The parameters of a method; unknown ones are refused, types are not bent."""

    model_config = ConfigDict(strict=True, extra="forbid")


Ref = Annotated[str, Field(min_length=1, max_length=64)]


class Predecessor(Input):
    """One of the four."""

    id: Id | None = None
    ref: Ref | None = None
    group: Id | None = None
    group_ref: Ref | None = None


class Source(Input):
    of: Predecessor
    pointer: Annotated[str, Field(max_length=1024)] | None = None


class InGroup(Input):
    """One of the two."""

    id: Id | None = None
    ref: Ref | None = None


class NewGroup(Input):
    ref: Ref
    name: Annotated[str, Field(max_length=255)] | None = None
    open: bool | None = None
    group: InGroup | None = None
    idempotency_key: Key | None = None


def _traceparent(text: str) -> str:
    if not is_traceparent(text):
        raise ValueError("it is no traceparent")
    return text


def _labels(given: Any) -> Any:
    if not are_labels(given):
        raise ValueError("these are no labels")
    return distinct(given)


Labels = Annotated[list[str], BeforeValidator(_labels)]
Label = Annotated[str, Field(min_length=LABEL_LENGTHS[0], max_length=LABEL_LENGTHS[-1])]


class Options(Input):
    delay: Seconds | None = None
    at: str | None = None
    priority: int | None = None
    queue: str | None = None
    timeout: Annotated[float, Field(gt=0, le=LONGEST_DURATION)] | None = None
    max_retries: Annotated[int, Field(ge=0)] | None = None
    retry_delay: Seconds | None = None
    backoff: Literal["constant", "exponential"] | None = None
    idempotency_key: Key | None = None
    after: Annotated[list[Predecessor], Field(fail_fast=True)] | None = None
    if_failed: Literal["cancel", "run", "wait"] | None = None
    take: dict[Annotated[str, Field(max_length=255)], Source] | None = None
    group: InGroup | None = None
    expires_in: Annotated[float, Field(gt=0, le=LONGEST_DURATION)] | None = None
    expires_at: str | None = None
    unique_key: Key | None = None
    unique_while: Literal["unfinished", "pending"] | None = None
    unique_for: Annotated[float, Field(gt=0, le=LONGEST_DURATION)] | None = None
    if_held: Literal["return", "refuse", "replace"] | None = None
    at_latest: Seconds | None = None
    key: Key | None = None
    host: str | None = None
    traceparent: Annotated[str, AfterValidator(_traceparent)] | None = None
    labels: Labels | None = None


class UnnamedJob(Input):
    """What is asked of a job that no other of its request can name."""

    class_name: str
    method_name: str
    parameters: InstanceOf[dict[str, Any]] | None = None  # it is JSON, and may be large: nothing is copied
    retry_count: Annotated[int, Field(ge=0)] | None = None
    options: Options | None = None


class NewJob(UnnamedJob):
    ref: Ref | None = None


class Submit(UnnamedJob):
    check_only: bool | None = None


_T = TypeVar("_T")
_Many = Annotated[InstanceOf[list[_T]], Field(max_length=10_000)]
"""As they came, in the request's own list: each is looked at when it is its turn, and let go."""


class SubmitMany(Input):
    """`jobs`, or what those have in common that `each` has the parameters of."""

    jobs: _Many[NewJob] | None = None
    class_name: str | None = None
    method_name: str | None = None
    retry_count: Annotated[int, Field(ge=0)] | None = None
    options: Options | None = None
    each: _Many[dict[str, Any]] | None = None
    keys: _Many[str] | None = None
    groups: _Many[NewGroup] | None = None
    seal: Annotated[list[Id], Field(max_length=1000, fail_fast=True)] | None = None


class OneJob(Input):
    """A job by its id, or by its idempotency key."""

    id: Id | None = None
    key: Key | None = None


class Get(OneJob):
    before: Id | None = None
    limit: Limit | None = None


class Wait(OneJob):
    timeout: Seconds | None = None


class JobIds(Input):
    ids: Annotated[list[Id], Field(min_length=1, max_length=10_000, fail_fast=True)]


class Signal(OneJob):
    name: Key
    payload: Any = None
    signal_key: Key | None = None


class Again(Input):
    id: Id
    parameters: InstanceOf[dict[str, Any]] | None = None
    from_step: Key | None = None
    idempotency_key: Key | None = None


class Steps(Input):
    id: Id
    after: Offset | None = None
    limit: Limit | None = None


class Stack(Input):
    id: Id
    signal: bool | None = None
    insist: bool | None = None
    children: bool | None = None


class Values(Input):
    id: Id
    after: int | None = None
    limit: Limit | None = None


class Settle(Input):
    id: Id
    completed: bool | None = None
    step: Key | None = None
    result: Any = None
    why: Annotated[str, Field(max_length=10_000)] | None = None


class Retry(JobIds):
    anyway: bool | None = None
    from_start: bool | None = None


class Change(JobIds):
    priority: int | None = None
    queue: str | None = None
    at: str | None = None
    expires_at: str | None = None
    timeout: Annotated[float, Field(gt=0, le=LONGEST_DURATION)] | None = None
    max_retries: Annotated[int, Field(ge=0)] | None = None
    without: (
        Annotated[list[Literal["at", "expires_at", "timeout"]], Field(max_length=3, fail_fast=True)] | None
    ) = None


class GroupId(Input):
    id: Id


class WaitGroup(GroupId):
    timeout: Seconds | None = None


class Groups(Input):
    state: Literal["open", "sealed", "completed", "failed"] | None = None
    group: Id | None = None
    before: Id | None = None
    limit: Limit | None = None


class Graph(GroupId):
    limit: Limit | None = None
    count: Count | None = None


class Prune(Input):
    ids: Annotated[list[Id], Field(min_length=1, max_length=1000, fail_fast=True)]
    last_entry: Offset


class PruneLogs(Input):
    before: str
    after: Offset | None = None


class QueueName(Input):
    queue: str


class ClassName(Input):
    name: str


class HostName(Input):
    name: str


class Drain(Input):
    host: str | None = None


class Keys(QueueName):
    search: str | None = None
    after: Key | None = None
    limit: Limit | None = None
    busiest: bool | None = None


class Pause(QueueName):
    resumes_in: Annotated[float, Field(gt=0, le=LONGEST_DURATION)] | None = None
    resumes_at: str | None = None


class Schedules(Input):
    next: Annotated[int, Field(ge=0, le=MAX_OCCURRENCES)] | None = None
    name: str | None = None
    after: str | None = None
    limit: Limit | None = None


class ScheduleName(Input):
    name: str


class Occurrences(ScheduleName):
    before: str | None = None
    limit: Limit | None = None


class PutSchedule(ScheduleName):
    definition: InstanceOf[dict[str, Any]]


class Backfill(ScheduleName):
    since: str
    until: str
    spread: Seconds | None = None
    check_only: bool | None = None


class Nothing(Input):
    pass


class Filter(Input):
    """Which jobs; None stands for any."""

    status: Annotated[list[str], Field(max_length=100, fail_fast=True)] | None = None
    queue: str | None = None
    class_name: str | None = None
    method_name: str | None = None
    since: str | None = None
    schedule: str | None = None
    group: Id | None = None
    key: Key | None = None
    again_of: Id | None = None
    bulk: Id | None = None
    host: str | None = None
    error: Id | None = None
    label: Label | None = None
    until: str | None = None
    longer_than: Seconds | None = None
    outcome: str | None = None


class List(Filter):
    search: str | None = None
    before: Id | None = None
    before_at: str | None = None
    limit: Limit | None = None
    count: Count | None = None
    sort: Literal["id", "ended"] | None = None


class AllLabels(Input):
    prefix: Label | None = None
    after: Label | None = None
    limit: Limit | None = None


class Matching(Input):
    filter: Filter
    to: Literal["retry", "cancel"]
    as_of: str | None = None


class CancelMatching(Input):
    filter: Filter
    as_of: str
    expected: Offset


class RetryMatching(CancelMatching):
    spread: Seconds | None = None
    at_most_once: bool | None = None


class Changes(Input):
    before: Id | None = None
    limit: Limit | None = None


class Running(Input):
    host: str | None = None
    label: Label | None = None


class Errors(Input):
    since: str | None = None
    class_name: str | None = None
    new: bool | None = None
    sort: str | None = None
    before: Annotated[str, Field(max_length=100)] | None = None
    limit: Limit | None = None


class Trend(Input):
    span: int
    of: Annotated[str, Field(max_length=300)]
    since: str | None = None


class ClassStats(Input):
    name: Annotated[str, Field(max_length=255)]
    limit: Annotated[int, Field(ge=0, le=MAX_MARKS)] | None = None


class Alerts(Input):
    open: bool | None = None
    before: Id | None = None
    limit: Limit | None = None


class AlertId(Input):
    id: Id


class MuteAlerts(Input):
    rule: Annotated[str, Field(max_length=255)]
    seconds: Seconds


class TestAlerts(Input):
    rule: Annotated[str, Field(max_length=255)] | None = None


class ErrorId(Input):
    id: Id
    traits: bool | None = None


class Logs(Input):
    id: Id | None = None
    class_name: str | None = None
    method_name: str | None = None
    type: Literal["success", "failure", "info"] | None = None
    search: str | None = None
    before: Id | None = None
    after: Offset | None = None
    limit: Annotated[int, Field(ge=0, le=MAX_PAGE)] | None = None
    count: Count | None = None
    said: bool | None = None
    until: str | None = None


class Watch(Input):
    ids: Annotated[list[Id], Field(max_length=10_000, fail_fast=True)] | None = None
    queue: str | None = None
    class_name: str | None = None
    label: Label | None = None


class Output(Input):
    id: Id
    number: Annotated[int, Field(ge=1)] | None = None
    offset: int | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PART)] | None = None


class Stats(Input):
    usage: bool | None = None
    counts: bool | None = None


class Why(Input):
    id: Id


class Interface(Input):
    interface: str


_I = TypeVar("_I", bound=Input)


def checked(shape: type[_I], parameters: JsonObject) -> _I:
    """Raises InvalidParameterError, for the first fault of those that there are; TooLargeError.

    Each unknown name would be a fault of its own, and all are found before one is told: more than any may have are
    refused before.
    """
    if len(parameters) > _MOST_NAMES:
        unknown = next(name for name in parameters if name not in shape.model_fields)
        raise InvalidParameterError(parameter=unknown)
    for name in _OBJECTS:
        crowd = _try_crowd(parameters.get(name), name)
        if crowd is not None:
            raise InvalidParameterError(parameter=crowd)
    try:
        return shape.model_validate(parameters)
    except ValidationError as error:
        where = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        raise InvalidParameterError(parameter=".".join(str(step) for step in where) or "parameters") from None


_OBJECTS: Final = ("options", "group", "filter")
"""The parameters that have objects in them whose names mean something to us."""


def _try_crowd(value: Any, path: str) -> str | None:
    """Where below an object has more names than any may have. Raises TooLargeError for too many predecessors."""
    if isinstance(value, list) and path == "options.after":
        if len(value) > MAX_PREDECESSORS:
            raise TooLargeError(limit=MAX_PREDECESSORS, size=len(value), parameter=path)
        items: Iterable[tuple[Any, Any]] = enumerate(value)
    elif isinstance(value, dict):
        if len(value) > _MOST_NAMES:
            return path
        items = value.items()
    else:
        return None
    found = (_try_crowd(item, f"{path}.{name}") for name, item in items if type(item) in _CONTAINERS)
    return next((where for where in found if where is not None), None)


_CONTAINERS: Final = frozenset({dict, list})
