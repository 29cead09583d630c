"""Trials of classes that could not be loaded: when, for how long, and what may be taken up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjobd.core.trials import Found, Loaded, compare, hint, is_tried_again, patience, pause_before_trial
from tests.core.samples import seeded

counts = st.one_of(st.integers(0, 70), st.integers(0, 2**63 - 1))
names = st.sampled_from("abcd")
servers = st.builds(
    Loaded,
    st.dictionaries(names, st.sampled_from(["old", "new"])),
    st.frozensets(names),
)


@seeded
@given(counts)
def test_a_trial_waits_longer_than_the_one_before_it_and_never_more_than_five_minutes(count: int) -> None:
    assert 10 <= pause_before_trial(count) <= pause_before_trial(count + 1) <= 300


@seeded
@given(st.floats(0.001, 1e6), counts)
def test_nobody_gets_less_time_than_is_configured_nor_more_than_ten_minutes_beyond_it(
    import_timeout: float, count: int
) -> None:
    given_time = patience(import_timeout, count)
    assert import_timeout <= given_time <= max(import_timeout, 600)
    assert patience(import_timeout, count + 1) >= given_time


IN_FORCE = Loaded({"shop": "1", "mails": "1"}, frozenset({"bills.Bills", "odd.Odd"}))
OTHERS = Loaded(IN_FORCE.modules, frozenset({"odd.Odd"}))
"""The class that the machine cannot limit is among the others, and lacks there as well."""


@pytest.mark.parametrize(
    ("modules", "missing", "found"),
    [
        ({"bills": "1"}, {"odd.Odd"}, Found.MENDED),
        ({"bills": "1", "odd": "1"}, set(), Found.MENDED),
        ({}, {"bills.Bills", "odd.Odd"}, Found.NOTHING_NEW),
        ({"shop": "2"}, {"bills.Bills", "odd.Odd"}, Found.NOTHING_NEW),
        ({"bills": "1", "shop": "2"}, {"odd.Odd"}, Found.OTHER_CODE),
        ({"bills": "1"}, {"mails.Mails"}, Found.OTHERS_BREAK),
    ],
)
def test_a_class_that_is_mended_is_taken_up_where_nothing_else_has_changed(
    modules: dict[str, str], missing: set[str], found: Found
) -> None:
    tried = Loaded({**IN_FORCE.modules, **modules}, frozenset(missing))
    assert compare(IN_FORCE, tried, OTHERS) is found


@pytest.mark.parametrize(
    ("modules", "of_others", "found"),
    [
        # What a class that is missing had got to.
        ({"odd": "2"}, {"shop", "mails"}, Found.MENDED),
        ({"odd": "2", "shop": "2"}, {"shop", "mails"}, Found.OTHER_CODE),
        # What others have begun to take, as an optional import that comes with the class which is mended.
        ({"odd": "2", "help": "1"}, {"shop", "mails", "help"}, Found.OTHER_CODE),
        # What others take no more, as where half a deploy has removed it and they do without.
        ({"odd": "2", "mails": None}, {"shop"}, Found.OTHER_CODE),
        # Nobody can tell of what is gone whose it was.
        ({"odd": None}, {"shop", "mails"}, Found.OTHER_CODE),
    ],
)
def test_what_others_take_is_compared_and_what_is_gone(
    modules: dict[str, str | None], of_others: set[str], found: Found
) -> None:
    in_force = Loaded({**IN_FORCE.modules, "odd": "1"}, IN_FORCE.missing)
    now = {**in_force.modules, **modules}
    tried = Loaded({name: digest for name, digest in now.items() if digest is not None}, frozenset())
    assert compare(in_force, tried, Loaded(dict.fromkeys(of_others, ""), OTHERS.missing)) is found


def test_a_look_at_others_that_lacks_one_of_them_tells_nothing() -> None:
    in_force = Loaded({"mails": "1", "fmt": "1"}, frozenset({"bills.Bills"}))
    tried = Loaded({"mails": "2", "fmt": "2", "bills": "1"}, frozenset())
    assert compare(in_force, tried, Loaded({}, frozenset({"mails.Mails"}))) is Found.OTHERS_BREAK


def test_code_that_is_gone_has_changed() -> None:
    left = {"shop": "1"}
    assert compare(IN_FORCE, Loaded(left, frozenset()), Loaded(left, OTHERS.missing)) is Found.OTHER_CODE


@seeded
@given(servers, servers)
def test_what_takes_over_has_the_code_in_force_and_more_classes(before: Loaded, after: Loaded) -> None:
    if compare(before, after, Loaded(before.modules, frozenset())) is Found.MENDED:
        assert after.missing < before.missing
        assert all(after.modules.get(name) == digest for name, digest in before.modules.items())


def test_only_other_code_is_not_tried_again() -> None:
    assert [found for found in Found if not is_tried_again(found)] == [Found.OTHER_CODE]


@pytest.mark.parametrize("found", Found)
@pytest.mark.parametrize("seconds_left", [None, 0.0, 40.0])
def test_every_hint_says_what_to_do(found: Found, seconds_left: float | None) -> None:
    told = hint(found, seconds_left)
    assert "`bgjob reload`" in told
    assert ("it is tried again" in told) is is_tried_again(found)
    assert ("again now" in told) is (is_tried_again(found) and seconds_left is None)
    assert ("in 40 s" in told) is (is_tried_again(found) and seconds_left == 40.0)
