"""Items that delete what is old, some at a time, and say whose turn that is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deletion:
    """Delete these jobs with all that is stored of them, as many as a moment allows. Answered by Deleted.

    Those stay that have not ended, or have a log entry newer than `last_entry`: they are not what somebody looked at.
    """

    job_ids: tuple[int, ...]
    last_entry: int


@dataclass(frozen=True, slots=True)
class Trimming:
    """Of some log entries behind the id `after` delete those from before that time. Answered by Trimmed."""

    before: float
    after: int = 0


KeyPlace = tuple[str, str, str, str]
"""Until when a unique key was held, and the key."""


@dataclass(frozen=True, slots=True)
class OccurrenceTrimming:
    """Of some schedules behind the name `after` delete the rows of occurrences from before that time.

    Answered by TrimmedOccurrences.
    """

    before: float
    after: str = ""


@dataclass(frozen=True, slots=True)
class GroupTrimming:
    """Of some groups behind the id `after` delete those that ended before that time, and have no members.

    Answered by TrimmedGroups.
    """

    before: float
    after: int = 0


@dataclass(frozen=True, slots=True)
class KeyTrimming:
    """Look at some of the unique keys whose time has passed, behind a place, and delete the rows of those that nobody
    holds any more. Answered by TrimmedKeys.
    """

    after: KeyPlace = ("", "", "", "")


@dataclass(frozen=True, slots=True)
class RateTrimming:
    """Look at some of the buckets behind the scope `after`, and delete the rows of those that say nothing any more.
    Answered by TrimmedRates.
    """

    after: str = ""


@dataclass(frozen=True, slots=True)
class ErrorTrimming:
    """Forget some of the errors that were met last before that time. Answered by TrimmedErrors."""

    before: float


@dataclass(frozen=True, slots=True)
class UsageTrimming:
    """Forget what the methods of classes take that are not `known`, and of which nothing completed since that time.
    Answered by how many methods that were.
    """

    before: float
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class HostTrimming:
    """Forget the hosts that have left, or were lost, before that time and hold nothing. Answered by their names."""

    before: float


@dataclass(frozen=True, slots=True)
class RetentionTaken:
    """This host is about to delete what is old: one does at a time. Answered by whether it may, until it is done."""


@dataclass(frozen=True, slots=True)
class RetentionDone:
    """Another host may. Answered by None."""
