"""Held classes where several hosts work from the database: who holds them, and that there is one trial among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bgjobd.core.planner import Lanes
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.holds import ClassHeld, ClassResumed
from tests.postgresql import Places
from tests.store.samples import COMPLETED, ends
from tests.store.test_class_holds import FRAGILE, KILLED, begun, submit
from tests.store.test_hosts import PROFILE, Host


@pytest.fixture
def pair(places: Places, tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts, web1 and web2, that run the same code."""
    known, place = places.known(), places.at(tmp_path)
    assert isinstance(place, Postgres)
    both = Host.called(place, "web1"), Host.called(place, "web2")
    for one in both:
        one.beat(replace(PROFILE, code_version="new"))
    yield both
    for one in both:
        one.close()
    places.take_back(known)


def lanes(host: Host, code: str = "new") -> Lanes:
    name = host.term.name
    return Lanes(100, {"default": None}, host=name, known=frozenset([FRAGILE]), code_version=code)


def claimed(host: Host, code: str = "new") -> list[int]:
    return [claim.job.id for claim in host.claim(lanes(host, code))]


def test_the_crashes_of_all_hosts_count_and_one_trial_is_made_among_them(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    waiting = _held(pair)
    assert (claimed(web1), claimed(web2)) == ([], [])
    web1.now += 10
    web2.now += 10
    assert claimed(web1) == waiting[:1]
    assert claimed(web2) == []
    web1.now += 1000
    web2.now += 1000
    assert (claimed(web1), claimed(web2)) == ([], [])
    web1.commit(begun(waiting[0]))
    committed = web1.commit(ends(waiting[0], COMPLETED), lanes=replace(lanes(web1), slots=0))
    assert [text.partition(": ")[2] for _, text in committed.said] == ["an attempt of it has not crashed"]
    assert claimed(web2)[-2:] == waiting[1:]


def _held(pair: tuple[Host, Host]) -> list[int]:
    """The jobs that wait once crashes on either host hold their class."""
    web1, _ = pair
    of_each = {host.term.name: (submit(host, 5), claimed(host)) for host in pair}
    waiting = submit(web1, 3)
    for host in pair:
        jobs, started = of_each[host.term.name]
        assert started == jobs
        for job in jobs:
            host.commit(begun(job), ends(job, KILLED))
    return waiting


def test_hosts_of_other_code_go_on_and_let_nothing_go_as_long_as_one_runs_what_crashes(
    pair: tuple[Host, Host],
) -> None:
    web1, web2 = pair
    waiting = _held(pair)
    web2.beat(replace(PROFILE, code_version="mended"))
    assert claimed(web2, "mended") == waiting
    assert web1.count("class_holds") == 1
    web1.beat(replace(PROFILE, code_version="mended"))
    said = web1.commit(Look(), lanes=lanes(web1, "mended")).said
    assert [text.partition(": ")[2] for _, text in said] == ["its code is another one"]
    assert web1.count("class_holds") == 0


def test_what_a_person_has_asked_for_holds_on_all_hosts(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    waiting = submit(web1, 2)
    web1.commit(ClassHeld(FRAGILE, 1000))
    assert claimed(web2, "whichever") == []
    web2.commit(ClassResumed(FRAGILE))
    assert claimed(web1) == waiting
