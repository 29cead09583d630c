"""How many jobs of a key have a place, in whose turn they go, and how often they start."""

from __future__ import annotations

import math
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count, permutations
from pathlib import Path
from typing import Any

import pytest
from peewee import OperationalError

from bgjob.words import IfHeld, Throttle
from bgjobd.core.facts import Changed, ClockJumped
from bgjobd.core.gate import KeyRules, Share
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.core.rates import Bucket, Rate
from bgjobd.core.unique import Unique
from bgjobd.store import adoption, gate, rates
from bgjobd.store.committed import TrimmedRates
from bgjobd.store.database import UncertainCommitError, prepare
from bgjobd.store.items.daemons import DaemonStarted, Look
from bgjobd.store.items.holds import QueueResumed
from bgjobd.store.items.retention import RateTrimming
from bgjobd.store.items.wishes import JobsChanged
from bgjobd.store.ledger import Ledger
from bgjobd.store.reader import Reader
from bgjobd.store.tally import counted
from bgjobd.store.written import BEHIND
from tests.store.samples import (
    COMPLETED,
    FAILED,
    LOST,
    NO_SLOTS,
    NOW,
    SUBMITTER,
    Store,
    asked,
    cancels,
    ends,
    overhear,
    retries,
    submission,
)

ONE = Lanes(100, keys={"default": KeyRules(slots=1)})
TWO = Lanes(100, keys={"default": KeyRules(slots=2)})
PLAIN = Lanes(100, keys={})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


def submit(store: Store, lanes: Lanes, *keys: str | None, **given: Any) -> list[int]:
    """One job for each key, with no slot to give."""
    jobs = [asked(key=key, **given) for key in keys]
    (stored,) = store.commit(submission(*jobs), lanes=lanes.closed()).answers
    return [one.id for one in stored]


def readies(store: Store) -> dict[int, int]:
    return {
        row["id"]: row["ready"]
        for row in store.rows("SELECT id, ready FROM background_jobs WHERE status = 'pending'")
    }


def claimed(store: Store, lanes: Lanes) -> list[int]:
    return [claim.job.id for claim in store.claim(lanes)]


def claimed_in_all(store: Store, lanes: Lanes) -> list[int]:
    """What starts as often as the store asks to look again at once."""
    found: list[int] = []
    is_over = False
    while not is_over:
        committed = store.commit(Look(), lanes=lanes)
        found += [claim.job.id for claim in committed.claims]
        is_over = committed.next_due != store.now
    return found


def test_so_many_jobs_of_a_key_have_a_place_and_the_first_behind_takes_that_of_one_that_ends(
    store: Store,
) -> None:
    ids = submit(store, ONE, "a", "a", "a", "b", None)
    assert readies(store) == {1: 1, 2: 3, 3: 3, 4: 1, 5: 1}
    assert claimed(store, ONE) == [1, 4, 5]
    committed = store.commit(ends(ids[0], COMPLETED), lanes=ONE)
    assert [claim.job.id for claim in committed.claims] == [2]
    assert readies(store) == {3: 3}


def test_one_that_waits_for_its_retry_has_no_place(store: Store) -> None:
    submit(store, ONE, "a", "a")
    assert claimed(store, ONE) == [1]
    store.commit(ends(1, FAILED), lanes=ONE)
    assert readies(store) == {1: 0}  # the other runs
    store.now += 3600
    assert claimed(store, ONE) == []
    assert readies(store) == {1: 3}
    store.commit(ends(2, COMPLETED), lanes=ONE)
    assert store.job(1)["status"] == "running"


def test_a_cancel_gives_the_place_away(store: Store) -> None:
    submit(store, ONE, "a", "a", "a")
    store.commit(cancels(1, 2), lanes=ONE.closed())
    assert readies(store) == {3: 1}


def test_an_urgent_job_changes_with_one_of_its_key_that_has_a_place_and_no_slot(store: Store) -> None:
    submit(store, ONE, "a", "a")
    submit(store, ONE, "a", priority=5)
    assert readies(store) == {1: 3, 2: 3, 3: 1}


def test_one_that_runs_keeps_its_place(store: Store) -> None:
    submit(store, ONE, "a")
    assert claimed(store, ONE) == [1]
    submit(store, ONE, "a", priority=5)
    assert readies(store) == {2: 3}


def test_a_limit_of_another_queue_is_none_of_this_one(store: Store) -> None:
    submit(store, ONE, "a", "a", queue="mail")
    assert readies(store) == {1: 1, 2: 1}


def test_a_person_who_retries_a_job_has_it_wait_behind_its_key(store: Store) -> None:
    submit(store, ONE, "a", "a")
    store.commit(cancels(1), lanes=ONE.closed())
    assert claimed(store, ONE) == [2]
    store.commit(retries(1), lanes=ONE)
    assert readies(store) == {1: 3}


def test_another_limit_is_carried_out_some_at_a_time_also_across_a_restart(store: Store) -> None:
    submit(store, PLAIN, *["a"] * 3, *["b"] * 3)
    assert set(readies(store).values()) == {1}
    store.close()
    store.open()
    store.commit(Look(), lanes=ONE.closed())
    assert readies(store) == {1: 1, 2: 3, 3: 3, 4: 1, 5: 3, 6: 3}
    store.commit(Look(), lanes=TWO.closed())
    assert readies(store) == {1: 1, 2: 1, 3: 3, 4: 1, 5: 1, 6: 3}
    store.commit(Look(), lanes=PLAIN.closed())
    assert set(readies(store).values()) == {1}
    assert store.commit(Look(), lanes=PLAIN.closed()).next_due is None


def test_a_limit_that_is_taken_back_before_all_keys_are_settled_for_it(store: Store, few: None) -> None:
    submit(store, TWO, *["a"] * 2, *["b"] * 2, *["c"] * 2)
    store.commit(Look(), lanes=ONE.closed())
    assert readies(store) == {1: 1, 2: 3, 3: 1, 4: 3, 5: 1, 6: 1}
    while store.commit(Look(), lanes=TWO.closed()).next_due is not None:
        pass
    assert set(readies(store).values()) == {1}


def test_a_kill_before_all_keys_are_settled_for_a_limit_that_is_taken_back(store: Store, few: None) -> None:
    submit(store, TWO, *["a"] * 2, *["b"] * 2, *["c"] * 2)
    store.commit(Look(), lanes=ONE.closed())
    store.close()
    store.open()
    while store.commit(Look(), lanes=TWO.closed()).next_due is not None:
        pass
    assert set(readies(store).values()) == {1}


def test_a_transaction_that_fails_at_any_statement_leaves_each_place_as_it_was(store: Store) -> None:
    """A disk that is full, say: the ledger goes on with what it knew before."""
    submit(store, PLAIN, *["a"] * 3, "b")
    assert claimed(store, Lanes(1, keys={})) == [1]
    left: Iterator[int] = iter(())
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def burn(sql: str) -> None:
        if sql != "ROLLBACK" and next(left, None) == 0:
            raise full

    overhear(store.database, burn)
    store.ledger = Ledger(store.database, "boot", jitter=lambda: 1.0)
    items = ends(1, Ending.throttled(60, Throttle.CLASS)), submission(asked(key="a", priority=1))
    before = store.rows("SELECT * FROM background_jobs"), store.rows("SELECT * FROM properties")
    for fuse in count():
        left = iter(range(fuse, -1, -1))
        try:
            store.commit(*items, lanes=ONE)
        except (OperationalError, sqlite3.OperationalError, UncertainCommitError):
            # By the engine that it was.
            left = iter(())
            assert (
                store.rows("SELECT * FROM background_jobs"),
                store.rows("SELECT * FROM properties"),
            ) == before
        else:
            left = iter(())
            break
    assert fuse > 20
    (newest,) = store.rows("SELECT max(id) AS id FROM background_jobs")  # not 5 where a server gives ids
    assert readies(store) == {1: 0, 2: 3, 3: 3, 4: 1, newest["id"]: 1}
    assert store.count("rates") == 1


def test_a_backup_that_is_put_in_place_goes_on_within_its_limits(store: Store) -> None:
    submit(store, ONE, "a", "a", "a")
    assert claimed(store, ONE) == [1]
    store.database.execute_sql("INSERT INTO properties VALUES ('copied_at', '')")
    store.close()
    assert prepare(store.state_dir)
    store.open()
    assert store.commit(DaemonStarted(), ends(1, LOST), lanes=ONE).claims == ()  # for its queue is paused
    assert store.rows("SELECT what, who FROM changes WHERE kind = 'paused'") == [
        {"what": '{"queue":"default","until":null}', "who": "the restore of a backup"}
    ]
    assert readies(store) == {1: 0, 2: 1, 3: 3}
    assert [claim.job.id for claim in store.commit(QueueResumed("default"), lanes=ONE).claims] == [2]


def test_a_new_limit_holds_from_the_first_moment_though_not_all_keys_are_settled_for_it(
    store: Store, few: None
) -> None:
    submit(store, PLAIN, *["a"] * 2, *["b"] * 2, *["c"] * 2)
    assert claimed(store, ONE) == [1, 3, 5]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "AT_ONCE", 2)


def test_a_command_that_knows_of_no_limits_changes_none(store: Store) -> None:
    submit(store, ONE, "a", "a")
    store.commit(Look(), lanes=NO_SLOTS)
    assert readies(store) == {1: 1, 2: 3}


# Shares


SHARED = Lanes(1, keys={"default": KeyRules(share=Share.KEY)})


def order(store: Store, lanes: Lanes, count: int) -> list[str]:
    keys = []
    for _ in range(count):
        (claim,) = store.claim(lanes)
        keys.append(claim.job.key or "-")
        store.commit(ends(claim.job.id, COMPLETED), lanes=lanes.closed())
    return keys


def test_keys_take_turns(store: Store) -> None:
    submit(store, SHARED, *["a"] * 5)
    assert order(store, SHARED, 2) == ["a", "a"]
    submit(store, SHARED, "b", "b")
    assert order(store, SHARED, 5) == ["a", "b", "a", "b", "a"]


@pytest.mark.parametrize("seed", range(2))
def test_however_jobs_come_in_no_key_that_waits_is_more_than_a_round_behind_another(
    store: Store, seed: int
) -> None:
    chance, ahead = random.Random(seed), Counter[tuple[str, str]]()
    for _ in range(80):
        if chance.random() < 0.2:
            submit(store, SHARED, *chance.choice("abc") * chance.randint(1, 12))
        waiting = {
            row["key"] for row in store.rows("SELECT key FROM background_jobs WHERE status = 'pending'")
        }
        pairs = set(permutations(waiting, 2))
        ahead = Counter({pair: number for pair, number in ahead.items() if pair in pairs})
        for key in order(store, SHARED, 1) if waiting else ():
            ahead.update({(key, other): 1 for other in waiting - {key}})
            ahead.subtract({(other, key): 1 for other in waiting - {key}})
        assert max(ahead.values(), default=0) <= 2  # one that came in as its round began, and one of the next


def test_a_retry_comes_at_the_next_round(store: Store) -> None:
    submit(store, SHARED, *["a"] * 4, *["b"] * 4)
    (claim,) = store.claim(SHARED)
    store.commit(ends(claim.job.id, FAILED), lanes=SHARED.closed())
    assert order(store, SHARED, 3) == ["b", "a", "b"]
    store.now += 3600
    assert store.claim(SHARED)[0].job.id == claim.job.id


def test_each_priority_has_its_turns(store: Store) -> None:
    submit(store, SHARED, *["a"] * 3)
    submit(store, SHARED, "b", "a", priority=5)
    assert [row["turn"] for row in store.rows("SELECT turn FROM background_jobs ORDER BY id")] == [
        1,
        2,
        3,
        1,
        1,
    ]


def test_users_take_turns_whatever_key_they_give(store: Store) -> None:
    lanes = Lanes(1, keys={"default": KeyRules(share=Share.USER)})
    submit(store, lanes, "a", "b")
    assert {row["key"] for row in store.rows("SELECT key FROM background_jobs")} == {"1000"}


def test_jobs_of_a_queue_that_shares_no_more_go_by_age_again(store: Store) -> None:
    submit(store, SHARED, *["a"] * 3)
    store.commit(Look(), lanes=PLAIN.closed())
    assert {row["turn"] for row in store.rows("SELECT turn FROM background_jobs")} == {0}
    assert store.count("queue_turns") == 0


def test_one_whose_turn_was_given_keeps_it_whatever_else_changes_of_it(store: Store) -> None:
    unique = Unique("u", if_held=IfHeld.REPLACE)
    submit(store, SHARED, None, unique=unique)
    submit(store, SHARED, None, unique=unique, timeout=5.0)
    assert claimed(store, SHARED) == [1]


def test_one_that_is_put_off_or_cancelled_as_it_comes_in_gets_no_turn(store: Store) -> None:
    unique = Unique("u", if_held=IfHeld.REPLACE)
    put_off = submission(asked(unique=unique, scheduled_at=NOW + 60))
    store.commit(submission(asked(unique=unique)), put_off, lanes=SHARED.closed())
    store.commit(submission(asked(key="a")), cancels(2), lanes=SHARED.closed())
    assert readies(store) == {1: 0}
    assert Counter(store.commit(Look()).tally.places) == Counter(counted(store.database, store.now).places)
    assert claimed(store, SHARED) == []


def test_one_that_comes_back_to_a_queue_that_shares_no_more_goes_by_age(store: Store) -> None:
    submit(store, SHARED, "a", "a")
    assert claimed(store, SHARED) == [1]
    store.commit(ends(1, FAILED), lanes=PLAIN.closed())
    store.now += 3600
    submit(store, PLAIN, "b")
    assert claimed(store, PLAIN) == [1, 2, 3]


# Rates


SLOW = Lanes(100, keys={"default": KeyRules(rate=Rate(10, 1.0))})
OF_CLASS = Lanes(100, keys={}, rates={"myapp.jobs.ExampleJob": Rate(10, 1.0, burst=2)})


def test_a_key_starts_no_oftener_than_its_rate(store: Store) -> None:
    submit(store, SLOW, "a", "a", "a", "b")
    committed = store.commit(Look(), lanes=SLOW)
    assert [claim.job.id for claim in committed.claims] == [1, 4]
    assert readies(store) == {2: 3, 3: 3}
    assert committed.next_due == pytest.approx(NOW + 0.1)
    store.now = committed.next_due or 0.0
    assert claimed(store, SLOW) == [2]


def test_a_class_starts_no_oftener_than_its_rate_and_at_once_after_a_rest(store: Store) -> None:
    submit(store, OF_CLASS, *[None] * 4)
    committed = store.commit(Look(), lanes=OF_CLASS)
    assert [claim.job.id for claim in committed.claims] == [1, 2]
    assert committed.next_due == pytest.approx(NOW + 0.1)
    store.now = committed.next_due or 0.0
    assert claimed(store, OF_CLASS) == [3]
    store.now += 0.1
    last = store.commit(Look(), lanes=OF_CLASS)
    assert [claim.job.id for claim in last.claims] == [4]
    assert last.next_due is None


def test_a_restart_knows_what_has_started(store: Store) -> None:
    submit(store, OF_CLASS, *[None] * 3)
    assert claimed(store, OF_CLASS) == [1, 2]
    store.close()
    store.open()
    assert claimed(store, OF_CLASS) == []


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
@pytest.mark.parametrize("is_seen", [True, False])
def test_a_clock_that_was_set_stops_nobody_and_has_none_burst(
    store: Store, seconds: float, is_seen: bool
) -> None:
    submit(store, OF_CLASS, *["a"] * 4)
    submit(store, SLOW, *["a"] * 3, queue="default", class_name="myapp.jobs.Other")
    both = Lanes(100, keys=SLOW.keys, rates=OF_CLASS.rates)
    store.commit(Look(), lanes=both)
    store.now += seconds
    committed = store.commit(ClockJumped(seconds) if is_seen else DaemonStarted(), lanes=both)
    limit = 1 if seconds > 0 and not is_seen else 0
    assert len(committed.claims) <= limit
    assert (committed.next_due or math.inf) <= store.now + 0.2


def test_a_rate_that_is_higher_since_a_reload_waits_no_longer_than_its_own_bucket(store: Store) -> None:
    name = "myapp.jobs.ExampleJob"
    slow = Lanes(100, keys={"default": KeyRules(rate=Rate(1, 3600.0))}, rates={name: Rate(1, 3600.0)})
    submit(store, slow, *["a"] * 3)
    assert claimed(store, slow) == [1]
    fast = Lanes(100, keys={"default": KeyRules(rate=Rate(10, 1.0))}, rates={name: Rate(5, 1.0)})
    assert claimed(store, fast) == []
    found = []
    for _ in range(2):
        store.now = store.commit(Look(), lanes=fast).next_due or math.inf
        found += [(round(store.now - NOW, 3), claimed(store, fast))]
    assert found == [(0.1, []), (0.2, [2])]  # first that of the key, then that of the class


# Told by the other side


@pytest.mark.parametrize("whom", [Throttle.CLASS, Throttle.KEY])
def test_a_job_that_was_told_to_come_later_holds_the_others_of_its_class_or_key(
    store: Store, whom: Throttle
) -> None:
    submit(store, PLAIN, "a", "a")
    other = {"class_name": "myapp.jobs.Other"} if whom is Throttle.CLASS else {}
    submit(store, PLAIN, "b", **other)
    one = Lanes(1, keys={})
    assert claimed(store, one) == [1]
    committed = store.commit(ends(1, Ending.throttled(60, whom)), lanes=PLAIN)
    assert [claim.job.id for claim in committed.claims] == [3]
    assert committed.next_due == NOW + 60
    (held,) = store.rows("SELECT held_until, held_by FROM rates WHERE held_until IS NOT NULL")
    assert held == {"held_until": NOW + 60, "held_by": 1}
    names = ["myapp.jobs.ExampleJob", "myapp.jobs.Other"]
    of_class = {names[0]: Bucket(0.0, NOW + 60, 1)} if whom is Throttle.CLASS else {}
    store.close()
    store.open()
    with closing(Reader(store.state_dir)) as reader:
        assert reader.needs.held_classes(names, NOW + 59) == of_class
        assert reader.needs.held_classes(names, NOW + 60) == reader.needs.held_classes(names[1:], NOW) == {}
    submit(store, PLAIN, "a")
    assert claimed(store, PLAIN) == []
    store.now += 60
    assert claimed(store, PLAIN) == [1, 2, 4]


def test_a_hold_is_never_shortened_and_moves_with_the_clock(store: Store) -> None:
    submit(store, PLAIN, "a", "a", "a")
    assert claimed(store, Lanes(2, keys={})) == [1, 2]
    store.commit(ends(1, Ending.throttled(60, Throttle.CLASS)), lanes=PLAIN)
    store.commit(ends(2, Ending.throttled(10, Throttle.CLASS)), lanes=PLAIN)
    store.now -= 3600
    store.commit(ClockJumped(-3600), lanes=PLAIN)
    store.now += 59
    assert claimed(store, PLAIN) == []
    store.now += 1
    assert claimed(store, PLAIN) == [1, 2, 3]


def test_a_command_that_knows_of_no_limits_leaves_no_place_free_and_gives_no_more(store: Store) -> None:
    submit(store, ONE, "a", expires_at=NOW + 1)
    submit(store, ONE, "a", "a")
    store.now += 2
    store.commit(Look(), lanes=NO_SLOTS)
    assert readies(store) == {2: 1, 3: 3}


def test_a_changed_job_comes_in_anew(store: Store) -> None:
    lanes = Lanes(1, keys={"default": KeyRules(slots=1), "mail": KeyRules(share=Share.USER)})
    submit(store, lanes, "a", "a", "b")
    change = JobsChanged((2,), Changed(SUBMITTER.uid, priority=5), SUBMITTER)
    store.commit(change, lanes=lanes.closed())
    assert readies(store) == {1: 3, 2: 1, 3: 1}
    store.commit(JobsChanged((2,), Changed(SUBMITTER.uid, queue="mail"), SUBMITTER), lanes=lanes.closed())
    assert readies(store) == {1: 1, 2: 1, 3: 1}
    moved = store.job(2)
    assert (moved["key"], moved["turn"]) == (str(SUBMITTER.uid), 1)


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_clock_that_was_set_back_while_nobody_ran_holds_nothing_anew_and_for_an_hour_at_most(
    store: Store, is_ended: bool
) -> None:
    submit(store, PLAIN, "a", "a")
    assert claimed(store, Lanes(1, keys={})) == [1]
    store.commit(ends(1, Ending.throttled(60, Throttle.KEY)), lanes=PLAIN)
    store.now += 61 if is_ended else 0
    store.commit(Look(), lanes=PLAIN.closed())
    store.close()
    store.now -= 2 * 3600
    store.open()
    committed = store.commit(DaemonStarted(), lanes=PLAIN)
    if is_ended:
        assert [claim.job.id for claim in committed.claims] == [2]
    else:
        (held,) = store.rows("SELECT held_until FROM rates WHERE held_until IS NOT NULL")
        assert held["held_until"] == store.now + 3600


def test_a_key_with_many_ready_jobs_is_held_some_at_a_time_and_none_of_it_starts_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "AT_ONCE", 3)
    submit(store, PLAIN, *["a"] * 12, "b")
    assert claimed(store, Lanes(1, keys={})) == [1]
    committed = store.commit(ends(1, Ending.throttled(60, Throttle.KEY)), lanes=PLAIN)
    assert 3 <= Counter(readies(store).values())[BEHIND] < 11  # more than one transaction's work
    started = [claim.job.id for claim in committed.claims]
    while committed.next_due == NOW:
        committed = store.commit(Look(), lanes=PLAIN)
        started += [claim.job.id for claim in committed.claims]
    assert (started, committed.next_due) == ([13], NOW + 60)
    assert Counter(readies(store).values()) == {BEHIND: 11, 0: 1}
    assert committed.tally == counted(store.database, NOW)
    store.now += 60
    assert sorted(claimed_in_all(store, PLAIN)) == list(range(1, 13))


def test_the_rows_of_buckets_that_say_nothing_any_more_go_some_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "_TRIMMED_AT_ONCE", 2)
    submit(store, SLOW, "a", "b", "c")
    assert claimed(store, SLOW) == [1, 2, 3]
    store.commit(ends(2, Ending.throttled(60, Throttle.KEY)), lanes=SLOW.closed())
    with closing(Reader(store.state_dir)) as reader:
        assert reader.old.first_full_bucket() == pytest.approx(NOW + 0.1)
    assert store.answer(RateTrimming()) == TrimmedRates(0, "key:default:b")
    store.now += 1
    assert store.answer(RateTrimming()) == TrimmedRates(1, "key:default:b")
    assert store.answer(RateTrimming("key:default:b")) == TrimmedRates(1, None)
    assert [row["scope"] for row in store.rows("SELECT scope FROM rates")] == ["key:default:b"]
    store.now += 60
    assert store.answer(RateTrimming()) == TrimmedRates(1, None)


# Costs


def test_an_end_its_promotion_and_the_claim_cost_no_more_however_many_jobs_and_keys_wait(
    store: Store,
) -> None:
    lanes = Lanes(3, keys={"default": KeyRules(slots=1)})

    def steps() -> int:
        taken = count()
        store.database.connection().set_progress_handler(lambda: next(taken) < 0, 1)
        (claim,) = store.commit(ends(running.pop(0), COMPLETED), lanes=lanes).claims
        store.database.connection().set_progress_handler(None, 1)
        running.append(claim.job.id)
        return next(taken)

    submit(store, lanes, *"abc", *"abc" * 10)
    running = claimed(store, lanes)
    few = steps()
    submit(store, lanes, *"abc" * 200, *map(str, range(600)))
    assert steps() <= 1.3 * few


def test_a_job_that_is_replaced_by_one_without_a_key_waits_for_none_any_more(store: Store) -> None:
    lanes = Lanes(100, keys={"default": KeyRules(rate=Rate(10, 1.0), share=Share.KEY)})
    unique = Unique("w", if_held=IfHeld.REPLACE)
    submit(store, lanes, "a", "a", "b")
    store.commit(Look(), lanes=lanes)
    (job_id,) = submit(store, lanes, "a", unique=unique)
    store.commit(
        *[cancels(row["id"]) for row in store.rows("SELECT id FROM background_jobs WHERE ready = 3")[:1]],
        lanes=lanes.closed(),
    )
    assert store.job(job_id)["waits_until"] is not None
    submit(store, lanes, None, unique=unique)
    job = store.job(job_id)
    assert (job["key"], job["ready"], job["waits_until"]) == (None, 1, None)
