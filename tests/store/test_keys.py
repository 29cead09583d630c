"""How the keys of a queue stand: which there are, how many of each kind, in pages and within a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjobd.core.gate import KeyRules
from bgjobd.core.planner import Lanes
from bgjobd.core.rates import Rate
from bgjobd.store import keys
from bgjobd.store.items.daemons import Look
from bgjobd.store.reader import Reader
from tests.store.samples import Store, asked, submission, text

ONE = Lanes(100, keys={"default": KeyRules(slots=1)})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def submit(store: Store, *keys: str | None, lanes: Lanes = ONE, **given: Any) -> None:
    store.commit(submission(*(asked(key=key, **given) for key in keys)), lanes=lanes.closed())


def standings(reader: Reader, **given: Any) -> dict[str, tuple[int, int, int]]:
    """How many of each key run, are ready and behind, of all pages."""
    found, following = reader.keys("default", **given)
    told = {one["key"]: (one["running"], one["ready"], one["behind"]) for one in found}
    return told if following is None else told | standings(reader, **{**given, "after": following})


def test_a_key_tells_how_many_of_its_jobs_run_are_ready_and_behind(store: Store, reader: Reader) -> None:
    submit(store, "a", "a", "a", "b", None)
    submit(store, "elsewhere", "a", queue="mail")
    submit(store, "later", scheduled_at=store.now + 60)
    assert standings(reader) == {"a": (0, 1, 2), "b": (0, 1, 0)}
    store.claim(Lanes(1, keys=ONE.keys))
    assert standings(reader) == {"a": (1, 0, 2), "b": (0, 1, 0)}
    assert standings(reader, after="a") == {"b": (0, 1, 0)}


def test_pages_have_each_key_once_and_in_order(store: Store, reader: Reader) -> None:
    names = [f"customer:{number}" for number in range(7)]
    submit(store, *names, *names)
    assert [reader.keys("default", after=name, limit=1)[1] for name in names[-2:]] == [None, None]
    for limit in (1, 2, 7):
        assert list(standings(reader, limit=limit)) == names
    assert list(standings(reader, limit=2, budget=0.0)) == names  # each page looks at one at least


def test_a_search_finds_a_part_of_the_key_whatever_its_case_and_says_where_to_go_on(
    store: Store, reader: Reader
) -> None:
    submit(store, "Customer:7", "customer:17", "straße", "other")
    assert list(standings(reader, search="CUSTOMER:")) == ["Customer:7", "customer:17"]
    assert list(standings(reader, search="STRASSE")) == ["straße"]
    assert reader.keys("default", "straße", budget=0.0) == ([], "Customer:7")


def test_a_key_says_when_its_rate_lets_the_next_start(store: Store, reader: Reader) -> None:
    slow = Lanes(100, keys={"default": KeyRules(rate=Rate(1, 60.0))})
    submit(store, "a", "a", lanes=slow)
    store.commit(Look(), lanes=slow)
    (told,), _ = reader.keys("default")
    assert told == {"key": "a", "running": 1, "ready": 0, "behind": 1, "next_at": text(store.now + 60 - 0.02)}


def test_the_busiest_keys_are_those_with_most_jobs_then_those_with_most_behind(
    store: Store, reader: Reader
) -> None:
    two = Lanes(100, keys={"default": KeyRules(slots=2)})
    submit(store, *"aabbbccccef", *[None] * 9, lanes=two)
    store.claim(Lanes(3, keys=two.keys))
    submit(store, "g", "g", lanes=ONE)
    found = [one["key"] for one in reader.busiest_keys("default", 6)]
    assert found == ["c", "b", "g", "a", "e", "f"]
    assert reader.busiest_keys("default", 1) == reader.busiest_keys("default", 9)[:1]
    assert reader.busiest_keys("mail", 5) == []


@pytest.mark.parametrize("lanes", [ONE, Lanes(100, keys={})])
def test_of_very_many_keys_the_busiest_are_found_though_they_are_the_last(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch, lanes: Lanes
) -> None:
    monkeypatch.setattr(keys, "MOST_FIRST", 10)
    monkeypatch.setattr(keys, "SAMPLED", 40)
    others = [f"customer:{number:03}" for number in range(300)]
    submit(store, "x:runs", lanes=lanes, priority=1)
    submit(store, *others, *["y:waits"] * 100, *others, lanes=lanes)
    store.claim(Lanes(1, keys=lanes.keys))
    found = reader.busiest_keys("default", 1000)
    told = {one["key"]: (one["running"], one["ready"] + one["behind"]) for one in found}
    assert (found[0]["key"], told["y:waits"], told["x:runs"]) == ("y:waits", (0, 100), (1, 0))
    assert len(told) < 302


def test_of_very_many_jobs_of_a_key_some_are_counted(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST_OF_KEY", 3)
    submit(store, *["a"] * 9)
    assert standings(reader) == {"a": (0, 1, 3)}
