"""Several daemons' ledgers write to one database of PostgreSQL at once: none takes what another has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjobd.store.engines.postgres import Postgres
from tests.postgresql import Places
from tests.store.samples import Store, asked

PATIENCE = 60.0


@pytest.fixture
def place(places: Places, tmp_path: Path) -> Iterator[Postgres]:
    known = places.known()
    yield places.at(tmp_path)
    places.take_back(known)


@pytest.fixture
def stores(place: Postgres) -> Iterator[list[Store]]:
    """Three on one database."""
    stores = [Store.on(place) for _ in range(3)]
    yield stores
    for store in stores:
        store.close()


def at_once(*each: Callable[[], Any]) -> list[Any]:
    """What each comes to, on a thread of its own; the first failure is raised."""
    found: list[Any] = [None] * len(each)
    failures: list[BaseException] = []

    def run(place: int, one: Callable[[], Any]) -> None:
        try:
            found[place] = one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=given, daemon=True) for given in enumerate(each)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]
    return found


def begin(store: Store) -> None:
    """Have its next transactions know the database."""
    store.commit()


# Ids


def test_no_id_is_given_twice(stores: list[Store]) -> None:
    def submit(store: Store) -> list[int]:
        return [id for _ in range(20) for id in store.submit(asked(), asked())]

    given = at_once(*[lambda store=store: submit(store) for store in stores])
    ids = [id for one in given for id in one]
    assert len(set(ids)) == len(ids) == 120
    assert all(one == sorted(one) for one in given)


def test_ids_that_came_to_nothing_are_given_back_unless_others_were_given_since(stores: list[Store]) -> None:
    first, second, _ = stores
    key = asked(idempotency_key="k")
    (known,) = first.submit(key)
    assert first.submit(key, asked()) == [known, known + 1]
    assert second.submit(asked()) == [known + 2]
