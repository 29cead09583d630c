"""JSON pointers: the examples of RFC 6901, where one leads nowhere, and that every value can be pointed at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.results import LeadsNowhereError, followed, is_pointer
from tests.core.samples import seeded

OF_THE_RFC = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", OF_THE_RFC),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_the_examples_of_the_rfc_lead_where_it_says(pointer: str, value: Any) -> None:
    assert is_pointer(pointer)
    assert followed(OF_THE_RFC, pointer) == value


@pytest.mark.parametrize("text", ["foo", "#/foo", "/a~", "/a~2", "~0", "/~"])
def test_what_is_no_pointer_is_none(text: str) -> None:
    assert not is_pointer(text)


@pytest.mark.parametrize("pointer", ["/~01", "/a\nb", "//", "/\x00é🦊"])
def test_any_character_may_be_in_a_step(pointer: str) -> None:
    assert is_pointer(pointer)


def test_a_tilde_is_read_last_so_that_it_makes_no_slash() -> None:
    assert followed({"~1": 1, "/": 2}, "/~01") == 1


@pytest.mark.parametrize(
    ("value", "pointer", "message"),
    [
        ({"a": 1}, "/b", "the result has no b"),
        ({"a": {"b": 1}}, "/a/c", "at /a has no c"),
        ([1, 2], "/2", "the result is a list of 2, and has no 2"),
        ({"a": [1]}, "/a/1", "at /a is a list of 1, and has no 1"),
        ([1], "/-", "the result is a list of 1, and has no -"),
        ([1], "/01", "the result is a list of 1, and has no 01"),
        ([1], "/-1", "the result is a list of 1, and has no -1"),
        ([1], "/0.0", "the result is a list of 1, and has no 0.0"),
        ([1], "/٠", "the result is a list of 1, and has no ٠"),
        ([1], "/" + "9" * 5000, "the result is a list of 1, and has no " + "9" * 5000),
        ("text", "/0", "the result is neither an object nor a list"),
        ({"a": None}, "/a/b", "at /a is neither an object nor a list"),
        (3, "/", "the result is neither an object nor a list"),
    ],
)
def test_where_a_pointer_leads_nowhere_it_is_told_how_far_it_led(
    value: Any, pointer: str, message: str
) -> None:
    with pytest.raises(LeadsNowhereError) as error:
        followed(value, pointer)
    assert str(error.value) == message


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def places(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    yield pointer, value
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for step, inner in items:
        yield from places(inner, f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}")


@seeded
@given(values)
def test_every_value_within_a_value_can_be_pointed_at(value: Any) -> None:
    for pointer, inner in places(value):
        assert is_pointer(pointer)
        assert followed(value, pointer) is inner


@seeded
@given(values, st.text(max_size=6).map(lambda text: f"/{text}"))
def test_a_pointer_leads_somewhere_or_says_that_it_does_not(value: Any, pointer: str) -> None:
    if not is_pointer(pointer):
        return
    try:
        followed(value, pointer)
    except LeadsNowhereError:
        assert pointer not in dict(places(value))
