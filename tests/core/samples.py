"""Jobs and facts to begin a test with; everything that a test does not name has a plain value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hypothesis import settings

from bgjob.words import Outcome, Status, Throttle
from bgjobd.core.facts import AttemptEnded, Submitted
from bgjobd.core.job import Call, Ending, Job, RetryPolicy

NOW: Final = 1_733_322_713.0
"""2024-12-04 14:31:53 UTC."""

CALL: Final = Call("myapp.jobs.ExampleJob", "run")

COMPLETED: Final = Ending.completed("null")
FAILED: Final = Ending.failed("ValueError", "no recipient")
NEVER_AGAIN: Final = Ending.failed("ValueError", "no recipient", may_retry=False)
LOST: Final = Ending.lost("nobody saw how it ended")
INTERRUPTED: Final = Ending.lost("the container was restarted", spends_retry=False)
NOT_STARTED: Final = Ending.not_started("no memory")
UNKNOWN: Final = replace(Ending.signalled(9), may_retry=False, for_review=True)
CRASHED: Final = Ending.crashed_at_start("signal 11")
SNOOZED: Final = Ending.snoozed(60.0)
THROTTLED: Final = Ending.throttled(60.0, Throttle.CLASS)
STOPPED: Final = Ending.cancelled(Ending.signalled(15))

BAD_ENDINGS: Final = (
    FAILED,
    LOST,
    Ending.exited(0),
    Ending.exited(3),
    Ending.signalled(9),
    Ending(Outcome.OUT_OF_MEMORY),
    Ending(Outcome.TIMED_OUT),
    Ending(Outcome.CPU_EXCEEDED),
    Ending(Outcome.OUTPUT_EXCEEDED),
    Ending(Outcome.CANCELLED),
)
"""Each way to end badly after which a job may be tried again."""

seeded: Final = settings(deadline=None, derandomize=True)
"""For properties: the same examples every time, however slow the machine is; more with `--long`."""


def submitted(**given: Any) -> Submitted:
    return Submitted(**{"id": 7, "call": CALL, "retry_count": 0, "policy": RetryPolicy()} | given)


def pending(**given: Any) -> Job:
    return Job(**{"id": 7, "call": CALL, "status": Status.PENDING, "created_at": NOW} | given)


def running(**given: Any) -> Job:
    return pending(**{"status": Status.RUNNING, "attempt": 1, "started_at": NOW} | given)


def ended(status: Status, **given: Any) -> Job:
    return running(**{"status": status, "finished_at": NOW} | given)


def for_review(**given: Any) -> Job:
    """One whose attempt has ended so that nobody knows what it did."""
    told = {"error": UNKNOWN.error, "outcome": UNKNOWN.outcome, "review_since": NOW}
    return ended(Status.FAILED, **told | given)


def ends(job: Job, ending: Ending, at: float = NOW) -> AttemptEnded:
    """The end of the job's latest attempt."""
    return AttemptEnded(job.attempt, ending, at)
