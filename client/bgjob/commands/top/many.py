"""What a capital letter in `bgjob top` is about: all the jobs that a row stands for, in words too; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from bgjob import text
from bgjob.amounts import many_of
from bgjob.answers import DoneToMany, Matched
from bgjob.commands.top.scene import Kind, Row
from bgjob.filters import Filter
from bgjob.words import Status

RETRY: Final = "retry"
CANCEL: Final = "cancel"

_STATUSES: Final = {RETRY: (Status.FAILED,), CANCEL: (Status.PENDING, Status.RUNNING)}
_MOST_CLASSES: Final = 3


class Many(NamedTuple):
    """All jobs of a filter, which are to be retried or cancelled; `of` says whose they are: `of queue mail`."""

    to: str
    of: str
    filter: Filter


class Counted(NamedTuple):
    """How many those are by now."""

    many: Many
    matched: Matched

    @property
    def meant(self) -> int:
        """Without those that may be tried but once, which a retry leaves out."""
        left_out = self.matched.at_most_once if self.many.to == RETRY else 0
        return self.matched.jobs - left_out


def meant(row: Row, to: str) -> Many:
    """All that the row stands for: an error's jobs, a queue's, or those of a job's class and method."""
    of, filter = _MEANT[row.kind](row)
    return Many(to, of, filter._replace(status=tuple(map(str, _STATUSES[to]))))


def _of_job(row: Row) -> tuple[str, Filter]:
    names = {"class_name": row.told["class_name"], "method_name": row.told["method_name"]}
    return f"of {text.target(row.told)}", Filter(**names)


_MEANT: Final[Mapping[Kind, Callable[[Row], tuple[str, Filter]]]] = {
    Kind.RUNNING: _of_job,
    Kind.FAILED: _of_job,
    Kind.ERROR: lambda row: (f"of error {row.job_id}", Filter(error=row.job_id)),
    Kind.QUEUE: lambda row: (f"of queue {row.told['name']}", Filter(queue=row.told["name"])),
}


def question(counted: Counted) -> str:
    """What is asked before it is done: how many, whose, of which classes, and what becomes of them."""
    many, matched = counted.many, counted.matched
    told = f"{many.to} {many_of(counted.meant, 'job')} {many.of}{_classes(matched)}"
    if many.to == CANCEL:
        return told + (f", {matched.running:,} of them running" if matched.running else "")
    more = matched.at_most_once
    return told + (f", without {more:,} that may be tried but once" if more else "")


def _classes(matched: Matched) -> str:
    """Those of several."""
    if len(matched.classes) < 2:
        return ""
    named = [f"{one['class_name']} {one['count']:,}" for one in matched.classes[:_MOST_CLASSES]]
    more = [f"{len(matched.classes) - len(named):,} more"] if len(matched.classes) > len(named) else []
    return f" ({', '.join([*named, *more])})"


def nothing(counted: Counted) -> str:
    """That there is no job to do it to."""
    many = counted.many
    if counted.matched.jobs:
        return f"{many_of(counted.matched.jobs, 'job')} {many.of} may be tried but once; bgjob retry --at-most-once"
    return f"no job {many.of} {'has failed' if many.to == RETRY else 'waits or runs'}"


def done(many: Many, told: DoneToMany) -> str:
    """What became of them, and which list has them."""
    are = "is" if told.done == 1 else "are"
    became = "to run again" if many.to == RETRY else "cancelled, or stopped first where running"
    left = f", {told.left_out:,} left out" if told.left_out else ""
    listed = "" if told.change is None else f": bgjob list --bulk {told.change}"
    return f"{many_of(told.done, 'job')} {are} {became}{left}{listed}"
