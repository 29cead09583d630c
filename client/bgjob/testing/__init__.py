"""For applications' own tests: jobs run in this process at submit, or are only recorded; no daemon is asked meanwhile.

    with bgjob.testing.inline() as jobs:
        order.place()
    assert jobs.of("myapp.jobs.Email")[0].parameters == {"to": "user@example.com"}

Both stand for the daemon in all of the process, threads and tasks included, for every client; of nested ones the
innermost does. They are context managers, and so work in the body of a pytest fixture, with unittest's
`enterContext`, and as decorators of plain functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bgjob import connections
from bgjob.testing.arguments import InvalidParameters
from bgjob.testing.attempts import InvalidResult, SnoozedTooOften
from bgjob.testing.no_daemon import DjangoRunnerMixin, daemon_allowed
from bgjob.testing.schedules import next_occurrences
from bgjob.testing.standin import MAX_SNOOZES, NotAnsweredError, NothingRunsError, Recorder, Runner
from bgjob.testing.submitted import Jobs, SubmittedJob

if TYPE_CHECKING:
    from bgjob.aio import AsyncJob
    from bgjob.client import Job

__all__ = [
    "inline",
    "recorded",
    "time_out",
    "daemon_allowed",
    "DjangoRunnerMixin",
    "next_occurrences",
    "Jobs",
    "SubmittedJob",
    "NothingRunsError",
    "NotAnsweredError",
    "SnoozedTooOften",
    "InvalidParameters",
    "InvalidResult",
    "MAX_SNOOZES",
]


@contextmanager
def inline(
    *,
    approved: Iterable[str | type] | None = None,
    signals: Mapping[str, Iterable[Any]] | None = None,
) -> Iterator[Jobs]:
    """Run each job to its end when it is submitted, in the thread that submits it. `approved`: what classes may run.

    Import, injection of the JobContext, retries, Fail, Snooze, hooks and results are as with a daemon; so is what a job
    raises: it is told by `Job.result()`, not to whoever submits. What is no Exception, such as KeyboardInterrupt, goes
    to the test runner. A hook that raises gives a RuntimeWarning, where a daemon has an entry in the log.

    A flow runs job by job, in the order of its request; what waits for a group that nobody has sealed, or for a retry,
    stays pending.

    Steps run once a job, and sleeps are over at once. Who waits for a signal that is not there stays pending until
    `job.signal(…)`, or `time_out(job)`, runs it on; `signals`, payloads by name, are there beforehand: each wait of
    such a name, of whichever job, takes the next.

    Not as with a daemon: no delay is waited for, and a sixth snooze fails the job. There is no schema: names of
    parameters are checked at submit, values are converted to the common annotated types in the attempt. Attempts share
    this process with its globals, so `os._exit` ends it. Timeouts and other limits are not kept, a cancel only sets the
    context's stop reason. No configuration is read: without `approved` every class may run, queues may have any name,
    defaults are a daemon's, and secrets are not masked. What breaks the protocol raises ProtocolError.
    """
    yield from _in_place_of_daemon(Runner(approved, signals))


def time_out(job: SubmittedJob | Job[Any] | AsyncJob[Any] | int) -> None:
    """Have the time be over for which a job of `inline` waits for a signal, and the job run on, to a SignalTimeout.

    Raises ValueError where it does not wait for one, or without a timeout.
    """
    substitute = connections.try_substitute()
    if not isinstance(substitute, Runner):
        raise RuntimeError("there is no bgjob.testing.inline() whose job could run on")
    substitute.time_out(job if isinstance(job, int) else job.id)


@contextmanager
def recorded(*, approved: Iterable[str | type] | None = None) -> Iterator[Jobs]:
    """Record jobs and run none: they stay pending. `approved`: the classes that may be submitted."""
    yield from _in_place_of_daemon(Recorder(approved))


def _in_place_of_daemon(substitute: Recorder) -> Iterator[Jobs]:
    connections.put_in(substitute)
    try:
        yield substitute.jobs
    finally:
        connections.take_out(substitute)
