"""What a client asks and what an answer means: one function a method, and the rules of asking again; no I/O here.

Both clients are thin over this: they carry a Call to the daemon, and a Follower to it as often as it takes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypedDict, TypeVar

from bgjob import answers, codec, shapes
from bgjob.answers import JobRead, Key, OutputPart, OutputRead, Page
from bgjob.codec import JsonObject, Reply, Request
from bgjob.errors import (
    BgjobError,
    BrokenError,
    DaemonUnavailableError,
    InvalidParametersError,
    NoAnswerError,
    ProtocolError,
    ShuttingDownError,
    TooLargeError,
    late,
)
from bgjob.words import INTERFACE, MAX_DEPTH, MAX_FRAME, SERVICE

if TYPE_CHECKING:
    from datetime import datetime, timedelta

T = TypeVar("T")
J = TypeVar("J")
E = TypeVar("E", bound=BgjobError)

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
GIVE_UP_AFTER: Final = 30.0
"""Seconds; how a stream that broke is taken up again."""

MOST_IDS: Final = 10_000
"""How many jobs one Watch may name."""

ASIDE: Final = 1.0
"""Seconds that a daemon has to say why it does not answer."""

_PART: Final = 256 * 1024
_ALL_OF_A_JOB: Final = 1000
_SYSTEM_SOCKET: Final = "/run/bgjobd.sock"


class Call(NamedTuple, Generic[T]):
    """One request, and what makes its reply's parameters an answer; `parse` raises ProtocolError for a wrong shape.

    `may_repeat`: whether it may be sent again after it was sent whole and the answer was lost. `needs_code`: the daemon
    answers once it has loaded the approved classes, however long that takes.
    """

    method: str
    parameters: JsonObject
    parse: Callable[[JsonObject], T]
    may_repeat: bool = True
    needs_code: bool = False

    @property
    def request(self) -> Request:
        return Request(self.method, self.parameters)

    def keyed(self, error: E) -> E:
        """The error, with the keys of the jobs that this submits, in order."""
        jobs = self.parameters.get("jobs", [self.parameters])
        keys = [(job.get("options") or {}).get("idempotency_key") for job in jobs]
        error.idempotency_keys = tuple([key for key in keys if key is not None])
        return error

    def answer(self, reply: Reply) -> T:
        """What the reply means. Raises the error that it is."""
        return self.parse(answers.checked(reply))


# The methods


class Options(TypedDict, total=False):
    """What a caller may say of a job beyond its parameters; times are seconds, None is as good as nothing.

    `at` has an offset; `idempotency_key`: the same key and request give the same job.
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


def submit(job: Mapping[str, Any], max_retries: int | None, retry_delay: float | None) -> Call[int]:
    """Store a job; its id. `job` has the fields of Submit; the retries are what the client's class sets, or None."""
    return _call("Submit", answers.job_id, **submission(job, max_retries, retry_delay))._replace(
        needs_code=True
    )


def submit_many(
    jobs: Iterable[Mapping[str, Any]], max_retries: int | None, retry_delay: float | None
) -> Call[list[int]]:
    """Store several jobs, all or none; their ids."""
    asked = [submission(job, max_retries, retry_delay) for job in jobs]
    return _call("SubmitMany", answers.job_ids, jobs=asked)._replace(needs_code=True)


def submission(job: Mapping[str, Any], max_retries: int | None, retry_delay: float | None) -> JsonObject:
    """The job as the daemon takes it: the class by its name, and the options that every submit has.

    The key makes a repeat after a lost answer give the same job.
    """
    own = {"max_retries": max_retries, "retry_delay": retry_delay, "idempotency_key": _new_key()}
    options = _given(own | _given(job.get("options") or {}))
    plain = {name: _plain(value) for name, value in options.items()}
    names = {"class_name": _class_or_none(job.get("class_name"))}
    return {**_given(job), **_given(names), "options": plain}


def _plain(value: Any) -> Any:
    """A point in time or a time span of `datetime`, which nobody here imports, as the daemon takes it."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.total_seconds() if hasattr(value, "total_seconds") else value


def get(job_id: int, before: int | None = None, limit: int | None = None) -> Call[JobRead]:
    """The job with its latest attempts, as many as one answer holds."""
    return _call("Get", answers.job_read, id=job_id, before=before, limit=limit)


def wait(job_id: int, timeout: float | None) -> Call[JobRead]:
    """The job once it has ended, or as it stands after `timeout` seconds."""
    return _call("Wait", answers.job_read, id=job_id, timeout=timeout)


def list_jobs(
    status: str | Sequence[str] | None,
    queue: str | None,
    class_name: str | type | None,
    method_name: str | None,
    search: str | None,
    before: int | None,
    limit: int | None,
    count: int | None = None,
    since: Any = None,
) -> Call[Page[JsonObject]]:
    """Summaries of jobs, newest first."""
    return _call(
        "List",
        answers.jobs,
        status=[status] if isinstance(status, str) else None if status is None else list(status),
        queue=queue,
        class_name=_class_or_none(class_name),
        method_name=method_name,
        search=search,
        since=_plain(since),
        before=before,
        before_at=before.at if isinstance(before, Key) else None,
        limit=limit,
        count=count,
    )


def logs(
    id: int | None,
    class_name: str | type | None,
    method_name: str | None,
    type: str | None,
    search: str | None,
    before: int | None,
    after: int | None,
    limit: int | None,
    count: int | None = None,
) -> Call[Page[JsonObject]]:
    """Log entries: newest first, or, with `after`, oldest first."""
    return _call(
        "Logs",
        answers.entries,
        id=id,
        class_name=_class_or_none(class_name),
        method_name=method_name,
        type=type,
        search=search,
        before=before,
        after=after,
        limit=limit,
        count=count,
    )


def logs_of(job_id: int) -> Call[Page[JsonObject]]:
    """All that one job logged, oldest first."""
    return _call("Logs", answers.entries, id=job_id, after=0, limit=_ALL_OF_A_JOB)


def output(job_id: int, number: int | None, offset: int) -> Call[OutputRead]:
    """What an attempt wrote, from `offset` on, as much as one answer holds; below 0 it counts from the end."""
    return _call("Output", answers.output, id=job_id, number=number, offset=offset, limit=_PART)


def tail_offset(tail: int | None) -> int:
    """Where the last `tail` bytes of an output begin; None is all. Raises ValueError."""
    if tail is None:
        return 0
    if tail < 1:
        raise ValueError(f"a tail has at least 1 byte, not {tail}")
    return -tail


def cancel(ids: Sequence[int]) -> Call[None]:
    """Not repeated: the lost answer may have been that it is done, and then a second is refused."""
    return _call("Cancel", answers.nothing, False, ids=list(ids))


def retry(ids: Sequence[int]) -> Call[None]:
    """Not repeated, as a cancel."""
    return _call("Retry", answers.nothing, False, ids=list(ids))


def prune(ids: Sequence[int], last_entry: int) -> Call[tuple[list[int], int]]:
    """Not repeated: the second answer would not tell what the first has deleted."""
    return _call(
        "Prune",
        lambda reply: (answers.job_ids(reply), answers.field(reply, "entries", int)),
        False,
        ids=list(ids),
        last_entry=last_entry,
    )


def prune_logs(before: str, after: int) -> Call[tuple[int, int | None]]:
    """Not repeated, as prune."""
    return _call(
        "PruneLogs",
        lambda reply: (answers.field(reply, "entries", int), answers.maybe_int(reply, "next")),
        False,
        before=before,
        after=after,
    )


def pause(queue: str) -> Call[None]:
    return _call("Pause", answers.nothing, queue=queue)


def resume(queue: str) -> Call[None]:
    return _call("Resume", answers.nothing, queue=queue)


def classes() -> Call[list[JsonObject]]:
    return _call("Classes", lambda reply: answers.shaped(reply, "classes", "[]Class"))._replace(
        needs_code=True
    )


def limits() -> Call[dict[str, str]]:
    """By the limit's name what enforces it on the daemon's machine, or what that takes."""
    call = _call("Classes", lambda reply: answers.shaped(reply, "limits", "[string]string"))
    return call._replace(needs_code=True)


def stats(usage: bool = False, counts: bool = False) -> Call[JsonObject]:
    return _call("Stats", answers.stats, usage=usage or None, counts=counts or None)


def running() -> Call[list[JsonObject]]:
    """The attempts that run, measured as it is asked for."""
    return _call("Running", lambda reply: answers.shaped(reply, "attempts", "[]RunningAttempt"))


def why(job_id: int) -> Call[str]:
    """Why the job has not run or has not ended, or how it ended."""
    return _call("Why", lambda reply: answers.field(reply, "sentence", str), id=job_id)


def reload() -> Call[str]:
    return _call("Reload", lambda reply: answers.field(reply, "code_version", str), False)


def ping() -> Call[JsonObject]:
    return Call(f"{SERVICE}.GetInfo", {}, lambda reply: reply)


def _call(
    method: str, parse: Callable[[JsonObject], T], may_repeat: bool = True, /, **parameters: Any
) -> Call[T]:
    return Call(f"{INTERFACE}.{method}", _given(parameters), parse, may_repeat)


# Following: streams that can be taken up again where they broke off


class Follower(Generic[T]):
    """A request with `more`, and what its replies tell; after a break the next request goes on where it was.

    `has_greeting`: the first reply says only that it has begun.
    """

    has_greeting = False

    @property
    def request(self) -> Request:
        """What to ask now, the first time or after a break."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether all has been told, so that nothing needs to be asked any more."""
        return False

    @property
    def has_begun(self) -> bool:
        """Whether all that is told at once has been told."""
        return True

    def take(self, parameters: JsonObject) -> list[T]:
        """What a reply tells. Raises ProtocolError."""
        raise NotImplementedError

    def is_end(self) -> bool:
        """Whether a last reply is the end; else the daemon ends, and there is more to come from the next."""
        return True


class FollowedLogs(Follower[JsonObject]):
    """Log entries as they are committed; the key to go on with is the last entry's, at first the last of the log."""

    has_greeting = True

    def __init__(
        self,
        id: int | None,
        class_name: str | type | None,
        method_name: str | None,
        type: str | None,
        search: str | None,
        after: int | None,
        limit: int | None,
    ) -> None:
        self._has_end = id is not None
        self._filters = _given(
            {
                "id": id,
                "class_name": _class_or_none(class_name),
                "method_name": method_name,
                "type": type,
                "search": search,
            }
        )
        self._place = _given({"after": after, "limit": limit})

    @property
    def request(self) -> Request:
        return Request(f"{INTERFACE}.Logs", {**self._filters, **self._place}, more=True)

    def take(self, parameters: JsonObject) -> list[JsonObject]:
        page = answers.entries(parameters)
        last = page.next if page.next is not None else page.items[-1]["id"] if page.items else None
        if last is not None:
            self._place = {"after": last}
        return page.items

    def is_end(self) -> bool:
        return self._has_end


class FollowedOutput(Follower[OutputPart]):
    """What the attempts of a job write, attempt after attempt; the keys to go on with are number and offset."""

    def __init__(self, job_id: int, number: int | None, tail: int | None = None) -> None:
        self._job_id = job_id
        self._place = _given({"number": number, "offset": tail_offset(tail) or None})

    @property
    def request(self) -> Request:
        return Request(f"{INTERFACE}.Output", {"id": self._job_id, **self._place}, more=True)

    def take(self, parameters: JsonObject) -> list[OutputPart]:
        read = answers.output(parameters)
        if read.part.number > 0:
            self._place = {"number": read.part.number, "offset": read.next}
        return [read.part] if read.part.marked else []


class Watched(Follower[JsonObject]):
    """Summaries of these jobs, or of all, as they change. What is told again after a break and is known is left out."""

    def __init__(
        self, ids: Iterable[int] | None, queue: str | None = None, class_name: str | type | None = None
    ) -> None:
        self._seen: dict[int, JsonObject | None] = dict.fromkeys(ids or ())
        self._has_ids = ids is not None
        self.has_greeting = not self._has_ids
        self._filters = _given({"queue": queue, "class_name": _class_or_none(class_name)})

    @property
    def request(self) -> Request:
        ids = {"ids": self._open_ids()} if self._has_ids else {}
        return Request(f"{INTERFACE}.Watch", {**ids, **self._filters}, more=True)

    @property
    def is_over(self) -> bool:
        """Nothing more is to be expected of jobs that have all ended."""
        return self._has_ids and not self._open_ids()

    @property
    def has_begun(self) -> bool:
        return None not in self._seen.values()

    def take(self, parameters: JsonObject) -> list[JsonObject]:
        if parameters.get("job") is None:
            return []
        summary = answers.job(parameters, "Summary")
        if not self._has_ids:
            return [summary]
        job_id = summary["id"]
        if job_id not in self._seen:
            raise shapes.misshapen("job.id")
        is_news = self._seen.get(job_id) != summary
        self._seen[job_id] = summary
        return [summary] if is_news else []

    def is_end(self) -> bool:
        return self.is_over

    def _open_ids(self) -> list[int]:
        return [job_id for job_id, seen in self._seen.items() if seen is None or not answers.has_ended(seen)]


class Endings(Follower[tuple[J, JsonObject]], Generic[J]):
    """The jobs in the order of their ends, each once, with how it stands then. `jobs` may hold a job several times."""

    def __init__(self, jobs: Iterable[tuple[int, J]]) -> None:
        self._open: dict[int, list[J]] = {}
        for job_id, job in jobs:
            self._open.setdefault(job_id, []).append(job)
        self._unseen = set(self._open)

    @property
    def request(self) -> Request:
        return Request(f"{INTERFACE}.Watch", {"ids": list(self._open)}, more=True)

    @property
    def is_over(self) -> bool:
        return not self._open

    @property
    def has_begun(self) -> bool:
        return not self._unseen

    def take(self, parameters: JsonObject) -> list[tuple[J, JsonObject]]:
        summary = answers.job(parameters, "Summary")
        job_id = summary["id"]
        self._unseen.discard(job_id)
        return [(job, summary) for job in self._open.pop(job_id, ())] if answers.has_ended(summary) else []

    def is_end(self) -> bool:
        return self.is_over


def endings_by_path(jobs: Iterable[tuple[str, int, J]]) -> list[tuple[str, Endings[J]]]:
    """What follows the ends of these jobs (socket, id, job): a stream for each socket, more only for very many jobs."""
    by_path: dict[str, dict[int, list[J]]] = {}
    for path, job_id, job in jobs:
        by_path.setdefault(path, {}).setdefault(job_id, []).append(job)
    streams = []
    for path, by_id in by_path.items():
        ids = list(by_id)
        for start in range(0, len(ids), MOST_IDS):
            named = ids[start : start + MOST_IDS]
            streams.append((path, Endings((one, job) for one in named for job in by_id[one])))
    return streams


def watched(
    job_ids: int | Iterable[int] | None, queue: str | None, class_name: str | type | None
) -> list[Watched]:
    """What follows the changes of these jobs, or of all: a stream, more only for very many jobs."""
    if job_ids is None:
        return [Watched(None, queue, class_name)]
    ids = [job_ids] if isinstance(job_ids, int) else list(dict.fromkeys(job_ids))
    return [Watched(ids[n : n + MOST_IDS], queue, class_name) for n in range(0, len(ids), MOST_IDS)]


class Breaks:
    """When a connection that broke is to be tried again: soon, then ever later, and not for ever.

    `now` is any clock that only goes forward. A connection is mended once an answer came over it, or once it has held
    for longer than a pause: one that is accepted and closed at once is not.
    """

    def __init__(self) -> None:
        self._pause = FIRST_PAUSE
        self._since: float | None = None
        self.connected_at: float | None = None

    @property
    def is_untried(self) -> bool:
        """Whether there was neither a connection yet nor a try that failed."""
        return self.connected_at is None and self._since is None

    def connected(self, now: float) -> None:
        self.connected_at = now

    def answered(self) -> None:
        self._pause = FIRST_PAUSE
        self._since = None

    def try_pause(self, now: float) -> float | None:
        """Seconds until the next try, after one that failed; None: the daemon has been away for too long."""
        if self.connected_at is not None and now - self.connected_at >= LONGEST_PAUSE:
            self.answered()
        self.connected_at = None
        if self._since is None:
            self._since = now
        if now - self._since >= GIVE_UP_AFTER:
            return None
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause


class Conversation(Generic[T]):
    """A follower's talk with its daemon, over as many connections as it takes.

    `is_over`: nothing more will come. `is_unanswered`: nobody has said yet that it has begun.
    """

    def __init__(self, follower: Follower[T]) -> None:
        self.breaks = Breaks()
        self.is_over = follower.is_over
        self.is_unanswered = follower.has_greeting
        self._follower = follower
        self._heard_at = 0.0

    @property
    def request(self) -> Request:
        """What to ask on a new connection."""
        return self._follower.request

    def connected(self, now: float) -> None:
        self._heard_at = now
        self.breaks.connected(now)

    def grace(self, now: float, timeout: float) -> float:
        """Until when to wait for what the daemon tells at once; 0 where it has, or where nobody is there."""
        if self.breaks.is_untried and not self._follower.has_begun:
            return now + timeout
        return self.due_at(timeout) or 0.0

    def due_at(self, timeout: float) -> float | None:
        """When a daemon is too silent that has more to tell at once; None where it has not, or nobody is there."""
        has_begun = self._follower.has_begun and not self.is_unanswered
        return None if has_begun or self.breaks.connected_at is None else self._heard_at + timeout

    def take(self, reply: Reply, now: float) -> list[T]:
        """What a reply tells. Raises the error that it is, ShuttingDownError too where a stream ends too early."""
        parameters = answers.checked(reply)
        items = self._follower.take(parameters) if reply.continues or parameters else []
        if not reply.continues and not self._follower.is_end():
            raise ShuttingDownError
        self.is_unanswered = False
        self._heard_at = now
        self.breaks.answered()
        self.is_over = not reply.continues or self._follower.is_over
        return items

    def take_all(self, told: Iterable[JsonObject]) -> list[T]:
        """What the parameters of all the replies tell."""
        items = [item for parameters in told for item in self._follower.take(parameters)]
        self.is_over, self.is_unanswered = True, False
        return items


class Tries:
    """When a call that got no answer is made again: at once over a new connection, then after pauses, until `deadline`.

    `deadline` and `now` are of any clock that only goes forward.
    """

    def __init__(self, call: Call[Any], deadline: float) -> None:
        self._call = call
        self._deadline = deadline
        self._breaks = Breaks()
        self._has_broken = False
        self._was_sent = False

    def pause_after(self, error: BgjobError, was_reached: bool, now: float) -> float:
        """Seconds until the next try. Raises the error where there is none, or what made the daemon hang up.

        `was_reached`: whether a daemon was there before.
        """
        self._call.keyed(error)
        if isinstance(error, DaemonUnavailableError):
            error.was_sent = self._was_sent = self._was_sent or error.was_sent
        if isinstance(error, BrokenError) and self._has_broken:
            check_frame(self._call.request)
        if not may_ask_again(self._call, error, was_reached):
            raise error
        pause = self._try_pause(error, now)
        if pause is None or now + pause >= self._deadline:
            raise error
        return pause

    def _try_pause(self, error: BgjobError, now: float) -> float | None:
        is_first, self._has_broken = not self._has_broken, True
        # A connection may have been closed for want of use.
        return 0.0 if is_first and isinstance(error, BrokenError) else self._breaks.try_pause(now)


def may_ask_again(call: Call[Any], error: BgjobError, was_reached: bool) -> bool:
    """Whether a call may be made again that ended with this error: nothing can happen twice, and it may help."""
    match error:
        case ShuttingDownError():
            return True
        case BrokenError():
            return call.may_repeat or not error.was_sent
        case NoAnswerError():
            return False
        case DaemonUnavailableError():
            return was_reached
        case _:
            return False


class Waiting:
    """A wait for a job's end, over as many connections as it takes; `now` is of any clock that only goes forward."""

    def __init__(self, job_id: int, timeout: float | None, now: float) -> None:
        self._job_id = job_id
        self._timeout = timeout
        self._deadline = None if timeout is None else now + timeout
        self.breaks = Breaks()

    def left(self, now: float) -> float | None:
        """Seconds that are left."""
        return None if self._deadline is None else max(0.0, self._deadline - now)

    def call(self, now: float) -> Call[JobRead]:
        return wait(self._job_id, self.left(now))

    def ended(self, read: JobRead) -> JobRead:
        """What was answered. Raises WaitTimeoutError where the job has not ended."""
        if not answers.has_ended(read.job):
            raise late(f"job {self._job_id} is {read.job['status']}", "it goes", self._timeout)
        return read

    def shortened(self, pause: float, now: float) -> float:
        """The pause, as long as there is time for it. Raises WaitTimeoutError where there is none at all."""
        left = self.left(now)
        if left == 0.0:
            raise late(f"no daemon tells how job {self._job_id} stands", "it goes", self._timeout)
        return pause if left is None else min(pause, left)


# What can be sent


def frame_of(request: Request) -> bytes:
    """The request as bytes. Raises InvalidParametersError for what JSON cannot hold."""
    try:
        return request.to_bytes()
    except (TypeError, ValueError, RecursionError) as error:
        path, reason = _try_unsendable(request.parameters) or ("", str(error))
        raise _unsendable(path, reason) from None


def check_frame(request: Request) -> None:
    """Raises the reason why a daemon hangs up on such a request instead of answering it, if there is one."""
    frame = frame_of(request)[:-1]
    if len(frame) > MAX_FRAME:
        raise TooLargeError(limit=MAX_FRAME, size=len(frame))
    try:
        codec.parse_request(frame)
    except ProtocolError as error:
        raise _unsendable("", str(error)) from None
    except codec.IntegerOutOfRangeError:
        return  # that is answered


def _unsendable(path: str, reason: str) -> InvalidParametersError:
    return InvalidParametersError(problems=[{"path": path.removeprefix("parameters."), "message": reason}])


def _try_unsendable(value: Any, path: str = "", depth: int = 0) -> tuple[str, str] | None:
    """Where, and why, a value cannot be sent; None if it can."""
    if depth > MAX_DEPTH:
        return path, f"it is nested deeper than {MAX_DEPTH} levels"
    inner = _items(value)
    if inner is None:
        return _try_unsendable_leaf(value, path)
    parts = ((f"{path}.{name}" if path else str(name), part) for name, part in inner)
    return next(filter(None, (_try_unsendable(part, place, depth + 1) for place, part in parts)), None)


def _items(value: Any) -> Iterable[tuple[Any, Any]] | None:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else None


def _try_unsendable_leaf(value: Any, path: str) -> tuple[str, str] | None:
    try:
        codec.to_json(value).encode()
    except (TypeError, ValueError) as error:
        return path, str(error)
    return None


# Names and keys


def class_name_of(cls: str | type) -> str:
    return cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"


def is_made_here(key: str) -> bool:
    """Whether an idempotency key is one that a client made for want of a caller's."""
    return re.fullmatch("[0-9a-f]{15,17}-[0-9a-f]{32}", key) is not None


def socket_path(address: str | None, environ: Mapping[str, str], exists: Callable[[str], bool]) -> str:
    """The socket's path: the address given, $BGJOBD_SOCKET, the person's, else the system's."""
    given = address or environ.get("BGJOBD_SOCKET")
    if given:
        return given.removeprefix("unix:")
    runtime_dir = environ.get("XDG_RUNTIME_DIR")
    own = f"{runtime_dir}/bgjobd.sock" if runtime_dir else ""
    return own if own and exists(own) else _SYSTEM_SOCKET


def _new_key() -> str:
    """A key that nobody has used; keys made one after the other stand together in the daemon's index."""
    return f"{time.time_ns():x}-{os.urandom(16).hex()}"


def _class_or_none(cls: str | type | None) -> str | None:
    return None if cls is None else class_name_of(cls)


def _given(parameters: Mapping[str, Any]) -> JsonObject:
    return {name: value for name, value in parameters.items() if value is not None}
