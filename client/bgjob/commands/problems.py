"""What is told when something went wrong: the exit code, and one line with what, why and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bgjob.errors import (
    AlertNotFoundError,
    BehindFailedError,
    BgjobError,
    BrokenError,
    ChangedError,
    CodeLoadingError,
    DaemonUnavailableError,
    DuplicateError,
    ElsewhereError,
    ErrorGroupNotFoundError,
    GroupNotFoundError,
    GroupSealedError,
    HostNotFoundError,
    InternalError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    JobCancelledError,
    JobFailedError,
    JobForReviewError,
    JobNotFoundError,
    MethodNotFoundError,
    NoAnswerError,
    NotApprovedError,
    NotForReviewError,
    ProtocolError,
    QueueFullError,
    RequestError,
    ScheduleNotFoundError,
    ShuttingDownError,
    SocketDeniedError,
    StepNotFoundError,
    StorageUnavailableError,
    TooManyConnectionsError,
    WaitTimeoutError,
)
from bgjob.text import capped, one_line

OK: Final = 0
FAILED: Final = 1
CANCELLED: Final = 3
NOT_FOUND: Final = 4
UNAVAILABLE: Final = 69
UNWRITABLE: Final = 74
REFUSED: Final = 77
INTERRUPTED: Final = 130
CLOSED_PIPE: Final = 141

_LONGEST: Final = 500
"""How many characters of a job's failure, which may have 64 KiB, are said; the hint leads to the others."""

_CODES: Final[Mapping[type[BaseException], int]] = {
    JobFailedError: FAILED,
    JobCancelledError: CANCELLED,
    JobNotFoundError: NOT_FOUND,
    GroupNotFoundError: NOT_FOUND,
    AlertNotFoundError: NOT_FOUND,
    ErrorGroupNotFoundError: NOT_FOUND,
    ScheduleNotFoundError: NOT_FOUND,
    HostNotFoundError: NOT_FOUND,
    StepNotFoundError: NOT_FOUND,
    SocketDeniedError: REFUSED,
    TooManyConnectionsError: 75,
    DaemonUnavailableError: UNAVAILABLE,
    QueueFullError: 75,
    StorageUnavailableError: 75,
    ShuttingDownError: 75,
    WaitTimeoutError: 124,
    InternalError: 70,
    RequestError: REFUSED,
    ProtocolError: 76,
    BgjobError: 1,
}
"""Exit codes by what went wrong; the first that fits."""

_HINTS: Final[Mapping[type[BaseException], str]] = {
    JobForReviewError: "`bgjob show {id}` has what is known, `bgjob settle {id}` says what it did",
    JobFailedError: "`bgjob show {id}` has its attempts",
    JobCancelledError: "`bgjob retry {id}` runs it again",
    JobNotFoundError: "`bgjob list` has those there are",
    StepNotFoundError: "`bgjob show {id} --steps` has those it has",
    ScheduleNotFoundError: "`bgjob schedules` has those there are",
    ChangedError: "run it again to see which",
    AlertNotFoundError: "`bgjob alerts --open` has those there are",
    ErrorGroupNotFoundError: "`bgjob errors` has those there are",
    GroupNotFoundError: "`bgjob group` has the newest",
    HostNotFoundError: "`bgjob hosts` has those there are",
    GroupSealedError: "`bgjob group {id}` has more",
    BehindFailedError: "{cure}, or `bgjob retry {id} --anyway`",
    SocketDeniedError: "`ls -l` of it tells the group that may",
    CodeLoadingError: "ask again; `bgjobd status` says how that goes",
    NoAnswerError: "`bgjobd status` says whether it hangs",
    BrokenError: "`bgjobd status` says whether it is up",
    TooManyConnectionsError: "or try again in a moment",
    DaemonUnavailableError: "`systemctl start bgjobd` starts the service's, `bgjobd serve` one of your own; "
    "--socket or $BGJOBD_SOCKET name another's socket",
    NotApprovedError: "`bgjob classes` has those there are",
    InvalidParametersError: "`bgjob classes` has its parameters",
    DuplicateError: "`bgjob show {id}` has more",
    InvalidStateError: "`bgjob show {id}` has more",
    NotForReviewError: "`bgjob show {id}` has more",
    QueueFullError: "`bgjob stats` has the queues",
    MethodNotFoundError: "it is older than this command",
}
"""What to do next, where the error does not say so itself; names are those of the job or the error's parameters, and
`cure` retries what it came after, or says how that is done.
"""

_HINTS_OF_PARAMETERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("options.queue", "queue"), "`bgjob stats` lists the queues"),
    **dict.fromkeys(("at", "expires_at", "max_retries", "timeout", "priority"), "see `bgjob change --help`"),
    **dict.fromkeys(("completed", "step", "result", "why"), "see `bgjob settle --help`"),
    **dict.fromkeys(("resumes_in", "resumes_at"), "see `bgjob pause --help`"),
}
"""The same for a parameter that another command tells more of than the one that was given it."""


def code_of(error: BgjobError) -> int:
    """The exit code for what went wrong."""
    return next(code for kind, code in _CODES.items() if isinstance(error, kind))


def explained(error: BgjobError, hint: str | None = None, meant: str | None = None) -> str:
    """One line: what happened, why, and the next command; `hint` is the command's own, for what it was given, and
    `meant` what that was perhaps to be.
    """
    told = str(error)
    if isinstance(error, JobFailedError):
        told = capped(told, _LONGEST)
    if meant is not None:
        told = followed(told, meant)
    found = next((text for kind, text in _HINTS.items() if isinstance(error, kind)), None)
    if isinstance(error, JobCancelledError) and (cause := error.job.get("cancelled_after")):
        found = "{cure}" if _is_group(cause) else "{cure} has it run, too"
    if isinstance(error, InvalidParameterError | InvalidStateError | ElsewhereError):
        found = _HINTS_OF_PARAMETERS.get(str(error.parameters.get("parameter")), hint or found)
    if found is not None:
        told = followed(told, found.format_map({"id": "ID"} | _names_in(error)))
    if _may_be_stored_unheard(error):
        key = " ".join(error.idempotency_keys)
        told = f"{told}; the job may be stored, and a repeat with --idempotency-key {key} is one job"
    return one_line(told)


def followed(told: str, next: str) -> str:
    """A message with what comes next; it may end with a question."""
    return f"{told}{' ' if told.endswith('?') else '; '}{next}"


def cure_of(node: object) -> str:
    """The command that runs again what others came after: a job, "12"; of a group, "group 5", the one that says how."""
    return f"bgjob {node}" if _is_group(node) else f"bgjob retry {node}"


def _cure(node: object) -> str:
    return f"`{cure_of(node)}` says how" if _is_group(node) else f"`{cure_of(node)}`"


def _is_group(node: object) -> bool:
    return str(node).startswith("group ")


def _may_be_stored_unheard(error: BgjobError) -> bool:
    """Whether this ended a submit that the daemon may have, and of which nobody has said what became of it."""
    return isinstance(error, DaemonUnavailableError) and error.was_sent and bool(error.idempotency_keys)


def _names_in(error: BgjobError) -> dict[str, Any]:
    match error:
        case JobFailedError() | JobCancelledError():
            return {"cure": _cure(error.job.get("cancelled_after")), **error.job}
        case RequestError():
            return {"cure": _cure(error.parameters.get("before")), **error.parameters}
        case _:
            return {}
