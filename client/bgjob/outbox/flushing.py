"""The rules of a flush: which rows are submitted, and what becomes of each. They are steps that others carry out, what
is asked of the database and of the daemon, to each of which the answer is sent back; no I/O here.
"""

from __future__ import annotations

from collections.abc import Generator, MutableMapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from bgjob.calls import Call
from bgjob.outbox import statements
from bgjob.outbox.rows import OWNERS_TIME, PORTION, Fate, Row, fate, sentence, submission
from bgjob.outbox.statements import Dialect, Place, Statement


class Turn(Enum):
    """What is asked of a connection beside statements."""

    BEGIN = "begin a transaction, where it does not by itself"
    COMMIT = "commit"
    ROLL_BACK = "roll back"


Step: TypeAlias = Statement | Turn | Call[int]
"""Answered by the rows, by nothing, or by the error that a submit has ended with."""


class Refusal(NamedTuple):
    """A row that the daemon refuses for good, and why."""

    key: str
    why: str


class Flushed(NamedTuple):
    """What a flush came to: how many rows were submitted, those that are refused for good, and how many were tried and
    stay; `trouble` is the last error for which one does.
    """

    submitted: int = 0
    refused: tuple[Refusal, ...] = ()
    waiting: int = 0
    trouble: Exception | None = None


Steps: TypeAlias = Generator[Step, Any, Flushed]


def after_commit(dialect: Dialect, own: MutableMapping[str, Any], now: datetime) -> Steps:
    """First the rows of the process itself, by their keys, and then a portion of those that others have left.

    Keys are taken out whose rows need no more.
    """
    flush = _Flush()
    keys = list(own)
    for begin in range(0, len(keys), PORTION):
        yield from flush.portion(dialect, dialect.of_keys(keys[begin : begin + PORTION]))
    yield from flush.portion(dialect, dialect.older(now - timedelta(seconds=OWNERS_TIME)))
    for key in flush.settled:
        own.pop(key, None)
    return flush.result


def all_rows(dialect: Dialect) -> Steps:
    """Every row, past those that wait."""
    flush = _Flush()
    place: Place | None = None
    while not flush.is_over:
        rows = yield from flush.portion(dialect, dialect.behind(place))
        if len(rows) < PORTION:
            break
        place = rows[-1][2], rows[-1][0]
    return flush.result


class _Flush:
    """A flush on its way. `is_over`: the daemon takes nothing at present."""

    def __init__(self) -> None:
        self.is_over = False
        self.settled: list[str] = []
        self.result = Flushed()

    def portion(self, dialect: Dialect, wanted: Statement) -> Generator[Step, Any, Sequence[tuple[Any, ...]]]:
        """Submit the rows that the statement gives; those rows.

        They stay locked until the end, so that nobody else submits them; where there are no such locks, nothing is
        locked while the daemon is asked: a second submit is the same job.
        """
        if self.is_over:
            return ()
        yield Turn.BEGIN
        rows: Sequence[tuple[Any, ...]] = yield wanted
        if not dialect.has_row_locks:
            yield Turn.COMMIT
        submitted, refused = yield from self._submit_each(rows)
        if submitted:
            yield statements.delete(submitted)
        for key, why in refused:
            yield statements.refuse(key, why)
        yield Turn.COMMIT
        self._add(submitted, refused)
        return rows

    def _submit_each(
        self, rows: Sequence[tuple[Any, ...]]
    ) -> Generator[Step, Any, tuple[list[str], list[Refusal]]]:
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
    except ValueError as error:
        return Fate.REFUSED, error
    ended = yield call
    return fate(ended), ended
