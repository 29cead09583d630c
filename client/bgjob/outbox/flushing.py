"""The rules of a flush: which rows are submitted, and what becomes of each. They are steps that others carry out, what
is asked of the database and of the daemon, to each of which the answer is sent back; no I/O here.
"""

from __future__ import annotations

from collections.abc import Generator, MutableMapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from bgjob import calls
from bgjob.calls import Call
from bgjob.errors import BgjobError, IdempotencyConflictError, TableOfDjangoError
from bgjob.outbox.rows import KEY_TAKEN, OWNERS_TIME, PORTION, Fate, Row, fate, sentence, submission
from bgjob.outbox.steps import (
    Again,
    CountWaiting,
    Delete,
    FindOtherTable,
    Place,
    Refusal,
    Take,
    TakeBehind,
    TakeKeys,
    TakeOlder,
    Turn,
    Wanted,
)

Step: TypeAlias = Wanted | Turn | Call[Any]
"""Answered by rows, by nothing, or by what the daemon answers, which may be an error."""

_Rows: TypeAlias = Sequence[tuple[Any, ...]]


class Flushed(NamedTuple):
    """What a flush came to: how many rows were submitted, those that are refused for good, and how many were tried and
    stay; `trouble` is the last error for which one does.
    """

    submitted: int = 0
    refused: tuple[Refusal, ...] = ()
    waiting: int = 0
    trouble: Exception | None = None

    def and_then(self, other: Flushed) -> Flushed:
        """Both of them, one after the other."""
        return Flushed(
            self.submitted + other.submitted,
            (*self.refused, *other.refused),
            self.waiting + other.waiting,
            other.trouble or self.trouble,
        )


Steps: TypeAlias = Generator[Step, Any, Flushed]


def after_commit(has_row_locks: bool, own: MutableMapping[str, Any], now: datetime) -> Steps:
    """First the rows of the process itself, by their keys, and then a portion of those that others have left.

    Keys are taken out whose rows need no more. `has_row_locks`: a row can be taken, so that others leave it.
    """
    flush = _Flush(has_row_locks)
    keys = list(own)
    for begin in range(0, len(keys), PORTION):
        yield from flush.portion(TakeKeys(keys[begin : begin + PORTION]))
    yield from flush.portion(TakeOlder(now - timedelta(seconds=OWNERS_TIME)))
    for key in flush.settled:
        own.pop(key, None)
    return flush.result


def all_rows(has_row_locks: bool) -> Steps:
    """Every row, past those that wait, however many more than were tried. Raises TableOfDjangoError."""
    yield from _refuse_other_table()
    flush = _Flush(has_row_locks)
    place: Place | None = None
    while not flush.is_over:
        rows = yield from flush.portion(TakeBehind(place))
        if len(rows) < PORTION:
            break
        place = rows[-1][2], rows[-1][0]
    ((waiting,),) = yield CountWaiting()
    yield Turn.COMMIT
    return flush.result._replace(waiting=waiting)


def again(keys: Sequence[str]) -> Generator[Step, Any, bool]:
    """Have these rows be submitted again, or all that were refused; whether all of these had been, else none is."""
    yield from _refuse_other_table()
    yield Turn.BEGIN
    rows = yield Again(keys)
    is_done = len(rows) >= len(set(keys))
    yield Turn.COMMIT if is_done else Turn.ROLL_BACK
    return is_done


def _refuse_other_table() -> Generator[Step, Any, None]:
    found = yield FindOtherTable()
    yield Turn.COMMIT
    if found:
        raise TableOfDjangoError


class _Flush:
    """A flush on its way. `is_over`: the daemon takes nothing at present."""

    def __init__(self, has_row_locks: bool) -> None:
        self._has_row_locks = has_row_locks
        self.is_over = False
        self.settled: list[str] = []
        self.result = Flushed()

    def portion(self, wanted: Take) -> Generator[Step, Any, _Rows]:
        """Submit the rows that are taken; those rows.

        They stay locked until the end, so that nobody else submits them; where there are no such locks, nothing is
        locked while the daemon is asked: a second submit is the same job.
        """
        if self.is_over:
            return ()
        yield Turn.BEGIN
        rows: _Rows = yield wanted
        if not self._has_row_locks:
            yield Turn.COMMIT
        submitted, refused = yield from self._submit_each(rows)
        if submitted:
            yield Delete(submitted)
        for key, why in refused:
            yield Refusal(key, why)
        yield Turn.COMMIT
        self._add(submitted, refused)
        return rows

    def _submit_each(self, rows: _Rows) -> Generator[Step, Any, tuple[list[str], list[Refusal]]]:
        """The keys of those that are submitted, and those that are refused for good."""
        submitted: list[str] = []
        refused: list[Refusal] = []
        for key, request, *_ in rows:
            found, error = yield from _submit(Row(key, request))
            match found:
                case Fate.DELETED:
                    submitted.append(key)
                case Fate.REFUSED:
                    refused.append(Refusal(key, sentence(error)))
                case Fate.WAITS:
                    self._keep(error)
                case Fate.ALL_WAIT:
                    self._keep(error)
                    self.is_over = True
                    break
        return submitted, refused

    def _keep(self, error: Exception | None) -> None:
        self.result = self.result._replace(waiting=self.result.waiting + 1, trouble=error)

    def _add(self, submitted: Sequence[str], refused: Sequence[Refusal]) -> None:
        self.settled += [*submitted, *(refusal.key for refusal in refused)]
        before = self.result
        self.result = before._replace(
            submitted=before.submitted + len(submitted), refused=(*before.refused, *refused)
        )


def _submit(row: Row) -> Generator[Step, Any, tuple[Fate, Exception | None]]:
    """What becomes of the row, and the error by which."""
    try:
        call = submission(row)
    except Exception as error:  # whoever has written it: it is to stop no other
        return Fate.REFUSED, error
    ended = yield call
    if isinstance(ended, IdempotencyConflictError):
        return (yield from _compare(row.key, call))
    refusal = ended if isinstance(ended, BgjobError) else None
    return fate(refusal), refusal


def _compare(key: str, asked: Call[int]) -> Generator[Step, Any, tuple[Fate, Exception | None]]:
    """The same where a job has the key: it is the row's own where another user has submitted it, whose digest of what
    is sensitive is another.
    """
    found = yield calls.get(None, key=key)
    if isinstance(found, BgjobError):
        return Fate.WAITS, found
    names = ("class_name", "method_name")
    if all(found.job[name] == asked.parameters.get(name) for name in names):
        return Fate.DELETED, None
    return Fate.REFUSED, ValueError(f"{KEY_TAKEN}, {found.job['id']}; delete the row")
