"""What attempts of an error have in common, in words: what tells first, and beside it how others are."""

from __future__ import annotations

from typing import Any

import pytest

from bgjob.traits_told import Common, common_of


def traits(*each: tuple[str, str | None, int, int], **told: Any) -> dict[str, Any]:
    names = ("of", "value", "attempts", "others")
    found = [dict(zip(names, one, strict=True)) for one in each]
    return {
        "attempts": 58,
        "others": 120,
        "each": found,
        "seconds": None,
        "usual": None,
        "completed": None,
    } | told


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ([("code", "4f2a1c", 58, 0)], Common("Code", "all with 4f2a1c, none of 120 others", True)),
        ([("code", "4f2a1c", 58, 120)], Common("Code", "all with 4f2a1c, and 120 of 120 others", False)),
        ([("host", "web1", 58, 7)], Common("Host", "all on web1, and 7 of 120 others", True)),
        (
            [("queue", "mail", 49, 118), ("queue", "default", 9, 2)],
            Common("Queue", "mail 49, default 9; in mail and 118 of 120 others", False),
        ),
        ([("code", None, 58, 0)], Common("Code", "all with what nobody knows, none of 120 others", True)),
    ],
)
def test_what_most_have_is_told_beside_how_many_others_have_it(
    each: list[tuple[str, str | None, int, int]], expected: Common
) -> None:
    assert common_of(traits(*each)) == [expected]


def test_without_others_nothing_is_said_to_tell() -> None:
    assert common_of(traits(("code", "4f2a1c", 58, 0), others=0)) == [
        Common("Code", "all with 4f2a1c", False)
    ]


def test_how_long_they_took_tells_where_it_is_far_from_what_is_usual() -> None:
    (told,) = common_of(traits(seconds=3.1, usual=0.042))
    assert told == Common("Took", "about 3.1 s, where others complete in 42 ms", True)
    assert not common_of(traits(seconds=0.05, usual=0.042))[0].is_telling
    assert not common_of(traits(seconds=0.03, usual=0.001))[0].is_telling
    assert common_of(traits(seconds=3.1))[0].told == "about 3.1 s; no other has completed lately"


def test_what_tells_is_first() -> None:
    told = common_of(traits(("code", "4f2a1c", 58, 119), ("queue", "mail", 58, 3), seconds=0.1, usual=0.1))
    assert [one.words for one in told] == ["Queue", "Code", "Took"]


def test_of_many_values_those_that_most_have_are_told_on_one_line() -> None:
    each = [("host", f"web\n{number}", 20 - number, 0) for number in range(4)]
    (told,) = common_of(traits(*each, others=0))
    assert told.told == r"web\n0 20, web\n1 19, web\n2 18, …"
