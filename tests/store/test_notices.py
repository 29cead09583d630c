"""What a transaction tells the other daemons of its database, and how that is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bgjob.words import EntryType
from bgjobd.core.gate import KeyRules
from bgjobd.core.planner import Lanes
from bgjobd.core.verdict import StopReason
from bgjobd.store.items.attempts import Noted
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.holds import QueuePaused, QueueResumed
from bgjobd.store.items.item import Item
from bgjobd.store.notices import MOST_BYTES, Notice, notice_from, text_of
from tests.store.samples import COMPLETED, FAILED, NO_SLOTS, NOW, Store, asked, cancels, ends, submission

HERE = "here"


class Overheard:
    """What a store's transactions tell."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self._store = store
        self._texts: list[str] = []
        monkeypatch.setattr(store.database, "tell", self._texts.append)
        store.ledger.told_as = HERE

    def of(self, *items: Item, lanes: Lanes = NO_SLOTS) -> Notice | None:
        self._texts.clear()
        self._store.commit(*items, lanes=lanes)
        assert len(self._texts) <= 1
        return notice_from(self._texts[0]) if self._texts else None


@pytest.fixture
def told(store: Store, monkeypatch: pytest.MonkeyPatch) -> Overheard:
    return Overheard(store, monkeypatch)


def notice(**given: Any) -> Notice:
    sets = {name: frozenset(value) for name, value in given.items() if isinstance(value, set)}
    return Notice(HERE, **given | sets)


SLOTS = Lanes(1, {"default": None})


def test_nothing_is_told_of_a_transaction_that_came_to_nothing(told: Overheard) -> None:
    assert told.of(Look()) is None


def test_nothing_is_told_where_nobody_listens(told: Overheard, store: Store) -> None:
    store.ledger.told_as = None
    assert told.of(submission(asked())) is None


def test_a_job_that_nobody_has_started_is_told_by_its_queue(told: Overheard) -> None:
    assert told.of(submission(asked(queue="mail"))) == notice(queues={"mail"})
    later = told.of(submission(asked(queue="later", scheduled_at=NOW + 60)))
    assert later == notice(queues={"later"})


def test_a_job_that_has_started_where_it_was_submitted_concerns_no_queue(told: Overheard) -> None:
    started = told.of(submission(asked()), lanes=SLOTS)
    assert started is not None
    assert (started.queues, started.jobs) == (frozenset(), frozenset())


def test_a_claim_an_end_and_a_retry_are_told_by_the_ids_of_their_jobs(told: Overheard, store: Store) -> None:
    first, second = store.submit(asked(), asked())
    claimed = told.of(Look(), lanes=SLOTS)
    assert claimed is not None
    assert claimed.jobs == {first}
    ended = told.of(ends(first, COMPLETED))
    assert ended is not None
    assert (ended.ended, ended.jobs, ended.queues) == ({first}, frozenset(), frozenset())
    store.claim(SLOTS)
    retried = told.of(ends(second, FAILED))
    assert retried is not None
    assert (retried.ended, retried.jobs, retried.queues) == (frozenset(), {second}, {"default"})


def test_a_cancel_tells_which_attempt_is_to_be_stopped(told: Overheard, store: Store) -> None:
    job_id = store.run_one()
    cancelled = told.of(cancels(job_id))
    assert cancelled is not None
    assert cancelled.stops == {((job_id, 1), StopReason.CANCELLED)}
    assert cancelled.jobs == {job_id}


def test_what_is_logged_of_a_job_that_is_as_before_is_told(told: Overheard, store: Store) -> None:
    job_id = store.run_one()
    assert told.of(Noted(job_id, 1, EntryType.INFO, "looked at")) == notice()


def test_a_pause_and_its_end_are_told_by_the_queue(told: Overheard) -> None:
    assert told.of(QueuePaused("mail", NOW + 60)) == notice(queues={"mail"})
    assert told.of(QueueResumed("mail")) == notice(queues={"mail"})


KEYED = replace(SLOTS, keys={"default": KeyRules(1)})


def test_a_job_that_has_come_to_the_place_of_its_key_is_told_by_its_queue_unless_it_started_here(
    told: Overheard, store: Store
) -> None:
    store.commit(submission(*[asked(key="one") for _ in range(3)]), lanes=KEYED)
    first, second, third = 1, 2, 3
    ended = told.of(ends(first, COMPLETED), lanes=replace(KEYED, slots=0))
    assert ended is not None
    assert (ended.jobs, ended.queues) == ({second}, {"default"})
    store.claim(KEYED)
    ended = told.of(ends(second, COMPLETED), lanes=KEYED)
    assert ended is not None
    assert (ended.jobs, ended.queues) == ({third}, frozenset())


def test_what_is_told_is_read_as_it_was() -> None:
    whole = Notice(
        HERE,
        queues=frozenset({"a", "ü"}),
        jobs=frozenset({1, 2}),
        ended=frozenset({3}),
        groups=frozenset({4}),
        valued=frozenset({5}),
        stops=frozenset({((6, 2), StopReason.CANCELLED)}),
        schedules=True,
        any_queue=True,
        look=True,
    )
    assert notice_from(text_of(whole)) == whole


def test_of_too_much_it_is_told_that_everything_may_have_changed() -> None:
    text = text_of(notice(jobs=set(range(10**9, 10**9 + 2000))))
    assert len(text.encode()) <= MOST_BYTES
    assert notice_from(text) == notice(look=True)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "7", '{"log":1}', '{"by":"a","stops":[[1]]}', '{"by":"a","jobs":7}', "[" * 5000),
        *('{"by":"a","log":"1"}', '{"by":"a","log":1e400}', '{"by":"a","log":-1}', '{"by":"a","look":"x"}'),
        *('{"by":5}', '{"by":"a","jobs":[1.5]}', '{"by":"a","ended":{"x":1}}', '{"by":"a","queues":[1]}'),
        *('{"by":"a","groups":[9223372036854775808]}', '{"by":"a","stops":[["1",1,"cancelled"]]}'),
    ],
)
def test_what_is_none_of_ours_has_everything_looked_at(text: str) -> None:
    assert notice_from(text) == Notice("", look=True)


def test_what_a_newer_daemon_tells_beside_it_is_left_alone() -> None:
    assert notice_from('{"by":"there","log":3,"moods":[1]}') == Notice("there", log=3)
