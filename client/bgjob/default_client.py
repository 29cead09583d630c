"""What all of a process submits by one client that it shares: jobs by name, and calls that type checkers understand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Unpack

from bgjob import typed
from bgjob.client import Job
from bgjob.codec import JsonObject
from bgjob.flow import Draft
from bgjob.shared_client import shared_client
from bgjob.typed import P, R

if TYPE_CHECKING:
    from collections.abc import Callable

    from bgjob.submitting_calls import Options


def run_background_job(
    class_name: str | type,
    method_name: str,
    parameters: JsonObject | None = None,
    retry_count: int = 0,
    *,
    check_only: bool = False,
    **options: Unpack[Options],
) -> Job:
    """Submit a job to the daemon that $BGJOBD_SOCKET, the person's or the system's socket leads to.

    The job is stored when this returns. Options are those of `Submit`: delay, at, priority, queue, timeout,
    max_retries, retry_delay, backoff, idempotency_key. Raises RequestError and DaemonUnavailableError.

    With `check_only` nothing is stored: what is not approved, or not valid, is refused, else the job has the id 0.
    """
    return shared_client().run_background_job(
        class_name, method_name, parameters, retry_count, check_only=check_only, **options
    )


def submit(method: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
    """Submit a call of a method, as in `submit(Report.build, day=today)`: what a type checker refuses of the call it
    refuses here. Raises what `run_background_job` does, and TypeError for what has no name to import it by.
    """
    return call(method, *args, **kwargs).submit()


def submit_function(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
    """Submit a call of a function of an approved module."""
    return call_function(function, *args, **kwargs).submit()


def call(method: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> Draft[R]:
    """A call of a method that is not submitted yet, for `options`, and for clients of one's own."""
    return Draft(typed.of_method(method, args, kwargs))


def call_function(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Draft[R]:
    """The same of a function of an approved module."""
    return Draft(typed.of_function(function, args, kwargs))
