"""The client may be installed once: with bgjobd, or, as the distribution bgjob, without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bgjobd.commands import installation

START = """
from bgjobd.main import main
print([main(command) for command in (["check"], ["check", "--json"], ["web"], ["demo", "--once"], ["serve"])])
"""


def test_nothing_starts_where_the_client_is_installed_a_second_time(tmp_path: Path) -> None:
    make_distribution(tmp_path / "bgjob-9.0.dist-info")
    done = subprocess.run(
        [sys.executable, "-c", START],
        env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "[2, 2, 2, 2, 2]", done.stderr
    told = f"bgjobd: {tmp_path}: bgjob 9.0 and bgjobd are both installed, each with the package bgjob; uninstall bgjob"
    assert [line.startswith(told) for line in done.stderr.splitlines()] == [True] * 5
    assert [one.name for one in tmp_path.iterdir()] == ["bgjob-9.0.dist-info"]


def test_what_building_leaves_in_a_tree_and_other_distributions_are_no_second_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distribution(tmp_path / "bgjob_tools-1.0.dist-info")
    make_distribution(tmp_path / "bgjob.egg-info")
    (tmp_path / "bgjob.egg-info" / "WHEEL").unlink()
    monkeypatch.syspath_prepend(tmp_path)
    installation.check()


def make_distribution(directory: Path) -> None:
    directory.mkdir()
    name, _, version = directory.stem.partition("-")
    (directory / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
    (directory / "WHEEL").write_text("Wheel-Version: 1.0\n")
