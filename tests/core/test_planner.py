"""Who gets a slot: never too many, the right ones, and none left idle."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bgjobd.core.planner import Lanes, choose, free_slots, room
from tests.core.samples import seeded


@dataclass(frozen=True)
class Waiting:
    id: int
    queue: str = "default"
    priority: int = 0

    @property
    def order(self) -> tuple[int, int]:
        return -self.priority, self.id


@dataclass(frozen=True)
class Scene:
    """Lanes, what runs, what is paused, and everything that is due."""

    lanes: Lanes
    running: dict[str, int]
    paused: frozenset[str]
    waiting: list[Waiting]

    @property
    def free(self) -> int:
        return free_slots(self.lanes, self.running)

    @property
    def places(self) -> dict[str, int]:
        return room(self.lanes, self.running, self.paused)

    def candidates(self) -> list[Waiting]:
        """As the store is asked: of each queue with room, as many as it has room for, the first ones."""
        return [
            job
            for queue, count in self.places.items()
            for job in sorted(self.of(queue), key=lambda job: job.order)[:count]
        ]

    def of(self, queue: str) -> list[Waiting]:
        return [job for job in self.waiting if job.queue == queue]

    def chosen(self) -> list[Waiting]:
        return choose(self.free, self.places, self.candidates())

    def is_open(self, queue: str) -> bool:
        return queue in self.lanes.queues and queue not in self.paused


NAMES = ["default", "mail", "video", "gone"]
names = st.sampled_from(NAMES)
lanes = st.builds(
    Lanes,
    st.integers(0, 8),
    st.dictionaries(st.sampled_from(NAMES[:3]), st.one_of(st.none(), st.integers(0, 5))),
)
jobs = st.lists(
    st.builds(Waiting, st.integers(1, 1000), names, st.integers(-2, 2)),
    max_size=30,
    unique_by=lambda job: job.id,
)
scenes = st.builds(Scene, lanes, st.dictionaries(names, st.integers(0, 4)), st.frozensets(names), jobs)


@seeded
@given(scenes)
def test_no_more_start_than_slots_are_free(scene: Scene) -> None:
    chosen = scene.chosen()
    assert len(set(chosen)) == len(chosen)
    if chosen:
        assert sum(scene.running.values()) + len(chosen) <= scene.lanes.slots


@seeded
@given(scenes)
def test_no_queue_gets_more_than_its_own_slots(scene: Scene) -> None:
    for queue, count in Counter(job.queue for job in scene.chosen()).items():
        own = scene.lanes.queues[queue]
        assert own is None or scene.running.get(queue, 0) + count <= own


@seeded
@given(scenes)
def test_paused_and_unknown_queues_get_nothing(scene: Scene) -> None:
    assert all(scene.is_open(job.queue) for job in scene.chosen())
    assert all(scene.is_open(queue) for queue in scene.places)


@seeded
@given(scenes)
def test_the_chosen_come_by_priority_and_then_by_age(scene: Scene) -> None:
    chosen = scene.chosen()
    assert chosen == sorted(chosen, key=lambda job: job.order)


@seeded
@given(scenes)
def test_a_job_is_left_behind_only_where_those_ahead_of_it_filled_the_slots(scene: Scene) -> None:
    chosen = scene.chosen()
    for left in set(scene.waiting) - set(chosen):
        if not scene.is_open(left.queue):
            continue
        ahead = [job for job in chosen if job.order < left.order]
        own = scene.lanes.queues[left.queue]
        in_queue = scene.running.get(left.queue, 0) + sum(job.queue == left.queue for job in ahead)
        is_queue_full = own is not None and in_queue >= own
        is_all_full = sum(scene.running.values()) + len(ahead) >= scene.lanes.slots
        assert is_queue_full or is_all_full


@seeded
@given(scenes)
def test_the_candidates_asked_for_are_enough_to_choose_from(scene: Scene) -> None:
    assert scene.chosen() == choose(scene.free, scene.places, scene.waiting)


@seeded
@given(scenes)
def test_closed_lanes_start_nothing(scene: Scene) -> None:
    closed = scene.lanes.closed()
    assert closed.queues == scene.lanes.queues
    assert free_slots(closed, scene.running) == 0
    assert room(closed, scene.running, scene.paused) == {}


def test_without_queues_of_its_own_everything_goes_through_default() -> None:
    assert room(Lanes(4), {"default": 1}, ()) == {"default": 3}


def test_attempts_of_a_queue_that_is_no_more_hold_their_slots() -> None:
    assert room(Lanes(3), {"gone": 2}, ()) == {"default": 1}


def test_more_running_than_slots_leaves_no_room_and_nothing_negative() -> None:
    assert free_slots(Lanes(2), {"default": 5}) == 0
    assert room(Lanes(9, {"mail": 2, "default": None}), {"mail": 3}, ()) == {"default": 6}


def test_an_urgent_job_goes_before_an_older_one_of_another_queue() -> None:
    old, urgent = Waiting(1, "default"), Waiting(2, "mail", priority=1)
    assert choose(1, {"default": 1, "mail": 1}, [old, urgent]) == [urgent]


def test_a_full_queue_does_not_keep_another_from_its_slots() -> None:
    mail = [Waiting(number, "mail", priority=5) for number in (1, 2)]
    assert choose(2, {"default": 2, "mail": 1}, [*mail, Waiting(3)]) == [mail[0], Waiting(3)]
