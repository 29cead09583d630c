"""Real databases, one a test: SQLite's files, and of a server where `tests/engines.py` says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjobd.store import deletions, release
from tests.store.samples import Store


@pytest.fixture(autouse=True)
def time_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an end causes, for each transaction, however busy the machine is."""
    monkeypatch.setattr(release, "_SETTLING_FOR", 1000.0)


@pytest.fixture(autouse=True)
def time_to_delete(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted goes at once, however busy the machine is."""
    monkeypatch.setattr(deletions, "_DELETING_FOR", 1000.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()
