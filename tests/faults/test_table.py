"""The table of faults has each by its number, names tests that exist, and every file of this directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tables import TREE, Row, files_without_a_row, rows_of

HERE = Path(__file__).parent
ROWS = rows_of(HERE / "README.md")
FAULTS = [f"P{number}" for number in range(1, 19)] + [f"R{number}" for number in range(1, 14)]
"""Those of processes and of resources, as they were numbered before the first test."""


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_fault_has_tests_and_all_of_them_exist(row: Row) -> None:
    assert row.tests
    assert row.unknown() == []


def test_every_numbered_fault_is_there_once_and_in_order() -> None:
    numbers = [row.name.partition(":")[0] for row in ROWS if ":" in row.name]
    assert numbers == FAULTS


def test_every_file_of_faults_is_in_the_table() -> None:
    assert files_without_a_row(HERE, ROWS) == ["tests/faults/test_table.py"]


def test_what_is_done_by_hand_can_be_started() -> None:
    commands = {word for row in ROWS for word in row.told.split("`") if word.startswith("python -m ")}
    assert commands
    for command in commands:
        module = TREE / command.removeprefix("python -m ").replace(".", "/")
        assert (module / "__main__.py").exists() or module.with_suffix(".py").exists(), command
