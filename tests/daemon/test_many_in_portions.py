"""A wish about all jobs that match is carried out in portions, on a real database; no daemon runs here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bgjob.codec import JsonObject
from bgjob.errors import ChangedError, ShuttingDownError
from bgjobd.api.access import RIGHTS, Right
from bgjobd.api.many import sentence
from bgjobd.core.job import RetryPolicy
from bgjobd.core.many import Wish
from bgjobd.core.planner import Lanes
from bgjobd.daemon import many
from bgjobd.daemon.many import Done, Many, Wanted
from bgjobd.store.filters import JobFilter
from bgjobd.store.items.item import Item
from bgjobd.store.items.wishes import ManyAsked
from bgjobd.store.matching import about
from bgjobd.store.reader import Reader
from tests.store.samples import FAILED, NOW, Store, asked, ends, retries

T = TypeVar("T")

WANTED = Wanted(
    Wish.RETRY,
    about(JobFilter(status=("failed",)), Wish.RETRY),
    NOW,
    {"filter": {"status": ["failed"]}},
    "uid 7",
)


class Site:
    """Carries out wishes on a store; `before` is called with each portion before it is committed."""

    def __init__(self, store: Store) -> None:
        self.store, self.reader = store, Reader(store.state_dir)
        self.portions: list[int] = []
        self.said: list[int] = []
        self.before: Callable[[ManyAsked], None] = lambda item: None

    async def _search(self, ask: Callable[[Reader], Any]) -> Any:
        await asyncio.sleep(0)
        return ask(self.reader)

    async def _record(self, item: Item) -> Any:
        assert isinstance(item, ManyAsked)
        self.before(item)
        await asyncio.sleep(0)
        self.portions.append(len(item.requests))
        return self.store.answer(item)

    def many(self) -> Many:
        return Many(self._search, self._record, lambda: self.store.now)

    def carry_out(self, expected: int, wanted: Wanted = WANTED) -> Done:
        return self.run(lambda: self.many().carry_out(wanted, expected, self.hear))

    def hear(self, done: Done) -> None:
        self.said.append(done.done)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def begin() -> T:
            return await work()

        return asyncio.run(begin())

    def change(self) -> JsonObject:
        (row,) = self.store.rows("SELECT what FROM changes")
        told: JsonObject = json.loads(row["what"])
        return told


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(many, "_FIRST", 2)
    monkeypatch.setattr(many, "_LARGEST", 5)
    monkeypatch.setattr(many, "_REST", 0)
    monkeypatch.setattr(many, "_USUAL", 1000.0)
    store = Store(tmp_path)
    site = Site(store)
    yield site
    site.reader.close()
    store.close()


def fails(store: Store, count: int) -> list[int]:
    policy = RetryPolicy(max_retries=1)
    jobs = store.submit(*[asked(policy=policy, retry_count=1) for _ in range(count)])
    claims = store.claim(Lanes(1000))
    store.commit(*[ends(claim.job.id, FAILED, at=store.now) for claim in claims])
    return jobs


def standing(store: Store, status: str) -> int:
    return len(store.rows("SELECT id FROM background_jobs WHERE status = ?", status))


def test_portions_grow_up_to_the_largest_and_have_each_job_once(site: Site) -> None:
    fails(site.store, 17)
    done = site.carry_out(expected=17)
    assert (done.done, done.left_out, site.said) == (17, 0, [17])
    assert site.portions == [2, 5, 5, 5]
    assert standing(site.store, "pending") == 17
    assert (site.change()["done"], site.change()["is_over"]) == (17, True)


def test_where_a_portion_takes_long_the_next_has_fewer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(site.store, 5)
    monkeypatch.setattr(many, "_USUAL", 1e-9)
    site.carry_out(expected=5)
    assert site.portions == [2, 1, 1, 1]


def test_more_than_were_expected_are_changed_and_nothing_is_done(site: Site) -> None:
    fails(site.store, 10)
    fails(site.store, 2)  # since somebody has counted
    with pytest.raises(ChangedError) as caught:
        site.carry_out(expected=10)
    assert caught.value.parameters == {"count": 12}
    assert (standing(site.store, "failed"), site.store.count("changes"), site.said) == (12, 0, [])


def test_what_has_failed_since_the_moment_is_not_counted_and_stays(site: Site) -> None:
    fails(site.store, 2)
    site.store.now = NOW + 1
    later = fails(site.store, 30)
    assert site.carry_out(expected=2).done == 2
    assert standing(site.store, "failed") == len(later)


def test_one_that_somebody_else_retries_in_between_is_left_out(site: Site) -> None:
    jobs = fails(site.store, 6)

    def retry_the_last(item: ManyAsked) -> None:
        if item.change is None:
            site.store.answer(retries(jobs[-1]))

    site.before = retry_the_last
    done = site.carry_out(expected=6)
    assert (done.done, done.left_out) == (5, 0)
    assert site.change()["done"] == 5


def test_a_daemon_that_ends_in_the_middle_has_told_what_is_done_and_a_repeat_does_the_rest(
    site: Site,
) -> None:
    fails(site.store, 9)

    def end_before_the_third(item: ManyAsked) -> None:
        if len(site.portions) == 2:
            raise ShuttingDownError

    site.before = end_before_the_third
    with pytest.raises(ShuttingDownError):
        site.carry_out(expected=9)
    assert (site.change()["done"], site.change()["is_over"], site.said) == (7, False, [7])
    site.before = lambda item: None
    assert site.carry_out(expected=9).done == 2
    assert standing(site.store, "pending") == 9


def test_a_caller_who_leaves_does_not_end_it(site: Site) -> None:
    fails(site.store, 9)

    async def leave() -> None:
        has_begun, has_ended = asyncio.Event(), asyncio.Event()
        site.before = lambda item: has_begun.set()

        def hear(done: Done) -> None:
            site.hear(done)
            has_ended.set()

        wish = asyncio.ensure_future(site.many().carry_out(WANTED, 9, hear))
        await has_begun.wait()
        wish.cancel()
        await has_ended.wait()

    site.run(leave)
    assert site.said == [9]


def test_two_wishes_come_one_after_the_other(site: Site) -> None:
    fails(site.store, 9)

    async def ask_twice() -> list[Done]:
        both = site.many()
        return list(await asyncio.gather(*[both.carry_out(WANTED, 9, site.hear) for _ in range(2)]))

    assert [done.done for done in site.run(ask_twice)] == [9, 0]
    assert site.portions == [2, 5, 2]


def test_a_wish_that_finds_nothing_is_no_change(site: Site) -> None:
    done = site.carry_out(expected=0)
    assert (done.done, done.change, site.store.count("changes")) == (0, None, 0)


def test_starts_are_spread_over_all_portions(site: Site) -> None:
    jobs = fails(site.store, 6)
    site.carry_out(expected=6, wanted=replace(WANTED, spread=60.0))
    starts = [site.store.job(id)["scheduled_at"] for id in jobs]
    assert starts[0] is None
    assert starts[1:] == sorted({*starts[1:]})
    assert starts[-1] == "2024-12-04T14:32:43.000000Z"


def test_who_may_not_manage_may_count_and_no_more() -> None:
    assert RIGHTS["RetryMatching"] is RIGHTS["CancelMatching"] is Right.MANAGE
    assert RIGHTS["Matching"] is RIGHTS["Changes"] is Right.READ


def test_of_a_filter_as_long_as_a_frame_the_log_has_the_beginning() -> None:
    line = sentence(Wish.RETRY, Done(), {"status": ["failed"], "queue": "x" * 1_000_000})
    assert line.startswith('retry of 0 jobs (all that match {"status":["failed"],"queue":"xxx')
    assert len(line) < 1100
