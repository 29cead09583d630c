"""Jobs in memory against the same jobs read: as the file has them after every change, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bgjob.codec import to_json
from bgjob.words import EntryType
from bgjobd.core.facts import Changed, ClockJumped
from bgjobd.core.gate import KeyRules, Share
from bgjobd.core.job import Ending, RetryPolicy, Usage
from bgjobd.core.planner import Lanes
from bgjobd.core.rates import Rate
from bgjobd.store.committed import Committed
from bgjobd.store.items.attempts import AttemptNotes, Note, Noted
from bgjobd.store.items.daemons import DaemonStarted, Look
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.wishes import JobsChanged
from bgjobd.store.reader import Reader
from bgjobd.store.reads.stored_jobs import StoredJob
from bgjobd.store.recent import RecentJobs
from tests.store.samples import (
    COMPLETED,
    FAILED,
    LOST,
    NO_SLOTS,
    STOPPED,
    SUBMITTER,
    USAGE,
    Store,
    asked,
    cancels,
    ends,
    retries,
    starts,
    submission,
)

_OPEN = Lanes(4)


class Scene:
    """A store each of whose transactions a memory follows, and a reader to compare it with."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reader = Reader(store.state_dir)
        self.recent = RecentJobs()

    def commit(self, *items: Item, lanes: Lanes = NO_SLOTS) -> Committed:
        committed = self.store.commit(*items, lanes=lanes)
        self.recent.take(committed)
        return committed

    def submit(self, **given: Any) -> int:
        (stored,) = self.commit(submission(asked(**given))).answers[0]
        return int(stored.id)

    def run(self, *items: Item) -> None:
        """Commit each by itself, a second after the other, with slots to give; each time memory and file agree."""
        for item in items:
            self.store.now += 1
            self.commit(item, lanes=_OPEN)
            self.check(1)

    def check(self, job_id: int) -> None:
        known, stored = self.recent.job(job_id), self.reader.job(job_id)
        assert known is not None
        assert stored is not None
        assert as_told(known) == as_told(stored)
        assert self.recent.has_ended(job_id) is (stored.columns["finished_at"] is not None)


def as_told(job: StoredJob) -> str:
    """What a caller is sent, to the letter."""
    return to_json([job.columns, list(job.attempts), job.next])


@pytest.fixture
def scene(store: Store) -> Iterator[Scene]:
    scene = Scene(store)
    yield scene
    scene.reader.close()


def _notes(*told: float | None) -> AttemptNotes:
    notes = [Note(1.5, EntryType.INFO, "so far", fraction) for fraction in told]
    return AttemptNotes(1, 1, 0, tuple(notes))


_BEGUN = (Look(), starts(1))


@pytest.mark.parametrize(
    ("status", "items"),
    [
        ("pending", ()),
        ("running", (Look(),)),
        ("running", _BEGUN),
        ("running", (*_BEGUN, _notes(0.5, None))),
        ("running", (*_BEGUN, cancels(1))),
        ("running", (*_BEGUN, ends(1, Ending.not_started("no room", delay=0.0)))),
        ("completed", (*_BEGUN, ends(1, COMPLETED, usage=USAGE))),
        ("completed", (*_BEGUN, ends(1, COMPLETED, usage=Usage(1, 0, 2, 3)))),
        ("completed", (*_BEGUN, _notes(1), ends(1, COMPLETED), Noted(1, 1, EntryType.INFO, "left"))),
        ("pending", (*_BEGUN, ends(1, FAILED, usage=USAGE))),
        ("pending", (*_BEGUN, ends(1, LOST))),
        ("pending", (*_BEGUN, ends(1, Ending.snoozed(9.0)))),
        ("failed", (*_BEGUN, ends(1, Ending.failed("E", "no", may_retry=False)))),
        ("running", (*_BEGUN, ends(1, Ending.failed("E", "no", may_retry=False)), retries(1))),
        ("cancelled", (*_BEGUN, cancels(1), ends(1, STOPPED))),
        ("failed", (*_BEGUN, ends(1, Ending.failed("É", "\u2028", may_retry=False)))),
    ],
)
def test_a_job_is_as_a_query_has_it_after_every_change(
    scene: Scene, status: str, items: tuple[Item, ...]
) -> None:
    policy = RetryPolicy(retry_delay=5, max_retry_delay=60)
    scene.submit(parameters={"to": "é", "token": "s3cret"}, sensitive=("token",), policy=policy, timeout=30)
    scene.check(1)
    scene.run(*items)
    known = scene.recent.job(1)
    assert known is not None
    assert known.columns["status"] == status
    assert "s3cret" not in as_told(known)


def test_a_job_that_is_cancelled_before_it_starts_has_ended(scene: Scene) -> None:
    scene.submit(scheduled_at=scene.store.now + 60)
    scene.check(1)
    scene.commit(cancels(1))
    scene.check(1)
    assert scene.recent.has_ended(1)


def test_a_job_that_is_changed_is_as_a_query_has_it(scene: Scene) -> None:
    scene.submit()
    fact = Changed(1000, 5, "mail", expires_at=scene.store.now + 60, timeout=9, max_retries=0)
    scene.commit(JobsChanged((1,), fact, SUBMITTER))
    scene.check(1)


def test_several_changes_of_one_transaction_are_all_seen(scene: Scene) -> None:
    scene.submit()
    scene.commit(Look(), lanes=_OPEN)
    scene.commit(starts(1), _notes(0.5), ends(1, COMPLETED, usage=USAGE), submission(asked()), lanes=_OPEN)
    scene.check(1)
    scene.check(2)


def test_an_item_that_was_refused_has_changed_nothing(scene: Scene) -> None:
    scene.submit()
    scene.commit(cancels(1, 77))
    scene.check(1)
    assert not scene.recent.has_ended(1)


def test_a_job_is_found_by_its_idempotency_key(scene: Scene) -> None:
    for key in ("a", None, "b"):
        scene.submit(idempotency_key=key)
    assert [scene.recent.id_of(key) for key in ("a", "b", "c")] == [1, 3, None]
    assert [scene.reader.id_of(key) for key in ("a", "b", "c")] == [1, 3, None]


def test_a_job_that_was_deleted_is_not_known(scene: Scene) -> None:
    for key in ("a", "b"):
        scene.submit(idempotency_key=key)
    scene.commit(cancels(1))
    scene.submit()  # whose log entry is the newest, which is kept with its job
    assert scene.commit(Deletion((1,), last_entry=99)).answers[0].jobs == (1,)
    assert (scene.recent.job(1), scene.recent.has_ended(1), scene.recent.id_of("a")) == (None, None, None)
    scene.check(2)


@pytest.mark.parametrize("item", [ClockJumped(60.0), DaemonStarted()])
def test_where_time_has_moved_with_the_clock_nothing_is_known(scene: Scene, item: Item) -> None:
    scene.submit()
    scene.commit(item)
    assert scene.recent.job(1) is None


def test_jobs_of_a_key_are_as_a_query_has_them_wherever_they_are_put(scene: Scene) -> None:
    def commit(*items: Item, slots: int = 0, **rules: Any) -> None:
        scene.store.now += 1
        keys = {"default": KeyRules(**{"slots": 1, "share": Share.KEY, **rules})}
        scene.commit(*(items or (Look(),)), lanes=Lanes(slots, keys=keys))
        for job_id in range(1, scene.store.count("background_jobs") + 1):
            known, stored = scene.recent.job(job_id), scene.reader.job(job_id)
            assert stored is not None
            assert known is None or as_told(known) == as_told(stored), job_id

    later = asked(key="a", scheduled_at=scene.store.now + 3)
    commit(submission(*[asked(key="a")] * 3, later, asked(key="b")))
    assert len(scene.recent) == 5
    commit(submission(asked(key="a", priority=5)))  # it changes with the one that has the place
    commit(slots=9)
    commit(ends(6, COMPLETED))
    assert scene.store.job(4)["ready"] == 3  # its time has come
    assert len(scene.recent) == 6
    commit(slots=9, rate=Rate(1, 60.0))
    commit(slots=0)
    commit(slots=9, rate=Rate(1, 60.0))
    assert scene.reader.job(2).columns["waits_until"] is not None
    commit(share=Share.NONE)
    commit(slots=0, share=Share.NONE)
    assert [scene.store.job(2)[name] for name in ("turn", "ready")] == [0, 3]


def test_a_job_that_is_given_its_turn_and_starts_at_once_has_no_turn_any_more(scene: Scene) -> None:
    lanes = Lanes(9, keys={"default": KeyRules(1, None, Share.KEY)})
    scene.commit(submission(asked(key="a")), lanes=lanes)
    assert scene.store.job(1)["status"] == "running"
    scene.check(1)


def test_after_a_transaction_that_may_have_failed_nothing_is_known_of_those_before(scene: Scene) -> None:
    scene.submit()
    scene.recent.take(None)
    scene.submit()
    assert scene.recent.job(1) is None
    scene.check(2)


def test_a_job_of_which_not_every_change_was_seen_is_not_known(scene: Scene) -> None:
    scene.store.submit(asked())
    scene.commit(cancels(1))
    assert scene.recent.job(1) is None


@pytest.mark.parametrize(
    "grow",
    [
        lambda scene: scene.submit(parameters={"text": "x" * 5000}),
        lambda scene: (scene.submit(), scene.run(*_BEGUN, ends(1, FAILED)), _end_large(scene)),
    ],
)
def test_what_is_large_is_not_kept(scene: Scene, grow: Callable[[Scene], object]) -> None:
    grow(scene)
    assert scene.recent.job(1) is None
    assert len(scene.recent) == 0


def _end_large(scene: Scene) -> None:
    scene.store.now += 60
    scene.commit(Look(), lanes=_OPEN)
    scene.commit(ends(1, Ending.completed('"' + "x" * 5000 + '"'), 2))


def test_the_oldest_make_room_for_new_ones(scene: Scene) -> None:
    scene.commit(submission(*[asked() for _ in range(300)]))
    scene.commit(submission(*[asked() for _ in range(10)]))
    assert len(scene.recent) == 256
    assert scene.recent.job(54) is None
    scene.check(55)
    scene.check(310)


def test_what_another_daemon_has_changed_is_asked_of_the_file_also_where_that_is_heard_of_too_early(
    scene: Scene,
) -> None:
    first = scene.submit()
    scene.recent.forget([first, first + 1])
    assert scene.recent.job(first) is None
    assert scene.recent.job(scene.submit()) is None
    assert scene.recent.job(scene.submit()) is not None
