"""The client's types, as programs of a user's meet them: installed, in an environment apart, and strictly checked."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import playwright
import pyright
import pytest

import bgjob
import bgjob.outbox

CLIENT = Path(__file__).resolve().parents[2] / "client"
PROGRAM = Path(__file__).parent / "typed_program.py"
CALLS = Path(__file__).parent / "typed_calls.py"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has what the client's wheel puts into one, and nothing else."""
    place = tmp_path_factory.mktemp("apart")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    [site] = place.glob("lib/python*/site-packages")
    shutil.copytree(CLIENT / "bgjob", site / "bgjob", ignore=shutil.ignore_patterns("__pycache__"))
    return place / "bin" / "python"


def test_the_programs_use_every_public_name() -> None:
    nodes = [node for program in (PROGRAM, CALLS) for node in ast.walk(ast.parse(program.read_text()))]
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.id for node in nodes if isinstance(node, ast.Name)}
    assert {*bgjob.__all__, *bgjob.outbox.__all__} - used - {"table"} == set()  # that is SQLAlchemy's


def test_mypy_finds_each_wrong_call_and_nothing_wrong_with_the_right_ones(
    python: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", str(settings), "--hide-error-context"),
            *("--python-executable", str(python), "--cache-dir", str(tmp_path)),
            *("--no-error-summary", str(PROGRAM), str(CALLS)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": ""},
    )
    found = re.findall(r"^(.+?):(\d+): error: ", done.stdout, re.MULTILINE)
    assert (done.stderr, done.returncode) == ("", 1)
    assert {(Path(file).name, int(line)) for file, line in found} == wrong_lines("# wrong"), done.stdout


def test_pyright_finds_each_wrong_call_and_nothing_wrong_with_the_right_ones(
    python: Path, tmp_path: Path
) -> None:
    for program in (PROGRAM, CALLS):
        (tmp_path / program.name).write_text(program.read_text())
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    found = pyright_says(python, tmp_path, "-p", str(tmp_path))["generalDiagnostics"]
    lines = {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found}
    told = [f"{one['file']}:{one['range']['start']['line'] + 1}: {one['message']}" for one in found]
    assert lines == wrong_lines("# wrong", but="# wrong to mypy"), "\n".join(told)


@pytest.mark.long
def test_pyright_knows_the_type_of_all_that_is_ours(python: Path, tmp_path: Path) -> None:
    """That of what is Django's it cannot, where there is none."""
    said = pyright_says(python, tmp_path, "--verifytypes", "bgjob", "--ignoreexternal")["typeCompleteness"]
    unknown = {one["name"] for one in said["symbols"] if not (one["isTypeKnown"] or one["isTypeAmbiguous"])}
    assert len(said["symbols"]) > 2000
    assert {name for name in unknown if not name.startswith("bgjob.django")} == set()


def pyright_says(python: Path, home: Path, *arguments: str) -> Any:
    """What it prints, by playwright's node, to who would run this interpreter."""
    node = Path(playwright.__file__).parent / "driver/node"
    script = Path(pyright.__file__).parent / "dist/index.js"
    done = subprocess.run(
        [node, script, "--outputjson", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(home), "PATH": str(python.parent)},
    )
    return json.loads(done.stdout)


def wrong_lines(mark: str, but: str | None = None) -> set[tuple[str, int]]:
    lines = enumerate(CALLS.read_text().splitlines(), start=1)
    return {
        (CALLS.name, number) for number, line in lines if mark in line and (but is None or but not in line)
    }
