"""The table of attacks names tests that exist, and every file of this directory stands in it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TREE = HERE.parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (HERE / "README.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| attack |"))
]


def named(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


@cache
def functions_of(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {
        node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_has_tests_that_exist_or_says_why_it_does_not_apply(row: list[str]) -> None:
    _, _, told = row
    tests = named(told)
    assert tests or told.startswith("does not apply: ")
    assert [(path, test) for path, test in tests if test not in functions_of(TREE / path)] == []


def test_every_file_of_attacks_is_in_the_table() -> None:
    told = {path for _, _, tests in ROWS for path, _ in named(tests)}
    own = {str(path.relative_to(TREE)) for path in HERE.glob("test_*.py")}
    assert own - told == {"tests/security/test_table.py"}


def test_no_attack_stands_there_twice() -> None:
    attacks = [attack for attack, _, _ in ROWS]
    assert sorted(set(attacks)) == sorted(attacks)
