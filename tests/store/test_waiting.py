"""What is told of a pending job that shares something: who has a place, who goes before it, what is held."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob.words import Throttle
from bgjobd.core.gate import KeyRules, Share
from bgjobd.core.job import Ending
from bgjobd.core.on_file import MOST_AHEAD, Ahead, OfKey, OnFile
from bgjobd.core.planner import Lanes
from bgjobd.core.rates import Bucket, Rate
from bgjobd.store.items.daemons import Look
from bgjobd.store.reader import Reader
from tests.store.samples import COMPLETED, FAILED, NOW, Store, asked, ends, submission

TWO = Lanes(100, keys={"default": KeyRules(slots=2)})
SLOW = Lanes(
    100, keys={"default": KeyRules(rate=Rate(10, 1.0))}, rates={"myapp.jobs.ExampleJob": Rate(5, 1.0)}
)
SHARED = Lanes(1, keys={"default": KeyRules(share=Share.KEY)})
PLAIN = Lanes(100, keys={})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def submit(store: Store, lanes: Lanes, *keys: str | None, **given: Any) -> None:
    """One job for each key, with no slot to give."""
    store.commit(submission(*(asked(key=key, **given) for key in keys)), lanes=lanes.closed())


def waits(reader: Reader, job_id: int, now: float = NOW) -> OnFile:
    on_file = reader.on_file(job_id, now)
    assert on_file is not None
    return on_file


def of_key(reader: Reader, job_id: int, now: float = NOW) -> OfKey:
    found = waits(reader, job_id, now).of_key
    assert found is not None
    return found


def test_of_a_job_behind_its_key_those_with_a_place_are_told_and_how_many_are_before_it(
    store: Store, reader: Reader
) -> None:
    submit(store, TWO, "a", "b", "a", "a", "a", None)
    store.claim(Lanes(1, keys=TWO.keys))
    submit(store, TWO, "a", queue="mail")
    assert of_key(reader, 4) == OfKey((1,), (3,), Ahead(0))
    assert of_key(reader, 5) == OfKey((1,), (3,), Ahead(1))
    assert of_key(reader, 3) == OfKey((1,), (3,), Ahead(0))
    assert of_key(reader, 7) == OfKey((), (7,), Ahead(0))
    assert waits(reader, 6).of_key is None
    submit(store, TWO, "a", priority=1)
    assert of_key(reader, 8) == OfKey((1,), (8,), Ahead(0))
    assert of_key(reader, 3) == OfKey((1,), (8,), Ahead(0))
    assert of_key(reader, 5) == OfKey((1,), (8,), Ahead(2))


def test_those_that_come_in_only_once_a_slot_is_free_are_counted_where_they_surely_go_before(
    store: Store, reader: Reader
) -> None:
    submit(store, TWO, "a", "a", "a", "b", None)
    submit(store, TWO, "a", "b", None, scheduled_at=NOW + 5, priority=1)
    store.now += 10
    store.commit(Look(), lanes=TWO.closed())
    assert of_key(reader, 3, store.now) == OfKey((), (1, 2), Ahead(1))
    assert of_key(reader, 6, store.now) == OfKey((), (1, 2), Ahead(0), has_come_in=False)
    # Of two with a key it shows only then whether they have a place.
    assert waits(reader, 4, store.now).ahead == Ahead(3, may_be_more=True)
    assert waits(reader, 8, store.now).ahead == Ahead(0, may_be_more=True)


def test_where_keys_take_turns_those_before_a_job_are_its_own_and_those_of_others(
    store: Store, reader: Reader
) -> None:
    submit(store, SHARED, *["a"] * 5)
    submit(store, SHARED, "b", "b")
    found = [(waits(reader, id).ahead, of_key(reader, id).ahead) for id in (5, 6, 7)]
    assert found == [(Ahead(6), Ahead(4)), (Ahead(1), Ahead(0)), (Ahead(3), Ahead(1))]


def test_a_job_that_has_no_turn_yet_is_told_of_those_that_are_before_it_with_any(
    store: Store, reader: Reader
) -> None:
    submit(store, SHARED, "a", "a", "a", "b", "b")
    submit(store, SHARED, "a", "c", scheduled_at=NOW + 5)
    (first,) = store.claim(SHARED)
    store.commit(ends(first.job.id, FAILED), lanes=SHARED.closed())
    store.now += 3600
    store.commit(Look(), lanes=SHARED.closed())
    # Those that are ready have the turns 2 and 3 (a), 1 and 2 (b); a comes back with 2, or gets 4, c gets 2.
    told = {id: waits(reader, id, store.now).ahead for id in (1, 2, 6, 7)}
    assert told[6] == Ahead(4, may_be_more=True)
    assert told[7] == Ahead(3, may_be_more=True)
    assert told[1] == Ahead(1, may_be_more=True)
    assert told[2] == Ahead(1, may_be_more=True)
    claims = []
    for _ in range(6):
        (claim,) = store.claim(SHARED)
        claims.append(claim.job.id)
        store.commit(ends(claim.job.id, COMPLETED, len(store.attempts(claim.job.id))), lanes=SHARED.closed())
    assert all(claims.index(id) >= ahead.number for id, ahead in told.items() if id in claims)


def test_so_many_and_no_more_are_looked_at(store: Store, reader: Reader) -> None:
    submit(store, PLAIN, *["a"] * (MOST_AHEAD + 3))
    found = of_key(reader, MOST_AHEAD + 3)
    assert found.ahead == Ahead(MOST_AHEAD, may_be_more=True)
    assert len(found.ready) == MOST_AHEAD


def test_the_buckets_of_class_and_key_are_told_as_they_are_stored(store: Store, reader: Reader) -> None:
    submit(store, SLOW, "a", "a", "b", None)
    store.commit(Look(), lanes=SLOW)
    on_file = waits(reader, 2)
    assert on_file.of_class.full_at == pytest.approx(NOW + 0.2)
    assert of_key(reader, 2).bucket.full_at == pytest.approx(NOW + 0.1)
    assert of_key(reader, 3).bucket == Bucket()


@pytest.mark.parametrize("whom", [Throttle.CLASS, Throttle.KEY])
def test_a_hold_is_told_with_who_asked_for_it(store: Store, reader: Reader, whom: Throttle) -> None:
    submit(store, PLAIN, "a", "a", "b")
    store.claim(Lanes(1, keys={}))
    store.commit(ends(1, Ending.throttled(60, whom)), lanes=PLAIN.closed())
    held = Bucket(0.0, NOW + 60, 1)
    same, other = waits(reader, 2), waits(reader, 3)
    expected = [held, held] if whom is Throttle.CLASS else [Bucket(), Bucket()]
    assert [same.of_class, other.of_class] == expected
    assert same.of_key is not None
    assert same.of_key.bucket == (held if whom is Throttle.KEY else Bucket())
    assert same.job.is_behind is (whom is Throttle.KEY)


def test_a_job_whose_time_had_come_stays_due_where_the_clock_is_set_back_behind_that(
    store: Store, reader: Reader
) -> None:
    one = Lanes(100, keys={"default": KeyRules(slots=1)})
    submit(store, one, None, "a", "a", scheduled_at=NOW)
    submit(store, one, None, scheduled_at=NOW + 5)
    submit(store, one, None)
    told = [waits(reader, id, NOW - 3600).was_due for id in range(1, 6)]
    assert told == [True, True, True, False, True]
