"""The rules of a flush: which rows are submitted, and what becomes of each. They are steps that others carry out, what
is asked of the database and of the daemon, to each of which the answer is sent back; no I/O here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, MutableMapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from bgjob import calls
from bgjob.calls import Call
from bgjob.errors import BgjobError, IdempotencyConflictError, QueueFullError, TableOfDjangoError
from bgjob.outbox.databases import is_conflict
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
    TakeLeft,
    Turn,
    Wanted,
)

PIECE: Final = 0.5
"""Seconds after which it is written down what has become of rows: whoever is killed has done so much in vain, and locks
are held for as long.
"""

BUDGET: Final = 1.0
"""Seconds after which a flush begins with no more rows of others: whoever has committed waits for it."""

_TRIES: Final = 3
"""How often rows are tried in a flush whose transactions others are in the way of."""

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


class Bookmark:
    """How far a process is with the rows that others have left: behind `place`, so that those that wait there hold up
    no others; from the oldest on where that is None.
    """

    place: Place | None = None


def after_commit(
    flush: Flush, own: MutableMapping[str, Any], bookmark: Bookmark | None, now: datetime
) -> Steps:
    """First the rows of the process itself, by their keys, and then a portion of those that others have left, as far as
    there is time, and unless `bookmark` is None.

    Keys are taken out whose rows need no more.
    """
    keys = list(own)
    while keys and not flush.is_over:
        _, untried = yield from flush.portion(TakeKeys(keys[:PORTION]))
        keys = [row[0] for row in untried] + keys[PORTION:]
    if bookmark is not None:
        yield from _take_left(flush, bookmark, now)
    for key in flush.settled:
        own.pop(key, None)
    return flush.result


def _take_left(flush: Flush, bookmark: Bookmark, now: datetime) -> Generator[Step, Any, None]:
    """A row of the future was written by a clock that was ahead."""
    young = timedelta(seconds=OWNERS_TIME)
    count = 0
    while count < PORTION and not flush.is_over and flush.seconds < BUDGET:
        tried, untried = yield from flush.portion(TakeLeft(now - young, now + young, bookmark.place))
        count += len(tried)
        is_end = not untried and len(tried) < PORTION
        bookmark.place = None if is_end else _place(tried)
        if not untried:
            break


def all_rows(flush: Flush) -> Steps:
    """Every row, past those that wait, however many more than were tried. Raises TableOfDjangoError."""
    yield from _refuse_other_table()
    place: Place | None = None
    while not flush.is_over:
        tried, untried = yield from flush.portion(TakeBehind(place))
        if not untried and len(tried) < PORTION:
            break
        place = _place(tried)
    ((waiting,),) = yield CountWaiting()
    yield Turn.COMMIT
    return flush.result._replace(waiting=waiting)


def _place(rows: _Rows) -> Place:
    return rows[-1][2], rows[-1][0]


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


class Flush:
    """A flush on its way, by a clock in seconds. `has_row_locks`: a row can be taken, so that others leave it.
    `is_over`: the daemon takes nothing at present.
    """

    def __init__(self, has_row_locks: bool, clock: Callable[[], float]) -> None:
        self._has_row_locks = has_row_locks
        self._clock = clock
        self._begun = clock()
        self._full: dict[tuple[str, Any], QueueFullError] = {}
        self.is_over = False
        self.settled: list[str] = []
        self.result = Flushed()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._clock() - self._begun

    def portion(self, wanted: Take) -> Generator[Step, Any, tuple[_Rows, _Rows]]:
        """Submit the rows that are taken: those that were tried, and those for which there was no time, as what became
        of the others is to be written down.

        Once more where another transaction is in the way, as where all are SERIALIZABLE: the jobs are the same ones.
        """
        before = self.result
        for _ in range(_TRIES - 1):
            try:
                return (yield from self._portion(wanted))
            except Exception as error:
                if not is_conflict(error):
                    raise
            self.result = before
            yield Turn.ROLL_BACK
        return (yield from self._portion(wanted))

    def _portion(self, wanted: Take) -> Generator[Step, Any, tuple[_Rows, _Rows]]:
        """They stay locked until the end, so that nobody else submits them; where there are no such locks, nothing is
        locked while the daemon is asked: a second submit is the same job.
        """
        yield Turn.BEGIN
        rows: _Rows = yield wanted
        if not self._has_row_locks:
            yield Turn.COMMIT
        tried, submitted, refused = yield from self._submit_each(rows)
        if submitted:
            yield Delete(submitted)
        for key, why in refused:
            yield Refusal(key, why)
        yield Turn.COMMIT
        self._add(submitted, refused)
        return rows[:tried], rows[tried:]

    def _submit_each(self, rows: _Rows) -> Generator[Step, Any, tuple[int, list[str], list[Refusal]]]:
        """How many were tried, the keys of those that are submitted, and those that are refused for good."""
        submitted: list[str] = []
        refused: list[Refusal] = []
        tried, until = 0, self.seconds + PIECE
        for key, request, *_ in rows:
            found, error = yield from self._submit(Row(key, request))
            tried += 1
            match found:
                case Fate.DELETED:
                    submitted.append(key)
                case Fate.REFUSED:
                    refused.append(Refusal(key, sentence(error)))
                case _:
                    self.result = self.result._replace(waiting=self.result.waiting + 1, trouble=error)
            self.is_over = found is Fate.ALL_WAIT
            if self.is_over or self.seconds >= until:
                break
        return tried, submitted, refused

    def _add(self, submitted: Sequence[str], refused: Sequence[Refusal]) -> None:
        self.settled += [*submitted, *(refusal.key for refusal in refused)]
        before = self.result
        self.result = before._replace(
            submitted=before.submitted + len(submitted), refused=(*before.refused, *refused)
        )

    def _submit(self, row: Row) -> Generator[Step, Any, tuple[Fate, Exception | None]]:
        """What becomes of the row, and the error by which; a queue that is full is not asked for again."""
        try:
            call = submission(row)
        except Exception as error:  # whoever has written it: it is to stop no other
            return Fate.REFUSED, error
        queue = call.parameters["options"].get("queue")
        lane = ("queue", queue) if queue is not None else ("class", call.parameters["class_name"])
        if lane in self._full:
            return Fate.WAITS, self._full[lane]
        ended = yield call
        if isinstance(ended, QueueFullError):
            self._full[lane] = ended
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
