"""Background jobs on this machine: `run_background_job(...)`, and what a job's author needs. Standard library only."""

from typing import TYPE_CHECKING, Any

from bgjob.answers import OutputPart, Page
from bgjob.calls import Options
from bgjob.client import Client, Following, Job, as_completed, wait
from bgjob.default_client import run_background_job
from bgjob.errors import (
    BgjobError,
    ClassUnavailableError,
    CodeLoadingError,
    DaemonUnavailableError,
    IdempotencyConflictError,
    InternalError,
    InvalidNameError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    MethodNotApprovedError,
    NotApprovedError,
    PermissionDeniedError,
    ProtocolError,
    QueueFullError,
    ReloadFailedError,
    RequestError,
    ShuttingDownError,
    StorageUnavailableError,
    TooLargeError,
    WaitTimeoutError,
)
from bgjob.jobs import AttemptError, Fail, JobContext, Retry, Snooze
from bgjob.words import Backoff, Outcome, Status

if TYPE_CHECKING:
    from bgjob.aio import AsyncClient, AsyncFollowing, AsyncJob

__all__ = [
    "AsyncClient",
    "AsyncFollowing",
    "AsyncJob",
    "AttemptError",
    "Backoff",
    "BgjobError",
    "ClassUnavailableError",
    "Client",
    "CodeLoadingError",
    "DaemonUnavailableError",
    "Fail",
    "Following",
    "IdempotencyConflictError",
    "InternalError",
    "InvalidNameError",
    "InvalidParameterError",
    "InvalidParametersError",
    "InvalidStateError",
    "Job",
    "JobCancelledError",
    "JobContext",
    "JobError",
    "JobFailedError",
    "JobNotFoundError",
    "MethodNotApprovedError",
    "NotApprovedError",
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
    "ShuttingDownError",
    "Snooze",
    "Status",
    "StorageUnavailableError",
    "TooLargeError",
    "WaitTimeoutError",
    "as_completed",
    "run_background_job",
    "wait",
]

_LATER = {
    "AsyncClient": "bgjob.aio",
    "AsyncFollowing": "bgjob.aio",
    "AsyncJob": "bgjob.aio",
    "testing": "bgjob.testing",
}

if not TYPE_CHECKING:  # a type checker would take any name for one that is there

    def __getattr__(name: str) -> Any:
        """What most programs do without is imported when it is first used: asyncio is larger than all of this."""
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = import_module(_LATER[name])
        return module if name == "testing" else getattr(module, name)
