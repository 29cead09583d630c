"""The order of the tests: long files first, or by chance; and as pytest-xdist needs it, the same in each process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from tests.conftest import LONG, TESTS, ordered, share_of, shuffled
from tests.engines import ON_BOTH
from tests.of_sqlite import OF_SQLITE

TREE = TESTS.parent


@dataclass(frozen=True, slots=True)
class Item:
    path: Path
    number: int


COLLECTED = [
    Item(TESTS / name, number) for name in ("core/test_why.py", *reversed(LONG)) for number in range(20)
]


def files_of(tests: list[Item]) -> list[Path]:
    return [path for path, _ in groupby(tests, lambda test: test.path)]


def test_files_that_take_long_come_first_and_their_tests_in_their_order() -> None:
    found = ordered(COLLECTED)
    assert files_of(found) == [*(TESTS / name for name in LONG), TESTS / "core/test_why.py"]
    assert [test.number for test in found] == [*range(20)] * len(files_of(found))


def test_every_file_that_is_said_to_take_long_is_there() -> None:
    assert [name for name in LONG if not (TESTS / name).exists()] == []


@pytest.mark.parametrize("places", [ON_BOTH, OF_SQLITE], ids=["on both", "of SQLite"])
def test_every_test_that_is_named_for_its_engine_is_there(
    places: dict[str, tuple[str, ...] | str | dict[str, str]],
) -> None:
    named = [
        (file, test)
        for file, tests in places.items()
        for test in (tests if tests and not isinstance(tests, str) else [""])
    ]
    assert [f"{file}::{test}" for file, test in named if not is_there(file, test)] == []


def is_there(file: str, test: str) -> bool:
    """`test` may have the name of one of its cases, in brackets."""
    return (TESTS / file).exists() and f"def {test.partition('[')[0]}" in (TESTS / file).read_text()


def test_an_order_by_chance_has_all_tests_each_file_together_and_comes_again_with_its_seed() -> None:
    found, other = shuffled(COLLECTED, "7"), shuffled(COLLECTED, "8")
    assert found == shuffled(COLLECTED, "7") != other
    assert sorted(found, key=COLLECTED.index) == COLLECTED
    assert len(files_of(found)) == len(LONG) + 1
    assert files_of(found) != files_of(other)
    assert [test.number for test in found[:20]] != [*range(20)]


def test_processes_share_what_is_to_be_compiled() -> None:
    modules = [module for number in range(3) for module in share_of(number, 3)]
    assert sorted(modules) == share_of(0, 1)
    assert __name__ in modules
    assert len(modules) == len(set(modules)) == len([*TESTS.rglob("test_*.py")])


@pytest.mark.timeout(240)
@pytest.mark.long  # with several processes pytest-xdist itself compares what each of them has collected
def test_each_process_collects_the_same_tests_in_the_same_order() -> None:
    first, other = map(collected, [collecting("1"), collecting("3")])  # both at once
    assert first
    assert first == other
    files = [file for file, _ in groupby(first, lambda test: test.partition("::")[0])]
    assert files[: len(LONG)] == [f"tests/{name}" for name in LONG]


def collecting(seed: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:xdist", "tests"],
        cwd=TREE,
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTEST_ADDOPTS": ""},
        stdout=subprocess.PIPE,
        text=True,
    )


def collected(process: subprocess.Popen[str]) -> list[str]:
    told, _ = process.communicate()
    assert process.returncode == 0, told
    return [line for line in told.splitlines() if "::" in line]
