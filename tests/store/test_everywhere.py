"""Slots that hosts share: of a queue, or a class, no more attempts run on all of them together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bgjobd.core.planner import Lanes
from bgjobd.store import everywhere
from bgjobd.store.engines.postgres import Postgres
from tests.postgresql import Places
from tests.store.samples import COMPLETED, Store, asked, ends, statements_run_on
from tests.store.test_hosts import Host
from tests.store.test_notices import Overheard

NAME = "myapp.jobs.ExampleJob"


@pytest.fixture
def place(places: Places, tmp_path: Path) -> Iterator[Postgres]:
    known = places.known()
    yield places.at(tmp_path)
    places.take_back(known)


@pytest.fixture
def pair(place: Postgres) -> Iterator[tuple[Host, Host]]:
    both = Host.called(place, "web1"), Host.called(place, "web2")
    yield both
    for one in both:
        one.close()


def lanes(slots: int = 100, **shared: dict[str, int]) -> Lanes:
    return replace(Lanes(slots, {"default": None, "mail": None}), **shared)  # type: ignore[arg-type]


def claimed(host: Store, lanes: Lanes) -> list[int]:
    return [claim.job.id for claim in host.claim(lanes)]


@pytest.mark.parametrize("shared", [{"queues_everywhere": {"default": 3}}, {"classes_everywhere": {NAME: 3}}])
def test_no_more_run_on_all_hosts_than_they_share_slots(
    pair: tuple[Host, Host], shared: dict[str, dict[str, int]]
) -> None:
    web1, web2 = pair
    web1.submit(*(asked() for _ in range(6)))
    assert claimed(web1, lanes(2, **shared)) == [1, 2]
    assert claimed(web2, lanes(**shared)) == [3]
    assert claimed(web1, lanes(**shared)) == []
    web1.commit(ends(1, COMPLETED))
    assert claimed(web2, lanes(**shared)) == [4]


@pytest.mark.parametrize(
    ("shared", "queues", "any_queue"),
    [
        ({"queues_everywhere": {"default": 1}}, {"default"}, False),
        ({"classes_everywhere": {NAME: 1}}, set(), True),
    ],
    ids=["of a queue", "of a class"],
)
def test_a_slot_that_is_free_again_is_told_to_the_others_unless_another_job_has_taken_it_here(
    pair: tuple[Host, Host],
    shared: dict[str, dict[str, int]],
    queues: set[str],
    any_queue: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    web1, _ = pair
    told = Overheard(web1, monkeypatch)
    web1.submit(asked(), asked())
    assert claimed(web1, lanes(**shared)) == [1]
    ended = told.of(ends(1, COMPLETED), lanes=lanes(**shared))
    assert ended is not None
    assert (ended.jobs, ended.queues, ended.any_queue) == ({2}, frozenset(), False)
    ended = told.of(ends(2, COMPLETED), lanes=lanes(**shared))
    assert ended is not None
    assert (ended.ended, ended.queues, ended.any_queue) == ({2}, queues, any_queue)


def test_what_shares_no_slots_starts_in_the_place_of_what_has_none_left(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    web1.submit(*(asked(priority=1) for _ in range(3)), asked(queue="mail"))
    shared = {"queues_everywhere": {"default": 1}}
    assert claimed(web1, lanes(1, **shared)) == [1]
    assert claimed(web2, lanes(1, **shared)) == [4]


def test_who_has_nothing_to_start_of_it_takes_no_lock(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    web1.submit(asked(queue="mail"))
    with statements_run_on(web2.database) as run:
        assert claimed(web2, lanes(queues_everywhere={"default": 1})) == [1]
    assert run
    assert everywhere.LOCK not in run


def test_two_hosts_that_claim_at_once_stay_within_what_they_share(pair: tuple[Host, Host]) -> None:
    web1, _ = pair
    web1.submit(*(asked() for _ in range(20)))
    shared = lanes(queues_everywhere={"default": 5})
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda host=host: found.extend(claimed(host, shared))) for host in pair
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == 5
