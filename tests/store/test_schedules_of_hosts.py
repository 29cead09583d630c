"""Schedules that several hosts have in their configurations: whose definition holds, and who deals with what is due."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjobd.core.schedules import Due, Rules
from bgjobd.store.committed import Dealt
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.items.schedules import OccurrencesDue, ScheduleDefined, ScheduleDue, SchedulesDefined
from tests.postgresql import Places
from tests.store.samples import NOW, SUBMITTER, asked
from tests.store.test_hosts import Host

NIGHTLY = "nightly"


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


def define(host: Host, *schedules: tuple[str, str]) -> None:
    host.answer(SchedulesDefined(tuple(ScheduleDefined(name, text, is_new=True) for name, text in schedules)))


def deal(host: Host, definition: str = "{}", cursor: float = NOW) -> Dealt:
    """What becomes of the one occurrence that is due."""
    found = Due(None, (NOW + 60,), NOW + 60)
    one = ScheduleDue(NIGHTLY, cursor, found, Rules(), asked(), 0.0, NOW + 61, definition=definition)
    (dealt,) = host.answer(OccurrencesDue((one,), SUBMITTER))
    assert isinstance(dealt, Dealt)
    return dealt


def configured(host: Host) -> set[str]:
    return {row["name"] for row in host.rows("SELECT name FROM schedules WHERE removed_at IS NULL")}


def test_of_two_hosts_that_deal_with_an_occurrence_one_wins(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    define(web1, (NIGHTLY, "{}"))
    assert len(deal(web1).verdicts) == 1
    late = deal(web2)
    assert (late.cursor, late.verdicts, late.set_by) == (NOW + 60, (), None)
    assert web1.count("background_jobs") == 1


def test_the_definition_that_was_set_last_holds_and_who_has_another_deals_with_nothing(
    pair: tuple[Host, Host],
) -> None:
    web1, web2 = pair
    define(web1, (NIGHTLY, '{"priority":1}'))
    define(web2, (NIGHTLY, '{"priority":2}'))
    refused = deal(web1, '{"priority":1}')
    assert (refused.set_by, refused.verdicts) == ("web2", ())
    assert len(deal(web2, '{"priority":2}').verdicts) == 1


def test_a_schedule_is_ended_by_the_host_alone_that_has_set_it(pair: tuple[Host, Host]) -> None:
    web1, web2 = pair
    define(web1, (NIGHTLY, "{}"), ("hourly", "{}"))
    define(web2, ("weekly", "{}"))
    assert configured(web1) == {NIGHTLY, "hourly", "weekly"}
    define(web2, ("hourly", "{}"))
    assert configured(web1) == {NIGHTLY, "hourly"}
    define(web1)
    assert configured(web1) == {"hourly"}
    define(web2)
    assert configured(web1) == set()
