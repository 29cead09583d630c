"""Until when classes and keys are held, as transactions come and go."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from bgjobd.core.planner import Lanes
from bgjobd.store.holds import Holds
from bgjobd.store.items.daemons import Look
from tests.store.samples import Store

A_CLASS, A_KEY, OTHER = "class:myapp.jobs.ExampleJob", "key:default:a", "key:default:b"


def test_what_a_transaction_holds_and_ends_is_its_own_until_it_is_committed() -> None:
    holds = Holds({A_KEY: 10.0})
    holds.hold(A_CLASS, 20.0)
    assert holds.end(10.0) == [A_KEY]
    assert (holds.until(A_KEY), holds.classes(10.0)) == (0.0, {"myapp.jobs.ExampleJob": 20.0})
    holds.drop()
    assert (holds.until(A_KEY), holds.classes(10.0), bool(holds)) == (10.0, {}, True)
    assert holds.end(10.0) == [A_KEY]
    holds.keep(10.0)
    assert not holds


def test_a_hold_is_made_longer_and_never_shorter_and_ends_once() -> None:
    holds = Holds({A_KEY: 10.0, OTHER: 12.0})
    for until in (30.0, 5.0):
        holds.hold(A_KEY, until)
        assert holds.end(6.0) == []
        holds.keep(6.0)
    assert [holds.end(10.0), holds.end(12.0), holds.end(30.0)] == [[], [OTHER], [A_KEY]]
    holds.keep(30.0)
    assert not holds
    holds.hold(A_KEY, 40.0)
    holds.keep(30.0)
    assert (holds.until(A_KEY), holds.end(40.0), holds.end(40.0)) == (40.0, [A_KEY], [])


def test_a_transaction_looks_at_none_of_twenty_thousand_keys_that_are_held(tmp_path: Path) -> None:
    store = Store(tmp_path)
    scopes = [(f"key:default:{number}", store.now + 60 + number) for number in range(20_000)]
    store.database.begin_writing()
    store.database.connection().executemany("INSERT INTO rates VALUES (?, 0, ?, 1)", scopes)
    store.database.commit_writing()
    lanes = Lanes(1, keys={})
    store.commit(Look(), lanes=lanes)
    tracemalloc.start()
    try:
        store.commit(Look(), lanes=lanes)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        store.close()
    assert most < 200_000  # a copy takes more than half a million
