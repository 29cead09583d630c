"""The table of attacks names tests that exist, and every file of this directory stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tables import Row, files_without_a_row, rows_of

HERE = Path(__file__).parent
ROWS = rows_of(HERE / "README.md")


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_has_tests_that_exist_or_says_why_it_does_not_apply(row: Row) -> None:
    assert row.tests or row.told.startswith("does not apply: ")
    assert row.unknown() == []


def test_every_file_of_attacks_is_in_the_table() -> None:
    assert files_without_a_row(HERE, ROWS) == ["tests/security/test_table.py"]


def test_no_attack_stands_there_twice() -> None:
    attacks = [row.name for row in ROWS]
    assert sorted(set(attacks)) == sorted(attacks)
