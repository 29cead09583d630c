"""The locks are whole: what is installed is what was tried, file by file, and nothing that nobody asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import InvalidRequirement, Requirement

from tests.packaging import lock

LOCKS: Final = sorted([*lock.TREE.glob("*.lock"), *lock.TREE.glob(".ci/*.lock")])

of_each_lock = pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)


def test_each_dependency_is_in_a_lock_and_setuptools_in_that_of_development() -> None:
    """`run` and the wheel tests build with the setuptools that is locked, never one fetched for the build."""
    groups = {group for path in LOCKS for group in lock.groups_of(path)}
    assert groups == lock.PROJECT["dependency-groups"].keys()
    assert lock.made_of(lock.RUNTIME) == lock.PROJECT["project"]["dependencies"]
    assert {*lock.made_of(lock.DEVELOPMENT)} > {*lock.made_of(lock.RUNTIME)}
    for requirement in map(Requirement, lock.PROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(lock.read(lock.DEVELOPMENT)[lock.name_of(requirement)].version)


@of_each_lock
def test_everything_is_pinned_by_version_and_hash(path: Path) -> None:
    pinned = lock.read(path)
    assert pinned
    for one in pinned.values():
        assert one.version
        assert not one.requirement.url
        assert one.hashes
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", told) for told in one.hashes), one.name


@of_each_lock
def test_what_the_project_asks_for_is_there_in_its_range(path: Path) -> None:
    pinned = lock.read(path)
    for requirement in map(Requirement, lock.made_of(path)):
        assert requirement.specifier.contains(pinned[lock.name_of(requirement)].version), requirement


@pytest.mark.parametrize("path", [lock.DEVELOPMENT, lock.RUNTIME], ids=lambda path: path.name)
def test_nothing_is_missing_and_nothing_is_there_that_nobody_needs(path: Path) -> None:
    pinned = lock.read(path)
    on_linux = {name for name, one in pinned.items() if list(lock.requirements([str(one.requirement)]))}
    assert on_linux == lock.closure(lock.made_of(path)).keys()


def test_what_is_tried_here_is_what_is_locked() -> None:
    pinned = lock.read(lock.DEVELOPMENT)
    assert [
        name
        for name in lock.closure(lock.made_of(lock.DEVELOPMENT))
        if metadata.version(name) != pinned[name].version
    ] == []


@of_each_lock
def test_the_locks_agree(path: Path) -> None:
    mine, all_ = lock.read(path), lock.read(lock.DEVELOPMENT)
    for name in mine.keys() & all_.keys():
        assert (mine[name].version, mine[name].hashes) == (all_[name].version, all_[name].hashes)


def test_each_supported_python_is_looked_at() -> None:
    told = [one.rpartition(" :: ")[2] for one in lock.PROJECT["project"]["classifiers"]]
    assert [one for one in told if one.startswith("3.")] == [*lock.PYTHONS]


@pytest.mark.parametrize(
    "line", ["--index-url https://example.org/simple", "-e .", "git+https://example.org/one", "./one.whl"]
)
def test_a_lock_that_names_another_place_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.lock").write_text(f"{line}\n")
    with pytest.raises(InvalidRequirement):
        lock.read(tmp_path / "a.lock")


@pytest.mark.parametrize("requirement", ["one", "one>=1", "one==1.*", "one==1,!=2"])
def test_a_version_that_is_left_open_is_refused(tmp_path: Path, requirement: str) -> None:
    (tmp_path / "a.lock").write_text(f"{requirement}\n")
    with pytest.raises(ValueError, match="pins no version"):
        _ = lock.read(tmp_path / "a.lock")["one"].version


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        ("one", True),
        ("one; python_version < '3.12'", True),
        ("one; python_full_version >= '3.14'", True),
        ("one; python_version < '3.11'", False),
        ("one; sys_platform == 'win32'", False),
        ("one; extra == 'more'", False),
    ],
)
def test_what_one_supported_python_needs_is_needed(requirement: str, holds: bool) -> None:
    assert bool([*lock.requirements([requirement])]) is holds


def test_an_extra_brings_its_own() -> None:
    assert [*lock.requirements(["one; extra == 'more'"], ["more"])]


# How `run` installs


@pytest.fixture
def installs(tmp_path: Path) -> list[list[str]]:
    """What `./run audit` has installed, in a tree without .venv, by an installer that only notes it."""
    (tmp_path / ".ci").mkdir()
    for path in (lock.TREE / "run", lock.TREE / "pyproject.toml", *LOCKS):
        shutil.copy2(path, tmp_path / path.relative_to(lock.TREE))
    programs = tmp_path / "programs"
    programs.mkdir()
    _script(programs / "uv", _UV.format(python=sys.executable, log=tmp_path / "log"))
    environ = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHON": sys.executable}
    subprocess.run([tmp_path / "run", "audit"], env=environ, capture_output=True, check=True)
    noted = (tmp_path / "log").read_text().splitlines()
    return [line.split() for line in noted if line.startswith("pip install ")]


_UV: Final = """\
echo "$@" >>{log}
[ "$1" != venv ] || {{
    for last; do :; done
    mkdir -p "$last/bin"
    ln -s {python} "$last/bin/python"
    ln -s /bin/true "$last/bin/pip-audit"
}}
"""


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)


def test_nothing_is_installed_but_wheels_whose_hashes_are_locked_and_this_tree(
    installs: list[list[str]], tmp_path: Path
) -> None:
    own = [told for told in installs if "-e" in told]
    assert [(told[-1], {"--no-deps", "--no-build-isolation"} <= {*told}) for told in own] == [
        (str(tmp_path), True)
    ]
    locked = [told for told in installs if told not in own]
    assert [_without_hash_or_wheel(locked), [told[-2:] for told in locked]] == [
        [],
        [["-r", str(tmp_path / "requirements.lock")], ["-r", str(tmp_path / ".ci" / "audit.lock")]],
    ]


def _without_hash_or_wheel(installs: Iterable[list[str]]) -> list[list[str]]:
    return [
        told
        for told in installs
        if "--require-hashes" not in told or "--only-binary :all:" not in " ".join(told)
    ]
