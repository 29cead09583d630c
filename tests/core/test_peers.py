"""Which hosts may be asked for, which of them could start a job, and what none has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgjobd.core.peers import Peer, Wanted, names_of, queues_of, silence, takers, why_nobody

NOW = 1_000_000.0
HOUR, DAY = 3600.0, 86_400.0
WEB1 = Peer("web1", NOW - 1, 600.0, frozenset({"default"}), frozenset({"shop.Mail", "shop.Report"}))
WEB2 = Peer("web2", NOW - 4, 600.0, frozenset({"default", "nightly"}), frozenset({"shop.Report"}))
GONE = replace(WEB1, name="web3", seen_at=NOW - HOUR, queues=frozenset({"archive"}))
OLD = replace(GONE, name="web4", seen_at=NOW - DAY - 1, queues=frozenset({"forgotten"}))
ALL = (WEB1, WEB2, GONE, OLD)


def test_a_host_and_its_queues_may_be_asked_for_within_a_day_since_it_was_seen() -> None:
    assert names_of(ALL, NOW) == {"web1", "web2", "web3"}
    assert queues_of(ALL, NOW) == {"default", "nightly", "archive"}
    assert queues_of((), NOW) == frozenset()


@pytest.mark.parametrize(
    ("peer", "lives"),
    [
        (WEB1, True),
        (replace(WEB1, seen_at=NOW - 599), True),
        (replace(WEB1, seen_at=NOW - 601), False),
        (replace(WEB1, seen_at=NOW - 599, lost_after=None), True),
        (replace(WEB1, seen_at=NOW - 601, lost_after=None), False),
        (replace(WEB1, has_left=True), False),
        (replace(WEB1, is_lost=True), False),
    ],
)
def test_a_host_lives_until_it_leaves_or_is_lost_or_silent_for_too_long(peer: Peer, lives: bool) -> None:
    assert peer.lives(NOW) is lives


@pytest.mark.parametrize(
    ("wanted", "names", "why"),
    [
        (Wanted("default", "shop.Report"), ["web1", "web2"], None),
        (Wanted("nightly", "shop.Report"), ["web2"], None),
        (Wanted("default", "shop.Report", "web1"), ["web1"], None),
        (Wanted("archive", "shop.Mail"), [], "no host that lives has queue archive"),
        (Wanted("nightly", "shop.Mail"), [], "no host that lives has its class approved"),
        (Wanted("default", "shop.Gone"), [], "no host that lives has its class approved"),
        (Wanted("default", "shop.Mail", "web3"), [], "no host that lives is web3, which it asks for"),
        (Wanted("nightly", "shop.Mail", "web1"), [], "no host that lives has queue nightly"),
    ],
)
def test_a_job_is_for_the_hosts_that_have_all_it_wants_and_the_first_thing_that_none_has_is_told(
    wanted: Wanted, names: list[str], why: str | None
) -> None:
    assert [peer.name for peer in takers(ALL, wanted, NOW)] == names
    assert why_nobody(ALL, wanted, NOW) == why


def test_a_host_that_drains_takes_no_job_though_it_lives() -> None:
    draining = (replace(WEB1, is_draining=True), WEB2)
    assert [peer.name for peer in takers(draining, Wanted("default", "shop.Report"), NOW)] == ["web2"]
    told = "no host that lives takes it, as those that could are draining"
    assert why_nobody(draining, Wanted("default", "shop.Mail"), NOW) == told


def test_a_host_is_silent_once_its_word_is_late() -> None:
    assert silence(WEB1, NOW) is None
    assert silence(replace(WEB1, seen_at=NOW - 180), NOW) == 180
    assert silence(replace(WEB1, seen_at=NOW - 6, lost_after=10.0), NOW) == 6
