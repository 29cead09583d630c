"""In which step each running job is, in memory: fed with the rows that were committed. No SQL is here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bgjob.words import Status
from bgjobd.core.job import Job
from bgjobd.store.committed import Committed
from bgjobd.store.written import Kind


class StepsUnderWay:
    """The steps that were begun in attempts that run, and have not come to an end; jobs without steps cost nothing."""

    def __init__(self, begun: Iterable[tuple[int, int, str]] = ()) -> None:
        self._begun: dict[int, _Begun] = {}
        for job_id, attempt, name in begun:
            self._begin(job_id, attempt, name)

    def __len__(self) -> int:
        return len(self._begun)

    def of(self, job: Job) -> str | None:
        """The step that the job is in: of several the one that began last."""
        begun = self._begun.get(job.id) if self._begun else None
        return None if begun is None or not _is_of(begun, job) else next(reversed(begun.names), None)

    def take(self, committed: Committed) -> None:
        """Follow a transaction."""
        for written in committed.written:
            for row in written.get(Kind.BEGUN_STEP, ()):
                self._begin(row["job_id"], row["attempt"], row["name"])
            for row in written.get(Kind.FINISHED_STEP, ()) if self._begun else ():
                self._finish(row["job_id"], row["name"])
        for job in committed.changed if self._begun else ():
            begun = self._begun.get(job.id)
            if begun is not None and not (begun.names and _is_of(begun, job)):
                del self._begun[job.id]

    def _begin(self, job_id: int, attempt: int, name: str) -> None:
        begun = self._begun.get(job_id)
        if begun is None or begun.attempt < attempt:
            begun = self._begun[job_id] = _Begun(attempt, {})
        if begun.attempt == attempt:
            begun.names.pop(name, None)
            begun.names[name] = None

    def _finish(self, job_id: int, name: str) -> None:
        begun = self._begun.get(job_id)
        if begun is not None:
            begun.names.pop(name, None)


class _Begun(NamedTuple):
    """The steps that an attempt is in, as they began."""

    attempt: int
    names: dict[str, None]


def _is_of(begun: _Begun, job: Job) -> bool:
    return job.status is Status.RUNNING and job.attempt == begun.attempt
