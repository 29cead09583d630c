"""Views as addresses: what a person has set comes back from its own address, and nonsense falls back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjobd.store.tally import Tally
from bgjobd.web.addresses import MOST_TEXT, NARROWED_BY, STATUSES, TYPES, View, place_of, since_of
from tests.store.samples import NOW

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=2 * MOST_TEXT)
WORDS = (
    *(
        "1h",
        "10s",
        "nightly.report-2",
        "2024-12-04T14:31:53.000000Z",
        "2026-11-27T14:02Z",
        "2026-11-27T14:02:61Z",
    ),
    *("shop.jobs.Mail", "tenant:7", "lost", "timed_out", "id", "ended"),
)
QUERIES = st.dictionaries(
    st.sampled_from(["q", "status", "per", "page", "upto", "at", "other", *NARROWED_BY["/jobs"]]),
    st.one_of(
        TEXTS,
        st.sampled_from([*TYPES, *STATUSES, *WORDS]),
        st.integers().map(str),
    ),
)
DEFAULTS = st.integers(1, 100)


def read(address: str, default_per: int = 10, statuses: tuple[str, ...] = TYPES) -> View:
    parts = urlsplit(address)
    return View.of(parts.path, dict(parse_qsl(parts.query)), statuses, default_per)


@given(QUERIES, DEFAULTS)
def test_a_view_comes_back_from_its_own_address(query: dict[str, str], default_per: int) -> None:
    view = View.of("/jobs", query, STATUSES, default_per)
    assert read(view.place, default_per, STATUSES) == view
    assert read(view.place, default_per, STATUSES).place == view.place


@given(QUERIES, DEFAULTS)
def test_whatever_is_asked_a_view_is_within_bounds(query: dict[str, str], default_per: int) -> None:
    view = View.of("/", query, TYPES, default_per)
    assert len(view.q) <= MOST_TEXT
    assert "\0" not in view.q
    assert view.status in ("", *TYPES)
    assert 1 <= view.per <= 100
    assert (view.page == 1) == (view.upto is None) == view.is_first
    assert view.upto is None or view.upto >= 0


@given(QUERIES, TEXTS, st.sampled_from(TYPES), st.integers(1, 100))
def test_a_change_changes_that_and_begins_at_the_first_page(
    query: dict[str, str], text: str, status: str, per: int
) -> None:
    view = View.of("/", query, TYPES, 10)
    first = replace(view, page=1, upto=None, at="")
    assert read(view.but(status=status)) == replace(first, status=status)
    assert read(view.but(per=per)) == replace(first, per=per)
    assert read(view.but(page=2, upto=7)) == replace(first, page=2, upto=7)
    assert read(view.but(q=text)).q == View.of("/", {"q": text}, TYPES, 10).q


@given(QUERIES)
def test_an_address_is_only_ever_a_path_with_a_query(query: dict[str, str]) -> None:
    address = View.of("/jobs", query, STATUSES, 10).place
    assert address.startswith("/jobs")
    assert address.isascii()
    assert not set(address) & set(" \"'<>\\\r\n")


def test_defaults_are_left_out() -> None:
    assert read("/").place == "/"
    assert read("/?per=25", default_per=25).place == "/"
    assert read("/?per=10", default_per=25).place == "/?per=10"
    assert read("/?q=a%26b&status=failure").place == "/?q=a%26b&status=failure"


@pytest.mark.parametrize(
    "per", ["", "0", "101", "-1", "+5", " 5", "5.0", "1e1", "x", "٣", "²", "9" * 5000, "None"]
)
def test_a_number_that_is_none_falls_back(per: str) -> None:
    assert View.of("/", {"per": per}, TYPES, 10).per == 10
    assert View.of("/", {"page": "2", "upto": per or "x"}, TYPES, 10).page in (1, 2)


def test_a_page_without_its_place_is_the_first_and_a_place_without_its_page_too() -> None:
    assert read("/?page=3").place == "/"
    assert read("/?upto=5").place == "/"
    assert read("/?page=2&upto=-1").place == "/"
    assert read("/?page=2&upto=0").place == "/?page=2&upto=0"
    assert read(f"/?page=3&upto={2**53 + 1}").place == "/"


def test_the_last_hour_is_the_one_whose_ends_are_counted_by_the_minute() -> None:
    for now in (NOW, NOW + 59.9, NOW + 60):
        begin = Tally({}, {}).minutes(now)[0]["at"]
        assert datetime.fromisoformat(since_of("1h", now)) == datetime.fromisoformat(begin)


@pytest.mark.parametrize(
    ("told", "until"),
    [
        ("2026-11-27T14:02", "2026-11-27T14:02Z"),
        ("2026-11-27T14:02:11Z", "2026-11-27T14:02:11Z"),
        ("2026-11-27T14:02:11.250000Z", "2026-11-27T14:02:11.250000Z"),
        ("2026-13-27T14:02", ""),
        ("2026-11-27T14:02+01:00", ""),
        ("now", ""),
    ],
)
def test_the_log_is_entered_at_a_time_of_utc_or_at_its_end(told: str, until: str) -> None:
    assert View.of("/", {"until": told}, TYPES, 10).until == until
    assert View.of("/jobs", {"until": told}, STATUSES, 10).until == until
    assert View.of("/errors", {"until": told}, (), 10).until == ""


@pytest.mark.parametrize("since", ["1", "h", "0h", "99999h", "1 h", "-1h", "1w", "٣h"])
def test_a_span_that_is_none_falls_back(since: str) -> None:
    assert View.of("/jobs", {"since": since}, STATUSES, 10).since == ""


@pytest.mark.parametrize("name", ["2", ".a", "a b", "a/", "a/../b", "a//b", "a%2F", "a" * 65, "<b>", "é"])
def test_a_schedule_that_cannot_be_falls_back(name: str) -> None:
    assert View.of("/jobs", {"schedule": name}, STATUSES, 10).schedule == ""
    assert place_of(f"/schedules/{name}") == "/"


def test_a_login_leads_on_to_the_schedules() -> None:
    for place in (
        "/schedules",
        "/schedules?status=failed",
        "/schedules/nightly.report-2?before=x",
        "/schedules/customer%2F7",
    ):
        assert place_of(place) == place


@pytest.mark.parametrize(
    "query",
    [
        "since=2026-11-27T14", "since=2026-11-27", "until=2026-13-27T14:02Z", "until=2026-11-27T14:02%2B01:00",
        "until=soon", "class=1a", "class=a%3A%3Ab", "queue=a/b", "outcome=bad", "longer=0s", "longer=-1", "longer=10x",
        "longer=99999999999d", "label=" + "x" * 65, "label=a%0Ab", "sort=took", "sort=id",
        "sort=ended&status=pending", "sort=ended&status=failed",
    ],
)  # fmt: skip
def test_what_a_list_cannot_be_narrowed_or_sorted_by_falls_back(query: str) -> None:
    view = read(f"/jobs?{query}", statuses=STATUSES)
    assert (view.narrowed_by, view.sort, view.is_by_end) == ((), "", view.status == "failed")


ALL_OF_A_LIST = (
    "/jobs?q=smtp&status=failed&class=shop.jobs.Mail&queue=mail&error=7&bulk=14&schedule=nightly&group=5&key=k"
    "&label=tenant%3A7&host=web1&outcome=timed_out&since=24h&until=2026-11-27T14%3A02Z&longer=10s&sort=id&per=25&page=2&upto=7"
)


def test_all_of_a_list_stands_in_its_address_and_each_part_can_be_taken_away() -> None:
    view = read(ALL_OF_A_LIST, statuses=STATUSES)
    assert view.place == ALL_OF_A_LIST
    for name in view.narrowed_by:
        left = read(view.without(name), statuses=STATUSES)
        assert set(view.narrowed_by) - set(left.narrowed_by) == {name}
        assert left.is_first
    assert len(view.narrowed_by) == len(NARROWED_BY["/jobs"]) - 1  # but for the order


def test_the_order_is_that_of_ends_where_all_have_ended_unless_another_is_asked_for() -> None:
    queries = ("", "sort=ended", "status=failed", "status=failed&sort=id")
    orders = [read(f"/jobs?{query}", statuses=STATUSES).is_by_end for query in queries]
    assert orders == [False, True, True, False]


def test_a_login_leads_on_to_a_list_that_is_narrowed_and_to_labels() -> None:
    for place in (ALL_OF_A_LIST, "/labels", "/labels?q=tenant%3A"):
        assert place_of(place) == place


def test_a_status_of_the_other_list_falls_back() -> None:
    assert read("/?status=failed").status == ""
    assert read("/?status=failed", statuses=STATUSES).status == "failed"


def test_a_text_that_is_cut_does_not_end_in_a_space() -> None:
    assert View.of("/", {"q": "a" * (MOST_TEXT - 1) + " b"}, TYPES, 10).q == "a" * (MOST_TEXT - 1)
