"""Values that jobs emit, as they are stored: numbers, what is told again, what nobody could read, which are kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgjob.words import MOST_BYTES_OF_A_VALUE, MOST_VALUES
from bgjobd.core.planner import Lanes
from bgjobd.store import values
from bgjobd.store.committed import Committed
from bgjobd.store.items.attempts import AttemptNotes, Note, StepNote, Told, ValueNote
from bgjobd.store.items.retention import Deletion
from bgjobd.store.values import Kept, ValuesOfJob
from tests.store.samples import COMPLETED, FAILED, NOW, Store, asked, done, ends, text

ONE = Lanes(1)
HOUR = 3600.0


def told(value: Any, place: int = 1, step: str | None = None, at: float = NOW) -> ValueNote:
    return ValueNote(at, place, step, json.dumps(value, separators=(",", ":")))


def emits(job_id: int, *notes: Told, number: int = 1, first: int = 0) -> AttemptNotes:
    return AttemptNotes(job_id, number, first, notes)


def page(store: Store, job_id: int, after: int = 0, limit: int = 1000) -> ValuesOfJob:
    found = values.page(store.database.connection(), job_id, after, limit)
    assert found is not None
    return found


def stored(store: Store, job_id: int) -> list[tuple[int, int, str | None, str]]:
    return [(one.number, one.attempt, one.step, one.value) for one in page(store, job_id).values]


def kept(store: Store, job_id: int) -> tuple[int, int]:
    job = store.job(job_id)
    return job["emitted"], job["carries"]


def try_again(store: Store, job_id: int, number: int) -> None:
    """The attempt fails, and the next one begins."""
    store.commit(ends(job_id, FAILED, number))
    store.now += HOUR
    store.claim(ONE)


def test_values_are_stored_in_their_order_and_their_numbers_go_on_from_attempt_to_attempt(
    store: Store,
) -> None:
    job_id = store.run_one()
    committed = store.commit(emits(job_id, told("ä"), told({"n": 1}, 0, "charge", NOW + 1)))
    assert stored(store, job_id) == [(1, 1, None, '"\\u00e4"'), (2, 1, "charge", '{"n":1}')]
    assert [one.at for one in committed.values] == [text(NOW), text(NOW + 1)]
    assert tuple(page(store, job_id).values) == committed.values
    try_again(store, job_id, 1)
    store.commit(emits(job_id, told("b", 2), told("c", 3), number=2), ends(job_id, COMPLETED, 2))
    assert [(number, attempt) for number, attempt, _, _ in stored(store, job_id)] == [
        (1, 1),
        (2, 1),
        (3, 2),
        (4, 2),
    ]
    assert kept(store, job_id) == (3, 1)
    assert [one["valued"] for one in store.attempts(job_id)] == [2, 2]


def test_what_is_told_again_is_stored_once(store: Store) -> None:
    """By a daemon that reads a journal from its beginning."""
    job_id = store.run_one()
    notes = [told(1), Note(NOW, "info", "hello"), told(2, 2)]  # type: ignore[arg-type]
    store.commit(emits(job_id, *notes[:2]), emits(job_id, *notes))
    committed = store.commit(emits(job_id, *notes))
    assert ([value for *_, value in stored(store, job_id)], committed.values) == (["1", "2"], ())
    assert store.messages(job_id).count("hello") == 1


def test_steps_values_and_messages_of_an_attempt_are_stored_together(store: Store) -> None:
    job_id = store.run_one()
    notes = StepNote(NOW, "charge"), told("within", 0, "charge"), done("charge", "1"), told("behind")
    store.commit(emits(job_id, *notes), ends(job_id, FAILED))
    assert len(stored(store, job_id)) == 2
    assert store.attempts(job_id)[0]["noted"] == 4
    store.now += HOUR
    (claim,) = store.claim(ONE)
    assert claim.carry is not None
    steps = [["charge", "1", False]]
    assert json.loads(claim.carry) == {"steps": steps, "waits": [], "state": None, "emitted": 1}


def test_an_attempt_that_tells_less_than_another_did_does_not_change_how_far_that_came(store: Store) -> None:
    job_id = store.run_one()
    store.commit(emits(job_id, told(1, 1), told(2, 2)))
    try_again(store, job_id, 1)
    store.commit(emits(job_id, told(1, 1), number=2))
    assert kept(store, job_id) == (2, 1)


def test_a_job_that_tells_from_within_steps_alone_has_its_values_deleted_with_it(store: Store) -> None:
    job_id = store.run_one()
    store.commit(emits(job_id, told(1, 0, "charge")))
    assert kept(store, job_id) == (0, 1)
    store.commit(ends(job_id, COMPLETED))
    store.submit(asked())  # whose entry is the newest, which stays
    assert store.answer(Deletion((job_id,), 1000)).jobs == (job_id,)
    assert store.count("job_values") == 0


FORGED = [
    *("", "[1,2", "NaN", '{"a":1,"a":2}', '"\\ud800"', "1e999", "[" * 102 + "]" * 102, "1 2", '"a\0b"'),
    *("9" * 5000, json.dumps("x" * (MOST_BYTES_OF_A_VALUE - 1))),
]


@pytest.mark.parametrize("forged", FORGED, ids=range(len(FORGED)))
def test_what_nobody_could_read_is_not_kept(store: Store, forged: str) -> None:
    job_id = store.run_one()
    store.commit(emits(job_id, ValueNote(NOW, 7, None, forged), told(1)))
    assert (stored(store, job_id), kept(store, job_id)) == ([(1, 1, None, "1")], (1, 1))


@pytest.mark.parametrize(
    "value", ["x" * (MOST_BYTES_OF_A_VALUE - 2), "a\0b", 2**70, 1.5e300, {"": []}, None, [[]] * 1000]
)
def test_what_json_holds_is_kept_as_it_is(store: Store, value: Any) -> None:
    job_id = store.run_one()
    store.commit(emits(job_id, told(value)))
    ((_, _, _, text_of_it),) = stored(store, job_id)
    assert json.loads(text_of_it) == value


@pytest.mark.parametrize("step", ["", "s" * 256])
def test_a_value_of_a_step_that_cannot_be_is_not_kept(store: Store, step: str) -> None:
    job_id = store.run_one()
    store.commit(emits(job_id, told(1, 0, step)))
    assert (stored(store, job_id), kept(store, job_id)) == ([], (0, 0))


@pytest.mark.parametrize("at", [-1e300, float("nan"), 1e300])
def test_a_time_that_cannot_be_is_another(store: Store, at: float) -> None:
    job_id = store.run_one()
    store.commit(emits(job_id, told(1, at=at)))
    assert len(stored(store, job_id)) == 1


def test_an_attempt_has_no_more_values_than_it_may_whatever_its_journal_says(store: Store) -> None:
    job_id = store.run_one()
    store.database.execute_sql(f"UPDATE job_attempts SET valued = {MOST_VALUES - 1}")
    store.commit(emits(job_id, told(1), told(2, 2)))
    assert [value for *_, value in stored(store, job_id)] == ["1"]


# Which are kept


def emit_many(store: Store, job_id: int, count: int, size: int, number: int = 1, first: int = 0) -> Committed:
    note = ValueNote(NOW, 0, "s", json.dumps("x" * (size - 2)))
    return store.commit(
        *[
            emits(job_id, *[note] * min(200, count - done), number=number, first=first + done)
            for done in range(0, count, 200)
        ]
    )


def numbers(store: Store, job_id: int) -> tuple[int, int]:
    return store.rows(
        "SELECT min(number) AS first, max(number) AS last FROM job_values WHERE job_id = ?", job_id
    )[0]


def test_the_newest_of_a_job_are_kept_by_their_number(store: Store) -> None:
    job_id = store.run_one()
    emit_many(store, job_id, MOST_VALUES, 3)
    assert store.count("job_values") == MOST_VALUES
    try_again(store, job_id, 1)
    emit_many(store, job_id, 600, 3, number=2)
    assert MOST_VALUES <= store.count("job_values") <= 1.1 * MOST_VALUES
    first, last = page(store, job_id, limit=1).values[0].number, page(store, job_id, after=-1).next
    assert (last, last - first + 1) == (MOST_VALUES + 600, store.count("job_values"))
    assert first > 1


def test_the_newest_of_a_job_are_kept_by_their_size(store: Store) -> None:
    job_id = store.run_one()
    size = 64 * 1024
    emit_many(store, job_id, 80, size)
    assert 4 * 1024 * 1024 <= store.count("job_values") * size <= 1.1 * 4 * 1024 * 1024
    assert page(store, job_id, after=-1).next == 80


def test_what_is_not_kept_any_more_is_counted(store: Store) -> None:
    job_id = store.run_one()
    emit_many(store, job_id, 10, 3)
    store.database.execute_sql("DELETE FROM job_values WHERE number < 5")
    assert [
        (found.left_out, found.values[0].number) for found in (page(store, job_id, n) for n in (0, 3, 4, 7))
    ] == [
        (4, 5),
        (1, 5),
        (0, 5),
        (0, 8),
    ]


@pytest.mark.parametrize("count", [499, 500, 501, 1200])
def test_those_of_a_job_that_is_deleted_go_a_few_at_a_time(store: Store, count: int) -> None:
    job_id = store.run_one()
    emit_many(store, job_id, count, 3)
    store.commit(ends(job_id, COMPLETED))
    store.submit(asked())  # whose entry is the newest, which stays
    for left in range(count - 500, -1, -500):
        assert store.answer(Deletion((job_id,), 1000)).left == (job_id,)
        assert store.count("job_values") == left
    assert store.answer(Deletion((job_id,), 1000)).jobs == (job_id,)
    assert store.count("job_values") == 0


def test_it_is_trimmed_seldom_and_never_to_less_than_may_be_kept() -> None:
    kept = Kept()
    trims = 0
    for _ in range(2 * MOST_VALUES):
        kept = kept.with_one(100)
        trimmed = kept.try_trimmed()
        trims += trimmed is not None
        kept = trimmed or kept
        assert kept.last - kept.first + 1 <= 1.1 * MOST_VALUES
        assert trimmed is None or kept.last - kept.first + 1 == MOST_VALUES
    assert trims <= 2 * MOST_VALUES / 500


# Pages


def test_a_page_has_so_many_and_tells_where_to_go_on(store: Store) -> None:
    job_id = store.run_one()
    emit_many(store, job_id, 5, 3)
    found = page(store, job_id, 1, 2)
    assert ([one.number for one in found.values], found.next, found.has_more) == ([2, 3], 3, True)
    found = page(store, job_id, 3, 2)
    assert ([one.number for one in found.values], found.next, found.has_more) == ([4, 5], 5, False)
    found = page(store, job_id, 99, 2)
    assert (list(found.values), found.next, found.left_out, found.has_more) == ([], 99, 0, False)


def test_a_page_counts_from_the_end_where_that_is_asked_for(store: Store) -> None:
    job_id = store.run_one()
    assert page(store, job_id, -20).next == 0
    emit_many(store, job_id, 5, 3)
    for after, first in ((-2, 4), (-5, 1), (-20, 1), (-(2**63), 1)):
        found = page(store, job_id, after)
        assert (found.values[0].number, found.next, found.left_out) == (first, 5, 0)


def test_a_page_of_large_values_is_short(store: Store) -> None:
    job_id = store.run_one()
    emit_many(store, job_id, 8, 64 * 1024)
    found = page(store, job_id)
    assert (len(found.values), found.has_more) == (5, True)
    assert len(page(store, job_id, found.next).values) == 3


def test_a_job_that_is_not_there_has_no_page(store: Store) -> None:
    assert values.page(store.database.connection(), 99, 0, 10) is None
