"""The order of the tests: files that take long come first, so that at the end no process waits for another."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

TESTS: Final = Path(__file__).resolve().parent

LONG: Final = (
    "faults/test_torture.py",
    "faults/test_sweep.py",
    "page/test_browser.py",
    "daemon/test_retention.py",
    "faults/test_kills.py",
    "systemd/test_notify.py",
    "page/test_process.py",
    "faults/test_storage.py",
    "faults/test_books.py",
    "faults/test_clocks.py",
    "faults/test_resources.py",
    "faults/test_containers.py",
    "systemd/test_poweroff.py",
    "packaging/test_readme.py",
    "packaging/test_collection.py",
    "bench/test_bench.py",
    "systemd/test_units.py",
)
"""Those of the most seconds; they need not be all, nor in their exact order."""

settings.register_profile("long", max_examples=1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {TESTS / name: rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
