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
def tree(tmp_path: Path) -> Path:
    """A tree with nothing set up, for `ran`."""
    for path in (lock.TREE / "run", lock.TREE / "pyproject.toml", *LOCKS):
        (tmp_path / path.relative_to(lock.TREE)).parent.mkdir(exist_ok=True)
        shutil.copy2(path, tmp_path / path.relative_to(lock.TREE))
    (tmp_path / "programs").mkdir()
    _script(tmp_path / "programs" / "uv", _UV.format(python=sys.executable, log=tmp_path / "log"))
    return tmp_path


def ran(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`./run` of this tree, where an installer only notes what it is to install."""
    environ = os.environ | {"PATH": f"{tree / 'programs'}:{os.environ['PATH']}", "PYTHON": sys.executable}
    return subprocess.run(
        [tree / "run", *arguments], env=environ, capture_output=True, text=True, check=False
    )


def noted(tree: Path) -> list[list[str]]:
    lines = (tree / "log").read_text().splitlines()
    return [line.split() for line in lines if line.startswith("pip install ")]


_UV: Final = """\
echo "$@" >>{log}
[ "$1" != venv ] || {{
    for last; do :; done
    mkdir -p "$last/bin"
    printf '#!/bin/sh\\nexec {python} "$@"\\n' >"$last/bin/python"
    chmod +x "$last/bin/python"
    ln -s /bin/true "$last/bin/pip-audit"
}}
"""


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)


def test_nothing_is_installed_but_wheels_whose_hashes_are_locked_and_this_tree(tree: Path) -> None:
    done = ran(tree, "audit")
    assert done.returncode == 0, done.stderr
    installs = noted(tree)
    own = [told for told in installs if "-e" in told]
    assert [(told[-1], {"--no-deps", "--no-build-isolation"} <= {*told}) for told in own] == [
        (str(tree), True)
    ]
    locked = [told for told in installs if told not in own]
    assert [_without_hash_or_wheel(locked), [told[-2:] for told in locked]] == [
        [],
        [["-r", str(tree / "requirements.lock")], ["-r", str(tree / ".ci" / "audit.lock")]],
    ]


def _without_hash_or_wheel(installs: Iterable[list[str]]) -> list[list[str]]:
    return [
        told
        for told in installs
        if "--require-hashes" not in told or "--only-binary :all:" not in " ".join(told)
    ]


def test_tests_on_another_python_have_an_environment_of_their_own(tree: Path) -> None:
    version = "{}.{}".format(*sys.version_info)
    done = ran(tree, "test", "--python", version, "--version")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        0,
        f"run: setting up {tree}/.venv-{version} (once)",
    )
    assert f"pytest {metadata.version('pytest')}" in done.stdout + done.stderr
    assert not (tree / ".venv").exists()
    assert {told[told.index("--python") + 1] for told in noted(tree)} == {
        f"{tree}/.venv-{version}/bin/python"
    }


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        (["--python", "3.99"], 69, "run: no Python 3.99 was found; PYTHON=/path/to/python3.99 names one\n"),
        (["--python"], 2, "it takes a version, as in --python 3.14\n"),
    ],
)
def test_a_python_that_is_not_there_is_told_and_nothing_is_set_up(
    tree: Path, asked: list[str], code: int, told: str
) -> None:
    done = ran(tree, "test", *asked)
    assert (done.returncode, done.stderr[-len(told) :]) == (code, told)
    assert [*tree.glob(".venv*"), *tree.glob("log")] == []
