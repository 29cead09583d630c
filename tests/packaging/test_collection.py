"""The suite as pytest-xdist needs it: collected by each process alike, whatever the seed of its hashes."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

from tests.conftest import LONG

TREE = Path(__file__).resolve().parents[2]


def collected(seed: str) -> list[str]:
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:xdist", "tests"],
        cwd=TREE,
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in told.stdout.splitlines() if "::" in line]


def test_each_process_collects_the_same_tests_in_the_same_order() -> None:
    first = collected("1")
    assert first
    assert all(collected(seed) == first for seed in ("3", "5"))
    files = [file for file, _ in groupby(first, lambda test: test.partition("::")[0])]
    assert files[: len(LONG)] == [f"tests/{name}" for name in LONG]
