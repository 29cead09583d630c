"""What the wheel holds: every file of our packages in the source tree, and nothing else; made twice, it is the same."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.packaging.dist import build, settled

TREE = Path(__file__).resolve().parents[2]

# Directory in the tree → where an installation has it.
CLIENT = {"client/bgjob": "bgjob", "client/_bgjob_pytest": "_bgjob_pytest"}
PACKAGES = {**CLIENT, "bgjobd": "bgjobd", "systemd": "bgjobd/systemd", "web": "bgjobd/web"}
SHIPPED = (
    *("*.py", "py.typed", "*.varlink"),
    *("*.html", "*.css", "*.js", "*.svg", "vendored.toml"),
    *("*.service", "*.socket", "*.conf"),
)

EPOCH = 1767225600


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("tree"))


def copied(copy: Path, below: str = "") -> Path:
    """A copy of what git has or would add, as building leaves litter beside the sources."""
    for name in files_known_to_git(below):
        if (TREE / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / name, copy / name)
            # All that git knows of modes.
            (copy / name).chmod(0o755 if os.access(TREE / name, os.X_OK) else 0o644)
    return copy


@pytest.fixture(scope="module")
def built(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_from(copy, tmp_path_factory.mktemp("built"))


def built_from(tree: Path, directory: Path) -> Path:
    build(tree, directory, EPOCH)
    return directory


@pytest.fixture(scope="module")
def wheel(built: Path) -> ZipFile:
    return ZipFile(wheel_in(built))


def wheel_in(directory: Path) -> Path:
    [path] = directory.glob("*.whl")
    return path


def test_the_wheel_holds_our_packages_and_nothing_else(copy: Path, wheel: ZipFile) -> None:
    assert packaged(wheel) == shipped_from(copy)


def test_the_wheel_puts_the_manual_where_man_looks(copy: Path, wheel: ZipFile) -> None:
    pages = {name.partition(".data/data/")[2] for name in wheel.namelist() if ".data/" in name}
    files = sorted((copy / "docs" / "man").iterdir())
    assert pages == {f"share/man/man{file.suffix[1:]}/{file.name}" for file in files}
    assert len(pages) == 3


def test_the_wheel_names_both_commands_and_what_pytest_is_to_load(wheel: ZipFile) -> None:
    [entry_points] = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert wheel.read(entry_points).decode().split() == [
        "[console_scripts]",
        *("bgjob", "=", "bgjob.command:main"),
        *("bgjobd", "=", "bgjobd.main:main"),
        "[pytest11]",
        *("bgjob", "=", "_bgjob_pytest"),
    ]


def test_the_wheel_carries_the_licence(wheel: ZipFile) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())


def test_the_same_sources_make_the_same_distributions_wherever_and_whenever(
    built: Path, tmp_path: Path
) -> None:
    again = copied(tmp_path / "elsewhere")
    for name in again.rglob("*"):
        os.utime(name, (1, 1_700_000_000))
    (tmp_path / "again").mkdir()
    built_from(again, tmp_path / "again")
    names = {path.name for path in built.iterdir()}
    assert {path.name for path in (tmp_path / "again").iterdir()} == names
    assert len(names) == 2
    assert {
        name for name in names if (built / name).read_bytes() != (tmp_path / "again" / name).read_bytes()
    } == set()


def test_an_archive_forgets_who_made_it_and_when_and_in_which_order() -> None:
    def packed(names: str, uid: int, mtime: float) -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as archive:
            for name in names:
                one = tarfile.TarInfo(name)
                one.uid, one.uname, one.mtime, one.size = uid, f"user{uid}", mtime, 1
                archive.addfile(one, io.BytesIO(b"x"))
        return made.getvalue()

    mine, theirs = packed("ab", 0, 1.5), packed("ba", 1000, 7)
    assert mine != theirs
    assert settled(mine, EPOCH) == settled(theirs, EPOCH)
    with tarfile.open(fileobj=io.BytesIO(settled(mine, EPOCH))) as archive:
        assert [(one.name, one.mtime, one.uid, one.uname) for one in archive] == [
            ("a", EPOCH, 0, ""),
            ("b", EPOCH, 0, ""),
        ]


def test_every_file_of_the_wheel_is_a_plain_one_that_nobody_executes(wheel: ZipFile) -> None:
    modes = {one.filename: one.external_attr >> 16 for one in wheel.infolist()}
    # Written by setuptools.
    own = {name: mode for name, mode in modes.items() if not name.endswith("/RECORD")}
    assert {name for name, mode in own.items() if not stat.S_ISREG(mode) or mode & 0o7111} == set()


def test_the_source_distribution_holds_nothing_that_git_does_not_know(copy: Path, built: Path) -> None:
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {one.name.partition("/")[2] for one in archive if one.isfile()}
        assert all(one.isfile() or one.isdir() for one in archive)
    made = {
        name for name in names if name in ("PKG-INFO", "setup.cfg") or name.startswith("bgjobd.egg-info/")
    }
    assert names - made <= {*files_known_to_git()}
    assert {"pyproject.toml", "LICENSE", "web/vendored.toml"} <= names


def test_neither_building_nor_installing_runs_code_of_ours(copy: Path) -> None:
    """A wheel has no way to run any where it is installed; a build would, of these."""
    assert not (copy / "setup.py").exists()
    assert not (copy / "setup.cfg").exists()
    project = tomllib.loads((copy / "pyproject.toml").read_text())
    assert project["build-system"].keys() == {"requires", "build-backend"}
    assert project["build-system"]["build-backend"] == "setuptools.build_meta"
    assert not project["tool"]["setuptools"].keys() & {"cmdclass", "dynamic"}
    assert "dynamic" not in project["project"]


def files_known_to_git(below: str = "") -> list[str]:
    # A checkout that somebody else owns is read all the same: nothing in it is run by git.
    git = ["git", "-c", "safe.directory=*"]
    ls_files = [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard", f"./{below}"]
    listing = subprocess.run(ls_files, cwd=TREE, capture_output=True, text=True, check=True).stdout
    return listing.rstrip("\0").split("\0")


def packaged(wheel: ZipFile) -> set[str]:
    names = (name for name in wheel.namelist() if not name.endswith("/"))
    return {name for name in names if not name.split("/")[0].endswith((".dist-info", ".data"))}


def shipped_from(tree: Path, packages: Mapping[str, str] = PACKAGES) -> set[str]:
    return {
        f"{installed}/{file.relative_to(tree / source).as_posix()}"
        for source, installed in packages.items()
        for pattern in SHIPPED
        for file in (tree / source).rglob(pattern)
    }
