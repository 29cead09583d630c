"""Tables of a README whose last column names tests: their rows, and what they name that there is not."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of such a table."""

    name: str
    holds: str
    told: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        """The path and the function of each test that is named."""
        return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", self.told)

    def unknown(self) -> list[tuple[str, str]]:
        """The tests among these that there are not."""
        return [(path, test) for path, test in self.tests if test not in _tests_of(TREE / path)]

    def __str__(self) -> str:
        return self.name[:40]


def rows_of(readme: Path) -> list[Row]:
    """The rows of all its tables of three columns, without their heads."""
    lines = readme.read_text(encoding="utf-8").splitlines()
    is_rule = [line.startswith("| ---") for line in lines]
    return [
        Row(*(cell.strip() for cell in line.strip("|").split(" | ")))
        for line, rule, next_is_rule in zip(lines, is_rule, [*is_rule[1:], False], strict=True)
        if line.startswith("| ") and not rule and not next_is_rule
    ]


def files_without_a_row(folder: Path, rows: list[Row]) -> list[str]:
    """The test files of the folder, by their paths in the tree, none of whose tests is named."""
    named = {path for row in rows for path, _ in row.tests}
    return sorted({str(path.relative_to(TREE)) for path in folder.glob("test_*.py")} - named)


@cache
def _tests_of(file: Path) -> set[str]:
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if file.exists() else ()
    return {
        node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
