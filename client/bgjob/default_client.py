"""The client that all calls of `bgjob.run_background_job` in a process share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Unpack

from bgjob import calls
from bgjob.client import Client, Job
from bgjob.codec import JsonObject

if TYPE_CHECKING:
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


def _client() -> Client:
    """One for all calls: a client of its own for each job would be a connection for each."""
    path = calls.socket_path(None, os.environ, os.path.exists)
    if not _shared or _shared[-1]._path != path:
        _shared[:] = [Client(path)]
    return _shared[-1]
