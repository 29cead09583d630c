"""The latest jobs as the file has them, in memory: whoever asks for one of them needs no query,
unless it runs: how long that may take is in the file.

It is fed with the rows that were committed, so what it does not know for sure it does not have. No SQL is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject
from bgjob.words import Status
from bgjobd.store.committed import Committed, Deleted
from bgjobd.store.pages.attempts import ATTEMPT_COLUMNS, attempt_of
from bgjobd.store.reads.stored_jobs import StoredJob, shown
from bgjobd.store.statements.of_jobs import COLUMNS_OF_JOB, REAL_COLUMNS, UNTIED
from bgjobd.store.written import Kind, Row, Written

_MOST: Final = 256
_LARGEST: Final = 4096
"""How many jobs are kept, and how many characters each may have in columns that may be large."""

_MOST_ATTEMPTS: Final = 8
_MOST_ELSEWHERE: Final = 1024

_OF_CALLERS: Final = ("parameters", "result", "error")
_OF_ATTEMPTS: Final = ("error_type", "error_message", "traceback", "progress", "error_class")
"""The columns that may be large, of a job and of an attempt."""

_OF_JOBS: Final = frozenset(
    {
        *(Kind.CHANGED_JOB, Kind.TIED_JOB, Kind.REPLACED_JOB, Kind.CHANGED_TERMS, Kind.COUNTED_STEPS),
        Kind.REVIEWED_JOB,
    }
)
_NOT_OF_KNOWN: Final = (
    frozenset(Kind)
    - _OF_JOBS
    - {
        *(Kind.NEW_ATTEMPT, Kind.STARTED_ATTEMPT, Kind.ENDED_ATTEMPT, Kind.NOTED_ATTEMPT),
        Kind.ERROR_OF_ATTEMPT,
    }
)
"""The rows that change no job which is known already, nor an attempt of one."""

_NEW_ATTEMPT: Final = dict.fromkeys(ATTEMPT_COLUMNS) | {"spends_retry": True}


# Each job that is submitted has one, and a frozen dataclass takes three times as long.
class _Known(NamedTuple):
    row: Row
    attempts: Mapping[int, Row] = MappingProxyType({})


class RecentJobs:
    """The jobs that were submitted last, with all their attempts; those alone of which each change was seen."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._changed_elsewhere: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def job(self, job_id: int) -> StoredJob | None:
        """As Reader.job() has it; None where that has to be asked."""
        known = self._known.get(job_id)
        if known is None:
            return None
        columns = dict(_as_stored({**UNTIED, **known.row}, COLUMNS_OF_JOB))
        attempts = [known.attempts[number] for number in sorted(known.attempts)]
        return shown(columns, [_told(attempt) for attempt in attempts], None)

    def id_of(self, key: str) -> int | None:
        """The id of the job with this idempotency key; None where the file has to be asked."""
        # Each is looked at: they are few, and an index by key would cost every job.
        return next(
            (job_id for job_id, known in self._known.items() if known.row["idempotency_key"] == key), None
        )

    def has_ended(self, job_id: int) -> bool | None:
        """Whether the job has ended; None where the file has to be asked."""
        known = self._known.get(job_id)
        return None if known is None else known.row["finished_at"] is not None

    def take(self, committed: Committed | None) -> None:
        """Follow a transaction; None is one of which nobody knows what it came to."""
        if committed is None or committed.has_unseen_changes:
            self._known.clear()
        for written in committed.written if committed is not None else ():
            self._follow(written)
        for job_id, columns in committed.placed.items() if committed is not None else ():
            known = self._known.get(job_id)
            if known is not None:
                self._known[job_id] = known._replace(row=_as_placed(known.row, columns))
        for answer in committed.answers if committed is not None else ():
            if isinstance(answer, Deleted):
                for job_id in answer.jobs:
                    self._known.pop(job_id, None)

    def forget(self, job_ids: Iterable[int]) -> None:
        """Somebody else has changed these; one may be heard of later that was submitted here before that."""
        for job_id in job_ids:
            if self._known.pop(job_id, None) is None:
                self._changed_elsewhere[job_id] = None
        while len(self._changed_elsewhere) > _MOST_ELSEWHERE:
            del self._changed_elsewhere[next(iter(self._changed_elsewhere))]

    def _follow(self, written: Written) -> None:
        for kind in (Kind.NEW_JOB, Kind.NEW_TIED_JOB):
            for row in written.get(kind, ())[-_MOST:]:
                if len(row["parameters"]) <= _LARGEST and row["id"] not in self._changed_elsewhere:
                    self._known[row["id"]] = _Known(row)
        for kind, rows in written.items():
            if kind not in _NOT_OF_KNOWN:
                self._change(kind, rows)
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def _change(self, kind: Kind, rows: Sequence[Row]) -> None:
        of_job = kind in _OF_JOBS
        for row in rows:
            job_id = row["id" if of_job else "job_id"]
            known = self._known.get(job_id)
            if known is not None and row.get("host") is not None:
                del self._known[job_id]  # it is on one of several hosts, and others may change it
            elif known is not None:
                changed = known._replace(row=known.row | row) if of_job else _with_attempt(known, kind, row)
                self._keep(job_id, changed)

    def _keep(self, job_id: int, known: _Known) -> None:
        """Have the job in its place, unless it has become too large."""
        if _is_large(known):
            self._known.pop(job_id, None)
        else:
            self._known[job_id] = known


def _as_placed(row: Row, columns: Row) -> Row:
    """A job with what its place has made of it; of one that was claimed behind that, place and turn are over."""
    over = () if row["status"] == Status.PENDING else ("ready", "turn")
    return {**row, **{name: value for name, value in columns.items() if name not in over}}


def _with_attempt(known: _Known, kind: Kind, row: Row) -> _Known:
    """What the statements of these kinds make of an attempt's row."""
    attempt = known.attempts.get(row["number"], _NEW_ATTEMPT)
    match kind:
        case Kind.STARTED_ATTEMPT | Kind.ENDED_ATTEMPT if attempt["outcome"] is not None:
            return known
        case Kind.NOTED_ATTEMPT if row["progress"] is None:
            return known
    return known._replace(attempts={**known.attempts, row["number"]: attempt | row})


def _is_large(known: _Known) -> bool:
    size = sum(len(known.row[name] or "") for name in _OF_CALLERS)
    size += sum(len(attempt[name] or "") for attempt in known.attempts.values() for name in _OF_ATTEMPTS)
    return size > _LARGEST or len(known.attempts) > _MOST_ATTEMPTS


def _told(attempt: Row) -> JsonObject:
    return attempt_of(tuple(value for _, value in _as_stored(attempt, ATTEMPT_COLUMNS)))


def _as_stored(row: Row, columns: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """These columns as the file gives them back: where a fraction may be, a whole number is one too."""
    for name in columns:
        value = row[name]
        yield name, float(value) if name in REAL_COLUMNS and value is not None else value
