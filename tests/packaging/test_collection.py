"""The suite as pytest-xdist needs it: collected by each process alike, whatever the seed of its hashes."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

from tests.conftest import LONG

TREE = Path(__file__).resolve().parents[2]


def collecting(seed: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:xdist", "tests"],
        cwd=TREE,
        env=os.environ | {"PYTHONHASHSEED": seed},
        stdout=subprocess.PIPE,
        text=True,
    )


def collected(process: subprocess.Popen[str]) -> list[str]:
    told, _ = process.communicate()
    assert process.returncode == 0, told
    return [line for line in told.splitlines() if "::" in line]


def test_each_process_collects_the_same_tests_in_the_same_order() -> None:
    first, other = map(collected, [collecting("1"), collecting("3")])  # both at once
    assert first
    assert first == other
    files = [file for file, _ in groupby(first, lambda test: test.partition("::")[0])]
    assert files[: len(LONG)] == [f"tests/{name}" for name in LONG]
