"""The stored form of an instant: fixed width, in the order of time, and nothing lost on the way back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgjobd.host.clock import from_text, to_text

FORM = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z")

seeded = settings(max_examples=300, deadline=None, derandomize=True)
instants = st.floats(0, 253_402_300_799)  # until the end of the year 9999


def test_the_designs_example_is_stored_as_the_design_says() -> None:
    assert to_text(1_733_322_713.0) == "2024-12-04T14:31:53.000000Z"


@pytest.mark.parametrize("at", [0.0, 1.0, 1_733_322_713.000001, 1_733_322_713.5, 253_402_300_799.0])
def test_whole_seconds_are_as_wide_as_any(at: float) -> None:
    assert FORM.fullmatch(to_text(at))


@seeded
@given(instants)
def test_every_instant_has_the_same_width_and_comes_back_to_the_microsecond(at: float) -> None:
    text = to_text(at)
    assert FORM.fullmatch(text)
    assert abs(from_text(text) - at) <= 2e-6 + at * 2**-52
    assert to_text(from_text(text)) == text


@seeded
@given(instants, instants)
def test_texts_sort_as_their_instants_do(one: float, other: float) -> None:
    earlier, later = sorted((one, other))
    assert to_text(earlier) <= to_text(later)
