"""Which texts may be labels, and how a stand-in of a daemon takes and tells them."""

from __future__ import annotations

from typing import Any

import pytest

from bgjob import Client
from bgjob.errors import InvalidParameterError
from bgjob.labels import are_labels, distinct, is_label
from bgjob.testing import recorded


@pytest.mark.parametrize("text", ["a", "tenant:7", "x" * 64, "é ☃ 🦊", " ", "a\u202eb"])
def test_a_label_is_a_text_of_one_line(text: str) -> None:
    assert is_label(text)


@pytest.mark.parametrize(
    "value", ["", "x" * 65, "a\nb", "\0", "a\x7f", "\x85", "\u2028", "\ud800", 7, None, ["a"]]
)
def test_what_is_empty_long_or_has_controls_is_none(value: Any) -> None:
    assert not is_label(value)


def test_a_job_has_ten_at_most_and_each_once_in_their_order() -> None:
    assert are_labels([f"l{n}" for n in range(10)])
    assert not are_labels([f"l{n}" for n in range(11)])
    assert not are_labels("tenant:7")
    assert distinct(["b", "a", "b"]) == ["b", "a"]


def test_a_stand_in_keeps_lists_and_hands_on_labels() -> None:
    with recorded() as jobs:
        client = Client()
        first = client.run_background_job("a.B", "c", labels=["b", "a", "b"])
        client.run_background_job("a.B", "c")
        assert client.get(first.id).snapshot["labels"] == ["b", "a"]
        assert [one["id"] for one in client.list(label="a").items] == [first.id]
        assert [one["labels"] for one in client.list().items] == [[], ["b", "a"]]
        client.cancel(first.id)
        (told, *_) = client.labels(prefix="a").items
        assert (told["label"], told["jobs"], told["newest"], told["cancelled"]) == ("a", 1, first.id, 1)
        assert client.labels(limit=1).next == "a"
        assert [one["label"] for one in client.labels(after="a").items] == ["b"]
        assert client.get(client.again(first.id).id).snapshot["labels"] == ["b", "a"]
        with pytest.raises(InvalidParameterError, match="at most 10 texts"):
            client.run_background_job("a.B", "c", labels=["x" * 65])
    assert jobs[0].options["labels"] == ["b", "a", "b"]
