"""What the shape of the house may not have."""

from __future__ import annotations

from tests.packaging.shape import circles, imported
from tests.packaging.test_layout import TREE, sources


def test_no_module_needs_itself_by_way_of_others_not_even_when_it_is_called() -> None:
    assert circles(imported(sources(TREE))) == []


def test_a_circle_is_found_and_who_only_leads_there_is_not_in_it() -> None:
    assert circles({"a": {"b"}, "b": {"c", "e"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
