"""The client may be installed once: with bgjobd, or, as the distribution bgjob, without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bgjobd.commands import installation

COMMANDS = "check", "check --json", "web", "demo --once", "prune", "units", "serve", "--version"
CALLS = """
import sys
from bgjobd.main import main
print([main(command.split()) for command in sys.argv[1:]])
"""


def test_nothing_starts_where_the_client_is_installed_a_second_time(tmp_path: Path) -> None:
    make_distribution(tmp_path / "bgjob-9.0.dist-info")
    (tmp_path / "bgjob").mkdir()
    (tmp_path / "bgjob" / "__init__.py").write_text("raise ImportError('of another version')")
    done = called(tmp_path, *COMMANDS)
    assert done.stdout == f"{[2] * len(COMMANDS)}\n", done.stderr
    told = f"bgjobd: {tmp_path}: bgjob 9.0 and bgjobd are both installed, each with the package bgjob: `pip uninstall"
    assert [line.startswith(told) for line in done.stderr.splitlines()] == [True] * len(COMMANDS)
    assert {one.name for one in tmp_path.iterdir()} == {"bgjob", "bgjob-9.0.dist-info"}


def test_a_daemon_that_runs_is_asked_and_copied_whatever_is_installed_over_it(tmp_path: Path) -> None:
    make_distribution(tmp_path / "bgjob-9.0.dist-info")
    done = called(tmp_path, "status --config none.toml", "backup --config none.toml")
    assert "bgjob 9.0" not in done.stderr
    assert done.stderr.count("none.toml") == 2


def called(directory: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CALLS, *commands],
        env={"PYTHONPATH": str(directory), "HOME": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_building_leaves_in_a_tree_and_other_distributions_are_no_second_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distribution(tmp_path / "bgjob_tools-1.0.dist-info")
    make_distribution(tmp_path / "bgjob.egg-info")
    (tmp_path / "bgjob.egg-info" / "WHEEL").unlink()
    monkeypatch.syspath_prepend(tmp_path)
    assert installation.try_conflict() is None


def make_distribution(directory: Path) -> None:
    directory.mkdir()
    name, _, version = directory.stem.partition("-")
    (directory / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
    (directory / "WHEEL").write_text("Wheel-Version: 1.0\n")
