"""Whatever happens to jobs of steps, in whatever order: each wait has one outcome for good, and the books balance."""

from __future__ import annotations

import random
from typing import Any

import pytest

from bgjob.errors import RequestError
from bgjobd.core.facts import ClockJumped, RetryRequested
from bgjobd.core.gate import KeyRules, Share
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.core.state_machine import IllegalFactError
from bgjobd.store.audit import Audit
from bgjobd.store.items.daemons import DaemonStarted, Look
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.submissions import AgainAsked
from bgjobd.store.items.wishes import JobRequests
from bgjobd.store.reader import Reader
from bgjobd.store.tally import Tally, counted
from tests.store.samples import (
    COMPLETED,
    FAILED,
    LOST,
    NOW,
    STOPPED,
    SUBMITTER,
    Row,
    Store,
    asked,
    begun,
    cancels,
    does,
    done,
    ends,
    retries,
    signal,
    starts,
    submission,
    waits,
)

NAMES = ("a", "b")
RULES = (KeyRules(), KeyRules(slots=1), KeyRules(share=Share.KEY), KeyRules(slots=2, share=Share.KEY))


class World:
    """A store, and what has become of each wait as it was first seen."""

    def __init__(self, store: Store, chance: random.Random) -> None:
        self.store, self.chance = store, chance
        self.lanes = Lanes(2, keys={"default": chance.choice(RULES)})
        self.noted: dict[tuple[int, int], int] = {}
        self.seen: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self.audit, self.reader = Audit(store.state_dir), Reader(store.state_dir)
        store.commit(Look(), lanes=self.lanes)  # which adopts the rules

    def go_on(self) -> None:
        store, chance = self.store, self.chance
        store.now += chance.choice((0.0, 0.0, 3.0, 40.0))
        if chance.random() < 0.05:
            store.close()
            store.now += chance.choice((-500.0, 0.0, 500.0))
            store.open()
            items: list[Item] = [DaemonStarted()]
        elif chance.random() < 0.05:
            delta = chance.choice((-300.0, 300.0))
            store.now += delta
            items = [ClockJumped(delta)]
        else:
            items = [one for _ in range(chance.randint(1, 3)) for one in self.deed()]
        committed = store.commit(*items, lanes=chance.choice((self.lanes, self.lanes.closed())))
        unexpected = [
            answer
            for answer in committed.answers
            if isinstance(answer, Exception) and not isinstance(answer, RequestError | IllegalFactError)
        ]
        assert unexpected == []
        assert _places(committed.tally) == _places(counted(store.database, store.now))

    def deed(self) -> list[Item]:
        """Something that is asked for, or that happens to an attempt that runs."""
        chance, store = self.chance, self.store
        running = store.rows("SELECT id FROM background_jobs WHERE status = 'running'")
        newest = store.rows("SELECT max(id) AS id FROM background_jobs")[0]["id"] or 0
        any_id = chance.randint(1, newest + 1)
        match chance.randint(0, 9):
            case 0:
                return [submission(asked(key=chance.choice("xy"), retry_count=chance.randint(0, 4)))]
            case 1 | 2:
                key = chance.choice((None, None, f"k{chance.randint(0, 9)}"))
                return [signal(any_id, chance.choice(NAMES), chance.randint(0, 99), key)]
            case 3 if chance.random() < 0.6:
                return [chance.choice((cancels, retries, from_start, self.again))(any_id)]
            case 4 if chance.random() < 0.3:
                return [Deletion((any_id,), 10**9)]
            case _ if running:
                return self.word_of(chance.choice(running)["id"])
        return [Look()]

    def again(self, job_id: int) -> Item:
        """The call of a job once more, from a step on or not."""
        known, step = self.reader.known(job_id), self.chance.choice((None, "one", "two", "three"))
        source = None if known is None or not known[0].status.is_final else known[0]
        wanted = None if source is None else asked(key=source.key)
        return AgainAsked(job_id, step, source, wanted, None, "", SUBMITTER)

    def word_of(self, job_id: int) -> list[Item]:
        """What an attempt tells, and how it ends, or is killed."""
        chance, number = self.chance, len(self.store.attempts(job_id))
        if (job_id, number) not in self.noted and chance.random() < 0.1:
            return [ends(job_id, Ending.not_started("no room"), number, self.store.now)]
        first = self.noted.get((job_id, number), 0)
        name = chance.choice(("one", "two", "three", *NAMES))
        told = [begun(name), done(name, str(number))][: chance.randint(0, 2)]
        self.noted[job_id, number] = first + len(told)
        ending = chance.choice((COMPLETED, FAILED, FAILED, LOST, STOPPED, Ending.snoozed(5.0)))
        last = chance.choice(
            ([], [ends(job_id, ending, number, self.store.now)], [self.wait_of(job_id, number)])
        )
        return [starts(job_id, number), does(job_id, *told, number=number, first=first), *last]

    def wait_of(self, job_id: int, number: int) -> Item:
        """The next wait of its kind, or one that a forged journal asks for once more."""
        chance = self.chance
        kind, name = chance.choice((("sleep", ""), ("until", ""), *[("signal", name) for name in NAMES]))
        settled = "job_id = ? AND kind = ? AND name = ? AND number IS NOT NULL"
        (row,) = self.store.rows(f"SELECT count(*) AS n FROM job_steps WHERE {settled}", job_id, kind, name)
        turn = max(1, row["n"] + (chance.random() < 0.9))
        delay, until = None, None
        if kind == "until":
            until = NOW + chance.choice((-50.0, 50.0, 400.0))
        elif kind == "sleep" or chance.random() < 0.5:
            delay = chance.choice((0.0, 20.0, 200.0))
        return waits(job_id, kind, name, turn, delay, until, number)

    def check(self) -> None:
        assert self.audit.oddities() == ()
        now = {_place(row): _outcome(row) for row in self._settled()}
        there = {(row["id"], row["life"]) for row in self.store.rows("SELECT id, life FROM background_jobs")}
        assert {place: now.get(place) for place in self.seen if place[:2] in there} == {
            place: outcome for place, outcome in self.seen.items() if place[:2] in there
        }
        self.seen = now

    def _settled(self) -> list[Row]:
        life = "(SELECT life FROM background_jobs WHERE id = job_id) AS life"
        return self.store.rows(f"SELECT *, {life} FROM job_steps WHERE number IS NOT NULL")

    def end(self) -> None:
        """Once every signal has come, and all time has passed, nothing waits any more."""
        self.lanes = Lanes(99, keys=self.lanes.keys)
        for _ in range(60):
            self.store.now += 1000.0
            open_ids = self.store.rows("SELECT id, status FROM background_jobs WHERE finished_at IS NULL")
            if not open_ids:
                return
            items: list[Item] = []
            for row in open_ids:
                if row["status"] == "running":
                    number = len(self.store.attempts(row["id"]))
                    items += [starts(row["id"], number), ends(row["id"], COMPLETED, number)]
                else:
                    items += [signal(row["id"], name) for name in NAMES]
            self.store.commit(*items, lanes=self.lanes)
            self.check()
        raise AssertionError("a job waits for ever")


def from_start(job_id: int) -> Item:
    return JobRequests((job_id,), RetryRequested(from_start=True))


def _places(tally: Tally) -> dict[tuple[Any, ...], int]:
    return {place: number for place, number in tally.places.items() if number}


def _place(row: Row) -> tuple[Any, ...]:
    return row["job_id"], row["life"], row["kind"], row["name"], row["turn"]


def _outcome(row: Row) -> tuple[Any, ...]:
    return row["number"], row["result"], row["timed_out"], row["finished_at"]


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(n, marks=pytest.mark.long) for n in range(4, 12))]
)
def test_each_wait_and_step_has_one_outcome_for_good(store: Store, seed: int) -> None:
    world = World(store, random.Random(seed))
    try:
        for _ in range(80):
            world.go_on()
            world.check()
        world.end()
    finally:
        world.audit.close()
        world.reader.close()
