"""The wheels and source distributions of `bgjobd` and `bgjob`, of what is committed: `./run dist [DIRECTORY]`.

All is built twice, in two places, and each wheel once more of its source distribution: the bytes are the same, or
nothing is left. The time in them is that of the commit, or SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).resolve().parents[2]
PROJECTS: Final = {"bgjobd": "", "bgjob": "client"}
"""Distribution → where its pyproject.toml is."""
SUMS: Final = "SHA256SUMS"

_BUILD: Final = """
import sys
from setuptools import build_meta
directory = sys.argv[1]  # setuptools makes arguments of its own of these
build_meta.build_sdist(directory)
build_meta.build_wheel(directory)
"""


class DistError(Exception):
    """Something was not made, or not as it should be; the message says what."""


def main() -> int:
    """Build, compare, look at the metadata, tell what was made; answers the exit code."""
    parser = argparse.ArgumentParser(prog="./run dist", description=__doc__)
    parser.add_argument(
        "directory", type=Path, nargs="?", default=TREE / "dist", help="for what is made (dist)"
    )
    target: Path = parser.parse_args().directory
    try:
        made = make(target, committed_at(TREE))
        looked_at(made)
    except DistError as error:
        print(f"dist: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, [*made, write_sums(made)])))
    return 0


def make(target: Path, epoch: int) -> list[Path]:
    """The four files, in place of what was made into `target` before. Raises DistError."""
    with tempfile.TemporaryDirectory(prefix="bgjobd-dist-") as name:
        work = Path(name)
        for place in ("one", "other"):
            unpack_committed(TREE, work / place)
            for project, below in PROJECTS.items():
                build(work / place / below, work / f"{place}-{project}", epoch)
        for project in PROJECTS:
            _compare(work / f"one-{project}", work / f"other-{project}")
            _compare_wheels(work / f"one-{project}", _of_source(work, project, epoch))
        target.mkdir(parents=True, exist_ok=True)
        clear(target)
        built = [path for project in PROJECTS for path in sorted((work / f"one-{project}").iterdir())]
        return [Path(shutil.copy(path, target)) for path in built]


def clear(target: Path) -> None:
    """Remove what releases are made of, and nothing else: it may be anybody's directory."""
    for pattern in ("bgjob*.whl", "bgjob*.tar.gz", "bgjob*.deb", "bgjob*.cdx.json", f"{SUMS}*"):
        for path in target.glob(pattern):
            path.unlink()


def build(tree: Path, directory: Path, epoch: int) -> None:
    """A source distribution and a wheel of this tree into `directory`, by the setuptools here. Raises DistError."""
    directory.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(directory)],
        cwd=tree,
        env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)},
        umask=0o022,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DistError(done.stderr)
    for path in directory.glob("*.tar.gz"):
        path.write_bytes(settled(path.read_bytes(), epoch))


def settled(archive: bytes, epoch: int) -> bytes:
    """This .tar.gz without what tells where and when it was made (order, owners, times), which setuptools leaves."""
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as given,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as made,
    ):
        for one in sorted(given.getmembers(), key=lambda one: one.name):
            content = given.extractfile(one)
            one.uid = one.gid = 0
            one.uname = one.gname = ""
            one.mtime, one.pax_headers = epoch, {}
            one.mode = 0o755 if one.isdir() or one.mode & 0o100 else 0o644
            made.addfile(one, content)
    return gzip.compress(packed.getvalue(), mtime=epoch)


def committed_at(tree: Path) -> int:
    """SOURCE_DATE_EPOCH, or when the newest commit was made: seconds since 1970."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or _git(tree, "log", "-1", "--format=%ct"))


def unpack_committed(tree: Path, directory: Path, commit: str = "HEAD") -> None:
    """What is committed, and not the files beside it."""
    directory.mkdir()
    archive = _git(tree, "-c", "tar.umask=0022", "archive", commit)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(directory, filter="fully_trusted")


def looked_at(made: Iterable[Path]) -> None:
    """What an index would refuse, or show badly, twine finds. Raises DistError with its words."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DistError(done.stdout + done.stderr)


def write_sums(made: Iterable[Path]) -> Path:
    """What `sha256sum -c` reads, beside these files."""
    files = sorted(made)
    sums = files[0].with_name(SUMS)
    sums.write_text("".join(f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in files))
    return sums


def _of_source(work: Path, project: str, epoch: int) -> Path:
    """Where the wheel is that the source distribution of `project` makes."""
    source, target = work / f"source-{project}", work / f"again-{project}"
    [archive] = (work / f"one-{project}").glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(source, filter="data")
    [tree] = source.iterdir()
    build(tree, target, epoch)
    return target


def _compare(one: Path, other: Path) -> None:
    for path in one.iterdir():
        if path.read_bytes() != (other / path.name).read_bytes():
            raise DistError(f"{path.name} is another each time that it is built")


def _compare_wheels(one: Path, other: Path) -> None:
    [mine], [again] = one.glob("*.whl"), other.glob("*.whl")
    if mine.read_bytes() != again.read_bytes():
        raise DistError(f"the source distribution makes another {mine.name}")


def _git(tree: Path, *arguments: str) -> bytes:
    """Its answer. A checkout that somebody else owns is read all the same: nothing in it is run by git."""
    command = ["git", "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
