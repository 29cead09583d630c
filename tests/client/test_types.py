"""The client's types, as programs of a user's meet them: strictly checked, the programs and all that they import."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import playwright
import pyright

import bgjob

CLIENT = Path(__file__).resolve().parents[2] / "client"
PROGRAM = Path(__file__).parent / "typed_program.py"
CALLS = Path(__file__).parent / "typed_calls.py"


def test_the_programs_use_every_public_name() -> None:
    nodes = [node for program in (PROGRAM, CALLS) for node in ast.walk(ast.parse(program.read_text()))]
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.id for node in nodes if isinstance(node, ast.Name)}
    assert set(bgjob.__all__) - used == set()


def test_mypy_finds_each_wrong_call_and_nothing_wrong_with_the_right_ones(tmp_path: Path) -> None:
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", str(settings), "--hide-error-context"),
            *("--cache-dir", str(tmp_path), "--no-error-summary", str(PROGRAM), str(CALLS)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"MYPYPATH": str(CLIENT), "PATH": ""},
    )
    found = re.findall(r"^(.+?):(\d+): error: ", done.stdout, re.MULTILINE)
    assert (done.stderr, done.returncode) == ("", 1)
    assert {(Path(file).name, int(line)) for file, line in found} == wrong_lines("# wrong"), done.stdout


def test_pyright_finds_each_wrong_call_and_nothing_wrong_with_the_right_ones(tmp_path: Path) -> None:
    for program in (PROGRAM, CALLS):
        (tmp_path / program.name).write_text(program.read_text())
    settings = {"extraPaths": [str(CLIENT)], "pythonVersion": "3.11", "reportMissingModuleSource": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    node = Path(playwright.__file__).parent / "driver/node"
    script = Path(pyright.__file__).parent / "dist/index.js"
    done = subprocess.run(
        [node, script, "--outputjson", "-p", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path)},
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    lines = {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found}
    told = [f"{one['file']}:{one['range']['start']['line'] + 1}: {one['message']}" for one in found]
    assert lines == wrong_lines("# wrong", but="# wrong to mypy"), "\n".join(told)


def wrong_lines(mark: str, but: str | None = None) -> set[tuple[str, int]]:
    lines = enumerate(CALLS.read_text().splitlines(), start=1)
    return {
        (CALLS.name, number) for number, line in lines if mark in line and (but is None or but not in line)
    }
