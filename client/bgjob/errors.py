"""Every error that a caller can meet: one class a Varlink error, its message built from its parameters."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from bgjob.labels import LABEL_LENGTHS, MOST_LABELS
from bgjob.words import INTERFACE, KEY_LENGTHS, RULES, SERVICE


class BgjobError(Exception):
    """Anything that went wrong between an application and its jobs.

    `idempotency_keys`: where a submit ended so, the keys that its jobs had, in order. Whoever repeats it with them gets
    each job once, whether the first one was stored or not.
    """

    idempotency_keys: tuple[str, ...] = ()


class DaemonUnavailableError(BgjobError, ConnectionError):
    """No daemon answers at the socket. `was_sent`: one may have the whole request all the same, and do it."""

    was_sent: bool = False


class BrokenError(DaemonUnavailableError):
    """The daemon closed the connection instead of answering."""

    def __init__(self, path: str, reason: str, was_sent: bool) -> None:
        self.was_sent = was_sent
        self._made_of = path, reason, was_sent
        super().__init__(f"the connection to {path} broke: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_of


class NoAnswerError(DaemonUnavailableError):
    """The daemon is there and says nothing; asking again would not help. `of`: its socket, and for how many seconds."""

    was_sent = True

    def __init__(self, path: str, timeout: float | None) -> None:
        self.of = path, timeout
        super().__init__(f"the daemon at {path} did not answer within {timeout or 0.0:g} s")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.of


class CodeLoadingError(NoAnswerError):
    """The daemon is up, and loads the approved classes, which this call waits for: who leaves has asked for nothing."""

    was_sent = False

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__(path, timeout)
        message = f"the daemon at {path} is up and loads its code, which goes on after {timeout or 0.0:g} s"
        self.args = (message,)


class SocketDeniedError(DaemonUnavailableError, PermissionError):
    """The socket is for its owner and its group, and this user is neither."""


class ProtocolError(BgjobError):
    """A peer broke the protocol: framing, JSON or the shape of a message."""


class NoDaemonInTestsError(AssertionError):
    """A test was about to ask a real daemon, where tests may not: see `bgjob.testing`.

    No BgjobError: code that goes on without a daemon is not to hide it.
    """

    def __init__(self, method: str) -> None:
        self.method = method
        super().__init__(method)

    def __str__(self) -> str:
        return (
            f"{self.method} was to be asked of a real daemon, by a test that has nothing in its place: "
            "bgjob.testing.inline() runs jobs in the test's process, bgjob.testing.recorded() only keeps them"
        )


class WaitTimeoutError(BgjobError, TimeoutError):
    """The job did not end in the time given; it goes on."""


class OpenTransactionError(BgjobError):
    """An outbox was to be flushed over a connection whose transaction has not ended."""

    def __init__(self) -> None:
        super().__init__("the connection is in a transaction; commit it, and flush the outbox then")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class TableOfDjangoError(BgjobError):
    """The outbox of a Django project was met where another is kept: its rows are for the daemons of its backends."""

    def __init__(self) -> None:
        super().__init__(
            "the table bgjob_outbox is that of a Django project: bgjob.django.run_background_job writes into it, "
            "and manage.py bgjob_outbox submits from it"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class NoDriverError(BgjobError):
    """The package is not installed by which a database of an application is reached."""


class JobError(BgjobError):
    """A job ended without a result; `job` is its last snapshot, keys as the columns."""

    template: ClassVar[str] = "job {id} ended as {status}"

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        super().__init__(job)

    def __str__(self) -> str:
        return self.template.format_map(_Gaps(self.job))


class JobFailedError(JobError):
    """The job's last attempt ended badly."""

    template = "job {id} failed: {error}"


class JobForReviewError(JobFailedError):
    """The job's last attempt ended so that nobody knows what it did, and a person is to say it: nothing that comes
    after it has its turn until then.
    """

    template = "job {id} failed, for review: {error}, and what it did nobody knows"


class JobCancelledError(JobError):
    """The job was cancelled."""


class JobExpiredError(JobCancelledError):
    """The job had not started by the time that was set for it, so it was cancelled."""

    template = "job {id} {error}"


class RequestError(BgjobError):
    """The daemon refused a request; `parameters` are those of the Varlink error `error_name`."""

    error_name = ""
    template: ClassVar[str] = "the daemon answered {error_name} {parameters}"

    def __init__(self, /, **parameters: Any) -> None:
        self.parameters = parameters
        super().__init__(parameters)

    def __str__(self) -> str:
        return self.template.format_map(_Gaps(self._told()))

    def __reduce__(self) -> tuple[Any, ...]:
        return from_reply, (self.error_name, self.parameters), {"idempotency_keys": self.idempotency_keys}

    def _told(self) -> dict[str, Any]:
        return {"error_name": self.error_name, "parameters": self.parameters, **self.parameters}


class _Gaps(dict[str, Any]):
    """Names for a message; one that the daemon left out shows as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


class NotApprovedError(RequestError, PermissionError):
    """The class is not in the allowlist."""

    error_name = f"{INTERFACE}.NotApproved"
    template = "{class_name} is not an approved class; list it under [approved] in the daemon's configuration"


class MethodNotApprovedError(RequestError, PermissionError):
    """The class is approved, the method isn't."""

    error_name = f"{INTERFACE}.MethodNotApproved"
    template = "{class_name} has no approved method {method_name}; `bgjob classes {class_name}` lists them"


class ClassUnavailableError(RequestError):
    """The class is approved but cannot be used at present."""

    error_name = f"{INTERFACE}.ClassUnavailable"
    template = "{class_name} cannot be used: {reason}; `bgjobd check` shows why"


class InvalidNameError(RequestError, ValueError):
    """A name does not match the grammar of identifiers."""

    error_name = f"{INTERFACE}.InvalidName"
    template = "{field} is not a valid name: {value!r}"

    def __str__(self) -> str:
        is_of_schedule = self.parameters.get("field") == "name"
        wanted = "; one that is put has a slash, such as customer/7" if is_of_schedule else ""
        return f"{super().__str__()}{wanted}"


class InvalidParametersError(RequestError, ValueError):
    """The job's parameters do not fit the method; `parameters["problems"]` lists path and message of each."""

    error_name = f"{INTERFACE}.InvalidParameters"

    template = "the parameters do not fit the method: {text}"

    def _told(self) -> dict[str, Any]:
        problems = self.parameters.get("problems")
        listed = problems if isinstance(problems, list) else []
        told = [(p.get("path") or "parameters", p.get("message")) for p in listed if isinstance(p, dict)]
        return {"text": "; ".join(f"{path}: {message}" for path, message in told) or problems}


class TooLargeError(RequestError, ValueError):
    """The parameters are larger than the limit (bytes), those of one job of many by `parameter`, or that names more
    predecessors than it may.
    """

    error_name = f"{INTERFACE}.TooLarge"
    template = "{what}, the limit is {limit}"

    def _told(self) -> dict[str, Any]:
        parameter, size = self.parameters.get("parameter"), self.parameters.get("size", "?")
        if parameter is None:
            what = f"the parameters take {size} bytes"
        elif str(parameter).startswith("each.") or str(parameter).endswith(_IN_BYTES):
            what = f"{parameter}: {size} bytes"
        else:
            what = f"{parameter}: {size} predecessors"
        return {**self.parameters, "what": what}


_IN_BYTES: Final = (".parameters", "payload", "result", "definition")
"""How the names end of what is measured in bytes; all else is counted in predecessors."""


class QueueFullError(RequestError):
    """The queue holds as many pending jobs as it may."""

    error_name = f"{INTERFACE}.QueueFull"
    template = "queue {queue} is full ({limit} pending jobs); try again later"


class JobNotFoundError(RequestError, LookupError):
    """There is no job with this id, or with this idempotency key."""

    error_name = f"{INTERFACE}.JobNotFound"
    template = "there is no job {named}"

    def _told(self) -> dict[str, Any]:
        key = self.parameters.get("key")
        return {"named": self.parameters.get("id", "?") if key is None else f"with the key {key}"}


class ScheduleNotFoundError(RequestError, LookupError):
    """There is no schedule of this name."""

    error_name = f"{INTERFACE}.ScheduleNotFound"
    template = "there is no schedule {name}"


class GroupNotFoundError(RequestError, LookupError):
    """There is no group with this id."""

    error_name = f"{INTERFACE}.GroupNotFound"
    template = "there is no group {id}"


class ErrorGroupNotFoundError(RequestError, LookupError):
    """There is no error with this id, or nobody has met it for so long that it is forgotten."""

    error_name = f"{INTERFACE}.ErrorGroupNotFound"
    template = "there is no error {id}"


class ChangedError(RequestError):
    """More jobs match than were expected: `count`. Nothing is done."""

    error_name = f"{INTERFACE}.Changed"
    template = "there are {count} jobs by now that match, more than were expected; nothing is done"


class GroupSealedError(RequestError):
    """The group takes no more members."""

    error_name = f"{INTERFACE}.GroupSealed"
    template = "group {id} is sealed: it takes no more members"


class BehindFailedError(RequestError):
    """The job comes after one, or a group, that ended badly: that has to be retried first; `before` names it."""

    error_name = f"{INTERFACE}.BehindFailed"
    template = "job {id} comes after {named}, which ended badly; retry {named} first, or this one anyway"

    def _told(self) -> dict[str, Any]:
        before = str(self.parameters.get("before", "?"))
        return {**self.parameters, "named": before if before.startswith("group ") else f"job {before}"}


class DuplicateError(RequestError):
    """Another job, `id`, holds the unique key; `index` is which of the jobs of a request asked for it."""

    error_name = f"{INTERFACE}.Duplicate"
    template = "job {id} holds {which}"

    def _told(self) -> dict[str, Any]:
        index = self.parameters.get("index")
        which = "this unique key" if index is None else f"the unique key of jobs.{index}"
        return {**self.parameters, "which": which}


class StepNotFoundError(RequestError, LookupError):
    """The job `id` has no finished step of this name."""

    error_name = f"{INTERFACE}.StepNotFound"
    template = "job {id} has finished no step {name}"


class TooManySignalsError(RequestError):
    """The job `id` has so many signals that nobody has taken."""

    error_name = f"{INTERFACE}.TooManySignals"
    template = "job {id} has {limit} signals that nobody has taken"


class NotForReviewError(RequestError):
    """Nobody is asked what the job `id` did: it did not fail so that nobody knows it, or somebody has said it."""

    error_name = f"{INTERFACE}.NotForReview"
    template = "job {id} is {status}, and not for review: there is nothing to settle"


class InvalidStateError(RequestError):
    """The job's status does not allow what was asked."""

    error_name = f"{INTERFACE}.InvalidState"
    template = "job {id} is {status}"


class AlertNotFoundError(RequestError, LookupError):
    """There is no alert with this id, or it is over."""

    error_name = f"{INTERFACE}.AlertNotFound"
    template = "there is no open alert {id}"


class HostNotFoundError(RequestError, LookupError):
    """No host of this name works, or has worked, from the database."""

    error_name = f"{INTERFACE}.HostNotFound"
    template = "there is no host {name}"


class HostGoneError(RequestError):
    """The host has left, or counts as lost, so that it hears nothing; `state` says which, `seen_at` when it lived."""

    error_name = f"{INTERFACE}.HostGone"
    template = "host {name} is not there: its state is {state}, and it was last seen at {seen_at}"


class ElsewhereError(RequestError):
    """What is asked for is known on another host alone, as to the process of an attempt that runs there."""

    error_name = f"{INTERFACE}.Elsewhere"
    template = "that is on host {host}"


class IdempotencyConflictError(RequestError):
    """The key was used before, for another request; `id` is the job it made."""

    error_name = f"{INTERFACE}.IdempotencyConflict"
    template = "this idempotency key belongs to job {id}, which was another request"


class PermissionDeniedError(RequestError, PermissionError):
    """The caller may not do this."""

    error_name = f"{INTERFACE}.PermissionDenied"
    template = "refused: {reason}"


class TooManyConnectionsError(RequestError, DaemonUnavailableError):
    """The daemon has as many connections as it may, in all or of this user; this one would have been one more.

    `is_first`: the client had none beside it. Only then does a client wait for a place, for all who hold one could wait
    for a second for ever.
    """

    error_name = f"{INTERFACE}.TooManyConnections"
    template = (
        "the daemon has no place for another connection ([socket] {setting} = {limit}); close some, "
        "let callers share a client, or raise that"
    )
    is_first: bool = False


class StorageUnavailableError(RequestError):
    """The daemon cannot write its database at present; nothing was stored, unless `may_be_stored`."""

    error_name = f"{INTERFACE}.StorageUnavailable"
    template = "{may_be_stored}: {reason}"

    @property
    def may_be_stored(self) -> bool:
        """Whether a later start of the daemon may find what was asked for all the same."""
        return bool(self.parameters.get("may_be_stored"))

    def __str__(self) -> str:
        return f"{super().__str__()}; {self._next()}"

    def _told(self) -> dict[str, Any]:
        message = (
            "it was refused, and may be stored all the same" if self.may_be_stored else "nothing was stored"
        )
        return {**self.parameters, "may_be_stored": message}

    def _next(self) -> str:
        if not self.may_be_stored:
            return "try again later"
        if len(self.idempotency_keys) == 1:
            return f"a repeat with the idempotency key {self.idempotency_keys[0]} is one job"
        return "a repeat with the same idempotency keys is the same jobs"


class ShuttingDownError(RequestError):
    """The daemon is about to end and takes nothing new."""

    error_name = f"{INTERFACE}.ShuttingDown"
    template = "the daemon is shutting down; try again in a moment"


class ReloadFailedError(RequestError):
    """The new code or configuration cannot be used; the old ones stay."""

    error_name = f"{INTERFACE}.ReloadFailed"
    template = "the reload failed, the old code and configuration stay: {reason}"


class InternalError(RequestError):
    """A bug of the daemon's; its log has more."""

    error_name = f"{INTERFACE}.InternalError"
    template = "the daemon met a bug: {reason}; its log has more"


class InvalidParameterError(RequestError, ValueError):
    """A parameter of the request has a wrong type, is out of range or is not known."""

    error_name = f"{SERVICE}.InvalidParameter"
    template = "invalid value for {parameter}"

    def __str__(self) -> str:
        named = str(self.parameters.get("parameter"))
        of_one = named.split(".", 2)[-1] if named.startswith(("jobs.", "groups.")) else named
        of_one = _OF_A_BULK.get(named.partition(".")[0], of_one)
        of_one = next((name for name in _OF_OTHERS if of_one.startswith(f"{name}.")), of_one)
        if of_one in _WANTED:
            return f"{super().__str__()}: {_WANTED[of_one]}"
        if of_one.startswith("options.") and of_one.count(".") == 1:
            return f"{super().__str__()}: there is no such option"
        return super().__str__()


_LENGTHS = f"{KEY_LENGTHS[0]} to {KEY_LENGTHS[-1]}"
_WANTED = {
    "parameters": "a mapping of names to values is wanted (a list has no names), integers of 64 bits at most",
    "retry_count": "a whole number from 0 on is wanted",
    "options.delay": "seconds from 0 on are wanted, 100 years at most, over before the job expires, and neither"
    " `at` nor `after` beside them",
    "options.at": "a date and time with its offset is wanted, such as 2024-12-04T14:31:53Z",
    "options.priority": "a whole number is wanted",
    "options.queue": "the name of a queue is wanted that the daemon has",
    "queue": "the name of a queue is wanted that the daemon has",
    "resumes_in": "seconds above 0 are wanted, 100 years at most, and no `resumes_at` beside them",
    "resumes_at": "a date and time to come is wanted, with its offset, such as 2024-12-04T14:31:53Z",
    "options.timeout": "seconds above 0 are wanted, 100 years at most",
    "options.max_retries": "a whole number from 0 on is wanted, at most the daemon's [retry] cap",
    "options.retry_delay": "seconds from 0 on are wanted, 100 years at most",
    "options.backoff": "constant or exponential is wanted",
    "options.expires_in": "seconds above 0 are wanted, 100 years at most, and no `expires_at` beside them",
    "options.expires_at": "a date and time with its offset is wanted, such as 2024-12-04T14:31:53Z",
    "key": f"a text of {_LENGTHS} characters is wanted; of one job its idempotency key, and no `id` beside it",
    "options.idempotency_key": f"a text of {_LENGTHS} characters is wanted, another for each request",
    "options.unique_key": f"a text of {_LENGTHS} characters is wanted",
    "options.key": f"a text of {_LENGTHS} characters is wanted",
    "options.host": "the name of a host is wanted that works from the daemon's database, and was seen within a day",
    "options.traceparent": "the W3C's is wanted, of version, trace, span and flags in small hex digits, such as "
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "options.labels": f"a list of at most {MOST_LABELS} texts is wanted, each of {LABEL_LENGTHS[0]} to "
    f"{LABEL_LENGTHS[-1]} characters, without controls",
    "options.unique_while": "unfinished or pending is wanted, beside a unique key",
    "options.unique_for": "seconds above 0 are wanted, 100 years at most, beside a unique key",
    "options.if_held": "return, refuse or replace is wanted, beside a unique key",
    "options.at_latest": "seconds from 0 on are wanted, 100 years at most, beside a unique key and if_held = replace",
    "options.after": "what is older is wanted: an id, a group, or a ref that stands before it",
    "options.if_failed": "cancel, run or wait is wanted, beside `after` or `take`, without which it means nothing",
    "options.take": "parameters that are not given are wanted, each from a job or group by `of`",
    "options.group": "a group is wanted that is open, by its id, or by its ref in the same request",
    "priority": "a whole number is wanted",
    "timeout": "seconds above 0 are wanted, 100 years at most",
    "at": "a date and time with its offset is wanted, before the job expires",
    "expires_at": "a date and time with its offset is wanted, after `at`, of a job that has had no slot",
    "max_retries": "a whole number is wanted, from the retries that are spent to the daemon's [retry] cap",
    "ref": "a text of 1 to 64 characters is wanted, another for each of the request",
    "rule": f"the name of a rule is wanted that the daemon has: one of [alerts.rules], or {', '.join(RULES)}",
    "name": f"a text of {_LENGTHS} characters is wanted",
    "signal_key": f"a text of {_LENGTHS} characters is wanted, another for each signal",
    "from_step": f"the name of a finished step is wanted, of {_LENGTHS} characters",
    "completed": "one is wanted of `completed` and `step`",
    "step": f"a step is wanted that is not finished, by its name of {_LENGTHS} characters",
    "result": "it goes with what took effect, a job that completed or a step",
    "why": "a text is wanted of up to 10,000 characters, and only for what failed",
}
"""What a parameter of Submit takes, or of Change, Get, Pause, Resume, Signal, Again and Settle; the daemon's error has
but its name.
"""

_OF_OTHERS = ("options.after", "options.take", "options.group")
"""What names other jobs, in lists and objects of its own."""

_OF_A_BULK = {"each": "parameters", "keys": "options.idempotency_key"}
"""What the lists of SubmitMany hold one of for each job."""


class MethodNotFoundError(RequestError):
    """The interface has no such method."""

    error_name = f"{SERVICE}.MethodNotFound"
    template = "the daemon has no method {method}"


class InterfaceNotFoundError(RequestError):
    """The daemon does not speak this interface."""

    error_name = f"{SERVICE}.InterfaceNotFound"
    template = "the daemon has no interface {interface}"


class ExpectedMoreError(RequestError):
    """The method answers several times and must be called with `more`."""

    error_name = f"{SERVICE}.ExpectedMore"
    template = "this method must be called with 'more'"


_BY_NAME = {kind.error_name: kind for kind in RequestError.__subclasses__()}


def from_reply(error_name: str, parameters: dict[str, Any]) -> RequestError:
    """The error that a Varlink error reply stands for; a newer daemon's unknown one gives a plain RequestError."""
    error = _BY_NAME.get(error_name, RequestError)(**parameters)
    error.error_name = error_name
    return error


def silence(error: NoAnswerError, stats: dict[str, Any]) -> NoAnswerError:
    """Why a call that needs the daemon's code got no answer, when `stats` was what it told of itself."""
    return error if stats["code_version"] is not None else CodeLoadingError(*error.of)


def unreachable(path: str, error: OSError) -> DaemonUnavailableError:
    reason = error.strerror or str(error)
    if isinstance(error, PermissionError):
        return SocketDeniedError(f"this user may not connect to {path} ({reason})")
    return DaemonUnavailableError(f"no daemon answers at {path} ({reason}); is bgjobd running?")


def gone(path: str, error: ShuttingDownError) -> DaemonUnavailableError:
    return DaemonUnavailableError(f"the daemon at {path} has not come back: {error}")


def late(told: str, goes: str, timeout: float | None) -> WaitTimeoutError:
    return WaitTimeoutError(f"{told} after {timeout or 0.0:g} s; {goes} on")
