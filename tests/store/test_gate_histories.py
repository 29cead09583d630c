"""Whatever happens to jobs that share keys: no more places than allowed, no free one with a job behind, none left."""

from __future__ import annotations

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest

from bgjob.errors import RequestError
from bgjob.words import IfFailed, IfHeld, Removable, Throttle
from bgjobd.core.edges import Node, Of, Ties
from bgjobd.core.facts import Changed, ClockJumped, Submitted
from bgjobd.core.gate import NO_RULES, KeyRules, Share
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.core.rates import ROUNDING, Rate
from bgjobd.core.state_machine import IllegalFactError
from bgjobd.core.unique import Unique
from bgjobd.host.clock import to_text
from bgjobd.store import adoption, audit_of_places, gate, slots
from bgjobd.store.committed import Committed
from bgjobd.store.items.daemons import DaemonStarted, Look
from bgjobd.store.items.holds import QueuePaused, QueueResumed
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.submissions import BulkRow, BulkSubmission, Flow
from bgjobd.store.items.wishes import JobsChanged
from bgjobd.store.rows import instant
from bgjobd.store.tally import counted
from bgjobd.store.written import BLOCKED
from tests.store.samples import (
    COMPLETED,
    FAILED,
    SUBMITTER,
    Row,
    Store,
    asked,
    cancels,
    ends,
    retries,
    submission,
)

QUEUES: Final = ("default", "mail")
RATED: Final = "myapp.jobs.Rated"
CLASSES: Final = ("myapp.jobs.ExampleJob", RATED)
RATES: Final = {RATED: Rate(2, 1.0, burst=2)}
RULES: Final = (
    NO_RULES,
    KeyRules(slots=1),
    KeyRules(slots=2, share=Share.KEY),
    KeyRules(rate=Rate(2, 1.0)),
    KeyRules(slots=2, rate=Rate(3, 1.0, burst=2)),
    KeyRules(share=Share.KEY),
    KeyRules(slots=1, share=Share.USER),
    KeyRules(slots=1, rate=Rate(5, 1.0, burst=3), share=Share.KEY),
)
_ENDS: Final = (
    *(COMPLETED,) * 4,
    FAILED,
    Ending.failed("ValueError", "no", may_retry=False),
    Ending.not_started("no memory"),
    Ending.not_started("no memory", delay=0.0),
    Ending.snoozed(0.0),
    Ending.snoozed(2.0),
    Ending.throttled(2.0, Throttle.KEY),
    Ending.throttled(1.5, Throttle.CLASS),
    Ending.lost("nobody saw"),
)


class History:
    """A store to which things happen by chance; `lanes` has the rules that hold."""

    def __init__(self, state_dir: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.store = Store(state_dir)
        self.lanes = Lanes(3, {"default": None, "mail": 2}, max_pending={"mail": 60}, keys={}, rates=RATES)
        self.starts = defaultdict[str, list[float]](list)
        self.is_clock_set = False
        self.configure()

    def configure(self) -> None:
        rules = {queue: self.chance.choice(RULES) for queue in QUEUES}
        keys = {queue: one for queue, one in rules.items() if one != NO_RULES}
        self.lanes = replace(self.lanes, slots=self.chance.randrange(1, 6), keys=keys)
        self.starts.clear()  # what has started under other rules counts for them alone

    def rows(self) -> list[Row]:
        return self.store.rows(
            "SELECT id, queue, key, class_name, status, ready, priority, turn, scheduled_at, started_at, waits_for, "
            "waits_until, finished_at FROM background_jobs WHERE finished_at IS NULL"
        )

    def commit(self, *items: Item) -> Committed:
        committed = self.store.commit(*items, lanes=self.lanes)
        for answer in committed.answers:
            if isinstance(answer, Exception) and not isinstance(answer, RequestError | IllegalFactError):
                raise answer
        self.check_claims(committed)
        return committed

    def settled(self, *items: Item) -> None:
        """The same, and what is left for the next transactions."""
        committed = self.commit(*items)
        for _ in range(100):
            if committed.next_due is None or committed.next_due > self.store.now + ROUNDING:
                break
            self.store.now = max(self.store.now, committed.next_due)
            committed = self.commit(Look())
        else:
            raise AssertionError(f"there is always more to do: {self.rows()}")
        self.check(committed)

    # What happens

    def step(self) -> None:
        chance = self.chance
        self.store.now += chance.choice([0.0, 0.01, 0.3, 1.0])
        deeds: list[Callable[[], Item]] = [self.submit] * 4 + [self.end] * 6 + [self.cancel, self.retry]
        deeds += [
            self.change,
            self.change,
            self.pause,
            self.resume,
            self.bulk,
            self.refused,
            self.follow,
            lambda: Look(),
        ]
        if chance.random() < 0.02:
            self.restart()
        elif chance.random() < 0.02:
            self.jump()
        elif chance.random() < 0.02:
            self.configure()
            self.settled(Look())
        else:
            self.settled(*[chance.choice(deeds)() for _ in range(chance.choice([1, 1, 2, 4]))], *self.old())

    def old(self) -> list[Item]:
        """The deletion of the oldest job that has ended, where there are many: nobody asks for it any more."""
        ended = (
            "SELECT id FROM background_jobs WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET 50"
        )
        return [Deletion((row["id"],), last_entry=sys.maxsize) for row in self.store.rows(ended)]

    def asked(self, **given: Any) -> Submitted:
        chance = self.chance
        given.setdefault("queue", chance.choice(QUEUES))
        unique = Unique(chance.choice("uvw"), if_held=chance.choice(list(IfHeld)))
        options = {
            "key": chance.choice(["a", "b", "c", None]),
            "class_name": chance.choice(CLASSES),
            "priority": chance.choice([0, 0, 0, 1, -1]),
            "scheduled_at": self.store.now + 1 if chance.random() < 0.2 else None,
            "expires_at": self.store.now + 3 if chance.random() < 0.1 else None,
            "unique": unique if chance.random() < 0.3 else None,
        }
        return asked(**options | given)

    def submit(self) -> Item:
        jobs = [self.asked() for _ in range(self.chance.randrange(1, 4))]
        return submission(*jobs) if self.waiting() < 40 else Look()

    def waiting(self) -> int:
        (row,) = self.store.rows("SELECT count(*) AS number FROM background_jobs WHERE status = 'pending'")
        return int(row["number"])

    def refused(self) -> Item:
        """All of which leaves nothing, though its first jobs would have had places: the last has no room."""
        self.lanes = replace(self.lanes, max_pending={"mail": 0})
        return submission(self.asked(unique=None, queue="default"), self.asked(unique=None, queue="mail"))

    def follow(self) -> Item:
        """Jobs that come after another one."""
        ids = [row["id"] for row in self.rows()]
        if not ids or len(ids) > 40:
            return Look()
        nodes = (Node(Of.JOB, self.chance.choice(ids)),)
        ties = Ties(nodes, self.chance.choice(list(IfFailed)))
        return Flow((self.asked(ties=ties, unique=None), self.asked(ties=ties, unique=None)), SUBMITTER)

    def bulk(self) -> Item:
        if self.waiting() > 40 or any(
            one.share is not Share.NONE for one in (self.lanes.keys or {}).values()
        ):
            return Look()  # which are submitted one by one
        rows = (BulkRow("{}"), BulkRow("{}"))
        return BulkSubmission(self.asked(key=None, unique=None), rows, SUBMITTER)

    def some(self, condition: str) -> int | None:
        ids = [
            row["id"]
            for row in self.store.rows(
                f"SELECT id FROM background_jobs WHERE {condition} ORDER BY id DESC LIMIT 30"
            )
        ]
        return self.chance.choice(ids) if ids else None

    def end(self) -> Item:
        id = self.some("status = 'running'")
        if id is None:
            return Look()
        number = len(self.store.attempts(id))
        return ends(id, self.chance.choice(_ENDS), number, at=self.store.now)

    def cancel(self) -> Item:
        id = self.some("status = 'pending'")
        return Look() if id is None else cancels(id)

    def retry(self) -> Item:
        id = self.some("finished_at IS NOT NULL")
        return Look() if id is None else retries(id)

    def change(self) -> Item:
        """Other terms for a job that waits."""
        id = self.some("status = 'pending'")
        if id is None:
            return Look()
        terms = {
            "priority": self.chance.choice([None, -1, 0, 1]),
            "queue": self.chance.choice([None, *QUEUES]),
            "scheduled_at": self.store.now + 1 if self.chance.random() < 0.2 else None,
            "without": frozenset(self.chance.sample(list(Removable), self.chance.choice([0, 0, 1]))),
        }
        return JobsChanged((id,), Changed(SUBMITTER.uid, **terms), SUBMITTER)

    def pause(self) -> Item:
        at = self.chance.choice([None, self.store.now + 1])
        return QueuePaused(self.chance.choice(QUEUES), at) if self.chance.random() < 0.3 else Look()

    def resume(self) -> Item:
        return QueueResumed(self.chance.choice(QUEUES))

    def restart(self) -> None:
        self.store.close()
        self.store.open()
        seconds = self.chance.choice([0.0, 0.0, 3600.0, -3600.0])
        self.store.now += seconds
        if seconds:
            self.is_clock_set = True
            self.starts.clear()
        self.settled(DaemonStarted())

    def jump(self) -> None:
        seconds = self.chance.choice([3600.0, -3600.0])
        self.store.now += seconds
        self.is_clock_set = True
        self.starts = defaultdict(
            list, {scope: [at + seconds for at in times] for scope, times in self.starts.items()}
        )
        self.settled(ClockJumped(seconds))

    # What must hold

    def check_claims(self, committed: Committed) -> None:
        held = self.held() if committed.claims else set()
        for claim in committed.claims:
            job = claim.job
            assert f"key:{job.queue}:{job.key}" not in held, f"{job} has started, and its key is held"
            assert self.is_due(job.scheduled_at), f"{job} has started before its time"
            assert job.waits_for == 0, f"{job} has started before what it comes after"
            if job.class_name in RATES:
                self.draw(f"class {job.class_name}", RATES[job.class_name])
            rules = (self.lanes.keys or {}).get(job.queue, NO_RULES)
            if rules.rate is not None and job.key is not None:
                self.draw(f"key {job.queue} {job.key}", rules.rate)

    def is_due(self, at: float | None) -> bool:
        """Or was, before the clock was set back."""
        return at is None or self.is_clock_set or to_text(at) <= to_text(self.store.now)

    def draw(self, bucket: str, rate: Rate) -> None:
        times = self.starts[bucket]
        times[:] = [*times[-100:], self.store.now]
        for count, at in enumerate(reversed(times), 1):
            most = rate.burst + (self.store.now - at + rate.early) / rate.interval + 1e-3
            assert count <= most, f"{bucket}: {count} starts since {at}, now {self.store.now}"

    def check(self, committed: Committed) -> None:
        self.lanes = replace(self.lanes, max_pending={"mail": 60})
        rows, now = self.rows(), self.store.now
        assert Counter(committed.tally.places) == Counter(counted(self.store.database, now).places)
        held = self.held()
        by_key = defaultdict[tuple[str, str | None], list[Row]](list)
        for row in rows:
            by_key[row["queue"], row["key"]].append(row)
            rules = (self.lanes.keys or {}).get(row["queue"], NO_RULES)
            has_turn = row["status"] == "pending" and row["ready"] in (1, 3) and rules.share is not Share.NONE
            assert has_turn or row["turn"] == 0, f"{row} has a turn"
            if row["ready"] == 1 and row["status"] == "pending":
                assert row["waits_for"] == 0
                assert self.is_due(instant(row["scheduled_at"])), row
        for (queue, key), jobs in by_key.items():
            rules = (self.lanes.keys or {}).get(queue, NO_RULES)
            self.check_key(rules, jobs, key is not None and f"key:{queue}:{key}" in held, key is None)
        self.check_wake_up(committed, rows)
        assert [*audit_of_places.odd_places(self.ask, 9), *audit_of_places.odd_queues(self.ask, 9)] == []

    def held(self) -> set[str]:
        asked = "SELECT scope FROM rates WHERE held_until > ?"
        return {row["scope"] for row in self.store.rows(asked, self.store.now + ROUNDING)}

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.store.database.execute_sql(statement).fetchall()
        return rows

    def check_key(self, rules: KeyRules, jobs: list[Row], is_held: bool, has_none: bool) -> None:
        running = sum(job["status"] == "running" for job in jobs)
        order = [
            (-job["priority"], job["turn"], job["id"], job["ready"])
            for job in jobs
            if job["status"] == "pending" and job["ready"] in (1, 3)
        ]
        ready = sorted(one for one in order if one[3] == 1)
        behind = sorted(one for one in order if one[3] == 3)
        if has_none:
            assert not behind, f"{behind} are behind no key"
            return
        first = next(job for job in jobs if job["id"] == behind[0][2]) if behind else None
        if rules.slots is not None:
            assert not ready or running + len(ready) <= rules.slots, f"{jobs}: more than {rules}"
        if rules.rate is not None:
            assert len(ready) <= 1
        if first is not None and (first["waits_until"] or "~") <= to_text(self.store.now):
            assert self.is_busy(), f"{jobs} are not settled yet, and who is to?"
            return  # before the next end grants a slot, another portion is
        if is_held:
            assert not ready, f"{ready} are ready, and their key is held"
        if first is not None:
            assert not ready or ready[-1][:3] < behind[0][:3], f"{behind} are before {ready}"
            is_full = rules.slots is not None and running + len(ready) >= rules.slots
            is_next = rules.rate is not None and len(ready) == 1
            assert first["waits_until"] or is_full or is_next, f"{jobs} are behind, and {rules} is no reason"

    def is_busy(self) -> bool:
        """Whether all slots are taken."""
        (row,) = self.store.rows("SELECT count(*) AS number FROM background_jobs WHERE status = 'running'")
        return int(row["number"]) >= self.lanes.slots

    def check_wake_up(self, committed: Committed, rows: list[Row]) -> None:
        """Whoever waits for a time has the daemon woken by then, unless an end comes first."""
        if self.is_busy():
            return
        times = [row["scheduled_at"] for row in rows if row["status"] == "pending" and row["ready"] == 0]
        times += [row["waits_until"] for row in rows if row["waits_until"] and row["ready"] == 3]
        if times:
            assert committed.next_due is not None, f"nobody is woken at {times}"
            assert to_text(committed.next_due) <= min(times)

    def finish(self) -> None:
        """Let all that waits end; the time goes from one wake-up to the next."""
        self.lanes = replace(self.lanes, slots=5)
        committed = self.commit(*[QueueResumed(queue) for queue in QUEUES])
        for _ in range(100_000):
            rows = self.rows()
            if all(row["ready"] == BLOCKED for row in rows):
                return  # for good, by what failed
            running = [row["id"] for row in rows if row["status"] == "running"]
            if running:
                items = [
                    ends(id, COMPLETED, len(self.store.attempts(id)), at=self.store.now) for id in running
                ]
                committed = self.commit(*items)
            else:
                assert committed.next_due is not None, f"nobody wakes {rows}"
                self.store.now = max(self.store.now, committed.next_due)
                committed = self.commit(Look())
        raise AssertionError(f"left: {self.rows()}")


def run(state_dir: Path, seed: int, steps: int) -> None:
    """Half of them with portions so small that hardly anything is done by one transaction."""
    with ExitStack() as held:
        for module, name, count in _PORTIONS if seed % 2 else ():
            held.enter_context(patch.object(module, name, count))
        history = History(state_dir, seed)
        held.callback(history.store.close)
        for _ in range(steps):
            history.step()
        history.finish()


_PORTIONS: Final = ((adoption, "AT_ONCE", 1), (gate, "AT_ONCE", 2), (slots, "READY_AT_ONCE", 1))


@pytest.mark.parametrize("seed", range(4))
def test_never_more_places_than_allowed_and_never_a_free_one_with_a_job_behind(
    tmp_path: Path, seed: int
) -> None:
    run(tmp_path, seed, 100)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(100))
def test_the_same_in_long_histories(tmp_path: Path, seed: int) -> None:
    run(tmp_path, 1000 + seed, 10_000)
