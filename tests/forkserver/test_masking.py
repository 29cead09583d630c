"""Texts without the values of sensitive parameters, whichever of the values occur there."""

from __future__ import annotations

import pytest

from bgjobd.forkserver.masking import scrubbed
from bgjobd.forkserver.order import Order


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A SECRET, quoted 'it\\'s', in a kelvin", "A ***, quoted '***', in a kelvin"),
        ("eine stra\u00dfe, STRASSE", "eine ***, STRASSE"),
        ("a long s: sail", "a long s: ***"),
        ("nothing of it", "nothing of it"),
    ],
)
def test_values_are_masked_in_any_case_and_those_that_do_not_occur_change_nothing(
    text: str, told: str
) -> None:
    values = ["secret", "it's", "absent", "stra\u00dfe", "\u017fail"]
    assert scrubbed(text, Order(1, 1, "", "", "", {"key": values}, ("key",))) == told
