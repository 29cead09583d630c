"""Where each item of a transaction is decided."""

from __future__ import annotations

from typing import get_args

from bgjobd.store import decisions
from bgjobd.store.apart import APART
from bgjobd.store.items.item import Item
from bgjobd.store.sweeps import SWEEPS


def test_each_item_is_decided_in_one_place() -> None:
    assert sorted(map(str, [*decisions._DECIDED, *APART, *SWEEPS])) == sorted(map(str, get_args(Item)))


def test_of_each_item_that_is_decided_by_what_is_loaded_it_is_told_what_that_is() -> None:
    assert decisions._NEEDED.keys() == decisions._DECIDED.keys()
