"""The state that attempts save as it is stored: the latest alone, and with it what the next attempt is given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.store.items.attempts import StateSaved
from bgjobd.store.items.retention import Deletion
from tests.store.samples import FAILED, Store, does, done, ends, retries, waits

ONE = Lanes(1)
FINAL = Ending.failed("ValueError", "no recipient", may_retry=False)


def states(store: Store) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in store.rows("SELECT job_id, value, attempt, saved FROM job_states")]


def given(store: Store) -> Any:
    """The state that the next attempt is given."""
    (claim,) = store.claim(ONE)
    return None if claim.carry is None else json.loads(claim.carry)["state"]


def test_a_state_is_stored_with_the_end_of_its_attempt_and_goes_to_the_next(store: Store) -> None:
    job_id = store.run_one()
    store.commit(StateSaved(job_id, 1, 7, '{"a":"ü"}'), ends(job_id, FAILED))
    assert states(store) == [(job_id, '{"a":"ü"}', 1, 7)]
    assert store.job(job_id)["carries"] == 1
    store.now += 3600
    (claim,) = store.claim(ONE)
    assert json.loads(claim.carry or "") == {"steps": [], "waits": [], "state": '{"a":"ü"}', "emitted": 0}


def test_a_state_goes_along_with_steps(store: Store) -> None:
    job_id = store.run_one()
    store.commit(
        does(job_id, done("a", "1")), StateSaved(job_id, 1, 1, "{}"), waits(job_id, "sleep", delay=1.0)
    )
    store.now += 2
    (claim,) = store.claim(ONE)
    carry = json.loads(claim.carry or "")
    assert (carry["state"], carry["steps"]) == ("{}", [["a", "1", False]])
    assert store.job(job_id)["steps"] == 2


def test_whoever_has_none_is_given_none(store: Store) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, FAILED))
    store.now += 3600
    (claim,) = store.claim(ONE)
    assert claim.carry is None


@pytest.mark.parametrize(
    ("late", "stays"),
    [
        (StateSaved(1, 2, 3, '{"n":3}'), '{"n":3}'),
        (StateSaved(1, 2, 2, '{"n":0}'), '{"n":2}'),
        (StateSaved(1, 2, 1, '{"n":0}'), '{"n":2}'),
        (StateSaved(1, 1, 99, '{"n":0}'), '{"n":2}'),
        (StateSaved(1, 3, 99, '{"n":0}'), '{"n":2}'),
    ],
    ids=["newer", "again", "older", "of an earlier attempt", "of one that is not there"],
)
def test_the_latest_save_of_the_latest_attempt_stays(store: Store, late: StateSaved, stays: str) -> None:
    job_id = store.run_one()
    store.commit(StateSaved(job_id, 1, 5, '{"n":5}'), ends(job_id, FAILED))
    store.now += 3600
    assert given(store) == '{"n":5}'
    store.commit(StateSaved(job_id, 2, 2, '{"n":2}'))
    store.commit(late)
    assert [value for _, value, _, _ in states(store)] == [stays]


def test_an_attempt_that_saves_nothing_leaves_what_those_before_it_have(store: Store) -> None:
    job_id = store.run_one()
    store.commit(StateSaved(job_id, 1, 5, '{"n":5}'), ends(job_id, FAILED))
    for number in (2, 3):
        store.now += 3600
        assert given(store) == '{"n":5}'
        store.commit(ends(job_id, FAILED, number=number))


@pytest.mark.parametrize(
    "value",
    ["", "{", "[]", "7", "null", '{"a":NaN}', '{"a":1}\0', '{"a":"' + "ü" * 40_000 + '"}'],
    ids=["nothing", "torn", "a list", "a number", "null", "no JSON", "more behind it", "too large"],
)
def test_what_no_attempt_saves_costs_its_job_and_its_neighbours_nothing(store: Store, value: str) -> None:
    job_id = store.run_one()
    committed = store.commit(
        StateSaved(job_id, 1, 1, '{"a":0}'),
        StateSaved(job_id, 1, 2, value),
        does(job_id, done("a", "1")),
        ends(job_id, FAILED),
    )
    assert not [answer for answer in committed.answers if isinstance(answer, Exception)]
    assert states(store) == [(job_id, '{"a":0}', 1, 1)]
    assert store.job(job_id)["steps"] == 1


def test_a_retry_by_a_person_keeps_the_state(store: Store) -> None:
    job_id = store.run_one()
    store.commit(StateSaved(job_id, 1, 1, '{"a":0}'), ends(job_id, FINAL))
    assert store.job(job_id)["status"] == "failed"
    store.commit(retries(job_id))
    assert given(store) == '{"a":0}'


def test_a_state_goes_with_its_job(store: Store) -> None:
    job_id = store.run_one()
    store.commit(StateSaved(job_id, 1, 1, '{"a":0}'), ends(job_id, FINAL))
    other = store.run_one()
    store.commit(StateSaved(other, 1, 1, "{}"))
    store.answer(Deletion((job_id,), 10_000))
    assert [job for job, *_ in states(store)] == [other]
