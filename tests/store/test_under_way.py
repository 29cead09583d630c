"""In which step each running job is: in memory as the file has it, after whatever happens."""

from __future__ import annotations

import pytest

from bgjobd.core.planner import Lanes
from bgjobd.store.items.daemons import DaemonStarted, Look
from bgjobd.store.items.item import Item
from bgjobd.store.pages.summaries import summary_of
from bgjobd.store.reader import Reader
from bgjobd.store.under_way import StepsUnderWay
from tests.store.samples import (
    COMPLETED,
    FAILED,
    LOST,
    NOW,
    Store,
    asked,
    begun,
    cancels,
    does,
    done,
    ends,
    starts,
    submission,
    waits,
)


class Scene:
    """A store each of whose transactions a memory follows, and a reader to compare it with."""

    def __init__(self, store: Store) -> None:
        self.store, self.reader, self.memory = store, Reader(store.state_dir), StepsUnderWay()

    def commit(self, *items: Item) -> None:
        committed = self.store.commit(*items, lanes=Lanes(4))
        self.memory.take(committed)
        for job in {job.id: job for job in committed.changed}.values():
            (listed,) = self.reader.summaries([job.id]).values()
            assert summary_of(job, self.memory.of(job))["step"] == listed["step"]

    def step(self) -> str | None:
        summary = self.reader.summary(1)
        assert summary is not None
        (again,) = [StepsUnderWay(self.reader.steps_under_way())]
        assert len(again) == len(self.memory) == (summary["step"] is not None)
        step: str | None = summary["step"]
        return step


@pytest.fixture
def scene(store: Store) -> Scene:
    scene = Scene(store)
    scene.commit(submission(asked(), asked()))
    scene.commit(starts(1), starts(2))
    return scene


def test_a_job_is_in_the_step_that_began_last_and_has_not_ended(scene: Scene) -> None:
    for note, step in (
        (begun("outer", NOW + 1), "outer"),
        (begun("inner", NOW + 2), "inner"),
        (done("inner", at=NOW + 3), "outer"),
        (begun("other", NOW + 4), "other"),
        (begun("outer", NOW + 5), "outer"),
        (done("outer", at=NOW + 6), "other"),
        (done("other", at=NOW + 7), None),
    ):
        first = scene.store.rows("SELECT noted FROM job_attempts WHERE job_id = 1")[0]["noted"]
        scene.commit(does(1, note, first=first))
        assert scene.step() == step


def test_what_is_told_at_once_is_told_as_it_came(scene: Scene) -> None:
    scene.commit(does(1, begun("a"), done("a"), begun("b", NOW + 1)), ends(2, COMPLETED))
    assert scene.step() == "b"
    scene.commit(does(1, begun("c", NOW + 2), first=3), ends(1, COMPLETED))
    assert scene.step() is None


@pytest.mark.parametrize("end", [ends(1, FAILED), ends(1, LOST), waits(1)], ids=["failed", "lost", "waits"])
def test_an_attempt_that_is_over_is_in_no_step_and_the_next_one_in_its_own(scene: Scene, end: Item) -> None:
    scene.commit(does(1, begun("a"), begun("b", NOW + 1)))
    scene.commit(end)
    assert scene.step() is None
    scene.commit(does(1, begun("late", NOW + 2), first=2))
    assert scene.step() is None


def test_the_next_attempt_is_in_the_step_that_it_has_begun_itself(scene: Scene) -> None:
    scene.commit(does(1, begun("a")))
    scene.commit(ends(1, FAILED))
    scene.store.now += 10
    scene.commit(Look())
    assert scene.step() is None
    scene.commit(does(1, begun("late", NOW + 9), first=1))
    assert scene.step() is None
    scene.commit(does(1, begun("b", NOW + 10), number=2))
    assert scene.step() == "b"
    scene.commit(does(1, begun("later", NOW + 11), first=2))
    assert scene.step() == "b"
    scene.commit(cancels(1))
    assert scene.step() == "b"


def test_a_daemon_that_starts_anew_knows_where_the_jobs_are_that_run_on(scene: Scene) -> None:
    scene.commit(does(1, begun("a"), begun("b", NOW + 1), done("b", at=NOW + 1)))
    scene.memory = StepsUnderWay(scene.reader.steps_under_way())
    scene.commit(DaemonStarted())
    assert scene.step() == "a"
    scene.commit(does(1, done("a", at=NOW + 2), first=3))
    assert scene.step() is None
