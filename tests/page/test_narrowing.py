"""What a list of jobs is narrowed by: as the daemon is asked, as chips tell it, and as an address that stands still."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest

from bgjobd.web.addresses import NARROWED_BY, STATUSES, View
from bgjobd.web.narrowing import asked, chips, try_fixed
from tests.page.test_addresses import ALL_OF_A_LIST

NOW = datetime(2026, 11, 28, 12, 30, 20, tzinfo=UTC).timestamp()


def view(address: str) -> View:
    parts = urlsplit(address)
    return View.of(parts.path, dict(parse_qsl(parts.query)), STATUSES, 10)


def test_the_daemon_is_asked_for_all_that_stands_in_the_address() -> None:
    assert asked(view(ALL_OF_A_LIST), NOW) == {
        "status": ["failed"], "search": "smtp", "class_name": "shop.jobs.Mail", "queue": "mail", "error": 7,
        "bulk": 14, "schedule": "nightly", "group": 5, "key": "k", "label": "tenant:7", "host": "web1",
        "outcome": "timed_out", "since": "2026-11-27T12:31:00+00:00", "until": "2026-11-27T14:02:00+00:00",
        "longer_than": 10.0, "sort": "id",
    }  # fmt: skip
    assert asked(view("/jobs"), NOW) == {"status": None, "search": None, "sort": None}


def test_each_thing_that_holds_is_told_with_the_address_without_it() -> None:
    told = {(chip.words, chip.value) for chip in chips(view(ALL_OF_A_LIST))}
    assert told == {
        ("Class", "shop.jobs.Mail"), ("Queue", "mail"), ("Error", "7"), ("Change", "14"), ("Schedule", "nightly"),
        ("Group", "5"), ("Key", "k"), ("Label", "tenant:7"), ("On", "web1"), ("Ended", "timed_out"), ("Last 24h", ""),
        ("Before 2026-11-27 14:02 UTC", ""), ("Longer than", "10s"), ("Latest submit first", ""),
    }  # fmt: skip
    assert len(told) == len(NARROWED_BY["/jobs"])
    (chip,) = chips(view("/jobs?until=1h&q=x"))
    assert chip == ("Before the last 1h", "", "/jobs?q=x")
    assert chips(view("/jobs?status=failed&q=x")) == []


@pytest.mark.parametrize(
    ("address", "fixed"),
    [
        ("/jobs?since=1h&q=x&page=2&upto=7", "/jobs?q=x&since=2026-11-28T11%3A31Z"),
        ("/jobs?since=2d&until=1d", "/jobs?since=2026-11-26T12%3A31Z&until=2026-11-27T12%3A31Z"),
        ("/jobs?since=2026-11-27T14:02Z", None),
        ("/jobs", None),
    ],
)
def test_a_link_that_is_given_away_has_times_that_stand_still(address: str, fixed: str | None) -> None:
    assert try_fixed(view(address), NOW) == fixed
    assert fixed is None or view(fixed).place == fixed
