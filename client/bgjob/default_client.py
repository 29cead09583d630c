"""What all of a process submits by one client that it shares: jobs by name, and calls that type checkers understand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Unpack, overload

from bgjob import calls, typed
from bgjob.client import Client, Job
from bgjob.codec import JsonObject
from bgjob.typed import P, R, TypedCall

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bgjob.aio import AsyncClient, AsyncJob
    from bgjob.calls import Options

_shared: list[Client] = []


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
    return _client().run_background_job(
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


class Draft(Generic[R]):
    """A job that is not submitted yet; it does not change, and each `submit` makes a job of it."""

    def __init__(self, call: TypedCall, options: Options | None = None) -> None:
        self._call = call
        self._options: Options = options or {}

    def __repr__(self) -> str:
        return f"<Draft of {self._call.class_name}::{self._call.method_name}>"

    def options(self, **options: Unpack[Options]) -> Draft[R]:
        """The same with these options, which are those of `run_background_job`, besides its own."""
        return Draft(self._call, {**self._options, **options})

    @overload
    def submit(self, client: Client | None = None) -> Job[R]: ...
    @overload
    def submit(self, client: AsyncClient) -> Coroutine[Any, Any, AsyncJob[R]]: ...
    def submit(self, client: Client | AsyncClient | None = None) -> Job[R] | Coroutine[Any, Any, AsyncJob[R]]:
        """Submit it by this client, else by the one that the process shares; an AsyncClient's is to be awaited."""
        return (client or _client()).run_background_job(*self._call, **self._options)


def _client() -> Client:
    """One for all calls: a client of its own for each job would be a connection for each."""
    path = calls.socket_path(None, os.environ, os.path.exists)
    if not _shared or _shared[-1]._path != path:
        _shared[:] = [Client(path)]
    return _shared[-1]
