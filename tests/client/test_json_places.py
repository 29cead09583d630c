"""Where in a JSON text a value stands, however it is written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bgjob.commands.json_places import Path, dotted, places, where
from bgjob.words import INT_MAX, INT_MIN

TEXT = """{
  "jobs": [ {"ref" : "a"},
    {"options": {"after": [12 , {"ref":"b\\"]"}]}}
  ],
\t"seal":[]
}
"""


def test_each_value_has_a_line_and_a_column() -> None:
    told = {dotted(place.path): where(TEXT, place.at) for place in places(TEXT)}
    assert told == {
        "": "line 1, column 1",
        "jobs": "line 2, column 11",
        "jobs.0": "line 2, column 13",
        "jobs.0.ref": "line 2, column 22",
        "jobs.1": "line 3, column 5",
        "jobs.1.options": "line 3, column 17",
        "jobs.1.options.after": "line 3, column 27",
        "jobs.1.options.after.0": "line 3, column 28",
        "jobs.1.options.after.1": "line 3, column 33",
        "jobs.1.options.after.1.ref": "line 3, column 40",
        "seal": "line 5, column 9",
    }


def test_a_key_that_stands_twice_has_two_places() -> None:
    assert [place.value for place in places('{"a": 1, "a": "x"}')] == [None, 1, "x"]


def _leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        found: dict[Path, Any] = {path: None}
        for step, one in inner:
            found |= _leaves(one, (*path, step))
        return found
    return {path: value}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(INT_MIN, INT_MAX) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES, st.sampled_from([None, 0, 2, "\t"]))
def test_whatever_json_writes_is_found_again_where_it_stands(value: Any, indent: Any) -> None:
    text = f" {json.dumps(value, indent=indent)}\n"
    found = list(places(text))
    assert {place.path: place.value for place in found} == _leaves(value)
    for place in found:
        if place.value is not None:
            assert json.JSONDecoder().raw_decode(text, place.at)[0] == place.value
