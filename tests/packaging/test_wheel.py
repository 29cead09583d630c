"""What the wheel holds: every file of our packages in the source tree, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

TREE = Path(__file__).resolve().parents[2]

# Directory in the tree → where an installation has it.
PACKAGES = {"client/bgjob": "bgjob", "bgjobd": "bgjobd", "systemd": "bgjobd/systemd", "web": "bgjobd/web"}
SHIPPED = (
    *("*.py", "py.typed", "*.varlink"),
    *("*.html", "*.css", "*.js", "*.svg", "vendored.toml"),
    *("*.service", "*.socket", "*.conf"),
)

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git has or would add, as building leaves litter beside the sources."""
    copy = tmp_path_factory.mktemp("tree")
    for name in files_known_to_git():
        if (TREE / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    directory = tmp_path_factory.mktemp("wheel")
    build = subprocess.run(
        [sys.executable, "-c", BUILD, str(directory)], cwd=copy, capture_output=True, text=True, check=False
    )
    assert build.returncode == 0, build.stderr
    [path] = directory.glob("*.whl")
    return ZipFile(path)


def test_the_wheel_holds_our_packages_and_nothing_else(copy: Path, wheel: ZipFile) -> None:
    assert packaged(wheel) == shipped_from(copy)


def test_the_wheel_puts_the_manual_where_man_looks(copy: Path, wheel: ZipFile) -> None:
    pages = {name.partition(".data/data/")[2] for name in wheel.namelist() if ".data/" in name}
    files = sorted((copy / "bgjobd" / "man").iterdir())
    assert pages == {f"share/man/man{file.suffix[1:]}/{file.name}" for file in files}
    assert len(pages) == 3


def test_the_wheel_names_both_commands(wheel: ZipFile) -> None:
    [entry_points] = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert wheel.read(entry_points).decode().split() == [
        "[console_scripts]",
        *("bgjob", "=", "bgjob.command:main"),
        *("bgjobd", "=", "bgjobd.main:main"),
    ]


def test_the_wheel_carries_the_licence(wheel: ZipFile) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())


def files_known_to_git() -> list[str]:
    # A checkout that somebody else owns is read all the same: nothing in it is run by git.
    git = ["git", "-c", "safe.directory=*"]
    ls_files = [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(ls_files, cwd=TREE, capture_output=True, text=True, check=True).stdout
    return listing.rstrip("\0").split("\0")


def packaged(wheel: ZipFile) -> set[str]:
    names = (name for name in wheel.namelist() if not name.endswith("/"))
    return {name for name in names if not name.split("/")[0].endswith((".dist-info", ".data"))}


def shipped_from(tree: Path) -> set[str]:
    return {
        f"{installed}/{file.relative_to(tree / source).as_posix()}"
        for source, installed in PACKAGES.items()
        for pattern in SHIPPED
        for file in (tree / source).rglob(pattern)
    }
