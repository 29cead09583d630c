"""Who gets a slot: never too many, the right ones, and none left idle."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjobd.core.planner import Lanes, choose, free_by_class, free_by_queue, free_slots, may_go
from tests.core.samples import seeded


@dataclass(frozen=True)
class Waiting:
    id: int
    queue: str = "default"
    priority: int = 0
    class_name: str = "Plain"
    turn: int = 0

    @property
    def order(self) -> tuple[int, int]:
        return -self.priority, self.id


@dataclass(frozen=True)
class Scene:
    """Lanes, what runs, what is paused, and everything that is due."""

    lanes: Lanes
    under_way: dict[tuple[str, str], int]
    paused: frozenset[str]
    waiting: list[Waiting]

    @property
    def running(self) -> Counter[str]:
        return self._running(0)

    @property
    def running_classes(self) -> Counter[str]:
        return self._running(1)

    def _running(self, place: int) -> Counter[str]:
        running: Counter[str] = Counter()
        for names, count in self.under_way.items():
            running[names[place]] += count
        return running

    @property
    def free(self) -> int:
        return free_slots(self.lanes, self.running)

    @property
    def places(self) -> dict[str, int]:
        return free_by_queue(self.lanes, self.running, self.paused)

    @property
    def of_classes(self) -> dict[str, int]:
        return free_by_class(self.lanes, self.running_classes)

    def candidates(self) -> list[Waiting]:
        """As the store is asked: of each class in each queue with room, as many as could start, the first ones."""
        return [
            job
            for queue, count in self.places.items()
            for name in CLASSES
            for job in self.of(queue, name)[: min(count, self.of_classes.get(name, count))]
        ]

    def of(self, queue: str, class_name: str) -> list[Waiting]:
        found = [job for job in self.waiting if (job.queue, job.class_name) == (queue, class_name)]
        return sorted(found, key=lambda job: job.order)

    def chosen(self) -> list[Waiting]:
        return choose(self.free, self.places, self.candidates(), self.of_classes)

    def started_one_by_one(self) -> list[Waiting]:
        """The same by the plain words of the rules: the first of all that has room everywhere, until none has."""
        queues, classes = self.running, self.running_classes
        started: list[Waiting] = []
        while True:
            for job in sorted(set(self.waiting) - set(started), key=lambda job: job.order):
                own = self.lanes.queues.get(job.queue)
                of_class = self.lanes.classes.get(job.class_name)
                if (
                    self.is_open(job.queue)
                    and queues.total() < self.lanes.slots
                    and (own is None or queues[job.queue] < own)
                    and (of_class is None or classes[job.class_name] < of_class)
                ):
                    queues[job.queue] += 1
                    classes[job.class_name] += 1
                    started.append(job)
                    break
            else:
                return started

    def is_open(self, queue: str) -> bool:
        return queue in self.lanes.queues and queue not in self.paused


NAMES = ["default", "mail", "video", "gone"]
CLASSES = ["Plain", "Narrow", "Narrower"]
names = st.sampled_from(NAMES)
classes = st.sampled_from(CLASSES)
lanes = st.builds(
    Lanes,
    st.integers(0, 8),
    st.dictionaries(st.sampled_from(NAMES[:3]), st.one_of(st.none(), st.integers(0, 5))),
    st.dictionaries(st.sampled_from(CLASSES[1:]), st.integers(1, 3)),
)
jobs = st.lists(
    st.builds(Waiting, st.integers(1, 1000), names, st.integers(-2, 2), classes),
    max_size=30,
    unique_by=lambda job: job.id,
)
under_way = st.dictionaries(st.tuples(names, classes), st.integers(0, 2), max_size=4)
scenes = st.builds(Scene, lanes, under_way, st.frozensets(names), jobs)


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
def test_no_class_gets_more_than_its_own_slots_in_all_queues_together(scene: Scene) -> None:
    for name, count in Counter(job.class_name for job in scene.chosen()).items():
        own = scene.lanes.classes.get(name)
        assert own is None or scene.running_classes[name] + count <= own


@seeded
@given(scenes)
def test_the_chosen_are_those_that_would_start_one_by_one(scene: Scene) -> None:
    assert scene.chosen() == scene.started_one_by_one()


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
        of_class = scene.lanes.classes.get(left.class_name)
        in_class = scene.running_classes[left.class_name] + sum(
            job.class_name == left.class_name for job in ahead
        )
        is_class_full = of_class is not None and in_class >= of_class
        is_all_full = sum(scene.running.values()) + len(ahead) >= scene.lanes.slots
        assert is_queue_full or is_class_full or is_all_full


@seeded
@given(scenes)
def test_the_candidates_asked_for_are_enough_to_choose_from(scene: Scene) -> None:
    assert scene.chosen() == choose(scene.free, scene.places, scene.waiting, scene.of_classes)


@seeded
@given(scenes)
def test_closed_lanes_start_nothing(scene: Scene) -> None:
    closed = scene.lanes.closed()
    assert closed == replace(scene.lanes, slots=0)
    assert free_slots(closed, scene.running) == 0
    assert free_by_queue(closed, scene.running, scene.paused) == {}


def test_without_queues_of_its_own_everything_goes_through_default() -> None:
    assert free_by_queue(Lanes(4), {"default": 1}, ()) == {"default": 3}


def test_attempts_of_a_queue_that_is_no_more_hold_their_slots() -> None:
    assert free_by_queue(Lanes(3), {"gone": 2}, ()) == {"default": 1}


def test_more_running_than_slots_leaves_no_room_and_nothing_negative() -> None:
    assert free_slots(Lanes(2), {"default": 5}) == 0
    assert free_by_queue(Lanes(9, {"mail": 2, "default": None}), {"mail": 3}, ()) == {"default": 6}


def test_an_urgent_job_goes_before_an_older_one_of_another_queue() -> None:
    old, urgent = Waiting(1, "default"), Waiting(2, "mail", priority=1)
    assert choose(1, {"default": 1, "mail": 1}, [old, urgent]) == [urgent]


def test_a_full_queue_does_not_keep_another_from_its_slots() -> None:
    mail = [Waiting(number, "mail", priority=5) for number in (1, 2)]
    assert choose(2, {"default": 2, "mail": 1}, [*mail, Waiting(3)]) == [mail[0], Waiting(3)]


def test_a_full_class_does_not_keep_those_behind_it_from_their_slots() -> None:
    narrow = [Waiting(number, priority=5, class_name="Narrow") for number in (1, 2)]
    assert choose(2, {"default": 2}, [*narrow, Waiting(3)], {"Narrow": 1}) == [narrow[0], Waiting(3)]
    assert choose(2, {"default": 2}, narrow, {"Narrow": 0}) == []


def test_a_class_with_more_running_than_it_may_have_is_full_and_no_less() -> None:
    lanes = Lanes(9, classes={"Narrow": 2, "Narrower": 1})
    assert free_by_class(lanes, {"Narrow": 5, "Plain": 1}) == {"Narrow": 0, "Narrower": 1}


def test_a_class_of_which_nothing_can_start_gets_no_slot_and_leaves_them_to_the_others() -> None:
    lanes = Lanes(3, {"default": None}, {"a.B": 2}).without(["a.C"])
    waiting = [Waiting(1, priority=9, class_name="a.C"), Waiting(2, class_name="a.B"), Waiting(3)]
    chosen = choose(3, {"default": 3}, waiting, free_by_class(lanes, {}))
    assert [one.id for one in chosen] == [2, 3]


@pytest.mark.parametrize(
    ("crashes", "on_the_way", "has_suspect", "expected"),
    [
        (0, 0, False, True),
        (0, 5, False, True),
        (0, 1, True, False),
        (1, 0, False, True),
        (1, 1, False, False),
        (2, 1, True, False),
    ],
)
def test_a_start_that_may_end_the_fork_server_goes_alone_and_nothing_goes_beside_it(
    crashes: int, on_the_way: int, has_suspect: bool, expected: bool
) -> None:
    assert may_go(crashes, on_the_way, has_suspect) is expected
