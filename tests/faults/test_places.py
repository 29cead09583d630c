"""Jobs that share keys at their worst: deaths at each moment; no place leaks, no start is uncounted, no job is lost."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from bgjob.words import Throttle
from bgjobd.core.gate import KeyRules, Share
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.core.rates import Rate
from bgjobd.store import adoption
from bgjobd.store.audit import Audit
from bgjobd.store.items.daemons import Look
from tests.faults.acts import Act, copied, is_killed, points_of
from tests.faults.injecting import needs_root
from tests.faults.knife import why_impossible
from tests.store.samples import COMPLETED, NOW, Store, asked, cancels, ends, starts, submission

OBSTACLE = why_impossible()

ONE = Lanes(9, keys={"default": KeyRules(slots=1, share=Share.KEY)})
SLOW = Lanes(
    9, keys={"default": KeyRules(rate=Rate(10, 1.0))}, rates={"myapp.jobs.ExampleJob": Rate(10, 1.0, burst=2)}
)


def submit(store: Store, lanes: Lanes, keys: str) -> None:
    store.commit(submission(*[asked(key=key) for key in keys]), lanes=lanes.closed())


# What is under way when somebody dies


def one_runs(store: Store) -> None:
    submit(store, ONE, "aaabb")
    store.claim(ONE)
    store.commit(*[starts(row["id"]) for row in store.rows("SELECT id FROM background_jobs WHERE ready = 1")])


def end(store: Store) -> None:
    """What the daemon makes of the journal of job 1; the next of its key starts at once."""
    if store.job(1)["status"] == "running":
        store.commit(ends(1, COMPLETED), lanes=ONE)


def some_wait(store: Store) -> None:
    submit(store, SLOW, "aaabb")


def claim(store: Store) -> None:
    store.claim(SLOW)
    claimed = store.count("job_attempts")
    drawn = store.rows("SELECT scope FROM rates WHERE full_at > ?", NOW)
    if (claimed, len(drawn)) != (2, 3):
        raise AssertionError(f"{claimed} were claimed, of the buckets {drawn}")


def nobody_waits(store: Store) -> None:
    submit(store, Lanes(9, keys={}), "aaabbc")


def adopt(store: Store) -> None:
    """A limit that a reload brings: a portion a transaction."""
    with patch.object(adoption, "AT_ONCE", 1):
        while store.commit(Look(), lanes=ONE.closed()).next_due is not None:
            pass


def hold(store: Store) -> None:
    """What a job says whose other side has told it to come later."""
    if store.job(1)["status"] == "running":
        store.commit(ends(1, Ending.throttled(60, Throttle.KEY)), cancels(2), lanes=ONE)


@dataclass(frozen=True)
class Case:
    """What there is, what happens then, and by which lanes all goes on."""

    prepare: Act
    act: Act
    lanes: Lanes


CASES = {
    "an end": Case(one_runs, end, ONE),
    "a claim": Case(some_wait, claim, SLOW),
    "an adoption": Case(nobody_waits, adopt, ONE),
    "a hold": Case(one_runs, hold, ONE),
}


@needs_root
@pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))
@pytest.mark.parametrize("most", [3, pytest.param(None, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("case", CASES)
def test_who_gives_places_is_killed_at_each_system_call_and_none_leaks(
    tmp_path: Path, case: str, most: int | None
) -> None:
    prepare, act = CASES[case].prepare, CASES[case].act
    place = tmp_path / "place"
    place.mkdir()
    with closing(Store(place)) as store:
        prepare(store)
    tried = points_of(act, copied(place, tmp_path / "trial"), tmp_path / "log", most)
    struck = 0
    for number, (call, when) in enumerate(tried):
        there = copied(place, tmp_path / str(number))
        struck += is_killed(act, there, f"{call}:signal=SIGKILL:when={when}", tmp_path / "log")
        assert_right(CASES[case], there)
        shutil.rmtree(there)
    assert struck > len(tried) / 2, "strace has killed next to nobody"


def assert_right(case: Case, state_dir: Path) -> None:
    """Both as it was left, and once the next daemon has done it, and has run what may run, as the time comes."""
    with closing(Store(state_dir)) as store:
        assert_balance(store)
        case.act(store)
        finish(store, case.lanes)
        assert_balance(store)
        statuses = store.rows(
            "SELECT status FROM background_jobs WHERE status NOT IN ('completed', 'cancelled')"
        )
        assert statuses == []


def finish(store: Store, lanes: Lanes) -> None:
    """Have all end that runs, and start what may, at each time at which the daemon would be woken."""
    due: float | None = store.now
    while due is not None:
        store.now = max(store.now, due)
        running = store.rows(
            "SELECT job_id, max(number) AS number FROM job_attempts WHERE outcome IS NULL GROUP BY 1"
        )
        places = [(row["job_id"], row["number"]) for row in running]
        store.commit(*[starts(*place) for place in places])
        due = store.commit(*[ends(id, COMPLETED, number) for id, number in places], lanes=lanes).next_due
        if store.rows("SELECT 1 FROM job_attempts WHERE outcome IS NULL"):
            due = store.now


def assert_balance(store: Store) -> None:
    with closing(Audit(store.state_dir)) as audit:
        assert audit.oddities() == ()
        assert audit.odd_queues() == ()
