"""A release, or what is in its way: `./run release --dry-run`, then `./run release --key KEY` (docs/releasing.md).

It looks, makes what is released, and signs; it pushes and uploads nothing.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.packaging import deb, dist
from tests.packaging.dist import TREE, DistError

FILES: Final = {
    "project": "pyproject.toml",
    "client": "client/pyproject.toml",
    "module": "client/bgjob/__init__.py",
    "changelog": "CHANGELOG.md",
    "surface": "tests/security/surface.txt",
    "released": "tests/packaging/released_surface.txt",
}
_NAMESPACE: Final = "bgjobd"


@dataclass(frozen=True)
class Release:
    """What is to be released: the texts of `FILES`, tags that are there, whether something is not committed."""

    texts: dict[str, str]
    tags: frozenset[str]
    is_clean: bool

    @property
    def projects(self) -> list[dict[str, Any]]:
        return [tomllib.loads(self.texts[name])["project"] for name in ("project", "client")]

    @property
    def version(self) -> str:
        return str(self.projects[0]["version"])

    @property
    def tag(self) -> str:
        return f"v{self.version}"


def main() -> int:
    """Tell what is in the way, make it, sign it; answers the exit code: 1 where something was in the way."""
    parser = argparse.ArgumentParser(prog="./run release", description=__doc__)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--dry-run", action="store_true", help="sign nothing, and go on whatever is in the way")
    how.add_argument("--key", type=Path, help="the private SSH key that signs")
    parser.add_argument("--only-look", action="store_true", help="with --dry-run: make nothing either")
    given = parser.parse_args()
    release = found(TREE)
    in_the_way = [*obstacles(release)]
    print(f"version {release.version}, tag {release.tag}")
    print("".join(f"in the way: {one}\n" for one in in_the_way), end="")
    if (in_the_way and not given.dry_run) or given.only_look:
        return int(bool(in_the_way))
    try:
        sums = dist.write_sums(_made(release, TREE / "dist"))
    except DistError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print(sums.read_text(), end="")
    for command in signing(release, given.key or Path("KEY"), sums):
        print(f"{'would run' if given.dry_run else 'runs'}: {' '.join(command)}")
        if not given.dry_run:
            subprocess.run(command, cwd=TREE, check=True)
    print("\n".join(f"by hand: {line}" for line in left_to_do(release)))
    return int(bool(in_the_way))


def found(tree: Path) -> Release:
    """What is in this tree."""
    return Release(
        {name: (tree / path).read_text() for name, path in FILES.items()},
        frozenset(_git(tree, "tag", "--list").split()),
        not _git(tree, "status", "--porcelain"),
    )


def obstacles(release: Release) -> Iterator[str]:
    """What is in the way of this release, a sentence each."""
    versions = {str(project["version"]) for project in release.projects}
    versions |= set(re.findall(r'^__version__ = "(.+)"$', release.texts["module"], re.MULTILINE))
    if versions != {release.version}:
        yield f"the versions differ: {', '.join(sorted(versions))}"
    changelog = release.texts["changelog"]
    if not re.search(rf"^## \[{re.escape(release.version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        yield f"CHANGELOG.md has no heading ## [{release.version}] - DATE"
    if _unreleased(changelog):
        yield "CHANGELOG.md has something under [Unreleased]"
    if not release.is_clean:
        yield "something is not committed"
    if release.tag in release.tags:
        yield f"the tag {release.tag} is there already"
    if release.texts["surface"] != release.texts["released"]:
        yield f"{FILES['released']} is not that of this version: copy {FILES['surface']}"
    for project in release.projects:
        if not project.get("urls"):
            yield f"{project['name']} names no home: [project.urls]"


def signing(release: Release, key: Path, sums: Path) -> list[list[str]]:
    """The commands that sign the sums and the tag with an SSH key; the tag last, which is in the way of another try."""
    signs = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={key}"]
    return [
        ["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", _NAMESPACE, str(sums)],
        ["git", *signs, "tag", "--sign", release.tag, "--message", f"bgjobd {release.version}"],
    ]


def left_to_do(release: Release) -> list[str]:
    """What nobody's machine does by itself."""
    return [
        f"git push ORIGIN {release.tag}",
        "twine upload dist/*.whl dist/*.tar.gz",
        f"publish the .deb, {dist.SUMS} and {dist.SUMS}.sig with the changelog of {release.version}",
    ]


def _unreleased(changelog: str) -> str:
    """What stands under that heading."""
    told = re.search(r"^## \[Unreleased\]$(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return told[1].strip() if told else ""


def _made(release: Release, target: Path) -> list[Path]:
    """Whatever is released, but for the sums. Raises DistError."""
    made = dist.make(target, dist.committed_at(TREE))
    dist.looked_at(made)
    if all(map(shutil.which, deb.NEEDED)):
        made.append(deb.make(target, "1"))
    else:
        print("release: without debhelper there is no Debian package", file=sys.stderr)
    bill = target / f"bgjobd-{release.version}.cdx.json"
    deb.call(sys.executable, "-m", "tests.packaging.sbom", str(bill), cwd=TREE, epoch=dist.committed_at(TREE))
    return [*made, bill]


def _git(tree: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=tree, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
