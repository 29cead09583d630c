"""The bar of views: what stands there, and what only where it is configured."""

from __future__ import annotations

from bgjobd.web.navigation import BAR, bar_of
from tests.page.test_guard import addresses


def told(stats: dict[str, int | None] | None) -> list[str]:
    return [words for _, _, words in bar_of(stats)]


def test_schedules_and_hosts_stand_there_only_where_there_are_any() -> None:
    always = [entry.name for entry in BAR if entry.tells is None]
    assert told({"schedules": 0, "hosts": None}) == always
    assert told({"schedules": 2, "hosts": 1}) == [*always[:-1], "Schedules", always[-1]]
    assert told({"schedules": 0, "hosts": 3}) == [*always[:-1], "3 hosts", always[-1]]


def test_a_daemon_that_does_not_tell_of_its_schedules_may_have_some() -> None:
    assert "Schedules" in told({"hosts": None, "schedules": None})


def test_without_a_word_of_the_daemon_what_is_always_there_stands_there() -> None:
    assert told(None) == [entry.name for entry in BAR if entry.tells is None]


def test_every_entry_leads_to_a_view() -> None:
    assert {entry.place for entry in BAR} <= set(addresses("GET"))
