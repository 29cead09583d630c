"""Background jobs on this machine: `run_background_job(...)`, and what a job's author needs. Standard library only."""

from typing import TYPE_CHECKING, Any

from bgjob.errors import (
    BehindFailedError,
    BgjobError,
    ChangedError,
    ClassUnavailableError,
    CodeLoadingError,
    DaemonUnavailableError,
    DuplicateError,
    ErrorGroupNotFoundError,
    GroupNotFoundError,
    GroupSealedError,
    IdempotencyConflictError,
    InternalError,
    InvalidNameError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    JobCancelledError,
    JobError,
    JobExpiredError,
    JobFailedError,
    JobForReviewError,
    JobNotFoundError,
    MethodNotApprovedError,
    NoDaemonInTestsError,
    NotApprovedError,
    NotForReviewError,
    PermissionDeniedError,
    ProtocolError,
    QueueFullError,
    ReloadFailedError,
    RequestError,
    ScheduleNotFoundError,
    ShuttingDownError,
    StepNotFoundError,
    StorageUnavailableError,
    TooLargeError,
    TooManyConnectionsError,
    TooManySignalsError,
    WaitTimeoutError,
)
from bgjob.jobs import (
    CONTEXT,
    AttemptError,
    Fail,
    InvalidResult,
    JobContext,
    Retry,
    SignalTimeout,
    Snooze,
    StepError,
    Suspended,
    Throttled,
)
from bgjob.words import Backoff, IfFailed, Outcome, Status

if TYPE_CHECKING:
    from bgjob.aio import AsyncClient, AsyncFollowing, AsyncJob, AsyncJobGroup, AsyncSubmitted
    from bgjob.answers import OutputPart, Page
    from bgjob.client import Client, Following, Job, JobGroup, Submitted, as_completed, wait
    from bgjob.default_client import call, call_function, run_background_job, submit, submit_function
    from bgjob.filters import Filter
    from bgjob.flow import Draft, Step, chain, group, job, result_of
    from bgjob.submitting_calls import Options

__version__ = "0.1.0"
__all__ = [
    "CONTEXT",
    "AsyncClient",
    "AsyncFollowing",
    "AsyncJob",
    "AsyncJobGroup",
    "AsyncSubmitted",
    "AttemptError",
    "Backoff",
    "BehindFailedError",
    "BgjobError",
    "ChangedError",
    "ClassUnavailableError",
    "Client",
    "CodeLoadingError",
    "DaemonUnavailableError",
    "Draft",
    "DuplicateError",
    "Fail",
    "Filter",
    "Following",
    "ErrorGroupNotFoundError",
    "GroupNotFoundError",
    "GroupSealedError",
    "IdempotencyConflictError",
    "IfFailed",
    "InternalError",
    "InvalidNameError",
    "InvalidParameterError",
    "InvalidParametersError",
    "InvalidResult",
    "InvalidStateError",
    "Job",
    "JobCancelledError",
    "JobContext",
    "JobError",
    "JobExpiredError",
    "JobFailedError",
    "JobForReviewError",
    "JobGroup",
    "JobNotFoundError",
    "MethodNotApprovedError",
    "NoDaemonInTestsError",
    "NotApprovedError",
    "NotForReviewError",
    "Options",
    "Outcome",
    "OutputPart",
    "Page",
    "PermissionDeniedError",
    "ProtocolError",
    "QueueFullError",
    "ReloadFailedError",
    "RequestError",
    "Retry",
    "ScheduleNotFoundError",
    "ShuttingDownError",
    "SignalTimeout",
    "Snooze",
    "Status",
    "Step",
    "StepError",
    "StepNotFoundError",
    "StorageUnavailableError",
    "Submitted",
    "Suspended",
    "Throttled",
    "TooLargeError",
    "TooManySignalsError",
    "TooManyConnectionsError",
    "WaitTimeoutError",
    "as_completed",
    "call",
    "call_function",
    "chain",
    "group",
    "job",
    "result_of",
    "run_background_job",
    "submit",
    "submit_function",
    "wait",
]

_LATER = {
    "AsyncClient": "bgjob.aio",
    "AsyncFollowing": "bgjob.aio",
    "AsyncJob": "bgjob.aio",
    "AsyncJobGroup": "bgjob.aio",
    "AsyncSubmitted": "bgjob.aio",
    "Client": "bgjob.client",
    "Draft": "bgjob.flow",
    "Filter": "bgjob.filters",
    "Following": "bgjob.client",
    "Job": "bgjob.client",
    "JobGroup": "bgjob.client",
    "Options": "bgjob.submitting_calls",
    "OutputPart": "bgjob.answers",
    "Page": "bgjob.answers",
    "Step": "bgjob.flow",
    "Submitted": "bgjob.client",
    "as_completed": "bgjob.client",
    "call": "bgjob.default_client",
    "call_function": "bgjob.default_client",
    "chain": "bgjob.flow",
    "group": "bgjob.flow",
    "job": "bgjob.flow",
    "result_of": "bgjob.flow",
    "run_background_job": "bgjob.default_client",
    "submit": "bgjob.default_client",
    "submit_function": "bgjob.default_client",
    "testing": "bgjob.testing",
    "wait": "bgjob.client",
}

if not TYPE_CHECKING:  # a type checker would take any name for one that is there

    def __getattr__(name: str) -> Any:
        """What many programs do without, jobs and the daemon itself among them, is imported when it is first used.

        Who gives up its rights, or its root directory, before that says `from bgjob import Client` first.
        """
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = import_module(_LATER[name])
        found = globals()[name] = module if name == "testing" else getattr(module, name)
        return found
