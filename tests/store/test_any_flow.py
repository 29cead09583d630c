"""What ends cause: any graph, in any order of ends, retries and cancels, and in any portions, comes to the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgjobd.store import release
from bgjobd.store.items.submissions import Flow
from bgjobd.store.ledger import Ledger
from tests.core.samples import seeded
from tests.engines import tables
from tests.store.flows import STEPS, World, flows
from tests.store.samples import BOOT, NOW, Store

MANY: Final = 100 if settings().max_examples < 1000 else 10_000
"""Graphs that are tried; the more with `--long`."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One file for all graphs."""
    store = Store(tmp_path_factory.mktemp("releases"))
    yield store
    store.close()


def emptied(store: Store) -> Store:
    for table in tables(store.state_dir).keys() - {"properties", "schema_version"}:
        store.database.execute_sql(f"DELETE FROM {table}")
    store.ledger, store.now = Ledger(store.database, BOOT, jitter=lambda: 1.0), NOW
    return store


@pytest.mark.timeout(3600)
@settings(seeded, max_examples=MANY)
@given(flows(), STEPS, st.integers(1, 3))
def test_all_stands_as_what_it_comes_after_whatever_the_order_and_the_portions(
    shared: Store, asked_for: Flow, steps: list[tuple[str, int]], at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "AT_ONCE", at_once)
        world = World(emptied(shared))
        world.commit(asked_for)
        for deed, place in steps:
            world.do(deed, place)
        world.settle_all()
        world.check_settled()
