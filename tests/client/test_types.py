"""The client's types, as a program of a user's meets them: strictly checked, the program and all it imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import bgjob

TREE = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).parent / "typed_program.py"


def test_the_program_uses_every_public_name() -> None:
    tree = ast.parse(PROGRAM.read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(bgjob.__all__) - used == set()


def test_a_program_that_uses_every_public_name_passes_strict_mypy(tmp_path: Path) -> None:
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", str(settings)),
            *("--cache-dir", str(tmp_path), "--no-error-summary", str(PROGRAM)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"MYPYPATH": str(TREE / "client"), "PATH": ""},
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
