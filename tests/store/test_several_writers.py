"""Several daemons' ledgers write to one database of PostgreSQL at once: none takes what another has."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

import psycopg
import pytest

from bgjob.errors import GroupSealedError, InvalidStateError, QueueFullError
from bgjob.words import IfFailed, Throttle
from bgjobd.core.edges import Mentioned, NewGroup, Node, Of, Ties
from bgjobd.core.facts import Changed, RetryRequested, Submitted
from bgjobd.core.gate import KeyRules
from bgjobd.core.job import Ending, RetryPolicy
from bgjobd.core.planner import Lanes
from bgjobd.core.rates import Rate
from bgjobd.core.schedules import Missed, Overlap, Rules
from bgjobd.core.state_machine import IllegalFactError
from bgjobd.core.unique import Unique
from bgjobd.host.clock import Clock
from bgjobd.store import tallies
from bgjobd.store.audit import Audit
from bgjobd.store.committed import Claim, Committed
from bgjobd.store.engines import AT_ONCE
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.entrusted import Entrusted
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.submissions import Flow
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.items.wishes import GroupCancelled, JobRequests, JobsChanged
from bgjobd.store.tally import Tally, counted
from bgjobd.store.writer import Delivery, Writer
from tests.postgresql import Places
from tests.store.flows import NEVER_AGAIN
from tests.store.samples import (
    BOOT,
    COMPLETED,
    FAILED,
    NO_SLOTS,
    NOW,
    SUBMITTER,
    Store,
    asked,
    cancels,
    ends,
    retries,
    starts,
    submission,
)
from tests.store.test_many import wish
from tests.store.test_schedules import FIRST, NIGHTLY, define, what_is_due
from tests.support import eventually

PATIENCE = 40.0


@pytest.fixture
def place(places: Places, tmp_path: Path) -> Iterator[Postgres]:
    known = places.known()
    yield places.at(tmp_path)
    places.take_back(known)


@pytest.fixture
def stores(place: Postgres) -> Iterator[list[Store]]:
    """Three on one database."""
    stores = [Store.on(place) for _ in range(3)]
    yield stores
    for store in stores:
        store.close()


def at_once(*each: Callable[[], Any]) -> list[Any]:
    """What each comes to, on a thread of its own; the first failure is raised."""
    found: list[Any] = [None] * len(each)
    failures: list[BaseException] = []

    def run(place: int, one: Callable[[], Any]) -> None:
        try:
            found[place] = one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=given, daemon=True) for given in enumerate(each)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]
    return found


class Office:
    """A writer on the database, as a daemon has it."""

    def __init__(self, place: Postgres, lanes: Lanes = NO_SLOTS) -> None:
        self.deliveries: Queue[Delivery] = Queue()
        self.writer = Writer(place, BOOT, Clock(), lanes, self.deliveries.put)
        self.writer.start()

    def ask(self, item: Any) -> Any:
        """The answer, whatever else is delivered before it."""
        self.writer.put(Entrusted(item, "asked"))
        while True:
            for ticket, answer in self.deliveries.get(timeout=PATIENCE).answered:
                if ticket == "asked":
                    return answer


@dataclass
class HeldUp:
    """A commit that is to come: `is_there` once all else is done, and it waits for `go`."""

    is_there: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


@contextmanager
def held_up(store: Store) -> Iterator[HeldUp]:
    """The store's commits meanwhile."""
    held, real = HeldUp(), store.database.lock_log

    def lock_log() -> None:
        held.is_there.set()
        assert held.go.wait(PATIENCE)
        real()

    store.database.lock_log = lock_log
    try:
        yield held
    finally:
        held.go.set()
        store.database.lock_log = real


def wait_for_locks(place: Postgres, count: int = 1) -> None:
    """Until so many transactions wait for others."""
    with psycopg.connect(place.address, autocommit=True) as connection:
        eventually(lambda: connection.execute(_WAITING).fetchone() == (count,))


_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


# Ids


def test_no_id_is_given_twice(stores: list[Store]) -> None:
    def submit(store: Store) -> list[int]:
        return [id for _ in range(20) for id in store.submit(asked(), asked())]

    given = at_once(*[lambda store=store: submit(store) for store in stores])
    ids = [id for one in given for id in one]
    assert len(set(ids)) == len(ids) == 120
    assert all(one == sorted(one) for one in given)


def test_ids_that_came_to_nothing_are_given_back_unless_others_were_given_since(stores: list[Store]) -> None:
    first, second, _ = stores
    key = asked(idempotency_key="k")
    (known,) = first.submit(key)
    assert first.submit(key, asked()) == [known, known + 1]
    assert second.submit(asked()) == [known + 2]


# Jobs


def test_who_ends_a_job_waits_for_who_cancels_it_and_then_sees_that(stores: list[Store]) -> None:
    first, second, _ = stores
    job_id = first.run_one()
    with held_up(first) as held:

        def end() -> Any:
            assert held.is_there.wait(PATIENCE)
            return second.answer(ends(job_id, FAILED))

        def let_go() -> None:
            wait_for_locks(first.state_dir)
            held.go.set()

        _, after, _ = at_once(lambda: first.answer(cancels(job_id)), end, let_go)
    assert after.status == "cancelled"


def test_a_key_that_two_submit_at_once_makes_one_job(place: Postgres) -> None:
    offices = [Office(place) for _ in range(3)]
    try:
        keys = [f"k{number}" for number in range(40)]

        def submit(office: Office) -> list[int]:
            return [office.ask(submission(asked(idempotency_key=key)))[0].id for key in keys]

        ids = at_once(*[lambda one=office: submit(one) for office in offices])
        assert ids[0] == ids[1] == ids[2]
    finally:
        for office in offices:
            office.writer.finish()


# What each knows of all


def numbers(tally: Tally) -> tuple[Any, ...]:
    """All that it counts, but for what there is none of."""
    return tuple(
        {place: number for place, number in each.items() if number} for each in (tally.places, tally.ends)
    )


def test_the_tally_of_each_is_of_all_that_write(stores: list[Store]) -> None:
    ids = [id for store in stores for id in store.submit(asked(), asked())]
    stores[1].commit(cancels(ids[0]))
    claimed = stores[2].claim(Lanes(2))
    stores[0].commit(ends(claimed[0].job.id, COMPLETED))
    for store in stores:
        tally = store.commit(Look()).tally
        assert tally.jobs == {"pending": 3, "running": 1, "completed": 1, "cancelled": 1}
        assert tally == counted(store.database, NOW)


def test_a_tally_is_summed_up_now_and_then_and_whoever_was_away_has_it_too(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "SUMMED_UP_AFTER", 5)
    first, second, third = stores
    third.submit(asked())
    for number in range(20):
        (first, second)[number % 2].submit(asked())
    assert first.count("tallies") < 10
    assert third.commit(Look()).tally.jobs == {"pending": 21}
    with closing(Store.on(first.state_dir)) as fourth:
        assert fourth.commit(Look()).tally.jobs == {"pending": 21}


def test_a_queue_is_full_for_all_that_write(stores: list[Store]) -> None:
    lanes = Lanes(0, max_pending={"default": 2})
    for store in stores[:2]:
        store.commit(submission(asked()), lanes=lanes)
    (answer,) = stores[2].commit(submission(asked()), lanes=lanes).answers
    assert isinstance(answer, QueueFullError)


def test_a_class_that_one_holds_starts_at_no_other(stores: list[Store]) -> None:
    first, second, _ = stores
    second.commit(Look())
    throttled = first.run_one()
    waiting = second.submit(asked())
    ending = Ending.throttled(60.0, Throttle.CLASS)
    first.commit(ends(throttled, ending))
    assert second.claim(Lanes(5)) == []
    second.now += 61
    assert [claim.job.id for claim in second.claim(Lanes(5))] == [throttled, *waiting]


def test_others_keep_to_what_a_queue_says_of_keys_that_they_do_not_have(stores: list[Store]) -> None:
    first, second, _ = stores
    lanes = Lanes(5, {"mail": None}, keys={"mail": KeyRules(slots=1)})
    first.commit(Look(), lanes=lanes)
    second.commit(Look(), lanes=Lanes(5, {"default": None}, keys={}))
    second.submit(*[asked(queue="mail", key="k") for _ in range(3)])
    assert [row["ready"] for row in first.rows("SELECT ready FROM background_jobs ORDER BY id")] == [1, 3, 3]
    assert len(first.claim(lanes)) == 1


# Claims


def test_what_one_claims_no_other_does(stores: list[Store]) -> None:
    first, second, _ = stores
    ids = first.submit(*[asked() for _ in range(10)])
    with held_up(first) as held:

        def claim_the_rest() -> list[int]:
            assert held.is_there.wait(PATIENCE)
            claims = second.claim(Lanes(100))
            held.go.set()
            return [claim.job.id for claim in claims]

        claims, rest = at_once(lambda: first.claim(Lanes(4)), claim_the_rest)
    assert [claim.job.id for claim in claims] == ids[:4]
    assert rest == ids[4:]


@pytest.mark.parametrize(
    "classes", [{}, {"myapp.jobs.ExampleJob": 20}], ids=["plain", "with slots of classes"]
)
def test_what_another_has_locked_is_looked_at_again_soon(
    stores: list[Store], classes: dict[str, int]
) -> None:
    first, second, _ = stores
    first.submit(*[asked() for _ in range(3)])
    lanes = Lanes(20, classes=classes)
    with held_up(first) as held:

        def look() -> Committed:
            assert held.is_there.wait(PATIENCE)
            committed = second.commit(Look(), lanes=lanes)
            held.go.set()
            return committed

        _, committed = at_once(lambda: first.claim(lanes), look)
    assert committed.claims == ()
    assert committed.next_due == pytest.approx(NOW + 0.05)
    assert second.commit(Look(), lanes=lanes).next_due is None


def test_what_is_due_is_made_ready_by_one_while_another_does_the_same(stores: list[Store]) -> None:
    first, second, _ = stores
    first.submit(*[asked(scheduled_at=NOW + 1) for _ in range(4)])
    for store in stores:
        store.now += 2
    with held_up(first) as held:

        def look() -> Committed:
            assert held.is_there.wait(PATIENCE)
            committed = second.commit(Look(), lanes=Lanes(100))
            held.go.set()
            return committed

        claims, committed = at_once(lambda: first.claim(Lanes(100)), look)
    assert len(claims) == 4
    assert committed.claims == ()
    assert committed.next_due is not None
    assert committed.next_due <= second.now


# Others that come after


def flow(*jobs: Submitted, groups: tuple[NewGroup, ...] = (), seals: tuple[int, ...] = ()) -> Flow:
    return Flow(jobs, SUBMITTER, groups, seals)


def behind(*nodes: Node, group: int | None = None) -> Submitted:
    return asked(ties=Ties(after=nodes, group=group))


def settle_all(store: Store) -> None:
    """Until nothing is left of what ends have caused."""
    while store.count("consequences"):
        store.commit(Look())


def test_an_edge_that_is_stored_while_its_predecessor_ends_is_seen_by_the_end(stores: list[Store]) -> None:
    first, second, _ = stores
    job_id = first.run_one()
    with held_up(first) as held:

        def end() -> None:
            assert held.is_there.wait(PATIENCE)
            second.commit(ends(job_id, COMPLETED))

        def let_go() -> None:
            wait_for_locks(first.state_dir)
            held.go.set()

        stored, _, _ = at_once(lambda: first.answer(flow(behind(Node(Of.JOB, job_id)))), end, let_go)
    settle_all(second)
    assert first.job(stored.jobs[0].id)["ready"] == 1


def test_an_edge_that_is_stored_while_its_predecessor_has_ended_sees_the_end(stores: list[Store]) -> None:
    first, second, _ = stores
    job_id = first.run_one()
    with held_up(first) as held:

        def store_edge() -> Any:
            assert held.is_there.wait(PATIENCE)
            return second.answer(flow(behind(Node(Of.JOB, job_id))))

        def let_go() -> None:
            wait_for_locks(first.state_dir)
            held.go.set()

        _, stored, _ = at_once(lambda: first.answer(ends(job_id, NEVER_AGAIN)), store_edge, let_go)
    assert first.job(stored.jobs[0].id)["status"] == "cancelled"


def test_a_dependant_that_another_has_locked_hears_of_it_in_the_next_transaction(stores: list[Store]) -> None:
    first, second, _ = stores
    job_id = first.run_one()
    (dependant,) = first.answer(flow(behind(Node(Of.JOB, job_id)))).jobs
    with held_up(first) as held:

        def end() -> None:
            assert held.is_there.wait(PATIENCE)
            assert second.commit(ends(job_id, COMPLETED)).next_due is not None
            held.go.set()

        change = JobsChanged(
            (dependant.id,), Changed(None, priority=7), Submitter(None, None, None, may_manage=True)
        )
        at_once(lambda: first.answer(change), end)
    assert second.job(dependant.id)["ready"] == 2
    settle_all(second)
    assert (second.job(dependant.id)["ready"], second.job(dependant.id)["priority"]) == (1, 7)


def test_the_last_two_members_of_a_group_end_at_once_and_it_ends_once(stores: list[Store]) -> None:
    first, second, third = stores
    members = asked(ties=Ties(group=Mentioned(Of.GROUP, 0)))
    stored = first.answer(flow(members, members, groups=(NewGroup("both"),)))
    (callback,) = third.answer(flow(behind(Node(Of.GROUP, stored.groups[0])))).jobs
    claims = first.claim(Lanes(5))
    assert len(claims) == 2
    with held_up(first) as held:

        def end() -> Committed:
            assert held.is_there.wait(PATIENCE)
            return second.commit(ends(claims[1].job.id, COMPLETED))

        def let_go() -> None:
            wait_for_locks(first.state_dir)
            held.go.set()

        one, other, _ = at_once(lambda: first.commit(ends(claims[0].job.id, COMPLETED)), end, let_go)
    assert (len(one.groups), len(other.groups)) == (0, 1)
    assert third.job(callback.id)["ready"] == 1
    (group,) = third.rows("SELECT total, unfinished, completed FROM job_groups")
    assert group == {"total": 2, "unfinished": 0, "completed": 2}


def test_who_adds_to_a_group_that_another_seals_meanwhile_is_told_so(
    place: Postgres, stores: list[Store]
) -> None:
    first, *_ = stores
    (group_id,) = first.answer(flow(groups=(NewGroup("open", is_open=True),))).groups
    office = Office(place)
    try:
        with held_up(first) as held:

            def add() -> Any:
                assert held.is_there.wait(PATIENCE)
                return office.ask(flow(asked(ties=Ties(group=group_id))))

            def let_go() -> None:
                wait_for_locks(place)
                held.go.set()

            sealed = flow(asked(ties=Ties(group=group_id)), seals=(group_id,))
            _, refused, _ = at_once(lambda: first.answer(sealed), add, let_go)
    finally:
        office.writer.finish()
    assert isinstance(refused, GroupSealedError)
    assert first.rows("SELECT total, unfinished FROM job_groups") == [{"total": 1, "unfinished": 1}]


# Keys, turns, rates


def commit(store: Store, *items: Item, lanes: Lanes = NO_SLOTS) -> Committed:
    """As a writer does it: at once again where another was in the way."""
    for _ in range(AT_ONCE):
        try:
            return store.commit(*items, lanes=lanes)
        except Exception as error:
            if not store.state_dir.is_passing(error):
                raise
    raise AssertionError("others are in the way for ever")


def drain(store: Store, lanes: Lanes, claimed: list[int], until: Callable[[], bool]) -> None:
    """Claim, and end what was claimed, until it is enough."""
    facts: list[Item] = []
    while not until():
        committed = commit(store, *facts, Look(), lanes=lanes)
        claimed += [claim.job.id for claim in committed.claims]
        facts = [ends(claim.job.id, COMPLETED, claim.job.attempt) for claim in committed.claims]


def test_no_key_has_more_places_than_it_may_have_and_none_is_left_free(stores: list[Store]) -> None:
    lanes = Lanes(6, keys={"default": KeyRules(slots=2)})
    watcher, *_ = stores
    watcher.commit(Look(), lanes=lanes)
    count = 150
    most: list[int] = []
    claimed: list[list[int]] = [[], []]

    def is_done() -> bool:
        return sum(map(len, claimed)) >= count

    def watch() -> None:
        while not is_done():
            running = watcher.rows(
                "SELECT key, count(*) AS number FROM background_jobs WHERE status = 'running' GROUP BY key"
            )
            most.extend(row["number"] for row in running)

    watcher.submit(*[asked(key=f"k{number % 3}") for number in range(count)])
    at_once(
        watch,
        *[lambda one=one: drain(stores[one + 1], lanes, claimed[one], is_done) for one in range(2)],
    )
    assert sorted(claimed[0] + claimed[1]) == list(range(1, count + 1))
    assert max(most) == 2


def test_a_place_that_is_left_at_one_is_given_to_who_came_in_at_another(stores: list[Store]) -> None:
    lanes = Lanes(5, keys={"default": KeyRules(slots=1)})
    first, second, third = stores
    for store in stores:
        store.commit(Look(), lanes=lanes)
    running = asked(key="k")
    first.commit(submission(running), lanes=lanes)
    with held_up(first) as held:

        def come_in() -> Any:
            assert held.is_there.wait(PATIENCE)
            return second.commit(submission(running), lanes=lanes)

        def let_go() -> None:
            wait_for_locks(first.state_dir)
            held.go.set()

        at_once(lambda: first.commit(ends(1, COMPLETED), lanes=lanes), come_in, let_go)
    third.commit(Look(), lanes=lanes)
    assert [row["status"] for row in third.rows("SELECT status FROM background_jobs ORDER BY id")] == [
        "completed",
        "running",
    ]


def test_no_class_starts_more_often_than_its_rate(stores: list[Store]) -> None:
    lanes = Lanes(100, rates={"myapp.jobs.ExampleJob": Rate(5, 60.0, burst=5)})
    stores[0].submit(*[asked() for _ in range(60)])
    for _ in range(3):
        claims = at_once(*[lambda store=store: store.claim(lanes) for store in stores])
        for store in stores:
            store.now += 1
    assert len(stores[0].rows("SELECT 1 FROM background_jobs WHERE status = 'running'")) == 5
    assert claims


def test_a_unique_key_that_all_want_at_once_is_held_by_one_job(place: Postgres, stores: list[Store]) -> None:
    offices = [Office(place) for _ in range(3)]
    try:
        keys = [f"k{number}" for number in range(30)]

        def submit(office: Office) -> list[int]:
            return [office.ask(submission(asked(unique=Unique(key))))[0].id for key in keys]

        ids = at_once(*[lambda one=office: submit(one) for office in offices])
        assert ids[0] == ids[1] == ids[2]
        held = stores[0].rows("SELECT key, job_id FROM unique_keys ORDER BY job_id")
        assert [(row["key"], row["job_id"]) for row in held] == list(zip(keys, ids[0], strict=True))
    finally:
        for office in offices:
            office.writer.finish()


def test_retries_cancels_and_ends_in_any_order_cost_nobody_an_error(
    place: Postgres, stores: list[Store]
) -> None:
    ids = stores[0].submit(*[asked() for _ in range(12)])
    offices = [Office(place) for _ in range(3)]
    chance = random.Random(5)

    def storm(office: Office, seed: int) -> list[Any]:
        own = random.Random(seed)
        answers = []
        for _ in range(60):
            some = own.sample(ids, 6)
            answers.append(office.ask(own.choice((cancels, retries))(*some)))
        return answers

    try:
        answers = at_once(*[lambda one=one: storm(one, chance.randint(0, 99)) for one in offices])
    finally:
        for office in offices:
            office.writer.finish()
    refused = {type(one) for each in answers for one in each if isinstance(one, Exception)}
    assert refused <= {InvalidStateError}
    assert stores[0].commit(Look()).tally == counted(stores[0].database, NOW)


@pytest.mark.timeout(300)
def test_ends_cascades_groups_and_keys_of_three_balance_and_cost_nobody_an_error(stores: list[Store]) -> None:
    lanes = Lanes(9, keys={"default": KeyRules(slots=2)})
    stores[0].commit(Look(), lanes=lanes)
    groups = tuple([NewGroup(f"g{number}", is_open=True) for number in range(3)])
    made = stores[0].answer(flow(groups=groups)).groups

    def storm(store: Store, seed: int) -> None:
        chance = random.Random(seed)
        claims: list[Claim] = []
        for _ in range(25):
            jobs = [row["id"] for row in store.rows("SELECT id FROM background_jobs ORDER BY id")]
            nodes = [Node(Of.JOB, id) for id in chance.sample(jobs, min(2, len(jobs)))]
            if_failed = chance.choice(list(IfFailed))
            items: list[Item] = [
                chance.choice(
                    [
                        flow(asked(key="k", ties=Ties(group=chance.choice(made)))),
                        flow(asked(ties=Ties(tuple(nodes), if_failed))),
                        flow(asked(key="k", ties=Ties((Node(Of.GROUP, chance.choice(made)),), if_failed))),
                        flow(seals=(chance.choice(made),)),
                        JobRequests((chance.choice([1, *jobs]),), RetryRequested(anyway=True)),
                        cancels(chance.choice([1, *jobs])),
                        GroupCancelled(chance.choice(made), SUBMITTER) if chance.random() < 0.1 else Look(),
                    ]
                )
            ]
            ending = chance.choice([COMPLETED, NEVER_AGAIN])
            for one in [(claim.job.id, claim.job.attempt) for claim in claims]:
                items += [starts(*one), ends(one[0], ending, one[1])]
            committed = commit(store, *items, lanes=lanes)
            claims = list(committed.claims)
            assert not [one for one in committed.answers if isinstance(one, IllegalFactError)]

    at_once(*[lambda one=one: storm(stores[one], one) for one in range(3)])
    settle_all(stores[0])
    stores[0].commit(Look(), lanes=lanes)
    with closing(Audit(stores[0].state_dir)) as audit:
        assert (audit.oddities(), audit.odd_groups(), audit.odd_queues()) == ((), (), ())
    for store in stores:
        assert numbers(store.commit(Look()).tally) == numbers(counted(store.database, NOW))


# All of it at once


@pytest.mark.timeout(300)
def test_what_three_submit_claim_and_end_runs_once_each_and_a_follower_misses_nothing(
    stores: list[Store],
) -> None:
    count, lanes = 2000, Lanes(50)
    claimed: list[list[int]] = [[], [], []]
    seen: list[int] = []

    def is_done() -> bool:
        return sum(map(len, claimed)) >= count

    def work(number: int) -> None:
        store = stores[number]
        for _ in range(number, count // 20, 3):
            store.submit(*[asked() for _ in range(20)])
        drain(store, lanes, claimed[number], is_done)

    def follow(store: Store) -> None:
        while not is_done():
            read_on(store)

    def read_on(store: Store) -> None:
        newer = store.rows("SELECT id FROM job_logs WHERE id > ? ORDER BY id", seen[-1] if seen else 0)
        seen.extend(row["id"] for row in newer)

    with closing(Store.on(stores[0].state_dir)) as follower:
        at_once(*[lambda one=one: work(one) for one in range(3)], lambda: follow(follower))
        for store in stores:
            running = store.rows("SELECT id FROM background_jobs WHERE status = 'running'")
            store.commit(*[ends(row["id"], COMPLETED) for row in running])
        read_on(follower)
        assert sorted(id for one in claimed for id in one) == list(range(1, count + 1))
        (logs,) = follower.rows("SELECT count(*) AS number, max(id) AS newest FROM job_logs")
        assert seen == list(range(1, logs["newest"] + 1))
        assert logs["number"] == logs["newest"]
        for store in stores:
            assert store.commit(Look()).tally.jobs == {"completed": count}


# Schedules, time, and what is deleted


def test_an_occurrence_that_two_deal_with_becomes_one_job(stores: list[Store]) -> None:
    first, second, _ = stores
    define(first, NIGHTLY, is_new=True)
    first.now = second.now = FIRST
    item = what_is_due(first)
    with held_up(first) as held:

        def deal() -> Any:
            assert held.is_there.wait(PATIENCE)
            return second.answer(item)

        def let_go() -> None:
            wait_for_locks(first.state_dir)
            held.go.set()

        one, other, _ = at_once(lambda: first.answer(item), deal, let_go)
    assert (len(one[0].verdicts), len(other[0].verdicts)) == (1, 0)
    assert other[0].cursor == FIRST
    assert first.count("background_jobs") == first.count("schedule_occurrences") == 1


def test_who_ends_a_job_of_a_schedule_and_deals_with_it_waits_in_no_circle_with_who_deals(
    stores: list[Store],
) -> None:
    first, second, _ = stores
    define(first, NIGHTLY, is_new=True)
    first.now = second.now = FIRST
    first.answer(what_is_due(first, IN_A_ROW))
    (claim,) = first.claim(Lanes(1))
    first.now = second.now = FIRST + 60
    item, end = what_is_due(first, IN_A_ROW), ends(claim.job.id, COMPLETED)
    with held_up_once_it_locks(first) as held:

        def deal() -> Any:
            assert held.is_there.wait(PATIENCE)
            return second.answer(item)

        def let_go() -> None:
            wait_for_locks(first.state_dir)
            held.go.set()

        committed, dealt, _ = at_once(lambda: first.commit(end, item), deal, let_go)
    assert (len(committed.answers[1][0].verdicts), len(dealt[0].verdicts)) == (1, 0)


IN_A_ROW = Rules(Missed.RUN_ALL, Overlap.WAIT)


@contextmanager
def held_up_once_it_locks(store: Store) -> Iterator[HeldUp]:
    """The store's next transaction, behind the first jobs or schedules that it has locked."""
    held, locks = HeldUp(), store.database.locks

    def behind(lock: Callable[[Any], None], given: Any) -> None:
        lock(given)
        if given and not held.is_there.is_set():
            store.database.connection().execute("SELECT 1").fetchone()  # what was sent has come about by then
            held.is_there.set()
            assert held.go.wait(PATIENCE)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("jobs", "schedules"):
            patch.setattr(locks, name, partial(behind, getattr(locks, name)))
        yield held


def test_a_job_expires_once_though_two_see_to_it(stores: list[Store]) -> None:
    first, second, _ = stores
    first.submit(asked(expires_at=NOW + 1))
    for store in stores:
        store.now += 2
    with held_up(first) as held:

        def expire() -> Committed:
            assert held.is_there.wait(PATIENCE)
            committed = second.commit(Look())
            held.go.set()
            return committed

        one, other = at_once(lambda: first.commit(Look()), expire)
    assert (len(one.ended), len(other.ended)) == (1, 0)
    assert second.commit(Look()).tally.jobs == {"cancelled": 1}


def test_a_job_that_is_retried_meanwhile_is_not_deleted(stores: list[Store]) -> None:
    first, second, _ = stores
    (job_id,) = first.submit(asked())
    first.commit(cancels(job_id))
    first.submit(asked())
    with held_up(first) as held:

        def delete() -> Any:
            assert held.is_there.wait(PATIENCE)
            deleted = second.answer(Deletion((job_id,), 10**9))
            held.go.set()
            return deleted

        _, deleted = at_once(lambda: first.commit(retries(job_id)), delete)
    assert deleted.jobs == ()
    assert first.job(job_id)["status"] == "pending"


def test_jobs_that_two_retry_with_many_at_once_are_retried_by_one(stores: list[Store]) -> None:
    first, second, _ = stores
    ids = first.submit(*[asked(policy=RetryPolicy(max_retries=1))] * 6)
    first.commit(*[cancels(id) for id in ids])
    answers = at_once(lambda: first.answer(wish(ids)), lambda: second.answer(wish(ids[::-1])))
    assert sorted(answer.done for answer in answers) == [0, 6]
    assert [answer.left_out for answer in answers] in ([0, 6], [6, 0])
    assert {first.job(id)["status"] for id in ids} == {"pending"}
    assert first.count("changes") == 1


def test_what_each_counts_of_a_method_adds_up_whoever_has_the_row_first(stores: list[Store]) -> None:
    lanes = Lanes(100, {"default": None})
    for _ in range(5):
        each = [(store, store.submit(*[asked()] * 3)) for store in stores]
        stores[0].claim(lanes)

        def complete(store: Store, ids: list[int]) -> Committed:
            store.ledger._gathering.hurry()
            return store.commit(*(ends(id, COMPLETED, seconds=2.0) for id in ids))

        at_once(*[partial(complete, *one) for one in each])
    assert stores[0].rows("SELECT method_name, runs FROM method_usage") == [
        {"method_name": "run", "runs": 45}
    ]
