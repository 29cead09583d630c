"""What a caller asks of lists: which jobs, and which log entries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from bgjob.log_words import is_said
from bgjob.words import FINAL
from bgjobd.core.case_folding import fold, needle
from bgjobd.store.committed import LogLine

ID: Final = "id"
ENDED: Final = "ended"
SORTS: Final = (ID, ENDED)
"""In which order jobs may be asked for; else those that have all ended by their ends, others by their ids."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs; None stands for any. `status` is any of STATUS_WORDS, `search` a part of class::method, error
    or a value of the parameters, where it is none of those that are `sensitive` by now in the classes of these names.

    `since`, and `until`, which is no part of it, are stored instants: of the end where all that is wanted has ended,
    else of the submit. The latest attempt took `longer_than` so many seconds, until now where it runs, and ended with
    this `outcome`. `sort` is one of SORTS: `ended` has those alone that have ended. `schedule` is the name of the one
    that has submitted it, `group` the one that it is a member of, `key` what it shares with others, `again_of` the job
    whose call it runs once more, `bulk` the change by which it was retried or cancelled with many; `host` the name of
    the one that its latest attempt is on; `error` one that has ended an attempt of it; `label` one of those it has.
    """

    status: tuple[str, ...] | None = None
    queue: str | None = None
    class_name: str | None = None
    method_name: str | None = None
    search: str | None = None
    since: str | None = None
    schedule: str | None = None
    group: int | None = None
    key: str | None = None
    again_of: int | None = None
    bulk: int | None = None
    host: str | None = None
    error: int | None = None
    label: str | None = None
    until: str | None = None
    longer_than: float | None = None
    outcome: str | None = None
    sort: str | None = None
    sensitive: Mapping[str, Collection[str]] = field(default_factory=dict, hash=False)

    @property
    def has_ended(self) -> bool:
        """Whether all that is wanted has."""
        return self.sort == ENDED or (bool(self.status) and FINAL.issuperset(self.status or ()))

    @property
    def is_by_end(self) -> bool:
        """Whether the order is that of ends."""
        return self.has_ended and self.sort != ID


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which log entries; None stands for any. `id` is a job's, `search` a part of the message or of class::method, case
    folded. With `said` those that tell more than that a job goes its way.
    """

    id: int | None = None
    class_name: str | None = None
    method_name: str | None = None
    type: str | None = None
    search: str | None = None
    said: bool = False

    def matches(self, line: LogLine) -> bool:
        """Whether a committed entry is one of these; the same that Reader.logs finds in the file."""
        return (
            self.id in (None, line.job_id)
            and self.class_name in (None, line.class_name)
            and self.method_name in (None, line.method_name)
            and self.type in (None, line.type)
            and (not self.said or is_said(line.type, line.message))
            and (not self.search or self._is_in(line, needle(self.search)))
        )

    def _is_in(self, line: LogLine, folded: str) -> bool:
        return folded in fold(line.message) or folded in fold(f"{line.class_name}::{line.method_name}")
