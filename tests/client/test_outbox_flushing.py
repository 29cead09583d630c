"""The rules of a flush, by what stands in for a database and for a daemon, whose answers take their time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy.exc

from bgjob.calls import Call
from bgjob.errors import BgjobError, QueueFullError
from bgjob.outbox.flushing import Bookmark, Flush, Steps, after_commit, all_rows
from bgjob.outbox.outboxes import carried_out
from bgjob.outbox.rows import PORTION
from bgjob.outbox.steps import CountWaiting, Delete, Refusal, TakeBehind, TakeKeys, TakeLeft, Turn

NOW = datetime(2026, 3, 29, tzinfo=UTC)
FULL = QueueFullError(queue="mail", limit=1)


class Shop:
    """Rows of an outbox, and a daemon that has an answer by the class; each takes it so many seconds."""

    def __init__(self, seconds: float = 0.0, **answers: BgjobError) -> None:
        self.rows: dict[str, tuple[str, datetime]] = {}
        self.asked: list[str] = []
        self.deleted: list[int] = []
        self._seconds, self._answers = seconds, answers
        self._now = 0.0
        self.in_the_way: list[Exception] = []

    def write(self, count: int, name: str = "Mail", at: datetime = NOW - timedelta(hours=1)) -> list[str]:
        keys = [f"{len(self.rows) + number:032}" for number in range(count)]
        request = json.dumps({"class_name": name, "method_name": "send", "options": {}})
        self.rows |= dict.fromkeys(keys, (request, at))
        return keys

    def flush(self, steps: Callable[[Flush], Steps]) -> Any:
        return carried_out(steps(Flush(True, lambda: self._now)), self._run, self._ask)

    def after_commit(self, *own: str, left: Bookmark | None = None) -> Any:
        return self.flush(lambda flush: after_commit(flush, dict.fromkeys(own), left, NOW))

    def _ask(self, call: Call[Any]) -> Any:
        self._now += self._seconds
        name = call.parameters["class_name"]
        self.asked.append(name)
        return self._answers.get(name, len(self.asked))

    def _run(self, step: Any) -> list[tuple[Any, ...]]:
        match step:
            case TakeKeys(keys):
                return self._taken(lambda at, key: key in keys)
            case TakeLeft(before, after, place):
                return self._taken(
                    lambda at, key: (at < before or at > after) and (place is None or (at, key) > place)
                )
            case TakeBehind(place):
                return self._taken(lambda at, key: place is None or (at, key) > place)
            case Delete() | Turn.COMMIT if self.in_the_way and self.asked:
                raise self.in_the_way.pop()
            case Delete(keys):
                self.deleted.append(len(keys))
                self.rows = {key: row for key, row in self.rows.items() if key not in keys}
            case Refusal(key, _):
                del self.rows[key]
            case CountWaiting():
                return [(len(self.rows),)]
        return []

    def _taken(self, which: Callable[[datetime, str], bool]) -> list[tuple[Any, ...]]:
        found = sorted((at, key, request) for key, (request, at) in self.rows.items() if which(at, key))
        return [(key, request, at) for at, key, request in found[:PORTION]]


def test_what_has_become_of_rows_is_written_down_every_half_second() -> None:
    shop = Shop(seconds=0.3)
    flushed = shop.after_commit(*shop.write(5))
    assert (flushed.submitted, shop.deleted) == (5, [2, 2, 1])


def test_after_a_second_no_more_rows_of_others_are_begun_with() -> None:
    shop = Shop(seconds=0.3)
    shop.write(100)
    assert shop.after_commit(left=Bookmark()).submitted == 4


def test_a_flush_whose_own_rows_have_taken_long_takes_none_of_others() -> None:
    shop = Shop(seconds=0.3)
    own = shop.write(5)
    shop.write(5)
    assert shop.after_commit(*own, left=Bookmark()).submitted == 5


def test_of_others_a_hundred_are_taken_at_most() -> None:
    shop = Shop()
    shop.write(250)
    assert shop.after_commit(left=Bookmark()).submitted == 100


def test_rows_of_others_that_wait_hold_up_no_others_for_longer_than_a_flush() -> None:
    shop, left = Shop(Full=FULL), Bookmark()
    shop.write(100, "Full")
    shop.write(1)
    assert [shop.after_commit(left=left).submitted for _ in range(3)] == [0, 1, 0]
    assert left.place is not None


def test_a_queue_that_is_full_is_asked_for_once() -> None:
    shop = Shop(Full=FULL)
    shop.write(230, "Full")
    shop.write(1)
    flushed = shop.flush(all_rows)
    assert (flushed.submitted, flushed.waiting, flushed.trouble) == (1, 230, FULL)
    assert shop.asked == ["Full", "Mail"]


def test_a_row_that_a_clock_which_was_ahead_has_written_is_taken() -> None:
    shop = Shop()
    shop.write(1, at=NOW + timedelta(hours=1))
    shop.write(1, at=NOW + timedelta(seconds=1))
    assert shop.after_commit(left=Bookmark()).submitted == 1


def test_a_slow_daemon_is_asked_for_every_row_by_whoever_flushes_all() -> None:
    shop = Shop(seconds=0.3)
    shop.write(250)
    assert (shop.flush(all_rows).submitted, shop.rows) == (250, {})


class DjangosError(Exception):
    """Has the driver's as its cause."""


def of_django(error: Exception) -> Exception:
    told = DjangosError()
    told.__cause__ = error
    return told


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.SerializationFailure(),
        psycopg.errors.DeadlockDetected(),
        sqlalchemy.exc.OperationalError("DELETE", None, psycopg.errors.SerializationFailure()),
        of_django(psycopg.errors.SerializationFailure()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_rows_are_tried_again_where_another_transaction_is_in_the_way(error: Exception) -> None:
    shop = Shop(Full=FULL)
    shop.write(1, "Full")
    own = shop.write(2)
    shop.in_the_way = [error] * 2
    flushed = shop.after_commit(*own)
    assert (flushed.submitted, flushed.waiting) == (2, 0)
    assert shop.asked == ["Mail"] * 6
    shop.in_the_way = [error] * 3
    with pytest.raises(type(error)):
        shop.after_commit(*shop.write(1))


def test_what_waits_is_counted_once_however_often_it_was_tried() -> None:
    shop = Shop(Full=FULL)
    shop.in_the_way = [psycopg.errors.SerializationFailure()]
    assert shop.after_commit(*shop.write(1, "Full")).waiting == 1


def test_another_error_of_the_database_ends_the_flush() -> None:
    shop = Shop()
    shop.in_the_way = [psycopg.errors.DiskFull()]
    with pytest.raises(psycopg.errors.DiskFull):
        shop.after_commit(*shop.write(1))
    assert shop.asked == ["Mail"]
