"""What is asked where a name is unknown: which of those that there are was perhaps meant."""

from __future__ import annotations

from bgjob.unknown_names import perhaps


def test_what_is_like_it_is_asked_for() -> None:
    assert perhaps(["slot"], ["slots", "state"]) == "did you mean slots?"
    assert perhaps(["zzz"], ["slots"]) == ""


def test_what_is_too_long_to_be_a_slip_of_the_pen_is_compared_with_nothing() -> None:
    assert perhaps(["a" * 100], ["a" * 99]) != ""
    assert perhaps(["a" * 101], ["a" * 100]) == ""
